"""The sum tree: sums, draws by hand, rebuilding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from policies.columnar.sum_tree import (
    importance_weights,
    sample_leaves,
    set_leaves,
    td_priorities,
    update_leaves,
)


def update(tree: NDArray[np.float64], leaves: int, indices: list[int], values: list[float]) -> None:
    nodes = np.empty(len(indices), np.int64)
    update_leaves(tree, leaves, np.array(indices, np.int64), np.array(values), nodes)


def test_sums_by_hand() -> None:
    tree = np.zeros(8)
    set_leaves(tree, 4, 0, np.array([1.0, 2.0, 3.0, 4.0]))
    # leaves 1 2 3 4, parents 3 7, root 10
    assert tree.tolist() == [0.0, 10.0, 3.0, 7.0, 1.0, 2.0, 3.0, 4.0]
    update(tree, 4, [1, 1], [9.0, 5.0])
    assert tree.tolist() == [0.0, 13.0, 6.0, 7.0, 1.0, 5.0, 3.0, 4.0]


def test_zero_leaf_stays_out_of_sampling() -> None:
    tree = np.zeros(8)
    set_leaves(tree, 4, 0, np.array([1.0, 0.0, 3.0, 4.0]))
    update(tree, 4, [1], [5.0])
    assert tree[5] == 0.0 and tree[1] == 8.0


def test_draws_by_hand() -> None:
    tree = np.zeros(8)
    set_leaves(tree, 4, 0, np.array([1.0, 2.0, 3.0, 4.0]))
    drawn = np.zeros(5, np.int64)
    # Slices of 2: points 0, 2.98, 4, 7.9, 9.98; leaves end at 1, 3, 6, 10
    sample_leaves(tree, 4, np.array([0.0, 0.49, 0.0, 0.95, 0.99]), drawn)
    assert drawn.tolist() == [0, 1, 2, 3, 3]


def test_right_edge_never_falls_into_an_empty_leaf() -> None:
    tree = np.zeros(16)
    set_leaves(tree, 8, 0, np.array([0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0]))
    drawn = np.zeros(1000, np.int64)
    sample_leaves(tree, 8, np.full(1000, np.nextafter(1.0, 0.0)), drawn)
    assert set(drawn.tolist()) <= {0, 1, 2}


def test_rebuilt_tree_equals_the_grown_one() -> None:
    random = np.random.default_rng(0)
    grown = np.zeros(2 * 64)
    set_leaves(grown, 64, 0, random.random(50))
    for _ in range(200):
        update(grown, 64, random.integers(0, 50, 7).tolist(), random.random(7).tolist())
        set_leaves(grown, 64, int(random.integers(0, 40)), random.random(9))
    rebuilt = np.zeros(2 * 64)
    set_leaves(rebuilt, 64, 0, grown[64:].copy())
    assert np.array_equal(grown, rebuilt)


@pytest.mark.parametrize("indices", [[3, 0, 2, 0, 1], [2, 2, 2, 2, 2], [0, 1, 2, 3, 3], [3, 1, 3, 1, 3]])
def test_update_in_any_order_equals_setting_one_leaf_after_the_other(indices: list[int]) -> None:
    """The list of parents is shortened on the way up; repeated and unsorted leaves must not break it."""
    values = [0.1, 0.7, 0.3, 0.9, 0.2]
    tree, expected = np.zeros(8), np.zeros(8)
    for one in (tree, expected):
        set_leaves(one, 4, 0, np.array([1.0, 2.0, 3.0, 4.0]))
    update(tree, 4, indices, values)
    for index, value in zip(indices, values, strict=True):
        set_leaves(expected, 4, index, np.array([value]))
    assert tree.tolist() == expected.tolist()


def test_a_value_that_is_not_a_number_leaves_the_leaf() -> None:
    tree = np.zeros(8)
    set_leaves(tree, 4, 0, np.array([1.0, 2.0, 3.0, 4.0]))
    update(tree, 4, [0, 1], [math.nan, 5.0])
    # 1 + 5 + 3 + 4 = 13
    assert tree.tolist() == [0.0, 13.0, 6.0, 7.0, 1.0, 5.0, 3.0, 4.0]


def test_weights_by_hand() -> None:
    tree, weights = np.zeros(8), np.empty(3, np.float32)
    set_leaves(tree, 4, 0, np.array([1.0, 4.0, 16.0, 64.0]))
    # smallest drawn 4: (4 / 4) ** -0.5 = 1, (64 / 4) ** -0.5 = 1 / 4, (16 / 4) ** -0.5 = 1 / 2
    importance_weights(tree, 4, np.array([1, 3, 2], np.int64), 0.5, weights)
    assert weights.tolist() == [1.0, 0.25, 0.5]


def test_priorities_by_hand() -> None:
    out = np.empty(4)
    errors = np.array([-3.0, math.nan, 0.0, math.inf], np.float32)
    # (3 + 1) ** 0.5 = 2, (0 + 1) ** 0.5 = 1; the largest base is 4
    assert td_priorities(errors, 1.0, 0.5, out) == 4.0
    assert out[[0, 2]].tolist() == [2.0, 1.0] and np.isnan(out[[1, 3]]).all()
    assert td_priorities(errors[1:2], 1.0, 0.5, out) == 0.0
