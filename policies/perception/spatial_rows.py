"""Rows of the spatial mind: pictures, maps of what happened, and pictures turned with their maps."""

from __future__ import annotations

import numpy as np

from envs.contracts.grid import G_WALKABLE
from envs.contracts.vocabulary import MAX_TEAM_SIZE
from envs.perception import baselines, labels, maps
from envs.perception.recording import SECOND, TWO_SECONDS, Recording, X, Y
from envs.perception.sights import Sights
from policies.perception.task import Rows

TURNED = ("grid", "damage", "occupancy", "best", "fire")
"""Arrays whose last two axes are y and x."""
ELEMENTS = 8
"""Of the square's group."""
POINT = 1000.0
"""Thousandths of a hit point, in which `maps.best_cell` counts fire."""


def spatial_rows(sights: Sights, *, stride: int) -> Rows:
    """Rows of the first observer's grids, every `stride` decisions.

    A grid whose next second is not known is left out.

    Returns:
        fight int64 (row,).
        grid uint8 (row, 12, y, x).
        damage float32 (row, y, x): shares of the receivers' bars in the next 2 s.
        occupancy uint8 (row, y, x): 1 where an enemy stands in 1 s.
        best uint8 (row, 7, 7): 1 at each of the equally best cells.
        fire float32 (row, 7, 7): enemy fire there in 2 s, in the observer's bars; -1 nobody can stand.
        known bool (row,): whether the next 2 s are known; damage, best and fire count only there.
        team int16 (row, 5): number of the cell of each living member of the own team, -1 none.
        recent, reach float32 (row, 5): that member's damage in the next 2 s as simple guesses have it.
    """
    recording, size = sights.recording, sights.grids.shape[-1]
    frames = sights.frames
    wanted = (frames[:, 2] == 0) & (frames[:, 0] % stride == 0)
    wanted &= labels.exact(recording, SECOND)[frames[:, 0], frames[:, 1]]
    frames = frames[wanted].copy()
    frames[:, 2] = sights.observers[0]
    time, fight, unit = frames.T
    cell = maps.best_cell(recording, frames)
    bar = POINT * recording.max_hp[unit][:, None, None]
    return {
        "fight": recording.number[fight],
        "grid": sights.grids[wanted],
        "damage": maps.damage_map(recording, frames, size=size),
        "occupancy": maps.enemy_occupancy(recording, frames, size=size).astype(np.uint8),
        "best": equally_best(cell).astype(np.uint8),
        "fire": np.where(cell.fire < 0, -1.0, cell.fire / bar).astype(np.float32),
        "known": labels.exact(recording, TWO_SECONDS)[time, fight],
        **_guesses(recording, frames, size),
    }


def equally_best(cell: maps.BestCell) -> np.ndarray:
    """All cells as good as the best one, bool (frame, 7, 7).

    `maps.best_cell` breaks the last ties by row and column, which turning and mirroring would change.
    """
    reach = np.arange(-maps.STEPS, maps.STEPS + 1)
    dx, dy = np.meshgrid(reach, reach)
    best = cell.fire >= 0
    for key in (cell.fire, -cell.aims, np.maximum(abs(dx), abs(dy)), abs(dx) + abs(dy)):
        values = np.where(best, key, np.iinfo(np.int64).max)
        best &= values == values.min(axis=(1, 2), keepdims=True)
    return best


def turned(rows: Rows, elements: np.ndarray) -> Rows:
    """Rows after elements of the square's group, counted as in `envs.symmetries`: bit 0 swaps x and y, bits 1
    and 2 then mirror them about the unit.

    The unit stands at cell size / 2, so a mirrored picture shows a line of cells that the picture did not. If
    the arena ends before that line, as the last line of the picture tells, nothing is there and the mirrored
    picture is exact; else the row is not mirrored along that axis.

    Args:
        rows: the grid, and any others of `TURNED`; further arrays are copied.
        elements: int (row,), 0 to 7.
    """
    out = {name: values.copy() for name, values in rows.items()}
    names = [name for name in TURNED if name in rows]
    swap = elements & 1 == 1
    for name in names:
        out[name][swap] = np.swapaxes(rows[name][swap], -1, -2)
    ground = out["grid"][:, G_WALKABLE]
    mirrored = [
        (elements & bit > 0) & ~line.any(axis=1) for bit, line in ((2, ground[:, :, -1]), (4, ground[:, -1]))
    ]
    for chosen, axis in zip(mirrored, (-1, -2), strict=True):
        for name in names:
            out[name][chosen] = _mirrored(out[name][chosen], axis)
    return out


def placed(team: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """A map of each row with values (row, member) on the team's cells, float32 (row, y, x)."""
    out = np.zeros((len(team), size * size), np.float32)
    row, slot = np.nonzero(team >= 0)
    np.add.at(out, (row, team[row, slot]), values[row, slot])
    return out.reshape(len(team), size, size)


def spread(values: np.ndarray) -> float:
    """Variance of each cell over the rows, summed over cells."""
    flat = values.reshape(len(values), -1)
    mean = flat.mean(axis=0, dtype=np.float64)
    square = np.einsum("ij,ij->j", flat, flat, dtype=np.float64) / max(len(flat), 1)
    return float((square - mean**2).sum())


def _mirrored(values: np.ndarray, axis: int) -> np.ndarray:
    """Mirrored about the middle cell, which of an even number is the one behind the middle."""
    values = np.flip(values, axis)
    if values.shape[axis] % 2 == 0:
        values = np.roll(values, 1, axis)
        values[(..., 0) if axis == -1 else (..., 0, slice(None))] = 0
    return values


def _guesses(recording: Recording, frames: np.ndarray, size: int) -> Rows:
    """Cells of the living own team, and its damage by two guesses."""
    time, fight, unit = frames.T
    half = recording.num_units // 2
    guesses = {
        "recent": baselines.repeated_threat(recording, TWO_SECONDS).sum(axis=2),
        "reach": baselines.reach_threat(recording, TWO_SECONDS).sum(axis=2),
    }
    team = np.full((len(frames), MAX_TEAM_SIZE), -1, np.int16)
    found = {name: np.zeros(team.shape, np.float32) for name in guesses}
    me = recording.units[time, fight, unit].astype(np.int64)
    first = np.where(unit < half, 0, half)
    for slot in range(half):
        member = first + slot
        its = recording.units[time, fight, member]
        row, column = its[:, Y] - me[:, Y] + size // 2, its[:, X] - me[:, X] + size // 2
        seen = recording.alive[time, fight, member] & (row >= 0) & (row < size)
        seen &= (column >= 0) & (column < size)
        team[:, slot] = np.where(seen, row * size + column, -1)
        for name, values in guesses.items():
            found[name][:, slot] = values[time, fight, member]
    return {"team": team, **found}
