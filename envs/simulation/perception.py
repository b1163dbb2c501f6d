"""What minds other than the plain ones perceive, for a whole batch of fights: compiled, into given arrays.

The same numbers as `central_state`, `spatial_grid`, `sequence_token` and `opponent_windows` of
`envs.contracts`, byte for byte (tests hold them to that); those say what each value means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.contracts.central import CENTRAL_LEVELS, CENTRAL_SIZE, CENTRAL_STYLES, CENTRAL_TIERS
from envs.contracts.grid import NUM_GRID_CHANNELS
from envs.contracts.token import TOKEN_SIZE
from envs.contracts.window import NUM_WINDOW_FEATURES, WINDOW_LENGTH
from envs.simulation import painter, perceiver
from envs.simulation import state as s
from envs.simulation.history import History
from envs.simulation.world import World


def central_batch(
    world: World, out: np.ndarray, *, team: int = 0, tier: str | None = None, level: int = 0
) -> None:
    """Write the central state of every fight; the enemies' present style is read from the world.

    Args:
        world: the fights.
        out: float32 `(fight, 256)`.
        team: the side that is "own".
        tier: the enemies' tier; None: not told.
        level: level of the curriculum, 1-5; 0 none.

    Raises:
        ValueError: an array of another shape or type, or an unknown tier.
    """
    _check(out, np.float32, (world.num_fights, CENTRAL_SIZE))
    place = -1 if tier is None else CENTRAL_TIERS.index(tier)
    world._split(
        lambda a, b: perceiver.central_slice(
            world.units, world.fights, world.world, team, place, level, CENTRAL_LEVELS, out, a, b
        )
    )


def grid_batch(history: History, observers: Sequence[int], out: np.ndarray) -> None:
    """Write the spatial grid of some units of every fight.

    Args:
        history: the world with its past.
        observers: unit indices.
        out: uint8 `(fight, observer, 12, size, size)`.

    Raises:
        ValueError: an array of another shape or type, or no such unit.
    """
    world, units = history.world, _units(history, observers)
    size = out.shape[-1]
    _check(out, np.uint8, (world.num_fights, len(units), NUM_GRID_CHANNELS, size, size))

    def work(start: int, stop: int) -> None:
        sums = np.zeros((size, size), np.int64)
        painter.grid_slice(
            world.units, world.skills, world.world, history.ring, history.filled, history.now,
            units, sums, out, start, stop,
        )  # fmt: skip

    world._split(work)


def token_batch(
    history: History, observers: Sequence[int], out: np.ndarray, actions: np.ndarray | None = None
) -> None:
    """Write the sequence token of some units of every fight.

    Args:
        history: the world with its past.
        observers: unit indices.
        out: float32 `(fight, observer, 80)`.
        actions: int32 `(fight, observer)`, what each did last, 0-9 or -1; None: what the units remember,
            which is the combat head's action.

    Raises:
        ValueError: an array of another shape or type, or no such unit.
    """
    world, units = history.world, _units(history, observers)
    shape = (world.num_fights, len(units))
    _check(out, np.float32, (*shape, TOKEN_SIZE))
    given = np.zeros((0, 0), np.int32) if actions is None else np.ascontiguousarray(actions, np.int32)
    if actions is not None:
        _check(given, np.int32, shape)
    world._split(
        lambda a, b: perceiver.token_slice(
            world.units, world.fights, world.skills, world.world, history.ring, history.filled,
            history.now, units, given, actions is None, out, a, b,
        )
    )  # fmt: skip


def window_batch(history: History, observers: Sequence[int], out: np.ndarray, mask: np.ndarray) -> None:
    """Move the pattern windows on by the present decision; call it once after every `push`.

    Args:
        history: the world with its past.
        observers: unit indices.
        out: float32 `(fight, observer, enemy slot, length, 16)`, as the last call left it; the present
            decision comes last. `new_windows` makes it.
        mask: bool `(fight, observer, enemy slot, length)`, True where both lived.

    Raises:
        ValueError: an array of another shape or type, or no such unit.
    """
    world, units = history.world, _units(history, observers)
    shape = (world.num_fights, len(units), world.units.shape[1] // 2, mask.shape[-1])
    _check(out, np.float32, (*shape, NUM_WINDOW_FEATURES))
    _check(mask, np.bool_, shape)
    world._split(
        lambda a, b: perceiver.window_slice(
            world.units, history.ring, history.filled, history.now, units, out, mask, a, b
        )
    )


def new_windows(
    history: History, observers: Sequence[int], length: int = WINDOW_LENGTH
) -> tuple[np.ndarray, np.ndarray]:
    """Return empty windows and their mask, as `window_batch` fills them."""
    shape = (history.world.num_fights, len(observers), history.world.units.shape[1] // 2, length)
    return np.zeros((*shape, NUM_WINDOW_FEATURES), np.float32), np.zeros(shape, bool)


def _units(history: History, observers: Sequence[int]) -> np.ndarray:
    units = np.asarray(observers, np.int64)
    count = history.world.units.shape[1]
    if units.ndim != 1 or ((units < 0) | (units >= count)).any():
        raise ValueError(f"observers {list(observers)}: a fight has units 0 to {count - 1}")
    return units


def _check(out: np.ndarray, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if out.dtype != dtype or out.shape != shape or not out.flags.c_contiguous:
        name = np.dtype(dtype).name
        raise ValueError(
            f"array of {out.dtype} {out.shape}: expected contiguous {name} {shape}; allocate it so"
        )


assert s.STYLES == CENTRAL_STYLES, "the central state names the styles in the simulation's order"
