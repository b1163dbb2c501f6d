"""``monster tune``: searches settings of one cell and keeps the best as a settings file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.cli import common
from experiments.errors import ExperimentError

if TYPE_CHECKING:
    from experiments.search import Row, SearchRequest, Space

RESUME_HINT = "finished samples are kept; run the same command again to go on with the others"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("--archetype", required=True, metavar="NAME", help="whose mind, such as mage")
    parser.add_argument("--model-type", required=True, metavar="NAME", help="which mind, such as combat_dqn")
    parser.add_argument(
        "--num-samples",
        type=common.positive_int,
        default=8,
        help="settings tried, the profile's own among them (default: %(default)s)",
    )
    parser.add_argument("--epochs", type=common.positive_int, help="of each sample (default: the profile's)")
    parser.add_argument(
        "--profile", choices=("demo", "small", "full"), default="demo", help="size (default: demo)"
    )
    parser.add_argument(
        "--parallel", type=common.positive_int, default=1, help="samples at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--scheduler",
        choices=("asha", "none"),
        default="asha",
        help="asha stops samples that fall behind (default); none trains all to the end",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the samples and do nothing")
    parser.add_argument("--json", action="store_true", help="the result as JSON; progress goes to stderr")
    common.add_archetypes_file(parser)
    common.add_seed(parser)
    common.add_home(parser)
    parser.epilog = "example: monster tune --archetype mage --model-type combat_dqn --num-samples 12"


def run(args: argparse.Namespace) -> int:
    """Searches; returns the exit code."""
    from experiments import disk, search
    from experiments.progress import Progress

    request = _request(args)
    space = search.load_space(request.model_type, request.profile)
    samples = search.draw_samples(request, space)
    metric = search.metric_of(request.model_type)
    home = args.home.expanduser().absolute() if args.dry_run else common.check_home(args)
    if args.dry_run:
        _show(search.ranked(home, samples, metric), space, request, metric, None, args.json)
        if not args.json:
            print("nothing was started (--dry-run)")
        return 0
    out = sys.stderr if args.json else sys.stdout
    progress = Progress(lambda line: print(line, file=out, flush=True))
    progress.line(f"{len(samples)} samples by {metric}, {request.parallel} at a time, into {args.home}")
    over = ("finished", "stopped early") if request.early else ("finished",)
    still = [row.sample.run for row in search.ranked(home, samples, metric) if row.state not in over]
    disk.check_space(str(home), still, request.parallel)
    with common.stoppable():
        failure = search.carry_out(home, request, samples, progress)
    rows = search.ranked(home, samples, metric)
    path = search.write_best(home, request, rows[0])
    _show(rows, space, request, metric, path, args.json)
    cell = f"--archetypes {request.archetype} --model-types {request.model_type}"
    size = f"--profile {request.profile} --seed {request.seed}"
    progress.line(f"next: monster train {cell} {size} --home {args.home} --config {path}")
    if failure is not None:
        raise ExperimentError(failure)
    return 0


def _request(args: argparse.Namespace) -> SearchRequest:
    """Checks what was asked for, before anything is started.

    Raises:
        UsageError: An unknown name.
    """
    from experiments.matrix import check_names
    from experiments.search import SearchRequest

    common.use_archetypes_file(args)
    check_names([args.archetype], [args.model_type])
    return SearchRequest(
        args.archetype,
        args.model_type,
        args.num_samples,
        profile=args.profile,
        seed=args.seed,
        epochs=args.epochs,
        parallel=args.parallel,
        early=args.scheduler == "asha",
    )


def _show(
    rows: list[Row], space: Space, request: SearchRequest, metric: str, path: Path | None, as_json: bool
) -> None:
    from experiments.progress import table

    if as_json:
        common.print_json(_as_json(rows, space, request, metric, path))
        return
    names = list(rows[0].sample.settings(space))
    header = ["sample", "state", "score", "epoch", "train s", *(name.split(".")[1] for name in names)]
    body = [
        [
            row.sample.number,
            row.state,
            None if row.score is None else f"{row.score:.3f}",
            f"{row.epoch}/{row.sample.run.epochs}",
            f"{row.train_s:.0f}",
            *(_short(value) for value in row.sample.settings(space).values()),
        ]
        for row in rows
    ]
    for line in table(header, body, right={0, *range(2, len(header))}):
        print(line)
    print(f"score: {metric} of the best epoch; sample 0 is the {request.profile} profile as it stands")
    if path is not None:
        print(f"best settings: {path}")


def _as_json(
    rows: list[Row], space: Space, request: SearchRequest, metric: str, path: Path | None
) -> dict[str, Any]:
    samples = [
        {
            "sample": row.sample.number,
            "run_id": row.sample.run.run_id,
            "state": row.state,
            "score": row.score,
            "epoch": row.epoch,
            "epochs": row.sample.run.epochs,
            "train_s": row.train_s,
            "settings": row.sample.settings(space),
        }
        for row in rows
    ]
    return {
        "archetype": request.archetype,
        "model_type": request.model_type,
        "profile": request.profile,
        "seed": request.seed,
        "scheduler": "asha" if request.early else "none",
        "metric": metric,
        "samples": samples,
        "best_settings": path,
    }


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
