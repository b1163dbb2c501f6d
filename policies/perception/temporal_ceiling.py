"""What nobody can exceed: answers of one who knows the whole state, but not the dice."""

from __future__ import annotations

import numpy as np

from envs.contracts import layout as f
from envs.perception import labels
from envs.perception.branching import branch
from envs.perception.recorder import record
from envs.perception.recording import FIVE_SECONDS, SECOND
from envs.simulation import state as s
from envs.simulation.world import World
from policies.perception.compositions import FightPlan, compositions

SALT = 1


def ceiling(
    archetype: str,
    plan: FightPlan,
    seed: int,
    *,
    held_out: bool = False,
    states: int = 24,
    copies: int = 12,
) -> dict[str, float]:
    """Estimates from states of other fights of the same kind, each played on again and again.

    Args:
        archetype: whose eyes.
        plan: what is recorded.
        seed: of compositions and fights.
        held_out: the compositions that are never trained on.
        states: per composition, 2 to 20 s into its fights.
        copies: futures of each state, at least 2.

    Returns:
        deed_accuracy_most and target_accuracy_most: how often the class is the one that most futures have,
        this future among them, so rather too much; ..._least: that most of the others have, so rather too
        little. own_hp_explained and enemy_hp_explained: 1 - variance within a state / mean square of the
        change, mean over 1 to 5 s, as `temporal_errors.metrics` counts it.
    """
    rng = np.random.default_rng([seed, int(held_out)])
    most: dict[str, list[np.ndarray]] = {"deed": [], "target": []}
    least: dict[str, list[np.ndarray]] = {"deed": [], "target": []}
    within = {"own_hp": [0.0], "enemy_hp": [0.0]}
    square = {"own_hp": [0.0], "enemy_hp": [0.0]}
    for number, composition in enumerate(compositions(archetype, plan, seed, held_out=held_out)):
        world = World(
            states,
            composition.teams,
            seed=(seed * 1009 + number) * 2 + held_out,
            first_fight=1_000_000,
            tiers=composition.tiers,
            styles=(s.STYLES, plan.styles),
            switching=plan.switching,
            log_damage=True,
        )
        when = rng.integers(10, 100, states)
        for time in range(int(when.max()) + 1):
            ready = (when == time) & (world.outcome == s.RUNNING) & (world.fights[:, s.G_EPISODE] == 0)
            for fight in np.flatnonzero(ready & (world.units[:, 0, f.HP] > 0)).tolist():
                futures = record(branch(world, fight, copies, SALT), windows=FIVE_SECONDS)
                enemies = list(futures.enemies(0))
                for name, label in (
                    ("deed", labels.next_deed(futures, SECOND)),
                    ("target", labels.next_target(futures, SECOND)),
                ):
                    values = label.value[0][:, enemies][:, label.valid[0][:, enemies].all(axis=0)]
                    equal = (values[:, None] == values[None]).sum(axis=1)  # (copy, enemy), itself included
                    most[name].append(equal.max(axis=0) / copies)
                    least[name].append(_left_out(values))
                share = labels.future_hp(futures)
                change = share.value[0] - (futures.hp[0] / futures.max_hp)[..., None]
                for name, units in (("own_hp", [0]), ("enemy_hp", enemies)):
                    known = share.valid[0][:, units].all(axis=0)
                    drawn = change[:, units][:, known].astype(np.float64)
                    within[name].append(float(drawn.var(axis=0, ddof=1).sum()))
                    square[name].append(float((drawn**2).mean(axis=0).sum()))
            world.step(np.zeros((states, 0), np.int32))
        world.close()
    return {
        **{f"{name}_accuracy_least": float(np.concatenate(least[name]).mean()) for name in least},
        **{f"{name}_accuracy_most": float(np.concatenate(most[name]).mean()) for name in most},
        **{f"{name}_explained": 1.0 - sum(within[name]) / sum(square[name]) for name in within},
    }


def _left_out(values: np.ndarray) -> np.ndarray:
    """How often a draw is what most of the others are, per column; ties go to the smaller class."""
    copies = len(values)
    right = [
        [np.bincount(np.delete(column, row) + 1).argmax() - 1 == column[row] for row in range(copies)]
        for column in values.T
    ]
    return np.array(right, np.float64).reshape(-1, copies).mean(axis=1)
