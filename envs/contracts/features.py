"""`obs_v1`: the 64 floats a combat mind sees, computed from world views.

Every value is a quotient of two integers, divided in double precision and rounded once to
float32, so the compiled simulation reproduces it bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from envs.contracts import layout as f
from envs.contracts.vocabulary import ARCHETYPES, DECISION_MS, MAX_TEAM_SIZE, NUM_SKILL_SLOTS, OBS_SIZE

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

RADIUS_CELLS = 16
"""Half the arena: scale of positions and distances."""
MATCH_MS = 60_000
"""Time since engagement saturates here."""

_ENEMY = ("dx", "dy", "hp", "reach", "intent", "kind")
_ALLY = ("dx", "dy", "hp")
FEATURES: tuple[str, ...] = (
    "hp",
    "sp",
    "x",
    "y",
    "action_clock",
    "move_lock",
    "act_lock",
    "cast_left",
    "guard",
    "power",
    "stun_or_taunt",
    "slow",
    "shield",
    *(f"skill_{k}" for k in range(NUM_SKILL_SLOTS)),
    "targeted_by",
    *(f"enemy_{e}_{name}" for e in range(MAX_TEAM_SIZE) for name in _ENEMY),
    *(f"ally_{a}_{name}" for a in range(MAX_TEAM_SIZE - 1) for name in _ALLY),
    "time",
    "hp_advantage",
)
"""Name of each value, in order; exported beside every model."""

_SCALES = {
    "hp": "share of max HP",
    "sp": "share of max SP",
    "x": "cells from the fight's centroid at engagement / 16",
    "y": "cells from the fight's centroid at engagement / 16",
    "action_clock": "ms / 2000, at most 1",
    "move_lock": "ms / 1000, at most 1",
    "act_lock": "ms / 1000, at most 1",
    "cast_left": "ms / 1500, at most 1",
    "guard": "ms / 6000, at most 1",
    "power": "ms / 6000, at most 1",
    "stun_or_taunt": "stun ms / 3000, else -(taunt ms / 3000)",
    "slow": "ms / 3000, at most 1",
    "shield": "4 x shield points / max HP, at most 1",
    "skill": "1 usable in the window, -0.9 x cooldown share, -0.05 SP short, 0 clock not ready, -1 absent",
    "targeted_by": "enemies / 5",
    "dx": "cells from me / 16, at most 2",
    "dy": "cells from me / 16, at most 2",
    "reach": "1 I reach it, -1 it reaches me, 0.5 both, 0 neither",
    "intent": "0.5 targets me + 0.5 casting",
    "kind": "range in cells / 10, at most 1; negative while stunned",
    "time": "ms since engagement / 60000, at most 1",
    "hp_advantage": "sum of HP shares, own team - enemies, per unit of the larger team",
}


def describe_features() -> list[dict[str, object]]:
    """Return name, scale and limits of each of the 64 values, as plain JSON types."""
    rows: list[dict[str, object]] = []
    for name in FEATURES:
        key = "skill" if name.startswith("skill_") else name
        if name.startswith(("enemy_", "ally_")):
            key = name.rsplit("_", 1)[1]
        limit = 2.0 if key in ("dx", "dy") else 1.0
        rows.append({"name": name, "scale": _SCALES[key], "low": -limit, "high": limit})
    return rows


ENEMY_0 = 20
ALLY_0 = 50


class Scene:
    """World views stacked for array code, seen by one unit each.

    Attributes:
        units: int64 `(row, 10, field)`; team mates and enemies at their own indices, zero rows behind them.
        present: bool `(row, 10)`, rows that hold a unit.
        me: int64 `(row,)`, index of the observing unit; `own` int64 `(row, field)` its fields.
        skills: int64 `(row, 6, skill_field)` of the observing unit.
        blocked: per row the view's blocked cells, None for open ground.
    """

    def __init__(self, views: Sequence[WorldView], units: Sequence[int]) -> None:
        if len(views) != len(units):
            raise ValueError(f"{len(views)} views but {len(units)} units: one unit index per view")
        rows, size = len(views), 2 * MAX_TEAM_SIZE
        self.units = np.zeros((rows, size, f.NUM_UNIT_FIELDS), np.int64)
        self.present = np.zeros((rows, size), bool)
        self.skills = np.zeros((rows, NUM_SKILL_SLOTS, f.NUM_SKILL_FIELDS), np.int64)
        self.bounds = np.zeros((rows, 4), np.int64)
        self.origin_x2 = np.zeros((rows, 2), np.int64)
        self.elapsed_ms = np.zeros(rows, np.int64)
        for row, (view, unit) in enumerate(zip(views, units, strict=True)):
            n = len(view.units)
            self.units[row, :n] = view.units
            self.present[row, :n] = True
            self.skills[row] = view.skills[unit]
            self.bounds[row] = view.bounds
            self.origin_x2[row] = view.origin_x2
            self.elapsed_ms[row] = view.elapsed_ms
        self.blocked = [view.blocked for view in views]
        self.rows = np.arange(rows)
        self.me = np.asarray(units, np.int64).reshape(rows)
        self.own = self.units[self.rows, self.me]
        self.alive = self.present & (self.units[..., f.HP] > 0)
        team = self.units[..., f.TEAM]
        self.friendly = self.present & (team == self.own[:, None, f.TEAM])
        self.hostile = self.present & ~self.friendly
        self.delta = self.units[..., :2] - self.own[:, None, :2]  # (row, 10, xy) from me
        self.distance = np.abs(self.delta).max(axis=-1)  # Chebyshev, cells


def slots(chosen: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the first `count` True entries per row, and which of them exist."""
    order = np.argsort(~chosen, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(chosen, order, axis=1)


def observe_scene(scene: Scene) -> np.ndarray:
    """Return `obs_v1` for a scene, float32 `(row, 64)`."""
    own, rows = scene.own, scene.rows
    out = np.zeros((len(rows), OBS_SIZE), np.float64)

    def capped(field: int, limit: int) -> np.ndarray:
        return np.clip(own[:, field], 0, limit) / limit

    living = own[:, f.HP] > 0
    out[:, 0] = own[:, f.HP] / np.maximum(own[:, f.MAX_HP], 1)
    out[:, 1] = own[:, f.SP] / np.maximum(own[:, f.MAX_SP], 1)
    span = 2 * RADIUS_CELLS
    out[:, 2:4] = np.clip(2 * own[:, :2] - scene.origin_x2, -span, span) / span
    out[:, 4] = capped(f.ACTION_CLOCK, 2000)
    out[:, 5] = capped(f.MOVE_LOCK, 1000)
    out[:, 6] = capped(f.ACT_LOCK, 1000)
    out[:, 7] = np.where(own[:, f.CAST_SLOT] >= 0, capped(f.CAST_LEFT, 1500), 0.0)
    out[:, 8] = capped(f.GUARD, 6000)
    out[:, 9] = capped(f.POWER, 6000)
    out[:, 10] = np.where(own[:, f.STUN] > 0, capped(f.STUN, 3000), -capped(f.TAUNT, 3000))
    out[:, 11] = capped(f.SLOW, 3000)
    out[:, 12] = np.minimum(4 * own[:, f.SHIELD], own[:, f.MAX_HP]) / np.maximum(own[:, f.MAX_HP], 1)
    out[:, 13:19] = _skill_slots(scene)

    attackers = scene.alive & scene.hostile & (scene.units[..., f.TARGET] == scene.me[:, None])
    out[:, 19] = np.minimum(attackers.sum(axis=1), MAX_TEAM_SIZE) / MAX_TEAM_SIZE
    out[:, ENEMY_0:ALLY_0] = _enemy_slots(scene).reshape(len(rows), -1)
    others = scene.friendly.copy()
    others[rows, scene.me] = False
    out[:, ALLY_0:62] = _ally_slots(scene, others).reshape(len(rows), -1)
    out[~living, :62] = 0.0  # the dead see the clock and the score only

    share = scene.units[..., f.HP] * 1000 // np.maximum(scene.units[..., f.MAX_HP], 1)
    lead = (share * scene.friendly).sum(axis=1) - (share * scene.hostile).sum(axis=1)
    size = np.maximum(scene.friendly.sum(axis=1), scene.hostile.sum(axis=1))
    out[:, 62] = np.clip(scene.elapsed_ms, 0, MATCH_MS) / MATCH_MS
    out[:, 63] = lead / (1000 * size)
    return out.astype(np.float32)


def _skill_slots(scene: Scene) -> np.ndarray:
    """1 usable in the window, -0.9 x cooldown share, -0.05 SP short, 0 clock runs, -1 absent; `(row, 6)`."""
    own, skills = scene.own, scene.skills
    cooldown = np.maximum(own[:, f.COOLDOWN : f.COOLDOWN + NUM_SKILL_SLOTS], 0)
    total = np.maximum(skills[..., f.COOLDOWN_TIME], 1)
    rich = own[:, None, f.SP] >= skills[..., f.COST]
    clock = (own[:, f.ACTION_CLOCK] <= DECISION_MS) & (own[:, f.ACT_LOCK] <= DECISION_MS)
    ready = (cooldown <= DECISION_MS) & rich & clock[:, None]
    waiting = np.where(
        cooldown > 0, -(9 * np.minimum(cooldown, total)) / (10 * total), np.where(rich, 0.0, -1 / 20)
    )
    return np.where(skills[..., f.KIND] == f.K_NONE, -1.0, np.where(ready, 1.0, waiting))


def _enemy_slots(scene: Scene) -> np.ndarray:
    """Five enemies by fixed unit index: dx, dy, hp, reach, intent, kind; `(row, 5, 6)`."""
    index, exists = slots(scene.hostile, MAX_TEAM_SIZE)
    unit = np.take_along_axis(scene.units, index[..., None], axis=1)
    delta = np.take_along_axis(scene.delta, index[..., None], axis=1)
    distance = np.take_along_axis(scene.distance, index, axis=1)
    out = np.zeros((*index.shape, len(_ENEMY)), np.float64)
    out[..., 0:2] = np.clip(delta, -2 * RADIUS_CELLS, 2 * RADIUS_CELLS) / RADIUS_CELLS
    out[..., 2] = unit[..., f.HP] / np.maximum(unit[..., f.MAX_HP], 1)
    mine = distance <= scene.own[:, None, f.RANGE]
    its = distance <= unit[..., f.RANGE]
    out[..., 3] = np.where(mine, np.where(its, 0.5, 1.0), np.where(its, -1.0, 0.0))
    out[..., 4] = 0.5 * (unit[..., f.TARGET] == scene.me[:, None]) + 0.5 * (unit[..., f.CAST_SLOT] >= 0)
    kind = np.minimum(unit[..., f.RANGE], 10) / 10
    out[..., 5] = np.where(unit[..., f.STUN] > 0, -kind, kind)
    out[~(exists & (unit[..., f.HP] > 0))] = 0.0
    return out


def _ally_slots(scene: Scene, others: np.ndarray) -> np.ndarray:
    """Four team mates by fixed unit index: dx, dy, hp; `(row, 4, 3)`."""
    index, exists = slots(others, MAX_TEAM_SIZE - 1)
    unit = np.take_along_axis(scene.units, index[..., None], axis=1)
    delta = np.take_along_axis(scene.delta, index[..., None], axis=1)
    out = np.zeros((*index.shape, len(_ALLY)), np.float64)
    out[..., 0:2] = np.clip(delta, -2 * RADIUS_CELLS, 2 * RADIUS_CELLS) / RADIUS_CELLS
    out[..., 2] = unit[..., f.HP] / np.maximum(unit[..., f.MAX_HP], 1)
    out[~(exists & (unit[..., f.HP] > 0))] = 0.0
    return out


def observe(views: Sequence[WorldView], units: Sequence[int]) -> np.ndarray:
    """Return what each unit sees in its view, `obs_v1`.

    Args:
        views: one view per row (the same object may stand in several rows).
        units: index of the observing unit in its view.

    Returns:
        float32 `(row, 64)`, see `FEATURES`.
    """
    return observe_scene(Scene(views, units))


def local_observation(views: Sequence[WorldView], units: Sequence[int]) -> np.ndarray:
    """Return what each pack member sees: `obs_v1` and its archetype one-hot, float32 `(row, 70)`."""
    scene = Scene(views, units)
    return with_archetype(observe_scene(scene), scene.own[:, f.ARCHETYPE])


def with_archetype(obs: np.ndarray, archetype: np.ndarray) -> np.ndarray:
    """Append archetypes one-hot to observations.

    Args:
        obs: float32 `(..., 64)`.
        archetype: whole numbers `(...)`, index into `ARCHETYPES`; -1 (unknown) gives zeros.

    Returns:
        float32 `(..., 70)`.
    """
    kind = np.asarray(archetype)[..., None] == np.arange(len(ARCHETYPES))
    return np.concatenate([obs, kind.astype(np.float32)], axis=-1)
