"""The spatial grid: the ground around one unit as a picture of twelve channels, one byte per cell.

All sums are whole numbers; a picture's bytes are divided by 255 only where a network reads them. Rows are
y (upward), columns x; the unit itself stands at cell (size // 2, size // 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from envs.contracts import layout as f
from envs.contracts.past import P_HP, P_X, P_Y, PAST_LENGTH, Past

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

GRID_SIZE = 32
GRID_SCALES = {
    "me": "255 x my HP share, at least 1, in my cell",
    "allies": "51 per living team mate in the cell",
    "ally_hp": "255 x HP share, at least 1, of the most hurt team mate in the cell",
    "enemies": "51 per living enemy in the cell",
    "enemy_hp": "255 x HP share, at least 1, of the most hurt enemy in the cell",
    "enemy_reach": "51 per living enemy whose basic attack covers the cell",
    "heal_reach": "51 per living team mate with a heal that covers the cell",
    "telegraph": "an enemy's area is being cast there: 255 lands now, 51 in 1500 ms or later",
    "walkable": "255 where one can walk",
    "heat": "HP that my team lost there in the last 3 s, fading; 255 from a quarter of a bar",
    "trail": "where I was: 255 at the last decision, 17 less per decision before",
    "targets_me": "51 per living enemy in the cell that targets me",
}
GRID_CHANNELS: tuple[str, ...] = tuple(GRID_SCALES)
NUM_GRID_CHANNELS = len(GRID_CHANNELS)
(G_ME, G_ALLIES, G_ALLY_HP, G_ENEMIES, G_ENEMY_HP, G_REACH) = range(6)
(G_HEAL, G_TELEGRAPH, G_WALKABLE, G_HEAT, G_TRAIL, G_TARGETS_ME) = range(6, 12)

PER_UNIT = 51
"""One fifth of 255: teams have at most five units."""
TELEGRAPH_MS = 1500
TELEGRAPH_FADE = 204
HEAT_FULL = 250
"""Thousandths of a bar, just lost, that fill a cell's heat."""
TRAIL_STEP = 17
HEAT_AGES = PAST_LENGTH - 1


def describe_grid() -> list[dict[str, object]]:
    """Return name, scale and limits of each of the 12 channels, as plain JSON types."""
    return [{"name": name, "scale": scale, "low": 0, "high": 255} for name, scale in GRID_SCALES.items()]


class _Canvas:
    """One unit's picture under construction."""

    def __init__(self, size: int, here: np.ndarray, bounds: tuple[int, int, int, int]) -> None:
        self.cells = np.zeros((NUM_GRID_CHANNELS, size, size), np.int64)
        self.size = size
        self.corner = here - size // 2  # world cell of picture cell (0, 0)
        self.low = np.clip(np.array(bounds[:2]) - self.corner, 0, size)
        self.high = np.clip(np.array(bounds[2:]) + 1 - self.corner, 0, size)

    def square(self, channel: int, middle: np.ndarray, radius: int) -> np.ndarray:
        """View of the cells within `radius` of a world cell, cut to the picture and the arena."""
        low = np.clip(middle - radius - self.corner, self.low, self.high)
        high = np.clip(middle + radius + 1 - self.corner, self.low, self.high)
        return self.cells[channel, low[1] : high[1], low[0] : high[0]]

    def cell(self, channel: int, where: np.ndarray) -> np.ndarray:
        """View of one world cell, `(1, 1)`, or an empty one if the picture does not hold it."""
        x, y = where - self.corner
        if 0 <= x < self.size and 0 <= y < self.size:
            return self.cells[channel, y : y + 1, x : x + 1]
        return self.cells[channel, :0, :0]


def spatial_grid(
    histories: Sequence[Sequence[WorldView]], units: Sequence[int], size: int = GRID_SIZE
) -> np.ndarray:
    """Return the ground around each unit.

    Args:
        histories: per row the views of one fight, one per decision, oldest first, the present last; the
            last 16 count.
        units: index of the observing unit in the present view.
        size: cells per edge.

    Returns:
        uint8 `(row, 12, size, size)`, see `GRID_CHANNELS`; all zero for a dead unit.
    """
    past = Past(histories, units)
    out = np.zeros((len(histories), NUM_GRID_CHANNELS, size, size), np.uint8)
    for row, history in enumerate(histories):
        if past.scene.own[row, f.HP] > 0:
            out[row] = _paint(past, row, history[-1], size)
    return out


def _paint(past: Past, row: int, view: WorldView, size: int) -> np.ndarray:
    scene = past.scene
    me, units = int(scene.me[row]), scene.units[row]
    canvas = _Canvas(size, units[me, :2], view.bounds)
    bar = np.maximum(units[:, f.MAX_HP], 1)
    hue = np.maximum(units[:, f.HP] * 255 // bar, 1)
    canvas.cell(G_ME, units[me, :2])[:] = hue[me]
    for j in np.flatnonzero(scene.alive[row]):
        hostile, where = bool(scene.hostile[row, j]), units[j, :2]
        if j == me:
            continue
        canvas.cell(G_ENEMIES if hostile else G_ALLIES, where)[:] += PER_UNIT
        share = canvas.cell(G_ENEMY_HP if hostile else G_ALLY_HP, where)
        share[:] = np.where(share == 0, hue[j], np.minimum(share, hue[j]))
        if hostile:
            canvas.square(G_REACH, where, int(units[j, f.RANGE]))[:] += PER_UNIT
            if units[j, f.TARGET] == me:
                canvas.cell(G_TARGETS_ME, where)[:] += PER_UNIT
            _telegraph(canvas, units, units[j], view.skills[j])
        else:
            heals = view.skills[j, view.skills[j, :, f.KIND] == f.K_HEAL, f.REACH]
            if heals.size and heals.max() > 0:
                canvas.square(G_HEAL, where, int(heals.max()))[:] += PER_UNIT
    _ground(canvas, view)
    _heat(canvas, past, row, bar)
    for age in range(PAST_LENGTH - 1, 0, -1):
        if past.there[row, age, me]:
            canvas.cell(G_TRAIL, past.units[row, age, me, :2])[:] = TRAIL_STEP * (PAST_LENGTH - age)
    return np.minimum(canvas.cells, 255)


def _telegraph(canvas: _Canvas, units: np.ndarray, caster: np.ndarray, skills: np.ndarray) -> None:
    """The area an enemy is casting: at its fixed cell if aimed at the ground, else around its target."""
    if caster[f.CAST_SLOT] < 0:
        return
    skill = skills[caster[f.CAST_SLOT]]
    if skill[f.KIND] == f.K_GROUND:
        middle = caster[[f.CAST_X, f.CAST_Y]]
    elif skill[f.KIND] == f.K_AREA and caster[f.CAST_TARGET] >= 0:
        middle = units[caster[f.CAST_TARGET], :2]
    else:
        return
    left = min(max(int(caster[f.CAST_LEFT]), 0), TELEGRAPH_MS)
    square = canvas.square(G_TELEGRAPH, middle, int(skill[f.RADIUS]))
    np.maximum(square, 255 - left * TELEGRAPH_FADE // TELEGRAPH_MS, out=square)


def _ground(canvas: _Canvas, view: WorldView) -> None:
    """Cells within the bounds that no terrain blocks."""
    low, high = canvas.low, canvas.high
    area = canvas.cells[G_WALKABLE, low[1] : high[1], low[0] : high[0]]
    area[:] = 255
    if view.blocked is not None:
        first = canvas.corner + low - np.array(view.bounds[:2])
        last = first + high - low
        area[view.blocked[first[1] : last[1], first[0] : last[0]]] = 0


def _heat(canvas: _Canvas, past: Past, row: int, bar: np.ndarray) -> None:
    """HP lost by my team between decisions, where it stood afterwards, weighted 15 (now) to 1 (3 s ago)."""
    for age in range(HEAT_AGES):
        now, before = past.units[row, age], past.units[row, age + 1]
        lost = np.maximum(before[:, P_HP] - now[:, P_HP], 0) * 1000 // bar
        for j in np.flatnonzero(past.scene.friendly[row] & (lost > 0)):
            canvas.cell(G_HEAT, now[j, [P_X, P_Y]])[:] += lost[j] * (HEAT_AGES - age)
    heat = canvas.cells[G_HEAT]
    heat[:] = heat * 255 // (HEAT_AGES * HEAT_FULL)
