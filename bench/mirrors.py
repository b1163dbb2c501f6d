"""Every even fight of script against script: both sides must share the wins.

`python -m bench.mirrors` prints the archetypes' own scenarios, alike on both sides, in the tiers that start
fights, the same played in every style, and the named scenarios with their calibrated enemies.
`--scenarios 1v1 2v2 3v3 4v4 5v5` takes minutes more. (Passive scripts never meet: all draws.)
`--calibrate` searches the named scenarios' `enemy_hp` anew and prints it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bench.machine import describe, header
from envs import archetypes, scenarios
from envs.contracts import ARCHETYPES
from envs.simulation import state as s
from envs.simulation.world import TIERS, World

# Few fights of many episodes each: less time is lost waiting for the slowest.
BATCH = 250


@dataclass(frozen=True)
class Mirror:
    """Outcome of `fights` fights between equal sides, as shares of all fights, from team 0's side.

    Attributes:
        score: wins by kill or on time, draws counted half.
        kills: share decided by kill, whoever won.
        draws: share of draws.
        ticks: mean length of a fight, ticks of 100 ms.
    """

    archetype: str
    scenario: str
    tier: str
    fights: int
    score: float
    kills: float
    draws: float
    ticks: float


def play(
    archetype: str,
    scenario: str,
    tier: str,
    *,
    fights: int = 20_000,
    seed: int = 1,
    style: str = "",
    enemy_hp: float | None = None,
) -> Mirror:
    """Play an even fight: a tier's scripts, or a style, on both sides.

    Each fight of the batch plays the same number of episodes: stopping at a fixed time instead would
    count short fights more often than long ones.
    """
    setting = scenarios.resolve(archetype, scenario)
    arguments = setting.arguments()
    if enemy_hp is not None:
        arguments["hp_percent"] = (100, enemy_hp)
    styles = (style,) if style else ()
    if style or not setting.enemy_styles:
        arguments["styles"] = (styles, styles)
    batch = min(BATCH, fights)
    episodes = -(-fights // batch)
    world = World(batch, setting.teams, tiers=(tier, tier), seed=seed, **arguments)
    actions = np.zeros((batch, 0), np.int32)
    tally = dict.fromkeys((s.WON_BY_KILL, s.LOST_BY_KILL, s.WON_ON_TIME, s.LOST_ON_TIME, s.DRAW), 0)
    ticks = 0
    while (world.fights[:, s.G_EPISODE] < episodes).any():
        world.step(actions)
        ended = (world.outcome != s.RUNNING) & (world.fights[:, s.G_EPISODE] < episodes)
        for outcome, count in zip(*np.unique(world.outcome[ended], return_counts=True), strict=True):
            tally[int(outcome)] += int(count)
        ticks += int(world.fights[ended, s.G_TICK].sum())
    total = sum(tally.values())
    won = tally[s.WON_BY_KILL] + tally[s.WON_ON_TIME] + tally[s.DRAW] / 2
    return Mirror(
        archetype,
        scenario,
        style or tier,
        total,
        score=won / total,
        kills=(tally[s.WON_BY_KILL] + tally[s.LOST_BY_KILL]) / total,
        draws=tally[s.DRAW] / total,
        ticks=ticks / total,
    )


def calibrate(archetype: str, scenario: str, *, seed: int) -> float:
    """Per cent of the enemies' hit points at which the traditional AI wins half of the fights."""
    low, high = 1.0, 1000.0
    for step in range(16):
        middle = (low * high) ** 0.5
        fights = 4_000 if step < 8 else 20_000
        won = play(archetype, scenario, "classic", fights=fights, seed=seed + step, enemy_hp=middle).score
        low, high = (middle, high) if won > 0.5 else (low, middle)
    return round((low * high) ** 0.5, 1)


def even_fights(options: argparse.Namespace) -> Iterator[tuple[str, str, str, str]]:
    """Archetype, scenario, tier and style of every row."""
    for archetype in options.archetypes:
        own = [archetypes.load(archetype).scenario]
        own += ["2v2"] if own == ["1v1"] else []
        for scenario in options.scenarios or own:
            for tier in options.tiers:
                yield archetype, scenario, tier, ""
            if not options.no_styles:
                for style in s.STYLES[1:]:
                    yield archetype, scenario, "classic", style
        if options.scenarios is None:
            for name, named in scenarios.named().items():
                if archetype in named.enemy_hp:
                    yield archetype, name, "classic", ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; exit status 1 if a mirror is off by more than 1.5 points."""
    parser = argparse.ArgumentParser(prog="python -m bench.mirrors", description=__doc__.splitlines()[0])
    parser.add_argument("--fights", type=int, default=20_000, help="fights of each mirror (default 20000)")
    parser.add_argument(
        "--archetypes", nargs="+", default=list(ARCHETYPES), choices=ARCHETYPES, metavar="NAME"
    )
    parser.add_argument(
        "--tiers", nargs="+", default=["classic", "veteran"], choices=list(TIERS), metavar="TIER"
    )
    parser.add_argument("--scenarios", nargs="+", default=None, metavar="NvN", help="default: each one's own")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-styles", action="store_true", help="leave the mirrors of styles out")
    parser.add_argument("--calibrate", action="store_true", help="search enemy_hp of the named scenarios")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args(arguments)
    if options.fights < 1:
        parser.error(f"--fights is {options.fights}; give at least 1")
    if options.calibrate:
        for name, named in scenarios.named().items():
            for archetype in options.archetypes:
                if archetype in named.enemy_hp:
                    print(f"{name}: {archetype}: {calibrate(archetype, name, seed=options.seed)}", flush=True)
        return 0
    rows = []
    if not options.json:
        print(header())
        print(
            f"{'archetype':<11} {'fight':<9} {'both sides':<12} {'n':>6} "
            f"{'score':>7} {'kill':>6} {'draw':>6} {'s':>6}"
        )
    began = time.perf_counter()
    for archetype, scenario, tier, style in even_fights(options):
        row = play(archetype, scenario, tier, fights=options.fights, seed=options.seed, style=style)
        rows.append(row)
        if not options.json:
            print(
                f"{archetype:<11} {scenario:<9} {row.tier:<12} {row.fights:>6} {row.score:>7.4f} "
                f"{row.kills:>6.3f} {row.draws:>6.3f} {row.ticks / 10:>6.1f}",
                flush=True,
            )
    worst = max(abs(row.score - 0.5) for row in rows)
    if options.json:
        print(json.dumps({"machine": describe(), "mirrors": [asdict(row) for row in rows], "worst": worst}))
    else:
        print(f"largest distance from 50 %: {100 * worst:.2f} points; {time.perf_counter() - began:.0f} s")
    return int(worst > 0.015)


if __name__ == "__main__":
    sys.exit(main())
