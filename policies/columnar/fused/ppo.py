"""PPO's loss and its gradient at the network's outputs, in one pass over the minibatch."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

SURROGATE, VALUE_LOSS, CLIPPED_VALUE_LOSS, ENTROPY, KL, CLIPPED, TARGET_SUM, TARGET_SQUARES = range(8)
ERROR_SUM, ERROR_SQUARES, ESTIMATED_KL = range(8, 11)
NUM_SUMS = 11


@numba.njit(cache=True)
def ppo_loss(
    logits: NDArray[np.float32],
    values: NDArray[np.float32],
    mask: NDArray[np.bool_],
    old_logits: NDArray[np.float32],
    actions: NDArray[np.int64],
    old_logp: NDArray[np.float32],
    advantages: NDArray[np.float32],
    targets: NDArray[np.float32],
    clip: Any,
    value_clip: Any,
    value_coeff: Any,
    entropy_coeff: Any,
    kl_coeff: Any,
    logits_gradient: NDArray[np.float32],
    values_gradient: NDArray[np.float32],
    sums: NDArray[np.float64],
) -> None:
    """Gradient and figures; the formulas stand in `ColumnarPPOLearner.losses`.

    At logit j, with p the policy and a the action taken:
    surrogate: -A rho ([j = a] - p_j) / rows, where the clip lets the gradient through;
    entropy bonus: c_e p_j (log p_j + H) / rows; KL penalty: c_kl (p_j - p_old_j) / rows.

    Args:
        logits: (row, action), not masked.
        values: (row, 1)
        mask: (row, action) legal actions; (0, 0) if all are.
        old_logits: (row, action) masked, of the policy that acted; (0, 0) without KL penalty.
        actions: (row,)
        old_logp: (row,)
        advantages: (row,)
        targets: (row,)
        clip: float32.
        value_clip: float32.
        value_coeff: float32.
        entropy_coeff: float32.
        kl_coeff: float32.
        logits_gradient: (row, action), receives the gradient of the mean loss.
        values_gradient: (row, 1), the same.
        sums: float64 (NUM_SUMS,), receives figures summed over rows.
    """
    rows, num_actions = logits.shape
    share = np.float32(1.0) / np.float32(rows)
    log_p = np.empty(num_actions, np.float32)
    p = np.empty(num_actions, np.float32)
    masked, penalised = mask.shape[0] > 0, old_logits.shape[0] > 0
    zero, one, two = np.float32(0.0), np.float32(1.0), np.float32(2.0)
    sums[:] = 0.0
    for k in range(rows):
        highest = np.float32(-np.inf)
        for j in range(num_actions):
            if (not masked or mask[k, j]) and logits[k, j] > highest:
                highest = logits[k, j]
        total = zero
        for j in range(num_actions):
            if masked and not mask[k, j]:
                p[j] = zero
                log_p[j] = zero
            else:
                log_p[j] = logits[k, j] - highest
                p[j] = np.exp(log_p[j])
                total += p[j]
        log_total = np.log(total)
        entropy = zero
        for j in range(num_actions):
            if p[j] > zero:
                p[j] /= total
                log_p[j] -= log_total
                entropy -= p[j] * log_p[j]
        action = actions[k]
        log_ratio = log_p[action] - old_logp[k]
        ratio = np.exp(log_ratio)
        advantage = advantages[k]
        bounded = min(max(ratio, one - clip), one + clip)
        free, cut = advantage * ratio, advantage * bounded
        slope = -advantage * ratio * share if free <= cut else zero
        pull = entropy_coeff * share
        for j in range(num_actions):
            gradient = -slope * p[j] + pull * p[j] * (log_p[j] + entropy)
            logits_gradient[k, j] = gradient
        logits_gradient[k, action] += slope
        if penalised:
            penalty = kl_coeff * share
            top = np.float32(-np.inf)
            for j in range(num_actions):
                top = max(top, old_logits[k, j])
            old_total = zero
            for j in range(num_actions):
                old_total += np.exp(old_logits[k, j] - top)
            for j in range(num_actions):
                old_p = np.exp(old_logits[k, j] - top) / old_total
                logits_gradient[k, j] += penalty * (p[j] - old_p)
                if old_p > zero:
                    sums[KL] += old_p * (old_logits[k, j] - top - np.log(old_total) - log_p[j])
        error = values[k, 0] - targets[k]
        square = error * error
        values_gradient[k, 0] = two * value_coeff * error * share if square <= value_clip else zero
        sums[SURROGATE] += min(free, cut)
        sums[VALUE_LOSS] += square
        sums[CLIPPED_VALUE_LOSS] += min(square, value_clip)
        sums[ENTROPY] += entropy
        sums[ESTIMATED_KL] += ratio - one - log_ratio
        sums[CLIPPED] += ratio != bounded
        sums[TARGET_SUM] += targets[k]
        sums[TARGET_SQUARES] += targets[k] * targets[k]
        sums[ERROR_SUM] += error
        sums[ERROR_SQUARES] += square
