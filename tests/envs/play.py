"""Helpers that drive fights in tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.reference import ReferenceWorld
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

ARRAYS = ("units", "stats", "outcome", "obs", "orders", "masks")


def random_actions(masks: np.ndarray, rng: np.random.Generator, *, illegal: float = 0.0) -> np.ndarray:
    """Draw one action per `(fight, unit)`: legal ones, and with the given chance each illegal one too."""
    allowed = masks | (rng.random(masks.shape) < illegal)
    return np.where(allowed, rng.random(masks.shape), -1.0).argmax(axis=-1).astype(np.int32)


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
