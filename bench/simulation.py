"""Env steps per second and core of the compiled simulation, beside the plain-Python reference.

A step is one decision window (200 ms) of one fight. Rates are per second of process time, so they
hold for one core whatever else the machine does; the median of the repeats is shown with their range.
Three kinds of rows, in one run:

  kernel      the compiled rules with the learner's observation, orders and mask in every step
  reference   the same in plain Python, observation, orders and mask by `envs.contracts`
  bare rules  plain Python without observation, orders and mask (script against script)

The kernel's ratio is to the reference of the same team size and batch, which does the same work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bench.machine import describe, header
from envs import archetypes
from envs.reference import ReferenceWorld
from envs.simulation.world import World

SIZES = ("1v1", "3v3", "5v5")
LEARNER = "tank"


@dataclass(frozen=True)
class Rate:
    """Env steps per second of process time.

    Attributes:
        steps_per_s: median of the repeats; `lowest` and `highest` their range.
        ratio: to the reference of the same size and batch, None where that was not run.
    """

    what: str
    size: str
    batch: int
    steps_per_s: float
    lowest: float
    highest: float
    ratio: float | None = None


def measure(play: Callable[[], int], seconds: float, repeats: int) -> list[float]:
    """Rates of `repeats` stretches of at least `seconds` of process time each; `play` returns its steps."""
    play()  # compiled, allocated, in the cache
    rates = []
    for _ in range(repeats):
        steps = 0
        began = time.process_time()
        while (spent := time.process_time() - began) < seconds:
            steps += play()
        rates.append(steps / spent)
    return rates


def kernel(size: str, batch: int) -> Callable[[], int]:
    """Play of the compiled world, in slices long enough that the clock costs nothing."""
    team = archetypes.load(LEARNER).team(size)
    world = World(batch, (team, team), learners=1, seed=1)
    # Actions cycle, so that no policy is timed: every action is ordered equally often.
    actions = [np.full((batch, 1), action, np.int32) for action in range(10)]
    windows = max(1, 2048 // batch)

    def play() -> int:
        for window in range(windows):
            world.step(actions[window % 10])
        return windows * batch

    return play


def reference(size: str, batch: int, *, bare: bool) -> Callable[[], int]:
    """Play of the plain-Python rules; `bare` leaves out everything but the rules."""
    team = archetypes.load(LEARNER).team(size)
    world = ReferenceWorld(batch, (team, team), learners=0 if bare else 1, seed=1)
    actions = [np.full((batch, 1), action, np.int32) for action in range(10)]
    windows = max(1, 32 // batch)

    def play_world() -> int:
        for window in range(windows):
            world.step(actions[window % 10])
        return windows * batch

    def play_bare() -> int:
        for index, fight in enumerate(world.fights):
            for _ in range(windows):
                if fight.outcome != 0:
                    fight = world.restart(index)
                fight.step()
        return windows * batch

    return play_bare if bare else play_world


def run(sizes: Sequence[str], batches: Sequence[int], seconds: float, repeats: int) -> list[Rate]:
    """Measure all rows; the reference's batches over 64 are left out, as its rate no longer changes there."""
    rows: list[Rate] = []

    def add(what: str, size: str, batch: int, play: Callable[[], int], base: float | None = None) -> float:
        rates = measure(play, seconds, repeats)
        median = statistics.median(rates)
        ratio = None if base is None else median / base
        rows.append(Rate(what, size, batch, median, min(rates), max(rates), ratio))
        return median

    for size in sizes:
        base = {
            batch: add("reference", size, batch, reference(size, batch, bare=False))
            for batch in sorted({min(batch, 64) for batch in batches})
        }
        add("bare rules", size, 1, reference(size, 1, bare=True))
        for batch in batches:
            add("kernel", size, batch, kernel(size, batch), base[min(batch, 64)])
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table or one JSON object."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="process time of each repeat (default 1)")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of each row (default 3)")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), metavar="NvN")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 64, 1024], metavar="N")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args(arguments)
    if options.seconds <= 0 or options.repeats < 1 or min(options.batches) < 1:
        parser.error("--seconds must be above 0, --repeats and --batches at least 1")
    rows = run(options.sizes, options.batches, options.seconds, options.repeats)
    if options.json:
        settings = {"seconds": options.seconds, "repeats": options.repeats, "learner": LEARNER}
        print(
            json.dumps({"machine": describe(), "settings": settings, "rows": [asdict(row) for row in rows]})
        )
        return 0
    print(header())
    print(f"{LEARNER} against classic; median of {options.repeats} repeats of {options.seconds:g} s each")
    print(
        f"{'what':<11} {'fight':<5} {'batch':>5} {'env steps/s/core':>17} {'range':>23} {'x reference':>12}"
    )
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:,.0f}"
        spread = f"{row.lowest:,.0f} - {row.highest:,.0f}"
        print(
            f"{row.what:<11} {row.size:<5} {row.batch:>5} {row.steps_per_s:>17,.0f} {spread:>23} {ratio:>12}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
