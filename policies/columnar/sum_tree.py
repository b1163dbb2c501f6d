"""Numba kernels of the sum tree: draw a leaf with a chance in proportion to its value in O(log leaves).

The tree is a flat float64 array of 2 x leaves entries; entry 1 is the root, the children of entry i are 2i
and 2i + 1, leaf k is entry leaves + k, and the number of leaves is a power of two. A parent is always
recomputed as the sum of its two children and never by adding a difference, so rounding errors do not pile
up, and a tree rebuilt from its leaves equals the one that grew step by step bit for bit.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True)
def set_leaves(tree: NDArray[np.float64], leaves: int, first: int, values: NDArray[np.float64]) -> None:
    """Set consecutive leaves and bring their ancestors up to date.

    Args:
        tree: float64 (2 x leaves,), changed in place.
        leaves: Number of leaves.
        first: The first leaf to set.
        values: float64 (count,), not negative.
    """
    if values.shape[0] == 0:
        return
    low = first + leaves
    high = low + values.shape[0] - 1
    for k in range(values.shape[0]):
        tree[low + k] = values[k]
    while low > 1:
        low //= 2
        high //= 2
        for node in range(low, high + 1):
            tree[node] = tree[2 * node] + tree[2 * node + 1]


@numba.njit(cache=True)
def update_leaves(
    tree: NDArray[np.float64], leaves: int, indices: NDArray[np.int64], values: NDArray[np.float64]
) -> None:
    """Set scattered leaves that are not zero; a zero leaf is not for sampling and stays so.

    Args:
        tree: float64 (2 x leaves,), changed in place.
        leaves: Number of leaves.
        indices: int64 (count,), may repeat; the last one wins.
        values: float64 (count,), above zero.
    """
    for k in range(indices.shape[0]):
        node = indices[k] + leaves
        if tree[node] > 0.0:
            tree[node] = values[k]
            node //= 2
            while node >= 1:
                tree[node] = tree[2 * node] + tree[2 * node + 1]
                node //= 2


@numba.njit(cache=True)
def sample_leaves(
    tree: NDArray[np.float64], leaves: int, uniforms: NDArray[np.float64], out: NDArray[np.int64]
) -> None:
    """Draw leaves, one from each of equal slices of the total (Schaul et al. 2016, appendix B.2.1).

    Args:
        tree: float64 (2 x leaves,) with a positive total.
        leaves: Number of leaves.
        uniforms: float64 (count,) in [0, 1).
        out: int64 (count,), receives the leaves.
    """
    count = uniforms.shape[0]
    for k in range(count):
        rest = (k + uniforms[k]) / count * tree[1]
        node = 1
        while node < leaves:
            left = tree[2 * node]
            # The second condition keeps rounding at the right edge from walking into an empty subtree.
            if rest < left or tree[2 * node + 1] <= 0.0:
                node = 2 * node
            else:
                rest -= left
                node = 2 * node + 1
        out[k] = node - leaves
