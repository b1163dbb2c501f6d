"""``monster status``: the runs of a home, how far they are and what they last reported."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.cli import common


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "--watch",
        nargs="?",
        type=common.positive_int,
        const=2,
        metavar="SECONDS",
        help="show it again and again, every so many seconds (default: 2), until Ctrl-C",
    )
    parser.add_argument("--json", action="store_true", help="as JSON; with --watch one array a line")
    common.add_home(parser)
    parser.epilog = "example: monster status --home runs/demo --watch"


def run(args: argparse.Namespace) -> int:
    """Prints the table once, or until it is interrupted; returns the exit code."""
    from experiments.monitoring.status import run_states

    home = common.check_home(args, must_exist=True)
    while True:
        states = run_states(home)
        if args.json:
            _print_json(states, one_line=args.watch is not None)
        else:
            lines = state_lines(states, home)
            if args.watch is not None and sys.stdout.isatty():
                print("\033[H\033[2J", end="")
            print("\n".join(lines), flush=True)
        if args.watch is None:
            return 0
        try:
            time.sleep(args.watch)
        except KeyboardInterrupt:
            return 0


def state_lines(states: list[Any], home: Path) -> list[str]:
    """The table for people.

    Args:
        states: `experiments.monitoring.status.RunState` of every run.
        home: Project folder.
    """
    from experiments.monitoring.status import STATES
    from experiments.progress import duration, table

    if not states:
        return [f"no run in {home}; start one with monster train --home {home}"]
    header = [
        "archetype", "model type", "profile", "state", "epoch", "progress", "left", "loss", "val loss",
        "win rate", "greedy", "reward", "age",
    ]  # fmt: skip
    rows = [
        [
            run.archetype,
            run.model_type,
            run.profile,
            run.state,
            f"{run.epoch}/{run.epochs}",
            _bar(run.epoch, run.epochs),
            None if run.left_s is None else duration(run.left_s),
            _number(run.metrics.get("loss"), ".3f"),
            _number(run.metrics.get("val_loss"), ".3f"),
            _number(run.metrics.get("win_rate"), ".2f"),
            _number(run.metrics.get("selection_win_rate"), ".2f"),
            _number(run.metrics.get("reward"), ".1f"),
            age(run.age_s),
        ]
        for run in states
    ]
    counts = [(sum(run.state == state for run in states), state) for state in STATES]
    summary = ", ".join(f"{count} {state}" for count, state in counts if count)
    broken = [f"{run.run_id}: {run.message}" for run in states if run.message]
    lines = table(header, rows, right={4, 6, 7, 8, 9, 10, 11, 12})
    return [*lines, *broken, f"{len(states)} {'run' if len(states) == 1 else 'runs'}: {summary}"]


def age(seconds: float) -> str:
    """How long ago something was, in its largest unit, such as ``3 h``."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _bar(done: int, planned: int, width: int = 12) -> str:
    full = round(width * min(done / planned, 1.0)) if planned else 0
    return "#" * full + "." * (width - full)


def _number(value: Any, form: str) -> str | None:
    return None if value is None else format(float(value), form)


def _print_json(states: list[Any], *, one_line: bool) -> None:
    rows = [asdict(run) for run in states]
    if not one_line:
        common.print_json(rows)
        return
    import json

    from experiments.ledger import plain

    print(json.dumps(plain(rows)), flush=True)
