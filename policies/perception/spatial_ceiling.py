"""What nobody can exceed in the spatial mind's questions: states of a set, each played on again and again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from envs.contracts.grid import HEAT_AGES
from envs.perception import labels, maps
from envs.perception.recording import SECOND, TWO_SECONDS, Recording
from policies.perception.ceilings import Ceiling, Draws, FreshFights, draw
from policies.perception.compositions import FightPlan, Split
from policies.perception.spatial_rows import POINT, equally_best

CELLS = maps.GRID * maps.GRID
STEPS = (2 * maps.STEPS + 1) ** 2
PARTS = {"damage": CELLS, "occupancy": CELLS, "best": STEPS, "fire": STEPS}
"""Numbers of a state's label, one behind the other."""
PAINTED = HEAT_AGES
"""Decisions that a picture looks back at, 3 s."""
Measure = Callable[[np.ndarray], float]
"""From the number of times that each state is drawn, float (state,), to a ceiling."""


def ceiling(
    archetype: str,
    plan: FightPlan,
    seed: int,
    *,
    split: Split = "test",
    states: int = 384,
    copies: int = 12,
    resamples: int = 200,
    fresh: FreshFights | None = None,
) -> dict[str, Ceiling]:
    """Ceilings from the very states of a set.

    Args:
        archetype: whose eyes.
        plan: what was recorded.
        seed: of compositions and fights.
        split: whose states.
        states: drawn, at least 2 must be known.
        copies: futures of each, at least 3.
        resamples: of the intervals, by fight.
        fresh: see `policies.perception.ceilings.draw`.

    Returns:
        Of one who knows the whole state, also what no picture shows (clocks, cooldowns, targets of team
        mates' enemies, styles, kinds): damage, damage_total, occupancy: explained variance as
        `SpatialTask.metrics` counts it. best_cell: accuracy of the step that is best in most of the other
        futures, so rather too low. fire: mean fire of the step with the least mean fire in the other futures
        beyond the best, so rather too high.

        told_damage, told_damage_total, told_occupancy: of one who must infer the sides' styles from what
        they did in the `PAINTED` decisions that the picture looks back at; left out where the plan's styles
        change in mid-fight.
    """

    def drawn(told: bool) -> Draws:
        return draw(
            archetype, plan, seed, _label, horizon=TWO_SECONDS, split=split, states=states, copies=copies,
            told=told, window=PAINTED, fresh=fresh,
        )  # fmt: skip

    found = _measured(drawn(False), seed, resamples)
    if not plan.switching:
        told = _measured(drawn(True), seed, resamples)
        found |= {f"told_{name}": told[name] for name in ("damage", "damage_total", "occupancy")}
    return found


def _measured(draws: Draws, seed: int, resamples: int) -> dict[str, Ceiling]:
    """Every measure of draws, with its interval."""
    known = np.isfinite(draws.values).all(axis=(1, 2))
    values = draws.values[known]
    ends = np.cumsum(list(PARTS.values()))
    part = dict(zip(PARTS, np.split(values, ends[:-1], axis=2), strict=True))
    right, regret = best_steps(part["best"], part["fire"])
    measures = {
        "damage": map_ceiling(part["damage"]),
        "damage_total": map_ceiling(part["damage"].sum(axis=2, keepdims=True)),
        "occupancy": map_ceiling(part["occupancy"]),
        "best_cell": lambda times: float(times @ right / times.sum()),
        "fire": lambda times: float(times @ regret / times.sum()),
    }
    names = draws.composition[known] * np.int64(1 << 32) + draws.fight[known]
    _, group = np.unique(names, return_inverse=True)
    rng = np.random.default_rng(seed)
    groups = int(group.max()) + 1
    picks = rng.multinomial(groups, np.full(groups, 1.0 / groups), size=resamples)[:, group].astype(
        np.float64
    )
    once = np.ones(len(values))
    found = {}
    for name, measure in measures.items():
        low, high = np.nanquantile([measure(times) for times in picks], [0.025, 0.975])
        found[name] = Ceiling(measure(once), float(low), float(high), len(values), len(values))
    return found


def map_ceiling(values: np.ndarray) -> Measure:
    """`envs.perception.branching.noise_ceiling` of states that are drawn several times each.

    Args:
        values: float (state, copy, cell); the cells' variances are added.
    """
    means = values.mean(axis=1)
    square = (means**2).sum(axis=1)
    within = values.var(axis=1, ddof=1).sum(axis=1)
    copies = values.shape[1]

    def measure(times: np.ndarray) -> float:
        count = times.sum()
        middle = times @ means / count
        between = (times @ square - count * (middle @ middle)) / (count - 1.0)
        chance = float(times @ within / count)
        rest = max(float(between) - chance / copies, 0.0)
        return rest / (rest + chance) if rest + chance > 0 else float("nan")

    return measure


def best_steps(best: np.ndarray, fire: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often a step chosen by the other futures is best in one, and what fire it brings beyond the best.

    Args:
        best: (state, copy, step), 1 where best.
        fire: (state, copy, step), -1 where nobody can stand, which is alike in all futures.

    Returns:
        Both float64 (state,).
    """
    others = best.sum(axis=1, keepdims=True) - best
    right = np.take_along_axis(best, others.argmax(axis=2)[..., None], axis=2)[..., 0]
    blocked = fire < 0
    rest = np.where(blocked, np.inf, fire.sum(axis=1, keepdims=True) - fire)
    got = np.take_along_axis(fire, rest.argmin(axis=2)[..., None], axis=2)[..., 0]
    least = np.where(blocked, np.inf, fire).min(axis=2)
    return right.mean(axis=1), (got - least).mean(axis=1)


def _label(futures: Recording) -> np.ndarray:
    """The label of the present state in each future, float64 (copy, `PARTS`); nan where it is not known."""
    copies = futures.num_fights
    frames = np.stack([np.zeros(copies), np.arange(copies), np.zeros(copies)], axis=1).astype(np.int64)
    cell = maps.best_cell(futures, frames)
    fire = np.where(cell.fire < 0, -1.0, cell.fire / (POINT * futures.max_hp[0]))
    label = [
        maps.damage_map(futures, frames),
        maps.enemy_occupancy(futures, frames),
        equally_best(cell),
        fire,
    ]
    out = np.concatenate([values.reshape(copies, -1).astype(np.float64) for values in label], axis=1)
    known = labels.exact(futures, TWO_SECONDS)[0] & labels.exact(futures, SECOND)[0]
    out[~known] = np.nan
    return out
