"""Double DQN's loss and its gradient at the network's output, in one pass over the batch."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

LOSS, Q_SUM, Q_MAX, TD_SUM, GOAL_SUM, GOAL_SQUARES, ERROR_SUM, ERROR_SQUARES = range(8)
NUM_SUMS = 8


@numba.njit(cache=True)
def _values(head: NDArray[np.float32], dueling: bool, out: NDArray[np.float32]) -> None:
    """Q-values of one row of a head, (1 + action,) if dueling; see `policies.combat_dqn.combine_dueling`."""
    if not dueling:
        for a in range(out.shape[0]):
            out[a] = head[a]
        return
    mean = np.float32(0.0)
    for a in range(out.shape[0]):
        mean += head[a + 1]
    mean /= np.float32(out.shape[0])
    for a in range(out.shape[0]):
        out[a] = head[0] + head[a + 1] - mean


@numba.njit(cache=True)
def dqn_loss(
    head: NDArray[np.float32],
    head_next: NDArray[np.float32],
    head_target: NDArray[np.float32],
    dueling: bool,
    mask: NDArray[np.bool_],
    next_mask: NDArray[np.bool_],
    actions: NDArray[np.int64],
    rewards: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    n_step: NDArray[np.float32],
    weights: NDArray[np.float32],
    discounts: NDArray[np.float32],
    gradient: NDArray[np.float32],
    td_error: NDArray[np.float32],
    sums: NDArray[np.float64],
) -> None:
    """Loss, gradient and figures; the formulas stand in `ColumnarDQNLearner.losses`.

    The Huber loss's slope is the TD error clipped to [-1, 1]. Of a dueling head the state value gets that
    slope, the chosen action's advantage (1 - 1/n) of it and every other advantage -1/n.

    Args:
        head: (row, output) of the online network at obs.
        head_next: of the network that chooses, at new_obs.
        head_target: of the target network, at new_obs.
        dueling: Whether column 0 is the state value.
        mask: (row, action) legal at obs; (0, 0) if all are. For figures only.
        next_mask: the same at new_obs.
        actions: (row,)
        rewards: (row,)
        terminated: (row,)
        n_step: (row,)
        weights: (row,)
        discounts: gamma^n by n.
        gradient: (row, output), receives the gradient of the mean loss.
        td_error: (row,), receives magnitudes.
        sums: float64 (NUM_SUMS,), receives figures summed over rows, the largest Q-value in Q_MAX.
    """
    rows, outputs = head.shape
    num_actions = outputs - 1 if dueling else outputs
    q = np.empty(num_actions, np.float32)
    chooser = np.empty(num_actions, np.float32)
    target = np.empty(num_actions, np.float32)
    share = np.float32(1.0) / np.float32(rows)
    part = np.float32(1.0) / np.float32(num_actions)
    sums[:] = 0.0
    sums[Q_MAX] = -np.inf
    for k in range(rows):
        _values(head[k], dueling, q)
        _values(head_next[k], dueling, chooser)
        _values(head_target[k], dueling, target)
        best = 0
        found = False
        for a in range(num_actions):
            if (next_mask.shape[0] == 0 or next_mask[k, a]) and (not found or chooser[a] > chooser[best]):
                best, found = a, True
        goal = rewards[k]
        if not terminated[k]:
            goal += discounts[int(n_step[k])] * target[best]
        action = actions[k]
        error = q[action] - goal
        magnitude = abs(error)
        td_error[k] = magnitude
        if magnitude < 1.0:
            huber, slope = np.float32(0.5) * error * error, error
        else:
            huber = magnitude - np.float32(0.5)
            slope = np.float32(1.0) if error > 0.0 else np.float32(-1.0)
        slope *= weights[k] * share
        if dueling:
            gradient[k, 0] = slope
            for a in range(num_actions):
                gradient[k, a + 1] = -slope * part
            gradient[k, action + 1] += slope
        else:
            for a in range(num_actions):
                gradient[k, a] = 0.0
            gradient[k, action] = slope
        sums[LOSS] += weights[k] * huber
        sums[Q_SUM] += q[action]
        for a in range(num_actions):
            if (mask.shape[0] == 0 or mask[k, a]) and q[a] > sums[Q_MAX]:
                sums[Q_MAX] = q[a]
        sums[TD_SUM] += magnitude
        sums[GOAL_SUM] += goal
        sums[GOAL_SQUARES] += goal * goal
        sums[ERROR_SUM] += error
        sums[ERROR_SQUARES] += error * error
