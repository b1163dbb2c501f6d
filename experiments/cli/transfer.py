"""``monster transfer``: starts one archetype's mind from another's weights."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cli import common
from experiments.errors import UsageError

if TYPE_CHECKING:
    from experiments.transfer import TransferRequest

RESUME_HINT = "finished runs are kept; run the same command again to continue from the last checkpoints"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("--source-archetype", required=True, metavar="NAME", help="whose weights are taken")
    parser.add_argument("--target-archetype", required=True, metavar="NAME", help="who is trained")
    parser.add_argument("--model-type", default="combat_dqn", metavar="NAME", help="(default: %(default)s)")
    parser.add_argument(
        "--seeds", type=common.positive_int, default=3, help="runs of each arm (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=common.positive_int, help="of each run (default: the profile's)")
    parser.add_argument(
        "--profile", choices=("demo", "small", "full"), default="demo", help="size (default: demo)"
    )
    parser.add_argument(
        "--compare",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="train from scratch beside it (default); --no-compare only transfers",
    )
    parser.add_argument(
        "--parallel", type=common.positive_int, default=1, help="runs at the same time (default: %(default)s)"
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="reuse finished runs and continue broken ones (default); --no-resume starts anew",
    )
    parser.add_argument("--page", type=Path, help="where the page goes (default: transfer/ in --home)")
    parser.add_argument("--json", action="store_true", help="the result as JSON; progress goes to stderr")
    common.add_archetypes_file(parser)
    common.add_seed(parser)
    common.add_home(parser)
    parser.epilog = (
        "example: monster transfer --source-archetype mage --target-archetype ranged"
        " --model-type movement_ppo --seeds 3"
    )


def run(args: argparse.Namespace) -> int:
    """Transfers, compares and registers; returns the exit code."""
    request = _request(args)
    home = common.check_home(args)
    from experiments import transfer
    from experiments.ledger import write_json
    from experiments.progress import Progress, table
    from experiments.report.transfer_page import write_transfer_page
    from experiments.transfer_result import gain_lines, result_json, result_rows

    out = sys.stderr if args.json else sys.stdout
    progress = Progress(lambda line: print(line, file=out, flush=True))
    with common.stoppable():
        result = transfer.carry_out(
            home, request, lambda: common.workshop(args, home, progress, args.seed), progress
        )
    name = f"{request.model_type}-{request.source}-to-{request.target}"
    page = args.page or home / "transfer" / f"{name}.html"
    write_transfer_page(page, result, f"monster {shlex.join(sys.argv[1:])}")
    values = result_json(result)
    write_json(page.with_suffix(".json"), values)
    if args.json:
        common.print_json(values)
        return 0
    header, rows = result_rows(result)
    for line in [*table(header, rows, right={0, *range(2, len(header))}), *gain_lines(result)]:
        print(line)
    progress.line(f"{result.registered} is registered, transferred from {result.source}; page: {page}")
    return 0


def _request(args: argparse.Namespace) -> TransferRequest:
    """Checks what was asked for, before anything is started.

    Raises:
        UsageError: An unknown name, or the same archetype twice.
    """
    from experiments.matrix import check_names
    from experiments.transfer import TransferRequest

    common.use_archetypes_file(args)
    check_names([args.source_archetype, args.target_archetype], [args.model_type])
    if args.page is not None and args.page.is_dir():
        raise UsageError(f"--page {args.page} is a folder; give the name of a file")
    request = TransferRequest(
        args.source_archetype,
        args.target_archetype,
        args.model_type,
        seeds=args.seeds,
        seed=args.seed,
        compare=args.compare,
        profile=args.profile,
        epochs=args.epochs,
        parallel=args.parallel,
        resume=args.resume,
    )
    request.validate()
    return request
