"""Rows per second and core of each view of a fight, compiled and by numpy from world views.

A row is one observing unit of one fight (the central state: one fight; the window: one pair of units).
Rates are per second of process time; the median of the repeats is shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from bench.machine import header
from bench.rates import measure_rows
from envs import archetypes
from envs.contracts import central_state, opponent_features, sequence_token, spatial_grid
from envs.simulation.history import History
from envs.simulation.perception import central_batch, grid_batch, new_windows, token_batch, window_batch
from envs.simulation.world import World

FIGHTS = 64
SIZES = ("1v1", "3v3", "5v5")


def plays(size: str) -> dict[tuple[str, str], Callable[[], int]]:
    """By (view, how): one pass over a batch in mid-fight that returns its rows."""
    team = archetypes.load("tank").team(size)
    world = World(FIGHTS, (team, team), learners=1, seed=1)
    history, seen = History(world), []
    for _ in range(20):
        seen.append(world.view(0))
        world.step(np.ones((FIGHTS, 1), np.int32))
        history.push()
    seen.append(world.view(0))
    half = len(team)
    mine = list(range(half))
    windows, mask = new_windows(history, mine)
    central = np.zeros((FIGHTS, 256), np.float32)
    grid = np.zeros((FIGHTS, half, 12, 32, 32), np.uint8)
    token = np.zeros((FIGHTS, half, 80), np.float32)
    rows = FIGHTS * half

    def run(work: Callable[[], object], count: int) -> Callable[[], int]:
        def play() -> int:
            work()
            return count

        return play

    many, units, foes = [seen] * rows, mine * FIGHTS, [half] * rows
    return {
        ("central state", "compiled"): run(lambda: central_batch(world, central), FIGHTS),
        ("spatial grid", "compiled"): run(lambda: grid_batch(history, mine, grid), rows),
        ("sequence token", "compiled"): run(lambda: token_batch(history, mine, token), rows),
        ("pattern window", "compiled"): run(lambda: window_batch(history, mine, windows, mask), rows * half),
        ("central state", "numpy"): run(lambda: central_state([seen[-1]] * FIGHTS), FIGHTS),
        ("spatial grid", "numpy"): run(lambda: spatial_grid(many, units), rows),
        ("sequence token", "numpy"): run(lambda: sequence_token(many, units), rows),
        ("pattern window", "numpy"): run(lambda: opponent_features(many, units, foes), rows),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.3, help="process time per repeat (default 0.3)")
    parser.add_argument("--repeats", type=int, default=5, help="repeats per row (default 5)")
    options = parser.parse_args()
    print(header())
    print(f"{'view':16}{'how':10}" + "".join(f"{size:>14}" for size in SIZES) + "   rows/s of one core")
    tables = [plays(size) for size in SIZES]
    for what, how in tables[0]:
        rates = [measure_rows(table[what, how], options.seconds, options.repeats) for table in tables]
        print(f"{what:16}{how:10}" + "".join(f"{rate:14,.0f}" for rate in rates))


if __name__ == "__main__":
    main()
