"""Random numbers of one fight: a hash of what they are for, so nothing has to be remembered.

The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable
Pseudorandom Number Generators", OOPSLA 2014).
"""

from __future__ import annotations

from enum import IntEnum

_BITS_64 = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_A = 0xBF58476D1CE4E5B9
_MIX_B = 0x94D049BB133111EB


class Purpose(IntEnum):
    """What a number is drawn for; a skill trial of slot k uses TRIAL + k."""

    ORDER = 0
    START = 1
    HIT = 2
    SWING = 3
    SKILL = 4
    STYLE = 5
    HELP = 6
    PICK = 7
    TRIAL = 8


def mix(value: int) -> int:
    """Scramble 64 bits."""
    z = value & _BITS_64
    z = ((z ^ (z >> 30)) * _MIX_A) & _BITS_64
    z = ((z ^ (z >> 27)) * _MIX_B) & _BITS_64
    return z ^ (z >> 31)


class Dice:
    """All random numbers of one episode of one fight."""

    def __init__(self, seed: int, fight: int, episode: int) -> None:
        """Make the key. `fight` is the fight's number under this seed."""
        self.key = mix(mix(mix(seed + _GOLDEN) + fight * _MIX_A) + episode * _GOLDEN)

    def draw(self, tick: int, stream: int, purpose: int) -> int:
        """Return a whole number in [0, 2^31); `stream` is 16 x side + slot of the unit that rolls."""
        counter = tick << 10 | stream << 5 | purpose
        return mix(self.key + counter * _GOLDEN) >> 33
