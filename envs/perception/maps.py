"""Targets on the egocentric grid: damage per cell, where enemies will stand, the best cell to stand on.

A *frame* is (time, fight, unit): the unit is the grid's middle, cell `(size // 2, size // 2)`; row = y,
column = x, so north is the higher row. All functions take frames int `(frame, 3)`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.contracts import layout as f
from envs.contracts.vocabulary import DECISION_MS
from envs.perception.labels import exact
from envs.perception.recording import (
    CAST_LEFT,
    CAST_SLOT,
    CAST_X,
    CAST_Y,
    SECOND,
    SLOT,
    STUN,
    TWO_SECONDS,
    Recording,
    X,
    Y,
)
from envs.simulation.state import TICK_MS

GRID = 32
STEPS = 3  # the best cell is looked for within so many cells
BLOCK = 512  # frames computed at a time: their cells stay in the processor's cache
POINT = 1000  # fire is counted in thousandths of a hit point, so that equal fire is exactly equal


class BestCell(NamedTuple):
    """The cell to go to, and what the choice was made from.

    Attributes:
        step: int8 `(frame, 2)`, (dx, dy) from the unit's own cell, each in -3 .. 3.
        fire: int64 `(frame, 7, 7)`, expected damage per cell [dy + 3, dx + 3] in thousandths of a hit
            point; -1 where nobody can stand.
        aims: int64 `(frame, 7, 7)`, enemies in the unit's reach from that cell, summed over decisions.
    """

    step: np.ndarray
    fire: np.ndarray
    aims: np.ndarray


def frames(recording: Recording, horizon: int = TWO_SECONDS, stride: int = 1) -> np.ndarray:
    """All (time, fight, unit) of living units whose horizon is known, every `stride` decisions.

    Returns:
        int64 `(frame, 3)`, in order of time.
    """
    known = exact(recording, horizon)[..., None] & recording.alive[:-1]
    known[np.arange(len(known)) % stride != 0] = False
    return np.argwhere(known)


def damage_map(
    recording: Recording,
    chosen: np.ndarray,
    horizon: int = TWO_SECONDS,
    size: int = GRID,
    *,
    own: bool = True,
) -> np.ndarray:
    """Damage that a team receives within the horizon, on the cells where it receives it.

    Args:
        recording: the fights.
        chosen: frames.
        horizon: decision windows.
        size: cells per edge of the grid.
        own: the damage of the unit's own team, else that of its enemies.

    Returns:
        float32 `(frame, row, column)`: shares of the receivers' max HP; a receiver's cell is the one on
        which it stands when the window ends. What happens beyond the grid is left out.
    """
    time, fight, unit = chosen.T
    out = np.zeros((len(chosen), size, size), np.float32)
    last = recording.num_windows
    for step in range(horizon):
        at = np.minimum(time + step, last - 1)
        for target in range(recording.num_units):
            points = recording.damage[at, fight, :, target].sum(axis=-1)
            wanted = (recording.hostile[unit, target] != own) & (time + step < last) & (points > 0)
            _put(recording, out, np.flatnonzero(wanted), chosen, at + 1, target, points, np.add)
    return out


def enemy_occupancy(
    recording: Recording, chosen: np.ndarray, horizon: int = SECOND, size: int = GRID
) -> np.ndarray:
    """Cells on which living enemies stand when the horizon is over, bool `(frame, row, column)`."""
    time, fight, unit = chosen.T
    out = np.zeros((len(chosen), size, size), np.float32)
    at = np.minimum(time + horizon, recording.num_windows)
    for target in range(recording.num_units):
        wanted = recording.hostile[unit, target] & recording.alive[at, fight, target]
        points = recording.max_hp[target].repeat(len(chosen))
        _put(recording, out, np.flatnonzero(wanted), chosen, at, target, points, np.maximum)
    return out > 0


def landings(recording: Recording) -> np.ndarray:
    """Ground-aimed skills that strike in a window, bool `(time, fight, caster)`; their cell is the cast's.

    A cast that is over has landed unless it was broken, by death or by more than 5 % of max HP in one tick.
    Where the caster was hurt that much, a cast due in the window's second tick counts as landed only if it
    hit somebody. A cast shorter than a window may begin and end unseen.
    """
    now, then = recording.units[:-1], recording.units[1:]
    slot = now[..., CAST_SLOT].astype(np.int64)
    kinds = recording.skills[np.arange(recording.num_units), np.maximum(slot, 0), f.KIND]
    ground = (slot >= 0) & (kinds == f.K_GROUND) & recording.alive[:-1]
    # It is over: no cast any more, or the next one already begun.
    over = (then[..., CAST_SLOT] != slot) | (then[..., CAST_LEFT] > now[..., CAST_LEFT])
    unhurt = (recording.damage.sum(axis=2) * 20 <= recording.max_hp) & recording.alive[1:]
    free = (now[..., STUN] <= TICK_MS) & (then[..., STUN] <= now[..., STUN])
    early = free & (now[..., CAST_LEFT] <= TICK_MS)
    # Broken in the first tick it deals no damage in the second, but by a swing or another skill.
    idle = (recording.deeds[..., :SLOT] == 0).all(axis=-1)
    hit = idle & (recording.damage.sum(axis=3) > 0)
    return ground & over & (unhurt | early | hit)


def best_cell(recording: Recording, chosen: np.ndarray, horizon: int = TWO_SECONDS) -> BestCell:
    """Where the unit would stand best, were all others to do what they really did.

    Among the cells within 3 of it on which one can walk: the least enemy fire over the horizon, which is,
    for each decision, the swings of every living enemy that has the cell in its reach (mean damage x
    share of its attack delay), plus the ground-aimed skills that really land on it. Equal fire: the cell with
    more enemies in the unit's own reach, summed over the decisions; then the nearer one; then the one of
    fewer steps along the axes; then the lower row, then column.
    """
    landed = landings(recording)
    blocks = [chosen[start : start + BLOCK] for start in range(0, len(chosen), BLOCK)] or [chosen]
    parts = [_best_of(recording, landed, block, horizon) for block in blocks]
    return BestCell(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _best_of(recording: Recording, landed: np.ndarray, chosen: np.ndarray, horizon: int) -> BestCell:
    """`best_cell` of a block of frames."""
    time, fight, unit = chosen.T
    reach = np.arange(-STEPS, STEPS + 1)
    x = recording.units[time, fight, unit, X][:, None, None] + reach[None, None, :]
    y = recording.units[time, fight, unit, Y][:, None, None] + reach[None, :, None]
    x, y = np.broadcast_arrays(x, y)
    fire = np.zeros(x.shape, np.int64)
    aims = np.zeros(x.shape, np.int64)
    last = recording.num_windows
    for step in range(horizon):
        at = np.minimum(time + step, last - 1)
        open_ = time + step < recording.length[fight]
        for enemy in range(recording.num_units):
            foe = recording.hostile[unit, enemy] & open_
            state = recording.units[at + 1, fight, enemy]
            apart = _apart(x, y, state[:, X], state[:, Y])
            stands = foe & recording.alive[at + 1, fight, enemy]
            row = recording.template[enemy]
            swing = recording.swing_points[enemy, unit].astype(np.int64)
            swing = swing * POINT * DECISION_MS // max(int(row[f.ATTACK_DELAY]), 1)
            fire += np.where(stands[:, None, None] & (apart <= row[f.RANGE]), swing[:, None, None], 0)
            aims += stands[:, None, None] & (apart <= recording.template[unit, f.RANGE][:, None, None])
            fire += _strike(recording, landed, at, fight, unit, enemy, foe, x, y)
    height, width = recording.blocked.shape
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    free = inside & ~recording.blocked[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    free[:, STEPS, STEPS] = True  # where it stands it can stay
    fire = np.where(free, fire, -1)
    return BestCell(_choose(fire, aims, free, reach), fire, aims)


def _strike(
    recording: Recording,
    landed: np.ndarray,
    at: np.ndarray,
    fight: np.ndarray,
    unit: np.ndarray,
    enemy: int,
    foe: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray | int:
    """Fire of an enemy's ground-aimed skill that lands in window `at`, int64 `(frame, 7, 7)`."""
    hit = foe & landed[at, fight, enemy]
    if not hit.any():
        return 0
    cast = recording.units[at, fight, enemy]
    slot = np.maximum(cast[:, CAST_SLOT], 0).astype(np.int64)
    points = recording.skill_points[enemy, slot, unit].astype(np.int64) * POINT * hit
    radius = recording.skills[enemy, slot, f.RADIUS]
    apart = _apart(x, y, cast[:, CAST_X], cast[:, CAST_Y])
    return np.where(apart <= radius[:, None, None], points[:, None, None], 0)


def _apart(x: np.ndarray, y: np.ndarray, to_x: np.ndarray, to_y: np.ndarray) -> np.ndarray:
    """Chebyshev distance of cells `(frame, 7, 7)` to one cell per frame."""
    return np.maximum(abs(x - to_x[:, None, None]), abs(y - to_y[:, None, None]))


def _choose(fire: np.ndarray, aims: np.ndarray, free: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Least fire, then most aims, then nearest; (dx, dy) int8 `(frame, 2)`."""
    dx, dy = np.meshgrid(reach, reach)
    keys = (fire, -aims, np.maximum(abs(dx), abs(dy)), abs(dx) + abs(dy))
    best = free.copy()
    for key in keys:
        values = np.where(best, key, np.iinfo(np.int64).max)
        best &= values == values.min(axis=(1, 2), keepdims=True)
    index = best.reshape(len(best), -1).argmax(axis=1)
    return np.stack([dx.ravel()[index], dy.ravel()[index]], axis=1).astype(np.int8)


def _put(
    recording: Recording,
    out: np.ndarray,
    which: np.ndarray,
    chosen: np.ndarray,
    at: np.ndarray,
    target: int,
    points: np.ndarray,
    how: np.ufunc,
) -> None:
    """Write one unit's points / max HP at its cell of state `at`, for the frames `which`."""
    size = out.shape[-1]
    time, fight, unit = chosen[which].T
    mine = recording.units[time, fight, unit]
    its = recording.units[at[which], fight, target]
    row = its[:, Y].astype(np.int64) - mine[:, Y] + size // 2
    column = its[:, X].astype(np.int64) - mine[:, X] + size // 2
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    share = points[which][inside] / recording.max_hp[target]
    how.at(out, (which[inside], row[inside], column[inside]), share)
