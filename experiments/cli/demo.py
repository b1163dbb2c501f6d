"""``monster demo``: the main job end to end at the demo profile."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.cli import common

RESUME_HINT = (
    "everything of ours is stopped and what was finished is kept; run the same command again to go on"
)

NEEDED = (8, 9)
"""Share of the minds asked for that has to pass: 48 of 54."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    common.add_cells(parser)
    parser.add_argument(
        "--profile", choices=("demo", "small", "full"), default="demo", help="size (default: demo)"
    )
    parser.add_argument("--epochs", type=common.positive_int, help="reports per run (default: the profile's)")
    parser.add_argument(
        "--parallel",
        type=common.positive_int,
        help="training runs, then worker processes, at the same time (default: one per core)",
    )
    parser.add_argument(
        "--num-episodes",
        type=common.positive_int,
        default=2000,
        help="most evaluation fights of a mind that acts; clear cases end at 500 (default: %(default)s)",
    )
    common.add_seed(parser)
    common.add_home(parser, default="runs/demo")
    parser.epilog = (
        "exit status: 0 when the demo ran through and at least 8 of 9 minds (48 of 54) pass the gate, else 1."
        " What fails is named, shown as failing and not deployed. example: monster demo --home runs/demo"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the demo; returns 0 when at least 8 of 9 minds pass the gate, otherwise 1."""
    from experiments import demo
    from experiments.final_table import final_table
    from experiments.machine import cpu_count
    from experiments.matrix import Request
    from experiments.next_steps import next_steps

    archetypes, model_types = common.chosen_cells(args)
    home = common.check_home(args)
    progress = common.console()
    request = Request(archetypes, model_types, profile=args.profile, seed=args.seed, epochs=args.epochs)
    options = demo.DemoOptions(
        home,
        request,
        parallel=args.parallel or min(cpu_count(), len(archetypes) * len(model_types)),
        fights=args.num_episodes,
        dsn=args.dsn,
        command="monster " + " ".join(sys.argv[1:]),
    )
    with common.stoppable():
        report = demo.run_demo(options, progress)
    for line in final_table(report):
        print(line)
    print(f"report: {args.home}/report.html (also report.md and report.json)")
    print("\nnext:")
    for what, command in next_steps(home):
        print(f"  {what + ':':<44} {command}")
    return 0 if enough(report["models"]) else 1


def enough(models: Sequence[Mapping[str, Any]]) -> bool:
    """Whether at least 8 of 9 models pass the gate.

    Args:
        models: Entries of the report.
    """
    passed = sum(model["gate"] == "pass" for model in models)
    return NEEDED[1] * passed >= NEEDED[0] * len(models)
