"""Pattern windows: what an opponent showed one unit in its last decisions, to recognise its style.

Nothing in here is private to the opponent: positions, bars, whom it faces, casts and blows are all seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from envs.contracts import layout as f
from envs.contracts.features import RADIUS_CELLS
from envs.contracts.past import P_ACT, P_ACTION, P_HP, P_X, P_Y, Past
from envs.contracts.situation import first_min, near_key
from envs.contracts.vocabulary import ARCHETYPES

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

WINDOW_LENGTH = 50
"""Decisions in a window: 10 s."""
WINDOW_SCALES = {
    "dx": "cells from me / 16, at most 2",
    "dy": "cells from me / 16, at most 2",
    "moved_x": "cells it came since the last decision / 4, at most 1",
    "moved_y": "cells it came since the last decision / 4, at most 1",
    "approach": "cells its own steps brought it nearer to its nearest enemy / 4, at most 1",
    "hp": "share of max HP",
    "hp_change": "since the last decision / max HP",
    "targets_me": "1 if so, else 0",
    "targets_weakest": "1 if its target has the fewest hit points of my team",
    "targets_nearest": "1 if its target is its nearest enemy",
    "targets_healer": "1 if its target is a support",
    "casting": "1 if so, else 0",
    "acted": "0.5 a blow, 1 a skill since the last decision",
    "stunned": "1 if so, else 0",
    "guarded": "1 with a guard, else 0",
    "gap": "(cells to its target, or to its nearest enemy, - its range) / 10, at most 1",
}
WINDOW_FEATURES: tuple[str, ...] = tuple(WINDOW_SCALES)
NUM_WINDOW_FEATURES = len(WINDOW_FEATURES)

SHOWN_CELLS = 4
GAP_CELLS = 10
RESTART_MS = 200
"""An action clock that rose by more was restarted by a blow; a fumble raises it by less."""
SUPPORT = ARCHETYPES.index("support")
_SIGNED = ("moved_x", "moved_y", "approach", "hp_change", "gap")


def describe_window() -> list[dict[str, object]]:
    """Return name, scale and limits of each of the 16 values, as plain JSON types."""
    rows: list[dict[str, object]] = []
    for name, scale in WINDOW_SCALES.items():
        high = 2.0 if name in ("dx", "dy") else 1.0
        low = -high if high > 1 or name in _SIGNED else 0.0
        rows.append({"name": name, "scale": scale, "low": low, "high": high})
    return rows


def opponent_features(
    histories: Sequence[Sequence[WorldView]], units: Sequence[int], enemies: Sequence[int]
) -> np.ndarray:
    """Return what an enemy shows a unit in the present decision.

    Args:
        histories: per row the views of one fight, one per decision, oldest first, the present last; the
            last two count.
        units: index of the observing unit in the present view.
        enemies: index of the enemy in the present view.

    Returns:
        float32 `(row, 16)`, see `WINDOW_FEATURES`; zeros while either of the two is dead.
    """
    past = Past(histories, units, 2)
    scene, rows = past.scene, past.scene.rows
    foe = np.asarray(enemies, np.int64).reshape(len(rows))
    its = scene.units[rows, foe]
    before = past.units[rows, 1, foe]
    preys = scene.alive & (scene.units[..., f.TEAM] != its[:, None, f.TEAM])
    delta = scene.units[..., :2] - its[:, None, :2]
    nearest = first_min(near_key(delta), preys)
    weakest = first_min(scene.units[..., f.HP], preys)
    target = its[:, f.TARGET]
    target = np.where((target >= 0) & preys[rows, np.maximum(target, 0)], target, -1)
    aimed = target >= 0

    def cells(unit: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Distance from a cell `(row, 2)` to where a unit stands now; 0 without a unit."""
        apart = np.abs(scene.units[rows, np.maximum(unit, 0), :2] - start).max(axis=1)
        return np.where(unit >= 0, apart, 0)

    here, there = its[:, :2], before[:, [P_X, P_Y]]
    bar = np.maximum(its[:, f.MAX_HP], 1)
    struck = its[:, f.ACTION_CLOCK] - before[:, P_ACTION] > RESTART_MS
    skilled = its[:, f.ACT_LOCK] > before[:, P_ACT]
    faced = np.where(aimed, target, nearest)
    out = np.zeros((len(rows), NUM_WINDOW_FEATURES), np.float64)
    out[:, 0:2] = np.clip(here - scene.own[:, :2], -2 * RADIUS_CELLS, 2 * RADIUS_CELLS) / RADIUS_CELLS
    out[:, 2:4] = np.clip(here - there, -SHOWN_CELLS, SHOWN_CELLS) / SHOWN_CELLS
    approach = cells(nearest, there) - cells(nearest, here)
    out[:, 4] = np.clip(approach, -SHOWN_CELLS, SHOWN_CELLS) / SHOWN_CELLS
    out[:, 5] = its[:, f.HP] / bar
    out[:, 6] = np.clip(its[:, f.HP] - before[:, P_HP], -bar, bar) / bar
    out[:, 7] = target == scene.me
    out[:, 8] = aimed & (target == weakest)
    out[:, 9] = aimed & (target == nearest)
    out[:, 10] = aimed & (scene.units[rows, np.maximum(target, 0), f.ARCHETYPE] == SUPPORT)
    out[:, 11] = its[:, f.CAST_SLOT] >= 0
    out[:, 12] = np.where(skilled, 1.0, np.where(struck, 0.5, 0.0))
    out[:, 13] = its[:, f.STUN] > 0
    out[:, 14] = its[:, f.GUARD] > 0
    gap = cells(faced, here) - its[:, f.RANGE]
    out[:, 15] = np.where(faced >= 0, np.clip(gap, -GAP_CELLS, GAP_CELLS), 0) / GAP_CELLS
    out[(scene.own[:, f.HP] <= 0) | (its[:, f.HP] <= 0)] = 0.0
    return out.astype(np.float32)


def opponent_windows(
    histories: Sequence[Sequence[WorldView]],
    units: Sequence[int],
    enemies: Sequence[int],
    length: int = WINDOW_LENGTH,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what an enemy showed a unit in its last decisions, the present one last.

    Args:
        histories: per row the views of one fight, one per decision, oldest first, the present last.
        units: index of the observing unit in the present view.
        enemies: index of the enemy in the present view.
        length: decisions in a window.

    Returns:
        float32 `(row, length, 16)`, zeros at the start of a short history; bool `(row, length)`, True where
        there was a decision in which both lived and were in the view.
    """
    out = np.zeros((len(histories), length, NUM_WINDOW_FEATURES), np.float32)
    mask = np.zeros((len(histories), length), bool)
    pairs: list[Sequence[WorldView]] = []
    whom: list[tuple[int, int]] = []
    for row, (history, unit, enemy) in enumerate(zip(histories, units, enemies, strict=True)):
        me, foe = history[-1].ids[unit], history[-1].ids[enemy]
        for age in range(min(length, len(history)) - 1, -1, -1):
            stop = len(history) - age
            view = history[stop - 1]
            if me not in view.ids or foe not in view.ids:
                continue
            i, e = view.ids.index(me), view.ids.index(foe)
            if view.units[i, f.HP] > 0 and view.units[e, f.HP] > 0:
                pairs.append(history[max(stop - 2, 0) : stop])
                whom.append((i, e))
                mask[row, length - 1 - age] = True
    if pairs:
        # Rows in the order in which the mask's places were found: row by row, oldest first.
        out[mask] = opponent_features(pairs, [i for i, _ in whom], [e for _, e in whom])
    return out, mask
