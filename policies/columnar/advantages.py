"""Generalised advantage estimation over columns."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True)
def advantages(
    rewards: NDArray[np.float32],
    values: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    gamma: float,
    lambda_: float,
    out: NDArray[np.float32],
) -> None:
    """Advantages of every step; an autoreset row gets 0 and nothing flows through it.

    delta(t) = r(t) + gamma V(t + 1) (not terminated) - V(t)
    A(t) = delta(t) + gamma lambda A(t + 1) (while the episode goes on)
    (Schulman et al. 2016, eq. 16; with NEXT_STEP autoreset row t + 1 of an end holds its last observation, so
    a truncated episode bootstraps from V(t + 1))

    Args:
        rewards: (row, time).
        values: (row, time + 1).
        terminated: (row, time).
        truncated: (row, time).
        valid: (row, time), False for autoreset rows.
        gamma: Discount.
        lambda_: Weight of longer returns.
        out: float32 (row, time), receives the advantages.
    """
    rows, time = rewards.shape
    for k in range(rows):
        following = 0.0
        for t in range(time - 1, -1, -1):
            if not valid[k, t]:
                out[k, t] = 0.0
                following = 0.0
                continue
            goal = rewards[k, t]
            if not terminated[k, t]:
                goal += gamma * values[k, t + 1]
            advantage = goal - values[k, t]
            if not (terminated[k, t] or truncated[k, t]):
                advantage += gamma * lambda_ * following
            out[k, t] = advantage
            following = advantage
