"""Helpers that drive fights in tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.contracts import layout as f
from envs.reference import ReferenceWorld
from envs.simulation import state as s
from envs.simulation.world import World

TEAMS = {
    "1v1": (("aggressive",), ("mage",)),
    "2v2": (("defensive", "ranged"), ("support", "tank")),
    "3v3": (("tank", "mage", "ranged"), ("support", "aggressive", "defensive")),
    "5v5": (
        ("mage", "tank", "support", "ranged", "aggressive"),
        ("defensive", "ranged", "mage", "tank", "support"),
    ),
}
"""Teams that differ between the sides and together hold every archetype and skill kind."""

ARRAYS = ("units", "stats", "outcome", "obs", "orders", "masks", "damage", "killer")


def random_actions(masks: np.ndarray, rng: np.random.Generator, *, illegal: float = 0.0) -> np.ndarray:
    """Draw one action per `(fight, unit)`: legal ones, and with the given chance each illegal one too."""
    allowed = masks | (rng.random(masks.shape) < illegal)
    return np.where(allowed, rng.random(masks.shape), -1.0).argmax(axis=-1).astype(np.int32)


def random_control(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw control actions, float32 `(*shape, 5)`: some zero, a few outside their box or NaN."""
    numbers = rng.uniform(-1.1, 1.1, (*shape, 5)).astype(np.float32)
    numbers[rng.random(numbers.shape) < 0.2] = 0.0
    numbers[rng.random(numbers.shape) < 0.02] = np.nan
    return numbers


def symmetric_terrain(rng: np.random.Generator, density: float, size: int = 32) -> np.ndarray:
    """Blocked cells drawn at random, bool `(size, size)`, point-symmetric with a free middle."""
    terrain = rng.random((size, size)) < density
    terrain |= terrain[::-1, ::-1]
    terrain[size // 2 - 1 : size // 2 + 1, size // 2 - 1 : size // 2 + 1] = False
    return terrain


def some_actions(
    world: World | ReferenceWorld, rng: np.random.Generator, *, illegal: float = 0.0
) -> np.ndarray:
    """Draw actions of the world's own head for all observed units (learners alone use them)."""
    if world.head == "control" and world.learners:
        return random_control(world.masks.shape[:2], rng)
    return random_actions(world.masks, rng, illegal=illegal)


def bits(array: np.ndarray) -> np.ndarray:
    """Floats as their bits, so that -0.0 and 0.0, or two NaNs, are told apart."""
    return array.view(np.uint32) if array.dtype == np.float32 else array


def assert_equal_worlds(one: World | ReferenceWorld, other: World | ReferenceWorld, place: Any) -> None:
    """Every array equal, floats bit for bit; a failure names the array and its first differing entries."""
    for name in ARRAYS:
        mine, its = bits(getattr(one, name)), bits(getattr(other, name))
        assert mine.shape == its.shape
        if not np.array_equal(mine, its):
            where = [tuple(int(v) for v in index) for index in np.argwhere(mine != its)[:5]]
            raise AssertionError(f"{place}: {name} differs at {where}: {[(mine[i], its[i]) for i in where]}")


def mirrored(units: np.ndarray, size: int) -> np.ndarray:
    """The same fights seen from the other side: teams exchanged, cells reflected in the middle."""
    n = units.shape[1]
    out = np.roll(units, n // 2, axis=1)
    out[..., f.TEAM] = 1 - out[..., f.TEAM]
    out[..., f.X] = size - 1 - out[..., f.X]
    out[..., f.Y] = size - 1 - out[..., f.Y]
    # A cell is only remembered while something is cast at it.
    aimed = out[..., f.CAST_SLOT] >= 0
    for column in (f.CAST_X, f.CAST_Y):
        out[..., column] = np.where(aimed, size - 1 - out[..., column], out[..., column])
    out[..., [s.ORDER + f.ORDER_DX, s.ORDER + f.ORDER_DY]] *= -1
    references = (
        f.TARGET, f.CAST_TARGET, f.TAUNT_BY, s.LAST_ATTACKER, s.KILLER, s.LAST_VICTIM, s.SHIELD_BY,
        s.ORDER + f.ORDER_TARGET,
    )  # fmt: skip
    for column in references:
        out[..., column] = np.where(out[..., column] >= 0, (out[..., column] + n // 2) % n, -1)
    return out


OTHER_SIDE = {
    s.RUNNING: s.RUNNING,
    s.WON_BY_KILL: s.LOST_BY_KILL,
    s.LOST_BY_KILL: s.WON_BY_KILL,
    s.WON_ON_TIME: s.LOST_ON_TIME,
    s.LOST_ON_TIME: s.WON_ON_TIME,
    s.DRAW: s.DRAW,
}
