"""Labels from the simulator's own future, computed over whole recordings at once.

A label at decision t looks at the windows t .. t + horizon - 1. It is exact while the fight runs that
long, and where the fight ends by a kill before: nothing follows then. What the time limit cuts off is
unknown and not valid. Train and measure on valid entries only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.contracts import layout as f
from envs.perception.recording import (
    FIVE_SECONDS,
    SECOND,
    SKILLS,
    SLOT,
    STEPS,
    STYLE,
    SWINGS,
    TARGET,
    TWO_SECONDS,
    Recording,
)
from envs.simulation import state as s

DEEDS = ("none", "move", "swing", *f.SKILL_KINDS[1:])
"""Kinds of deed: a skill counts before a swing, a swing before a step."""
DEED_NONE, DEED_MOVE, DEED_SWING = 0, 1, 2


class Label(NamedTuple):
    """Values, and where they are known (bool, the same shape)."""

    value: np.ndarray
    valid: np.ndarray


def exact(recording: Recording, horizon: int) -> np.ndarray:
    """Where the next `horizon` windows are fully known, bool `(time, fight)`."""
    time = np.arange(recording.num_windows)[:, None]
    return (time < recording.length) & ((time + horizon <= recording.length) | recording.by_kill)


def ahead(values: np.ndarray, horizon: int) -> np.ndarray:
    """Sum over windows t .. t + horizon - 1, int64, shape of `values` `(time, ...)`."""
    total = np.zeros((len(values) + 1, *values.shape[1:]), np.int64)
    np.cumsum(values, axis=0, out=total[1:])
    time = np.arange(len(values))
    return total[np.minimum(time + horizon, len(values))] - total[time]


def later(states: np.ndarray, horizon: int) -> np.ndarray:
    """State t + horizon, or the last one, for each window t; `states` is `(state, ...)`."""
    last = len(states) - 1
    return states[np.minimum(np.arange(last) + horizon, last)]


def threat(recording: Recording, horizon: int = TWO_SECONDS) -> Label:
    """Damage that a source does to a target within the horizon / the target's max HP.

    Returns:
        float32 `(time, fight, source, target)`; valid between living enemies.
    """
    value = ahead(recording.damage, horizon) / recording.max_hp
    alive = recording.alive[:-1]
    pairs = alive[..., :, None] & alive[..., None, :] & recording.hostile
    return Label(value.astype(np.float32), pairs & exact(recording, horizon)[..., None, None])


def team_threat(recording: Recording, horizon: int = TWO_SECONDS) -> Label:
    """Damage that a source does to the whole other team / that team's max HP, dead members included.

    Returns:
        float32 `(time, fight, source)`; valid for living sources.
    """
    points = ahead((recording.damage * recording.hostile).sum(axis=-1), horizon)
    value = points / (recording.hostile * recording.max_hp).sum(axis=1)
    return Label(value.astype(np.float32), _of_the_living(recording, horizon))


def kills(recording: Recording, horizon: int = FIVE_SECONDS) -> Label:
    """Whether a unit kills anybody within the horizon, bool `(time, fight, source)`."""
    sources = np.arange(recording.num_units)
    killed = (recording.killer[..., None] == sources).any(axis=2)
    return Label(ahead(killed, horizon) > 0, _of_the_living(recording, horizon))


def deaths(recording: Recording, horizon: int = FIVE_SECONDS) -> Label:
    """Whether a unit dies within the horizon, bool `(time, fight, unit)`."""
    dies = later(recording.hp, horizon) <= 0
    return Label(dies & recording.alive[:-1], _of_the_living(recording, horizon))


def next_target(recording: Recording, horizon: int = SECOND) -> Label:
    """Whom a unit will have as its target when the horizon is over.

    Returns:
        int8 `(time, fight, unit)`: unit index, -1 none (also if it or its target is dead by then).
    """
    return Label(later(targets(recording), horizon), _of_the_living(recording, horizon))


def targets(recording: Recording) -> np.ndarray:
    """The living target of each living unit, int8 `(state, fight, unit)`, -1 none."""
    target = recording.units[..., TARGET].astype(np.int64)
    alive = recording.alive
    stands = np.take_along_axis(alive, np.maximum(target, 0), axis=-1)
    return np.where((target >= 0) & stands & alive, target, -1).astype(np.int8)


def deeds(recording: Recording) -> np.ndarray:
    """Kind of deed in each window, int8 `(time, fight, unit)`, index into `DEEDS`."""
    did = recording.deeds
    kinds = recording.skills[..., f.KIND]  # (unit, slot)
    slot = np.maximum(did[..., SLOT], 0)
    kind = kinds[np.arange(recording.num_units), slot]
    deed = np.where(did[..., STEPS] > 0, DEED_MOVE, DEED_NONE)
    deed = np.where(did[..., SWINGS] > 0, DEED_SWING, deed)
    return np.where(did[..., SKILLS] > 0, DEED_SWING + kind, deed).astype(np.int8)


def next_deed(recording: Recording, horizon: int = SECOND) -> Label:
    """The first swing or skill within the horizon; without one a move if it steps, else none.

    Returns:
        int8 `(time, fight, unit)`, index into `DEEDS`.
    """
    now = deeds(recording)
    first = np.zeros_like(now)
    padded = np.concatenate([now, np.zeros((horizon, *now.shape[1:]), np.int8)])
    for step in range(horizon):
        deed = padded[step : step + len(now)]
        first = np.where((first < DEED_SWING) & (deed > first), deed, first)
    return Label(first, _of_the_living(recording, horizon))


def future_hp(recording: Recording, at: tuple[int, ...] = (5, 10, 15, 20, 25)) -> Label:
    """HP shares of all units so many decisions later.

    Returns:
        float32 `(time, fight, unit, moment)`; valid for units alive now.
    """
    share = (recording.hp / recording.max_hp).astype(np.float32)
    value = np.stack([later(share, horizon) for horizon in at], axis=-1)
    return Label(value, np.stack([_of_the_living(recording, horizon) for horizon in at], axis=-1))


def style(recording: Recording, window: int) -> Label:
    """Style of a unit over the `window` decisions before t: those from max(t - window, 0) to t - 1.

    Returns:
        int8 `(time, fight, unit)`, index into `STYLES`; time 0 .. windows, as states. Valid for units that
        live, follow no orders, and kept one style over the window; see `switched` for the others.
    """
    last, first, known = _styles(recording, window)
    return Label(last, known & (last == first))


def switched(recording: Recording, window: int) -> Label:
    """Style in force at the end of a window in which it changed: held out from training by use.

    Returns:
        int8 `(time, fight, unit)` as `style`; valid only where the style changed within the window.
    """
    last, first, known = _styles(recording, window)
    return Label(last, known & (last != first))


def contrastive_pairs(recording: Recording, window: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Pairs of windows of one opponent in one style, not overlapping.

    Returns:
        int32 `(pair, 4)`: fight, unit, end of the earlier and of the later window (as time in `style`);
        pairs with the same fight and unit are alike, all others are contrasts. Empty if no fight is long
        enough.
    """
    label, pure = style(recording, window)
    pure = pure.copy()
    pure[:window] = False  # whole windows only
    found: list[np.ndarray] = []
    pure_counts = pure.sum(axis=0)
    fights, units = np.nonzero(pure_counts > window)
    if not len(fights):
        return np.zeros((0, 4), np.int32)
    for pick in rng.integers(0, len(fights), 4 * count):
        ends = np.flatnonzero(pure[:, fights[pick], units[pick]])
        early = rng.choice(ends)
        same = label[ends, fights[pick], units[pick]] == label[early, fights[pick], units[pick]]
        late = ends[(ends >= early + window) & same]
        if len(late):
            found.append(np.array([fights[pick], units[pick], early, rng.choice(late)]))
        if len(found) == count:
            break
    return np.array(found, np.int32).reshape(-1, 4)


def _styles(recording: Recording, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Style at the end and at the start of each window before state t, and where there is one."""
    # The column of state t + 1 says how decision t was taken: a switch happens as a window begins.
    column = recording.units[..., STYLE].astype(np.int8)
    time = np.arange(len(column))
    first = column[np.minimum(np.maximum(time - window, 0) + 1, np.maximum(time, 1))]
    scripted = recording.template[:, s.BRAIN] == 0
    ran = (time[:, None] <= recording.length) & (time[:, None] >= 1)
    return column, first, ran[..., None] & recording.alive & scripted


def _of_the_living(recording: Recording, horizon: int) -> np.ndarray:
    """Bool `(time, fight, unit)`: alive at t, and the horizon is known."""
    return recording.alive[:-1] & exact(recording, horizon)[..., None]
