"""``monster demo``: the main job end to end at the demo profile."""

from __future__ import annotations

import argparse
import sys

from experiments.cli import common

RESUME_HINT = (
    "everything of ours is stopped and what was finished is kept; run the same command again to go on"
)

MODEL_TYPES = ("combat_dqn",)
"""What is trained unless somebody asks for more."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    common.add_cells(parser)
    parser.add_argument(
        "--profile", choices=("demo", "small", "full"), default="demo", help="size (default: demo)"
    )
    parser.add_argument("--epochs", type=common.positive_int, help="reports per run (default: the profile's)")
    parser.add_argument(
        "--parallel", type=common.positive_int, help="training runs at the same time (default: one per core)"
    )
    parser.add_argument(
        "--num-episodes",
        type=common.positive_int,
        default=2000,
        help="evaluation fights (default: %(default)s)",
    )
    common.add_seed(parser)
    common.add_home(parser, default="runs/demo")
    parser.epilog = "example: monster demo --home runs/demo"


def run(args: argparse.Namespace) -> int:
    """Runs the demo; returns 0 when every mind passes the gate, otherwise 1."""
    from experiments import demo
    from experiments.machine import cpu_count
    from experiments.matrix import Request

    archetypes, model_types = common.chosen_cells(args)
    if not (args.model_types or args.stage):
        model_types = MODEL_TYPES
    home = common.check_home(args)
    progress = common.console()
    request = Request(archetypes, model_types, profile=args.profile, seed=args.seed, epochs=args.epochs)
    options = demo.DemoOptions(
        home,
        request,
        parallel=args.parallel or min(cpu_count(), len(archetypes)),
        fights=args.num_episodes,
        dsn=args.dsn,
        command="monster " + " ".join(sys.argv[1:]),
    )
    with common.stoppable():
        report = demo.run_demo(options, progress)
    for line in demo.final_table(report):
        print(line)
    print(f"report: {args.home}/report.html (also report.md and report.json)")
    print("\nnext:")
    for what, command in demo.next_steps(home):
        print(f"  {what + ':':<44} {command}")
    return 0 if all(model["gate"] == "pass" for model in report["models"]) else 1
