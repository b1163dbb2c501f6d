"""Steps per second and core of the compiled simulation, beside the plain-Python reference and public peers.

An env step is one step of one environment: for ours a decision window (200 ms) of one fight. An agent step is
an env step times the agents that acted in it and got an observation each; a unit step counts all bodies that
moved, scripts too. Rates are per second of process time on one core, so they hold whatever else the machine
does; the median of the repeats is shown with the range of env steps.

  kernel      the compiled rules with one learner's observation, orders and mask in every step
  pack        `PackVectorEnv`: all units of one side are learners; observations, masks, rewards by term and
              the central state
  reference   the rules of `kernel` in plain Python, observation, orders and mask by `envs.contracts`
  bare rules  plain Python without observation, orders and mask (script against script)

`x reference` compares with the reference of the same team size, which does the same work. The peers are
environments of other projects with other rules; their rows say what is stepped, and `pack / peer` compares
agent steps with our pack of the size named. What is not installed says so (`make peers`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.machine import describe, header
from bench.peers import PEERS
from bench.peers.base import Row as PeerRow
from bench.peers.base import ask
from bench.rates import Count, Rate, measure
from envs import archetypes
from envs.archetypes import team_size
from envs.contracts.vocabulary import NUM_COMBAT_ACTIONS, NUM_PACK_ORDERS
from envs.pack import MIN_PACK, PackVectorEnv
from envs.reference import ReferenceWorld
from envs.simulation.world import World

SIZES = ("1v1", "3v3", "5v5")
LEARNER = "tank"
REFERENCE_BATCH = 64
"""Beyond it the reference's rate no longer changes."""


@dataclass(frozen=True)
class Row:
    """One row of ours; `ratio` is to the reference of the same size, None where that was not run."""

    what: str
    size: str
    batch: int
    rate: Rate
    ratio: float | None = None


def kernel(size: str, batch: int) -> Callable[[], Count]:
    """Play of the compiled world, in slices long enough that the clock costs nothing."""
    team = archetypes.load(LEARNER).team(size)
    world = World(batch, (team, team), learners=1, seed=1)
    # Actions cycle, so that no policy is timed: every action is ordered equally often.
    actions = [np.full((batch, 1), action, np.int32) for action in range(NUM_COMBAT_ACTIONS)]
    windows = max(1, 2048 // batch)

    def play() -> Count:
        for window in range(windows):
            world.step(actions[window % NUM_COMBAT_ACTIONS])
        return _count(windows * batch, 1, len(team))

    return play


def pack(size: str, batch: int) -> Callable[[], Count]:
    """Play of the pack's environment with random orders."""
    env = PackVectorEnv(batch, LEARNER, size, copy=False)
    env.reset(seed=1)
    rng = np.random.default_rng(0)
    actions = [rng.integers(0, NUM_PACK_ORDERS, (batch, env.num_members)) for _ in range(10)]
    windows = max(1, 2048 // batch)

    def play() -> Count:
        for window in range(windows):
            env.step(actions[window % len(actions)])
        return _count(windows * batch, env.num_members, env.num_members)

    return play


def reference(size: str, batch: int, *, bare: bool) -> Callable[[], Count]:
    """Play of the plain-Python rules; `bare` leaves out everything but the rules."""
    team = archetypes.load(LEARNER).team(size)
    world = ReferenceWorld(batch, (team, team), learners=0 if bare else 1, seed=1)
    actions = [np.full((batch, 1), action, np.int32) for action in range(NUM_COMBAT_ACTIONS)]
    windows = max(1, 32 // batch)

    def play_world() -> Count:
        for window in range(windows):
            world.step(actions[window % NUM_COMBAT_ACTIONS])
        return _count(windows * batch, 1, len(team))

    def play_bare() -> Count:
        for index, fight in enumerate(world.fights):
            for _ in range(windows):
                if fight.outcome != 0:
                    fight = world.restart(index)
                fight.step()
        return _count(windows * batch, 0, len(team))

    return play_bare if bare else play_world


def run(sizes: Sequence[str], batches: Sequence[int], seconds: float, repeats: int) -> list[Row]:
    """Measure our rows."""
    rows: list[Row] = []

    def add(what: str, size: str, batch: int, play: Callable[[], Count], base: float | None = None) -> float:
        rate = measure(play, seconds, repeats)
        rows.append(Row(what, size, batch, rate, None if base is None else rate.env_steps_per_s / base))
        return rate.env_steps_per_s

    for size in sizes:
        base = {
            batch: add("reference", size, batch, reference(size, batch, bare=False))
            for batch in sorted({min(batch, REFERENCE_BATCH) for batch in batches})
        }
        add("bare rules", size, 1, reference(size, 1, bare=True))
        for batch in batches:
            add("kernel", size, batch, kernel(size, batch), base[min(batch, REFERENCE_BATCH)])
        if team_size(size) >= MIN_PACK:
            add("pack", size, max(batches), pack(size, max(batches)))
    return rows


def compare(row: PeerRow, rows: Sequence[Row]) -> float | None:
    """Agent steps of our pack of the peer's size per agent step of the peer; None where one was not run."""
    ours = [mine.rate.agent_steps_per_s for mine in rows if (mine.what, mine.size) == ("pack", row.beside)]
    return ours[0] / row.rate.agent_steps_per_s if ours and row.rate else None


def peers_python() -> str:
    """The Python that `make peers` built, else the one that runs this."""
    own = Path(f"{os.environ.get('VENV', '.venv')}-peers", "bin", "python")
    return str(own.absolute()) if own.exists() else sys.executable


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables or one JSON object."""
    options = parse(arguments)
    rows = run(options.sizes, options.batches, options.seconds, options.repeats)
    others = [
        ask(PEERS[name], options.peers_python, options.seconds, options.repeats) for name in options.peers
    ]
    if options.json:
        settings = {"seconds": options.seconds, "repeats": options.repeats, "learner": LEARNER}
        peers = [asdict(row) | {"ratio": compare(row, rows)} for row in others]
        mine = [asdict(row) for row in rows]
        print(json.dumps({"machine": describe(), "settings": settings, "rows": mine, "peers": peers}))
        return 0
    print(header())
    print(f"{LEARNER} against classic; median of {options.repeats} repeats of {options.seconds:g} s each")
    print_rows(rows)
    if others:
        print_peers(others, rows)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="process time of each repeat (default 1)")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of each row (default 3)")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), metavar="NvN")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 64, 1024], metavar="N")
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=list(PEERS), help="which (none: no name)"
    )
    parser.add_argument(
        "--peers-python", default=peers_python(), help="a Python in which peers are installed"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the tables")
    options = parser.parse_args(arguments)
    if options.seconds <= 0 or options.repeats < 1 or min(options.batches) < 1:
        parser.error("--seconds must be above 0, --repeats and --batches at least 1")
    return options


def print_rows(rows: Sequence[Row]) -> None:
    """Print our table."""
    print(
        f"{'what':<11} {'fight':<5} {'batch':>5} {'env steps/s':>12} {'range':>23} {'agent steps/s':>14} "
        f"{'unit steps/s':>13} {'x reference':>12}"
    )
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:,.0f}"
        spread = f"{row.rate.lowest:,.0f} - {row.rate.highest:,.0f}"
        print(
            f"{row.what:<11} {row.size:<5} {row.batch:>5} {row.rate.env_steps_per_s:>12,.0f} {spread:>23} "
            f"{row.rate.agent_steps_per_s:>14,.0f} {row.rate.unit_steps_per_s:>13,.0f} {ratio:>12}"
        )


def print_peers(others: Sequence[PeerRow], rows: Sequence[Row]) -> None:
    """Print the peers' table."""
    print(
        f"\n{'peer':<15} {'version':<16} {'batch':>5} {'env steps/s':>12} {'agent steps/s':>14} "
        f"{'unit steps/s':>13} {'pack / peer':>16}  what"
    )
    for row in others:
        named = f"{row.name:<15} {(row.package + ' ' + row.version).strip():<16} {row.batch:>5}"
        if row.rate is None:
            print(f"{named} {'-':>12} {'-':>14} {'-':>13} {'-':>16}  {row.what}: {row.note}")
            continue
        ratio = compare(row, rows)
        beside = "-" if ratio is None else f"{ratio:,.1f} ({row.beside})"
        print(
            f"{named} {row.rate.env_steps_per_s:>12,.0f} {row.rate.agent_steps_per_s:>14,.0f} "
            f"{row.rate.unit_steps_per_s:>13,.0f} {beside:>16}  {row.what}"
        )


def _count(env_steps: int, agents: int, team: int) -> Count:
    return Count(env_steps, env_steps * agents, env_steps * 2 * team)


if __name__ == "__main__":
    sys.exit(main())
