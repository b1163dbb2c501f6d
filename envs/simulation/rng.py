"""Counter-based random numbers: no stored generator state, so order and batch never matter.

A draw is a hash of (key of seed, fight and episode; tick, side, slot, purpose). The mixing
function is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom
Number Generators", OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np
from numba import int64, njit, uint64

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_A = np.uint64(0xBF58476D1CE4E5B9)
MIX_B = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _33 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(33)

# Purposes of a draw, below 32.
P_ORDER, P_START, P_HIT, P_SWING, P_SKILL, P_STYLE, P_HELP, P_PICK, P_TRIAL = 0, 1, 2, 3, 4, 5, 6, 7, 8


@njit(cache=True, nogil=True)
def mix(z):
    """SplitMix64 finaliser, uint64 -> uint64."""
    z = (z ^ (z >> _30)) * MIX_A
    z = (z ^ (z >> _27)) * MIX_B
    return z ^ (z >> _31)


@njit(cache=True, nogil=True)
def fight_key(seed, fight, episode):
    """Key of one fight's random numbers, as int64 bits."""
    return int64(mix(mix(mix(uint64(seed) + GOLDEN) + uint64(fight) * MIX_A) + uint64(episode) * GOLDEN))


@njit(cache=True, nogil=True)
def draw(key, tick, stream, purpose):
    """A whole number in [0, 2^31); `stream` is 16 x side + slot."""
    counter = (tick << 10) | (stream << 5) | purpose
    return int64(mix(uint64(key) + uint64(counter) * GOLDEN) >> _33)
