"""``monster profile``: where training time goes, per model type."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from experiments.cli import common
from experiments.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "--model-types", "--model-type", nargs="+", metavar="NAME", help="such as combat_dqn (default: all)"
    )
    parser.add_argument("--archetype", default="mage", help="default: %(default)s")
    parser.add_argument(
        "--profile", choices=("demo", "small", "full"), default="demo", help="size (default: demo)"
    )
    parser.add_argument("--epochs", type=common.positive_int, default=1, help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--warm-up",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="import and compile before the clock runs (default); --no-warm-up: as a first run sees it",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    common.add_archetypes_file(parser)
    common.add_seed(parser)
    common.add_home(parser)
    parser.epilog = "example: monster profile --model-types combat_dqn spatial_vit --epochs 3"


def run(args: argparse.Namespace) -> int:
    """Trains each type for some epochs in this process, prints the table and writes the flame graphs."""
    from experiments import matrix
    from experiments.profiling.measure import profile, warm_up

    _check_device(args.device)
    common.use_archetypes_file(args)
    request = matrix.Request(
        *matrix.check_names([args.archetype], args.model_types),
        profile=args.profile,
        seed=args.seed,
        epochs=args.epochs,
        device=args.device,
        from_scratch=True,
    )
    runs = matrix.resolve(request)
    home = common.check_home(args)
    found, pages = [], []
    with common.stoppable():
        for run in runs:

            def tell(line: str, name: str = run.model_type) -> None:
                print(f"{name}: {line}", file=sys.stderr, flush=True)

            if args.warm_up:
                tell("warming up")
                warm_up(run)
            tell("building")
            one = profile(run, tell)
            found.append(one)
            pages.append(_write(one, home, args))
    if args.json:
        rows = [
            {
                "model_type": one.model_type,
                "run_id": one.run_id,
                "epochs": one.epochs,
                "wall_s": one.wall_s,
                "phases": one.phases,
                "flame_graph": str(page),
            }
            for one, page in zip(found, pages, strict=True)
        ]
        common.print_json(rows)
        return 0
    print("\n".join(profile_lines(found, pages)))
    return 0


def profile_lines(found: list[Any], pages: list[Path]) -> list[str]:
    """The table for people: a row for each phase, seconds and share for each model type.

    Args:
        found: `experiments.profiling.measure.Profile` of each type.
        pages: Flame graph of each.
    """
    from experiments.profiling.measure import PHASES
    from experiments.progress import table

    lines = []
    for one, page in zip(found, pages, strict=True):
        rows = [
            [name, f"{seconds:.2f}", f"{seconds / one.wall_s:.1%}", PHASES[name]]
            for name, seconds in one.phases.items()
            if seconds / one.wall_s >= 0.0005
        ]
        rows.append(["sum", f"{sum(one.phases.values()):.2f}", "100.0%", _epochs(one)])
        lines += [*table([one.model_type, "seconds", "share", "what it is"], rows, right={1, 2})]
        lines += [f"flame graph: {page}", ""]
    return lines[:-1]


def _write(one: Any, home: Path, args: argparse.Namespace) -> Path:
    from experiments.machine import processor
    from experiments.profiling import flame

    root = flame.tree(one.stacks, f"{one.model_type}, {_epochs(one)}")
    where = processor() if args.device == "cpu" else f"{args.device}, {processor()}"
    text = flame.flame_page(
        root,
        title=f"Where training time goes: {one.model_type}",
        summary=f"{args.archetype}, profile {args.profile}, {_epochs(one)}, {one.wall_s:.1f} s; {where}",
        phases=list(one.phases.items()),
        legend=(
            "Width is wall time of the training thread, sampled every 5 ms; what is called hangs below its "
            "caller. Compiled code shows as the line that called it. Click a frame to enlarge it."
        ),
    )
    return flame.write_page(home / "profile" / f"{one.model_type}.html", text)


def _epochs(one: Any) -> str:
    return "1 epoch" if one.epochs == 1 else f"{one.epochs} epochs"


def _check_device(device: str) -> None:
    import re

    import torch

    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UsageError(f"--device {device} is not known; give cpu, cuda or cuda:N")
    if device != "cpu" and not torch.cuda.is_available():
        raise UsageError(f"--device {device} was asked for, but torch sees no GPU here; use --device cpu")
