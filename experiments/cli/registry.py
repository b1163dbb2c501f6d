"""``monster registry list`` and ``monster registry show``."""

from __future__ import annotations

import argparse
from typing import Any

from experiments.cli import common


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the two actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    listing = actions.add_parser(
        "list", help="every version, one line each", description="Every version, one line each."
    )
    listing.add_argument("--archetypes", "--archetype", nargs="+", metavar="NAME", help="such as tank mage")
    listing.add_argument(
        "--model-types", "--model-type", nargs="+", metavar="NAME", help="such as combat_dqn"
    )
    listing.add_argument("--deployed", action="store_true", help="deployed versions only")
    listing.epilog = "example: monster registry list --deployed --json"
    show = actions.add_parser(
        "show", help="one version whole", description="One version with metrics and lineage."
    )
    show.add_argument("archetype", help="such as tank")
    show.add_argument("model_type", nargs="?", default="combat_dqn", help="default: %(default)s")
    show.add_argument("--version", type=common.positive_int, help="which version (default: the newest)")
    show.epilog = "example: monster registry show tank combat_dqn --version 1"
    for action in (listing, show):
        action.add_argument("--json", action="store_true", help="as JSON")
        common.add_archetypes_file(action)
        common.add_home(action)
    parser.epilog = "example: monster registry list --home runs"


def run(args: argparse.Namespace) -> int:
    """Lists or shows; returns the exit code."""
    return _list(args) if args.action == "list" else _show(args)


def _list(args: argparse.Namespace) -> int:
    from experiments.matrix import check_names
    from experiments.progress import table

    common.use_archetypes_file(args)
    archetypes, model_types = check_names(args.archetypes, args.model_types)
    home = common.check_home(args, must_exist=True)
    with common.workshop(args, home, common.console()) as shop:
        found = shop.registry.list(deployed=True if args.deployed else None)
    # Without a choice everything is listed, also what was trained from a file that is not given now.
    rows = [
        v for v in found if (v.archetype in archetypes or not args.archetypes) and v.model_type in model_types
    ]
    if args.json:
        common.print_json([v.to_json() for v in rows])
        return 0
    header = [
        "archetype",
        "model type",
        "version",
        "state",
        "deployed",
        "gate",
        "win rate",
        "reward",
        "P95 ms",
    ]
    body = [
        [
            v.archetype, v.model_type, v.version, v.state, "yes" if v.is_deployed else "no", v.gate,
            _round(v.metrics, "win_rate", 3), _round(v.metrics, "average_reward", 1),
            _round(v.metrics, "latency_p95_ms", 2),
        ]
        for v in rows
    ]  # fmt: skip
    for line in table(header, body, right={2, 6, 7, 8}):
        print(line)
    return 0


def _show(args: argparse.Namespace) -> int:
    from experiments.errors import ExperimentError
    from experiments.matrix import check_names

    common.use_archetypes_file(args)
    check_names([args.archetype], [args.model_type])
    home = common.check_home(args, must_exist=True)
    with common.workshop(args, home, common.console()) as shop:
        found = shop.registry.list(args.archetype, args.model_type)
    chosen = [v for v in found if args.version in (None, v.version)]
    if not chosen:
        wanted = f" v{args.version}" if args.version else ""
        raise ExperimentError(
            f"{args.archetype}/{args.model_type}{wanted} is not registered; see monster registry list"
        )
    version = max(chosen, key=lambda v: v.version).to_json()
    if args.json:
        common.print_json(version)
        return 0
    for line in _lines(version):
        print(line)
    return 0


def _lines(value: Any, indent: int = 0) -> list[str]:
    """Lays nested plain values out for reading, one leaf a line."""
    pad, lines = "  " * indent, []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            lines += [f"{pad}{key}:", *_lines(item, indent + 1)]
        elif isinstance(item, list) and item and isinstance(item[0], str):
            lines += [f"{pad}{key}:", *(f"{pad}  - {line}" for line in item)]
        else:
            lines.append(f"{pad}{key}: {item}")
    return lines


def _round(metrics: dict[str, Any], name: str, digits: int) -> str | None:
    value = metrics.get(name)
    return None if value is None else f"{value:.{digits}f}"
