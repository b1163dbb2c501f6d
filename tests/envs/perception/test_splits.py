from __future__ import annotations

import itertools

import numpy as np
import pytest

from envs.perception.splits import SPLITS, split, split_of
from tests.envs.perception.small import small


def test_shares_and_independence() -> None:
    which = split_of(7, np.arange(40_000), 0)
    # Standard deviation of a share of 0.8 over 40,000 fights: 0.002.
    np.testing.assert_allclose(np.bincount(which) / 40_000, [0.8, 0.1, 0.1], atol=0.008)
    other = split_of(8, np.arange(40_000), 0)
    # Independent of each other, two seeds agree in 0.64 + 0.01 + 0.01 of the fights.
    assert abs((which == other).mean() - 0.66) < 0.012
    again = split_of(7, np.arange(40_000), 1)
    assert abs((which == again).mean() - 0.66) < 0.012


def test_a_fight_keeps_its_set_wherever_it_stands() -> None:
    number = np.arange(100)
    which = split_of(np.full(100, -3), number, np.full(100, 2))
    order = np.random.default_rng(0).permutation(100)
    assert (split_of(np.full(100, -3), number[order], np.full(100, 2)) == which[order]).all()
    assert (split_of(2**64 - 3, number, 2) == which).all()  # the same seed, as its 64 bits
    assert int(split_of(-3, 17, 2)[0]) == which[17]


def test_no_fight_is_in_two_sets_and_none_is_lost() -> None:
    recording = small([3] * 60, [True] * 60)
    recording.hp[:] = np.arange(60)[None, :, None]  # every row tells of its fight
    parts = split(recording, (0.5, 0.25, 0.25))
    assert tuple(parts) == SPLITS
    numbers = [part.number.tolist() for part in parts.values()]
    assert sorted(itertools.chain(*numbers)) == list(range(60)) and all(numbers)
    for part in parts.values():
        assert (part.hp == part.number[None, :, None]).all() and part.damage.shape[1] == part.num_fights


def test_wrong_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="sum must be 1"):
        split_of(0, 0, 0, (0.8, 0.1, 0.2))
