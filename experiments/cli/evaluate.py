"""``monster evaluate``: evaluation fights, timing through the service, and the gate."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.cli import common

RESUME_HINT = "finished evaluations are kept; run the same command again for the rest"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    common.add_cells(parser)
    parser.add_argument(
        "--num-episodes",
        type=common.positive_int,
        default=2000,
        help="fights per model (default: %(default)s)",
    )
    parser.add_argument(
        "--url", help="a running service of the same --home to time (default: one is started)"
    )
    parser.add_argument(
        "--no-latency", action="store_true", help="do not time; the gate then stays undecided"
    )
    parser.add_argument("--strict", action="store_true", help="reported checks block too")
    parser.add_argument(
        "--save-report", action="store_true", help="write evaluation.json, .html and .md into --home"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    common.add_seed(parser)
    common.add_home(parser)
    parser.epilog = "example: monster evaluate --archetypes tank --num-episodes 2000 --save-report"


def run(args: argparse.Namespace) -> int:
    """Evaluates the newest version of each chosen cell; returns 0 when all pass the gate, otherwise 1."""
    from experiments import pipeline
    from experiments.progress import Progress, silent
    from experiments.yardsticks import baselines

    cells = common.chosen_cells(args)
    home = common.check_home(args, must_exist=True)
    progress = Progress(silent) if args.json else common.console()
    with common.stoppable(), common.workshop(args, home, progress, args.seed) as shop:
        versions = pipeline.newest(shop, *cells, explicit=bool(args.archetypes))
        rivals = {
            v.model_id: baselines(shop, (v.archetype,), args.num_episodes, head)[v.archetype]
            if (head := pipeline.head_of(v))
            else {}
            for v in versions
        }
        judged = []
        measured = [(v, pipeline.evaluate(shop, v, args.num_episodes)) for v in versions]
        with _service(args, home) as url:
            for version, metrics in measured:
                if url is not None:
                    metrics = pipeline.time_decisions(shop, version, metrics, url)
                judged.append(
                    pipeline.validate(shop, version, metrics, rivals[version.model_id], strict=args.strict)
                )
    entries = [_entry(home, version, gate, rivals[version.model_id]) for version, gate in judged]
    if args.save_report:
        _save(args, home, entries, progress)
    if args.json:
        common.print_json(entries)
    return 0 if all(gate.verdict == "pass" for _, gate in judged) else 1


@contextlib.contextmanager
def _service(args: argparse.Namespace, home: Path) -> Iterator[str | None]:
    if args.no_latency:
        yield None
    elif args.url:
        yield args.url
    else:
        from serve.process import start_service

        with start_service(home, dsn=args.dsn) as handle:
            yield handle.url


def _entry(home: Path, version: Any, gate: Any, yardsticks: dict[str, Any]) -> dict[str, Any]:
    from experiments.ledger import Ledger
    from experiments.report import model_entry

    return model_entry(version, gate, yardsticks, Ledger(home).run(version.run_id).history(), reused=True)


def _save(args: argparse.Namespace, home: Path, entries: list[dict[str, Any]], progress: Any) -> None:
    import sys

    from experiments.next_steps import next_steps, write_sample_request
    from experiments.report import build_report, write_reports

    report = build_report(
        entries,
        command="monster " + " ".join(sys.argv[1:]),
        profile=", ".join(sorted({entry["profile"] for entry in entries})),
        seed=args.seed,
        wall_s=progress.elapsed_s,
        phases_s={"evaluate": progress.elapsed_s},
        fights=args.num_episodes,
    )
    write_sample_request(home, entries[-1]["archetype"], args.seed)
    paths = write_reports(report, home, next_steps(home), stem="evaluation")
    progress.line(f"report: {paths['html']}")
