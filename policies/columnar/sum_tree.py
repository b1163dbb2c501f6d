"""Numba kernels of the sum tree: draw a leaf with a chance in proportion to its value in O(log leaves).

The tree is a flat float64 array of 2 x leaves entries; entry 1 is the root, the children of entry i are 2i
and 2i + 1, leaf k is entry leaves + k, and the number of leaves is a power of two. A parent is always
recomputed as the sum of its two children and never by adding a difference, so rounding errors do not pile
up, and a tree rebuilt from its leaves equals the one that grew step by step bit for bit.

Draws and updates go level by level over the whole batch instead of row by row: the loads of one level do not
wait for each other, and no branch depends on a random number.
"""

from __future__ import annotations

import math
from typing import Any

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
    tree: NDArray[np.float64],
    leaves: int,
    indices: NDArray[np.int64],
    values: NDArray[np.float64],
    nodes: NDArray[np.int64],
) -> None:
    """Set scattered leaves that are not zero; a zero leaf is not for sampling and stays so.

    Args:
        tree: float64 (2 x leaves,), changed in place.
        leaves: Number of leaves.
        indices: int64 (count,), may repeat; the last one wins.
        values: float64 (count,), above zero; a value that is not a number leaves its leaf as it is.
        nodes: int64 (count,) or longer, scratch.
    """
    count = 0
    for k in range(indices.shape[0]):
        node = indices[k] + leaves
        if tree[node] > 0.0 and not math.isnan(values[k]):
            tree[node] = values[k]
            nodes[count] = node
            count += 1
    level = leaves
    while level > 1:
        level //= 2
        # Neighbours that share a parent need it once. Batches come in the order of the leaves, so the list
        # shrinks to one entry towards the root; in another order a parent is only computed more often.
        kept, last = 0, 0
        for k in range(count):
            node = nodes[k] >> 1
            tree[node] = tree[2 * node] + tree[2 * node + 1]
            nodes[kept] = node  # overwritten by the next one unless it is new
            kept += node != last
            last = node
        count = kept


@numba.njit(cache=True)
def sample_leaves(
    tree: NDArray[np.float64], leaves: int, uniforms: NDArray[np.float64], out: NDArray[np.int64]
) -> None:
    """Draw leaves, one from each of equal slices of the total (Schaul et al. 2016, appendix B.2.1).

    Args:
        tree: float64 (2 x leaves,) with a positive total.
        leaves: Number of leaves.
        uniforms: float64 (count,) in [0, 1); overwritten.
        out: int64 (count,), receives the leaves in ascending order.
    """
    count = uniforms.shape[0]
    for k in range(count):
        uniforms[k] = (k + uniforms[k]) / count * tree[1]
        out[k] = 1
    level = 1
    while level < leaves:
        for k in range(count):
            node = 2 * out[k]
            left = tree[node]
            # The second condition keeps rounding at the right edge from walking into an empty subtree.
            right_side = (uniforms[k] >= left) & (tree[node + 1] > 0.0)
            uniforms[k] -= left if right_side else 0.0
            out[k] = node + 1 if right_side else node
        level *= 2
    for k in range(count):
        out[k] -= leaves


@numba.njit(cache=True)
def importance_weights(
    tree: NDArray[np.float64], leaves: int, drawn: NDArray[np.int64], beta: float, out: NDArray[np.float32]
) -> None:
    """Weights that undo the preference for high priorities, the batch's largest being 1.

    weight = (value of the leaf / smallest such value in the batch) ** -beta
    (Schaul et al., 3.4, normalised by the batch's largest weight, so that the number of leaves cancels)

    Args:
        tree: float64 (2 x leaves,).
        leaves: Number of leaves.
        drawn: int64 (count,), leaves above zero.
        beta: 0 no correction, 1 full.
        out: float32 (count,), receives the weights.
    """
    smallest = np.inf
    for k in range(drawn.shape[0]):
        smallest = min(smallest, tree[leaves + drawn[k]])
    # float32 is as exact as the result, and its power takes half the time.
    exponent = np.float32(-beta)
    for k in range(drawn.shape[0]):
        out[k] = np.float32(tree[leaves + drawn[k]] / smallest) ** exponent


@numba.njit(cache=True)
def td_priorities(
    td_errors: NDArray[np.floating[Any]], floor: float, alpha: float, out: NDArray[np.float64]
) -> float:
    """Priorities of TD errors (Schaul et al., 3.3, proportional variant).

    priority = (|TD error| + floor) ** alpha

    Args:
        td_errors: (count,).
        floor: Keeps a row of no error drawable.
        alpha: 0 uniform, 1 in proportion.
        out: float64 (count,), receives the priorities; NaN for an error that is not finite.

    Returns:
        The largest |TD error| + floor among the finite ones, 0 without any.
    """
    largest = 0.0
    for k in range(td_errors.shape[0]):
        base = abs(td_errors[k]) + floor
        if base < np.inf:
            largest = max(largest, base)
            out[k] = base**alpha
        else:
            out[k] = np.nan
    return largest
