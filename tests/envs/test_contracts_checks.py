"""Observations and masks from outside: good ones pass, each bad one is a single clear line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from envs.contracts import ContractError, check_masks, check_observations

ROW = [0.5] * 64


def changed(index: int, value: Any) -> list[Any]:
    return [*ROW[:index], value, *ROW[index + 1 :]]


def test_one_row_and_many_rows_become_float32() -> None:
    one = check_observations(ROW)
    assert one.shape == (1, 64) and one.dtype == np.float32
    assert check_observations([ROW, ROW, ROW]).shape == (3, 64)
    assert check_observations(np.zeros((2, 64))).shape == (2, 64)


def test_the_limits_belong_to_the_range() -> None:
    assert check_observations(changed(3, -2))[0, 3] == -2.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (ROW[:63], "expected 64 numbers (obs_v1), got shape 63"),
        ([ROW, ROW[:5]], "got something that is not a list of numbers"),
        ([[ROW]], "got shape 1x1x64"),
        (0.5, "got shape a single number"),
        (None, "got shape a single number"),
        ([], "got shape 0"),
        ("abc", "not a list of numbers"),
        ({"a": 1}, "not a list of numbers"),
        (changed(3, math.nan), "value 3 of row 0 is nan; every value must be a finite number"),
        ([ROW, changed(63, -math.inf)], "value 63 of row 1 is -inf"),
        (changed(0, None), "value 0 of row 0 is nan"),
        (changed(0, "x"), "not a list of numbers"),
        (changed(0, 10**400), "not a list of numbers"),
        (changed(7, 2.01), "value 7 of row 0 is 2.01, outside [-2, 2]"),
    ],
)
def test_bad_observations(values: Any, message: str) -> None:
    with pytest.raises(ContractError) as raised:
        check_observations(values)
    text = str(raised.value)
    assert message in text and "\n" not in text and text.startswith("observation: ")


@pytest.mark.filterwarnings("error")
def test_a_number_beyond_float32_is_refused_without_a_warning() -> None:
    with pytest.raises(ContractError, match="value 5 of row 0 is inf"):
        check_observations(changed(5, 1e300))


def test_masks_become_booleans() -> None:
    mask = check_masks([1, 0, 0, 0, 0, 0, 0, 0, 0, 1.0], 1)
    assert mask.dtype == bool and mask.tolist() == [[True] + [False] * 8 + [True]]
    assert check_masks([[True] * 10] * 3, 3).shape == (3, 10)
    assert check_masks([0] * 69 + [1], 1, actions=70).shape == (1, 70)
    with pytest.raises(ContractError, match="expected 70 values of 0 or 1, got shape 10"):
        check_masks([1] * 10, 1, actions=70)


@pytest.mark.parametrize(
    ("values", "rows", "message"),
    [
        ([1] * 9, 1, "expected 10 values of 0 or 1, got shape 9"),
        ([[1] * 10], 2, "got shape 1x10"),
        ([1] * 9 + [2], 1, "every value must be 0 (illegal) or 1 (legal)"),
        ([1] * 9 + [math.nan], 1, "every value must be 0 (illegal) or 1 (legal)"),
        ([0] * 10, 1, "at least one action must be legal"),
        ([[1] * 10, [0] * 10], 2, "at least one action must be legal"),
        ("yes", 1, "expected 10 values of 0 or 1"),
    ],
)
def test_bad_masks(values: Any, rows: int, message: str) -> None:
    with pytest.raises(ContractError) as raised:
        check_masks(values, rows)
    text = str(raised.value)
    assert message in text and "\n" not in text and text.startswith("action_mask: ")
