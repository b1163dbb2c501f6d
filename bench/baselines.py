"""What blind play is worth: random and open-loop policies beside the mirror, in every scenario.

A fight means something only if it can't be won without looking. Three rows per scenario, as scores (wins by
kill or on time, draws half) against the opponent that the head is measured by:

  mirror      the traditional AI in the learner's place: one half
  random      a legal action at random in every decision
  open loop   the best cycle of actions found by the cross-entropy method: it sees the time step and nothing
              else, and its illegal actions do nothing

Exit status 1 if random or open-loop play reaches the mirror's score anywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.machine import describe, header
from envs import scenarios
from envs.arena import opponent_arguments
from envs.contracts import ARCHETYPES
from envs.simulation import state as s
from envs.simulation.world import World

Policy = Callable[[World, int], np.ndarray]

# The skill head and the pack are measured against veteran: masked play, or all members on one enemy without
# looking, beats classic too easily.
OPPONENTS = {
    "combat": "classic",
    "movement": "classic",
    "skill": "veteran",
    "control": "classic",
    "pack": "veteran",
}
OPENING, CYCLE = 16, 24  # decisions: 3.2 s once, then 4.8 s over and over
POPULATION, FIGHTS_EACH, ELITE = 64, 48, 8


@dataclass(frozen=True)
class Row:
    """Scores in one scenario, with the number of fights behind each."""

    head: str
    archetype: str
    scenario: str
    opponent: str
    mirror: float
    random: float
    open_loop: float
    fights: int


def own_scenarios(archetype: str, head: str) -> list[str]:
    """Scenarios in which an archetype is measured with a head."""
    if head == "movement":
        return [name for name, scenario in scenarios.named().items() if archetype in scenario.enemy_hp]
    if head == "pack":
        return ["3v3", "5v5"]
    own = scenarios.default(archetype, head)
    return ["1v1", "2v2"] if own == "1v1" else [own]


def make_world(row: tuple[str, str, str], fights: int, seed: int, *, mirror: bool = False) -> World:
    """A world of the scenario, played by one learner (in a pack by all) or by nobody: the mirror."""
    head, archetype, scenario = row
    setting = scenarios.resolve(archetype, scenario, head)
    arguments = {**setting.arguments(), **opponent_arguments(OPPONENTS[head], setting.enemy_styles)}
    learners = 0 if mirror else len(setting.teams[0]) if head == "pack" else 1
    if mirror:
        arguments["tiers"] = (OPPONENTS[head],) * 2
    return World(fights, setting.teams, learners=learners, head=head, seed=seed, **arguments)


def scores(world: World, policy: Policy | None, *, patience: float = 1.0) -> np.ndarray:
    """Score of each fight's first episode; those still open when a share of `patience` is over count half."""
    result = np.full(world.num_fights, np.nan)
    empty = np.zeros((world.num_fights, 0), np.int32)
    step = 0
    while np.isfinite(result).mean() < patience:
        world.step(empty if policy is None else policy(world, step))
        over = (world.outcome != s.RUNNING) & np.isnan(result)
        result[over] = np.where(world.outcome[over] == s.DRAW, 0.5, world.outcome[over] > 0)
        step += 1
    return np.where(np.isnan(result), 0.5, result)


def random_policy(seed: int) -> Policy:
    """A legal action at random; the control head's five numbers uniformly."""
    rng = np.random.default_rng(seed)

    def policy(world: World, step: int) -> np.ndarray:
        if world.head == "control":
            return rng.uniform(-1.0, 1.0, (world.num_fights, 1, 5)).astype(np.float32)
        return (world.masks * rng.random(world.masks.shape)).argmax(axis=-1).astype(np.int32)

    return policy


def vocabulary(world: World) -> np.ndarray:
    """Actions that open-loop play chooses from: whole numbers `(k,)`, or for control `(k, 5)`."""
    if world.head == "control":
        still = [
            (0, 0, stance, urge, taste) for stance in (-1, 0, 1) for urge in (-1, 0, 1) for taste in (0, -1)
        ]
        ways = [(x, y, 0, urge, 0) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y for urge in (0, 1)]
        return np.array(still + ways, np.float32)
    seen = np.zeros(world.masks.shape[-1], bool)
    policy = random_policy(0)
    for step in range(200):  # what never becomes legal is left out
        seen |= world.masks.any(axis=(0, 1))
        world.step(policy(world, step))
    return np.flatnonzero(seen).astype(np.int32)


def play_sequence(actions: np.ndarray, plans: np.ndarray) -> Policy:
    """Play row `plans[fight]` `(OPENING + CYCLE,)` of indices into `actions`: the opening, then the cycle."""

    def policy(world: World, step: int) -> np.ndarray:
        at = step if step < OPENING else OPENING + (step - OPENING) % CYCLE
        return np.repeat(actions[plans[:, at]][:, None], world.learners, axis=1)  # all members alike

    return policy


def train_open_loop(row: tuple[str, str, str], seed: int, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (actions, plan): the best blind plan that the cross-entropy method finds.

    De Boer et al., "A Tutorial on the Cross-Entropy Method", 2005, over one categorical distribution per
    decision; every constant plan and every alternation of two actions is tried first.
    """
    rng = np.random.default_rng(seed)
    world = make_world(row, POPULATION * FIGHTS_EACH, seed)
    actions = vocabulary(make_world(row, 256, seed + 1))
    k, length = len(actions), OPENING + CYCLE
    first, second = np.divmod(np.arange(k * k), k)
    if k * k > 4 * POPULATION:
        chosen = np.concatenate(
            [np.arange(k) * (k + 1), rng.choice(k * k, 4 * POPULATION - k, replace=False)]
        )
        first, second = first[chosen], second[chosen]
    patterns = np.where(np.arange(length) % 2 == 0, first[:, None], second[:, None])

    def judge(plans: np.ndarray, salt: int) -> np.ndarray:
        world.reset(seed * 1000 + salt)
        each = np.repeat(plans, FIGHTS_EACH, axis=0)
        rest = world.num_fights - len(each)
        each = np.concatenate([each, each[:1].repeat(rest, axis=0)]) if rest else each
        result = scores(world, play_sequence(actions, each), patience=0.95)
        return result[: len(plans) * FIGHTS_EACH].reshape(len(plans), FIGHTS_EACH).mean(axis=1)

    tried = np.concatenate(
        [judge(patterns[a : a + POPULATION], a) for a in range(0, len(patterns), POPULATION)]
    )
    elite = patterns[np.argsort(-tried)[:ELITE]]
    best, best_score = elite[0], 0.0
    chance = np.full((length, k), 1.0 / k)
    for iteration in range(iterations):
        share = np.stack([np.bincount(elite[:, at], minlength=k) for at in range(length)]) / len(elite)
        chance = 0.4 * chance + 0.6 * share
        mixed = 0.97 * chance + 0.03 / k
        draws = (mixed.cumsum(axis=1)[None] < rng.random((POPULATION, length, 1))).sum(axis=2)
        plans = np.minimum(draws, k - 1)
        plans[0] = best
        result = judge(plans, 10_000 + iteration)
        order = np.argsort(-result)
        elite = plans[order[:ELITE]]
        # The old best is judged anew each time, so luck does not keep it.
        best, best_score = plans[order[0]], float(result[order[0]])
    del best_score
    finalists = np.concatenate([elite, patterns[np.argsort(-tried)[:ELITE]]])
    final = judge(np.repeat(finalists, POPULATION // len(finalists), axis=0), 20_000)
    mean = final.reshape(len(finalists), -1).mean(axis=1)
    return actions, finalists[mean.argmax()]


def measure(row: tuple[str, str, str], *, fights: int, seed: int, iterations: int) -> Row:
    """Play one scenario by script, at random and blindly, on fights that no training saw."""
    head, archetype, scenario = row
    mirror = scores(make_world(row, fights, seed, mirror=True), None)
    random = scores(make_world(row, fights, seed), random_policy(seed))
    actions, plan = train_open_loop(row, seed + 1, iterations)
    blind = play_sequence(actions, np.tile(plan, (fights, 1)))
    open_loop = scores(make_world(row, fights, seed + 77), blind)
    return Row(
        head,
        archetype,
        scenario,
        OPPONENTS[head],
        float(mirror.mean()),
        float(random.mean()),
        float(open_loop.mean()),
        fights,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.baselines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--heads", nargs="+", default=list(OPPONENTS), choices=OPPONENTS, metavar="HEAD")
    parser.add_argument(
        "--archetypes", nargs="+", default=list(ARCHETYPES), choices=ARCHETYPES, metavar="NAME"
    )
    parser.add_argument("--fights", type=int, default=4000, help="fights of each score (default 4000)")
    parser.add_argument("--iterations", type=int, default=15, help="of the cross-entropy method (default 15)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args(arguments)
    if options.fights < 1 or options.iterations < 1:
        parser.error("--fights and --iterations must be at least 1")
    if not options.json:
        print(header())
        print(f"score of {options.fights} fights each; seed {options.seed}, {options.iterations} iterations")
        print(
            f"{'head':<9} {'archetype':<11} {'scenario':<10} {'opponent':<8} "
            f"{'mirror':>7} {'random':>7} {'open loop':>10}"
        )
    began = time.perf_counter()
    rows: list[Row] = []
    for head in options.heads:
        for archetype in options.archetypes:
            for scenario in own_scenarios(archetype, head):
                row = measure(
                    (head, archetype, scenario),
                    fights=options.fights,
                    seed=options.seed,
                    iterations=options.iterations,
                )
                rows.append(row)
                if not options.json:
                    print(
                        f"{row.head:<9} {row.archetype:<11} {row.scenario:<10} {row.opponent:<8} "
                        f"{row.mirror:>7.3f} {row.random:>7.3f} {row.open_loop:>10.3f}",
                        flush=True,
                    )
    bad = [row for row in rows if max(row.random, row.open_loop) >= row.mirror]
    if options.json:
        result: dict[str, Any] = {"machine": describe(), "rows": [asdict(row) for row in rows]}
        print(json.dumps(result))
    else:
        print(
            f"{len(rows)} scenarios, blind play reaches the mirror in {len(bad)}; "
            f"{time.perf_counter() - began:.0f} s"
        )
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
