"""What the temporal mind is asked in service: its inputs from the views that a game sends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.contracts import layout as f
from envs.contracts.token import sequence_token
from envs.contracts.view import WorldView
from envs.contracts.window import NUM_WINDOW_FEATURES, RESTART_MS, opponent_features
from envs.perception.labels import DEED_MOVE, DEED_NONE, DEED_SWING, DEEDS
from policies.temporal_heads import ALLIES, ENEMIES, KINDS, OTHERS, SIDE, TARGETS


def temporal_inputs(history: Sequence[WorldView], unit: int) -> dict[str, np.ndarray]:
    """A unit's present decision; the caches are the caller's.

    Args:
        history: views of one fight, one per decision, oldest first, the present last; the last two count.
        unit: index of the observing unit in the present view.

    Returns:
        token (1, 80), opponents (1, 5, 16), kinds (1, 9, 6), aims (1, 5, 6) and deeds (1, 5, 14), float32, as
        the signature of `TemporalTransformer` says.
    """
    view = history[-1]
    before = history[-2] if len(history) > 1 else None
    team = view.units[:, f.TEAM]
    side = [unit, *(int(k) for k in np.flatnonzero(team == team[unit]) if k != unit)]
    enemies = [int(k) for k in np.flatnonzero(team != team[unit])]
    kinds = np.zeros((1, OTHERS, KINDS), np.float32)
    for place, other in [*enumerate(side[1:]), *enumerate(enemies, ALLIES)]:
        if view.units[other, f.ARCHETYPE] >= 0:
            kinds[0, place, view.units[other, f.ARCHETYPE]] = 1.0
    opponents = np.zeros((1, ENEMIES, NUM_WINDOW_FEATURES), np.float32)
    aims = np.zeros((1, ENEMIES, TARGETS), np.float32)
    deeds = np.zeros((1, ENEMIES, len(DEEDS)), np.float32)
    for slot, enemy in enumerate(enemies):
        if view.units[enemy, f.HP] <= 0 or view.units[unit, f.HP] <= 0:
            continue
        opponents[:, slot] = opponent_features([history], [unit], [enemy])
        aims[0, slot, _aim(view, enemy, side)] = 1.0
        deeds[0, slot, _deed(before, view, enemy)] = 1.0
    return {
        "token": sequence_token([history], [unit]),
        "opponents": opponents,
        "kinds": kinds,
        "aims": aims,
        "deeds": deeds,
    }


def _aim(view: WorldView, enemy: int, side: list[int]) -> int:
    """Place of an enemy's living target in the observer's team, the observer first; else nobody."""
    target = int(view.units[enemy, f.TARGET])
    if target in side[:SIDE] and view.units[target, f.HP] > 0:
        return side.index(target)
    return TARGETS - 1


def _deed(before: WorldView | None, view: WorldView, enemy: int) -> int:
    """What a unit did between two views: a skill if a cooldown or a cast began, a swing if its clock did."""
    if before is None or view.ids[enemy] not in before.ids:
        return DEED_NONE
    now, then = view.units[enemy], before.units[before.ids.index(view.ids[enemy])]
    cooldowns = slice(f.COOLDOWN, f.COOLDOWN + view.skills.shape[1])
    rose = now[cooldowns] > then[cooldowns]
    if rose.any():
        return DEED_SWING + int(view.skills[enemy, int(rose.argmax()), f.KIND])
    if now[f.ACTION_CLOCK] - then[f.ACTION_CLOCK] > RESTART_MS:
        return DEED_SWING
    return DEED_MOVE if (now[[f.X, f.Y]] != then[[f.X, f.Y]]).any() else DEED_NONE
