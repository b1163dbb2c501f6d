"""The sum tree: sums, draws by hand, rebuilding."""

from __future__ import annotations

import numpy as np

from policies.columnar.sum_tree import sample_leaves, set_leaves, update_leaves


def test_sums_by_hand() -> None:
    tree = np.zeros(8)
    set_leaves(tree, 4, 0, np.array([1.0, 2.0, 3.0, 4.0]))
    # leaves 1 2 3 4, parents 3 7, root 10
    assert tree.tolist() == [0.0, 10.0, 3.0, 7.0, 1.0, 2.0, 3.0, 4.0]
    update_leaves(tree, 4, np.array([1, 1], np.int64), np.array([9.0, 5.0]))
    assert tree.tolist() == [0.0, 13.0, 6.0, 7.0, 1.0, 5.0, 3.0, 4.0]


def test_zero_leaf_stays_out_of_sampling() -> None:
    tree = np.zeros(8)
    set_leaves(tree, 4, 0, np.array([1.0, 0.0, 3.0, 4.0]))
    update_leaves(tree, 4, np.array([1], np.int64), np.array([5.0]))
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
        update_leaves(grown, 64, random.integers(0, 50, 7), random.random(7))
        set_leaves(grown, 64, int(random.integers(0, 40)), random.random(9))
    rebuilt = np.zeros(2 * 64)
    set_leaves(rebuilt, 64, 0, grown[64:].copy())
    assert np.array_equal(grown, rebuilt)
