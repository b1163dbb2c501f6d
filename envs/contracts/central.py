"""The central state: a whole fight as 256 floats, for critics in training only.

It holds what no unit could know (the enemies' clocks, the opponent's tier and style), so no model that
is deployed may depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from envs.contracts import layout as f
from envs.contracts.features import MATCH_MS, RADIUS_CELLS
from envs.contracts.vocabulary import ARCHETYPES, MAX_TEAM_SIZE, NUM_COMBAT_ACTIONS

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

CENTRAL_TIERS = ("passive", "classic", "veteran")
CENTRAL_STYLES = ("script", "rusher", "kiter", "focus_fire", "healer_first", "turtle", "random")
CENTRAL_LEVELS = 5

_UNIT = (
    "alive",
    *(f"is_{name}" for name in ARCHETYPES),
    "hp",
    "sp",
    "x",
    "y",
    "action_clock",
    "move_lock",
    "cast_left",
    "guard",
    "power",
    "stun",
    "slow",
    "taunt",
    "shield",
    "target",
    "targeted_by",
    "range",
    "last_action",
)
_GLOBAL = (
    "time",
    "hp_advantage",
    "own_alive",
    "enemies_alive",
    "team_size",
    "level",
    *(f"tier_{name}" for name in CENTRAL_TIERS),
    *(f"style_{name}" for name in CENTRAL_STYLES),
)
UNIT_SIZE = len(_UNIT)
CENTRAL_GLOBALS = 2 * MAX_TEAM_SIZE * UNIT_SIZE
"""Index of the first value that belongs to no unit."""
CENTRAL_FEATURES: tuple[str, ...] = (
    *(
        f"{side}_{slot}_{name}"
        for side in ("own", "enemy")
        for slot in range(MAX_TEAM_SIZE)
        for name in _UNIT
    ),
    *_GLOBAL,
)
CENTRAL_SIZE = len(CENTRAL_FEATURES)
TIERS_AT = CENTRAL_GLOBALS + 6
STYLES_AT = TIERS_AT + len(CENTRAL_TIERS)

_SCALES = {
    "alive": "1 alive; the dead are zeros",
    "hp": "share of max HP",
    "sp": "share of max SP",
    "x": "cells from the fight's centroid at engagement / 16",
    "y": "cells from the fight's centroid at engagement / 16",
    "action_clock": "ms / 2000, at most 1",
    "move_lock": "ms / 1000, at most 1",
    "cast_left": "ms / 1500, at most 1",
    "guard": "ms / 6000, at most 1",
    "power": "ms / 6000, at most 1",
    "stun": "ms / 3000, at most 1",
    "slow": "ms / 3000, at most 1",
    "taunt": "ms / 3000, at most 1",
    "shield": "4 x shield points / max HP, at most 1",
    "target": "(place of its target + 1) / 10; own team 0-4, enemies 5-9; 0 none",
    "targeted_by": "living units of the other side that target it / 5",
    "range": "cells / 10, at most 1",
    "last_action": "(combat action + 1) / 10; 0 unknown",
    "time": "ms since engagement / 60000, at most 1",
    "hp_advantage": "sum of HP shares, own team - enemies, per unit of the larger team",
    "own_alive": "units / 5",
    "enemies_alive": "units / 5",
    "team_size": "units of the larger team / 5",
    "level": "level of the curriculum / 5; 0 none",
}
_SIGNED = ("x", "y", "hp_advantage")


def describe_central() -> list[dict[str, object]]:
    """Return name, scale and limits of each of the 256 values, as plain JSON types."""
    rows: list[dict[str, object]] = []
    for index, name in enumerate(CENTRAL_FEATURES):
        key = name.split("_", 2)[2] if index < CENTRAL_GLOBALS else name
        scale = _SCALES.get(key, "1 if so, else 0")
        rows.append({"name": name, "scale": scale, "low": -1.0 if key in _SIGNED else 0.0, "high": 1.0})
    return rows


def _places(view: WorldView, team: int) -> tuple[np.ndarray, np.ndarray]:
    """Place of each unit (own team 0-4, enemies 5-9), int64 `(unit,)`, and whether it is of the team."""
    own = view.units[:, f.TEAM] == team
    place = np.where(own, np.cumsum(own) - 1, MAX_TEAM_SIZE + np.cumsum(~own) - 1)
    return place, own


def central_state(
    views: Sequence[WorldView],
    team: int | Sequence[int] = 0,
    *,
    tiers: Sequence[str | None] | None = None,
    styles: Sequence[str | None] | None = None,
    level: int = 0,
) -> np.ndarray:
    """Return whole fights as seen from one side.

    Args:
        views: one view per row.
        team: the side that is "own", 0 or 1; one for all rows or one per row.
        tiers: the enemies' tier per row, see `CENTRAL_TIERS`; None: not known, zeros.
        styles: the enemies' present style per row, see `CENTRAL_STYLES`; None: not known, zeros.
        level: level of the curriculum, 1-5; 0 none.

    Returns:
        float32 `(row, 256)`, see `CENTRAL_FEATURES`.

    Raises:
        ValueError: an unknown tier or style.
    """
    teams = np.broadcast_to(np.asarray(team), (len(views),))
    out = np.zeros((len(views), CENTRAL_SIZE), np.float64)
    for row, view in enumerate(views):
        slots = out[row, :CENTRAL_GLOBALS].reshape(2 * MAX_TEAM_SIZE, UNIT_SIZE)
        place, own = _places(view, int(teams[row]))
        units = view.units.astype(np.int64)
        alive = units[:, f.HP] > 0
        living = np.flatnonzero(alive)
        slots[place[living]] = _unit_rows(units, place, view.origin_x2)[living]
        out[row, CENTRAL_GLOBALS:TIERS_AT] = _globals(units, own, view.elapsed_ms, level)
        if tiers is not None and (tier := tiers[row]) is not None:
            out[row, TIERS_AT + CENTRAL_TIERS.index(tier)] = 1
        if styles is not None and (style := styles[row]) is not None:
            out[row, STYLES_AT + CENTRAL_STYLES.index(style)] = 1
    return out.astype(np.float32)


def _globals(units: np.ndarray, own: np.ndarray, elapsed_ms: int, level: int) -> list[float]:
    alive = units[:, f.HP] > 0
    share = units[:, f.HP] * 1000 // np.maximum(units[:, f.MAX_HP], 1)
    size = max(int(own.sum()), int((~own).sum()))
    return [
        min(max(elapsed_ms, 0), MATCH_MS) / MATCH_MS,
        (share[own].sum() - share[~own].sum()) / (1000 * size),
        (alive & own).sum() / MAX_TEAM_SIZE,
        (alive & ~own).sum() / MAX_TEAM_SIZE,
        size / MAX_TEAM_SIZE,
        min(max(level, 0), CENTRAL_LEVELS) / CENTRAL_LEVELS,
    ]


def _unit_rows(units: np.ndarray, place: np.ndarray, origin_x2: tuple[int, int]) -> np.ndarray:
    """The 24 values of every unit, float64 `(unit, 24)`."""
    out = np.zeros((len(units), UNIT_SIZE), np.float64)
    alive, span = units[:, f.HP] > 0, 2 * RADIUS_CELLS
    bar = np.maximum(units[:, f.MAX_HP], 1)
    target = units[:, f.TARGET]
    hunted = alive[:, None] & (target[:, None] == np.arange(len(units)))
    hunted &= units[:, None, f.TEAM] != units[:, f.TEAM]

    def capped(field: int, limit: int) -> np.ndarray:
        return np.clip(units[:, field], 0, limit) / limit

    out[:, 0] = 1
    out[:, 1:7] = units[:, f.ARCHETYPE, None] == np.arange(len(ARCHETYPES))
    out[:, 7] = units[:, f.HP] / bar
    out[:, 8] = units[:, f.SP] / np.maximum(units[:, f.MAX_SP], 1)
    out[:, 9:11] = np.clip(2 * units[:, :2] - np.array(origin_x2), -span, span) / span
    out[:, 11] = capped(f.ACTION_CLOCK, 2000)
    out[:, 12] = capped(f.MOVE_LOCK, 1000)
    out[:, 13] = np.where(units[:, f.CAST_SLOT] >= 0, capped(f.CAST_LEFT, 1500), 0.0)
    out[:, 14] = capped(f.GUARD, 6000)
    out[:, 15] = capped(f.POWER, 6000)
    out[:, 16] = capped(f.STUN, 3000)
    out[:, 17] = capped(f.SLOW, 3000)
    out[:, 18] = capped(f.TAUNT, 3000)
    out[:, 19] = np.minimum(4 * units[:, f.SHIELD], units[:, f.MAX_HP]) / bar
    out[:, 20] = np.where(target >= 0, place[np.maximum(target, 0)] + 1, 0) / (2 * MAX_TEAM_SIZE)
    out[:, 21] = np.minimum(hunted.sum(axis=0), MAX_TEAM_SIZE) / MAX_TEAM_SIZE
    out[:, 22] = np.minimum(units[:, f.RANGE], 10) / 10
    out[:, 23] = (units[:, f.LAST_ACTION] + 1) / NUM_COMBAT_ACTIONS
    return out
