from itertools import pairwise

import pytest

from experiments.seeds import BLOCK, Purpose, describe, purpose_of, seed_for


def test_every_seed_lies_in_the_lower_half_of_its_purpose_block() -> None:
    for purpose in Purpose:
        for base in (0, 1, 2**40):
            for stream in range(50):
                seed = seed_for(purpose, base, "tank", stream)
                assert purpose * BLOCK <= seed < purpose * BLOCK + BLOCK // 2
                # An environment may add its number, up to half a block, without leaving the purpose.
                assert purpose_of(seed) is purpose_of(seed + BLOCK // 2) is purpose


def test_evaluation_shares_no_seed_with_training_or_selection() -> None:
    seeds = {p: {seed_for(p, b, a) for b in range(100) for a in ("tank", "mage")} for p in Purpose}
    for purpose in (Purpose.TRAINING, Purpose.SELECTION, Purpose.RECORDING, Purpose.PLAY, Purpose.WARM_UP):
        assert not seeds[Purpose.EVALUATION] & seeds[purpose]


def test_same_arguments_same_seed_and_other_arguments_another() -> None:
    assert seed_for(Purpose.PLAY, 3, "tank") == seed_for(Purpose.PLAY, 3, "tank")
    others = {seed_for(Purpose.PLAY, 4, "tank"), seed_for(Purpose.PLAY, 3, "mage"), seed_for(Purpose.PLAY, 3)}
    assert seed_for(Purpose.PLAY, 3, "tank") not in others and len(others) == 3


def test_all_blocks_fit_into_a_signed_32_bit_integer_and_do_not_overlap() -> None:
    blocks = list(describe().values())
    assert all(last < 2**31 for _, last in blocks)
    assert all(before[1] < after[0] for before, after in pairwise(blocks))


def test_a_number_outside_every_block_is_refused() -> None:
    with pytest.raises(ValueError):
        purpose_of(100 * BLOCK)
