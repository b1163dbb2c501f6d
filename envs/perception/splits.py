"""Training, validation and test sets by fight: all rows of a fight go to one set, whoever computes it."""

from __future__ import annotations

import numpy as np

from envs.perception.recording import Recording

SPLITS = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)

# Constants of SplitMix64; the start differs from the one of the fights' own random numbers.
_START = np.uint64(0xD1B54A32D192ED03)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


def split_of(
    seed: np.ndarray | int,
    number: np.ndarray | int,
    episode: np.ndarray | int = 0,
    shares: tuple[float, float, float] = SHARES,
) -> np.ndarray:
    """Which set a fight belongs to, by a hash of what names it: neither its rows nor their order matter.

    Args:
        seed: seed of the world (or its bits as int64); number and episode likewise int `(fight,)`.
        number: number of the fight under its seed.
        episode: episode of that fight.
        shares: of the three sets; their sum must be 1.

    Returns:
        int8 `(fight,)`, index into `SPLITS`.

    Raises:
        ValueError: shares that are negative or do not sum to 1.
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares {shares} of the sets: none may be negative and their sum must be 1")
    with np.errstate(over="ignore"):
        key = _mix(_bits(seed) + _START)
        key = _mix(key + _bits(number) * _GOLDEN)
        key = _mix(key + _bits(episode) * _GOLDEN)
    place = (key >> _11) * 2.0**-53  # [0, 1)
    return np.searchsorted(np.cumsum(shares)[:2], place, side="right").astype(np.int8)


def split(recording: Recording, shares: tuple[float, float, float] = SHARES) -> dict[str, Recording]:
    """The recording's fights by set; a set may be empty."""
    which = split_of(recording.seed, recording.number, recording.episode, shares)
    return {name: recording.fights(which == index) for index, name in enumerate(SPLITS)}


def _bits(values: np.ndarray | int) -> np.ndarray:
    """Any whole number as 64 bits."""
    if isinstance(values, int):
        return np.array([values & (2**64 - 1)], np.uint64)
    return np.asarray(values).astype(np.uint64)


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> _30)) * _MIX_A
    z = (z ^ (z >> _27)) * _MIX_B
    return z ^ (z >> _31)
