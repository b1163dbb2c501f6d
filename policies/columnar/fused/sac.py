"""Soft actor-critic's losses and their gradients at the networks' outputs, in passes over the batch."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

CRITIC_LOSS, TD_SUM, GOAL_SUM, GOAL_SQUARES, ERROR_SUM, ERROR_SQUARES, CHOSEN_SUM, CHOSEN_MAX, LOGP_SUM = (
    range(9)
)
NUM_SUMS = 9
_LOG_2 = np.float32(math.log(2.0))
_LOG_SQRT_2_PI = np.float32(0.5 * math.log(2.0 * math.pi))


@numba.njit(cache=True)
def squash(
    head: NDArray[np.float32],
    noise: NDArray[np.float32],
    log_std_min: Any,
    log_std_max: Any,
    actions: NDArray[np.float32],
    logp: NDArray[np.float32],
) -> None:
    """Actions and log densities; the formulas stand in `policies.soft_actor_critic.squashed_sample`.

    With e = exp(-2|u|): tanh(u) = sign(u) (1 - e) / (1 + e),
    log(1 - tanh(u)^2) = 2 (log 2 - |u| - log(1 + e)).

    Args:
        head: (row, 2 x action) mean and log standard deviation before its limits.
        noise: (row, action) standard normal.
        log_std_min: float32.
        log_std_max: float32.
        actions: (row, action), receives tanh(u).
        logp: (row,), receives log densities.
    """
    rows, size = noise.shape
    one, two = np.float32(1.0), np.float32(2.0)
    for k in range(rows):
        total = np.float32(0.0)
        for i in range(size):
            log_std = min(max(head[k, size + i], log_std_min), log_std_max)
            n = noise[k, i]
            u = head[k, i] + np.exp(log_std) * n
            e = np.exp(-two * abs(u))
            value = (one - e) / (one + e)
            actions[k, i] = value if u >= 0.0 else -value
            squashing = two * (_LOG_2 - abs(u) - np.log1p(e))
            total += np.float32(-0.5) * n * n - log_std - _LOG_SQRT_2_PI - squashing
        logp[k] = total


@numba.njit(cache=True)
def critic_loss(
    predicted: NDArray[np.float32],
    target: NDArray[np.float32],
    next_logp: NDArray[np.float32],
    alpha: Any,
    rewards: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    n_step: NDArray[np.float32],
    weights: NDArray[np.float32],
    discounts: NDArray[np.float32],
    gradient: NDArray[np.float32],
    td_error: NDArray[np.float32],
    sums: NDArray[np.float64],
) -> None:
    """Both critics' Huber loss and its gradient; formulas in `ColumnarSACLearner.losses`.

    Args:
        predicted: (critic, row, 1) at obs and the actions taken.
        target: (critic, row, 1) of the target critics at new_obs and next actions.
        next_logp: (row,) of the next actions.
        alpha: float32, the temperature.
        rewards: (row,)
        terminated: (row,)
        n_step: (row,)
        weights: (row,)
        discounts: gamma^n by n.
        gradient: (critic, row, 1), receives the gradient of the mean loss.
        td_error: (row,), receives the mean magnitude of both critics' errors.
        sums: float64 (NUM_SUMS,), reset; receives figures summed over rows.
    """
    critics, rows, _ = predicted.shape
    share = np.float32(1.0) / np.float32(rows)
    sums[:] = 0.0
    for k in range(rows):
        goal = rewards[k]
        if not terminated[k]:
            value = target[0, k, 0]
            for c in range(1, critics):
                value = min(value, target[c, k, 0])
            goal += discounts[int(n_step[k])] * (value - alpha * next_logp[k])
        total = np.float32(0.0)
        for c in range(critics):
            error = predicted[c, k, 0] - goal
            magnitude = abs(error)
            total += magnitude
            if magnitude < 1.0:
                sums[CRITIC_LOSS] += weights[k] * np.float32(0.5) * error * error
                slope = error
            else:
                sums[CRITIC_LOSS] += weights[k] * (magnitude - np.float32(0.5))
                slope = np.float32(1.0) if error > 0.0 else np.float32(-1.0)
            gradient[c, k, 0] = slope * weights[k] * share
        td_error[k] = total / np.float32(critics)
        error = predicted[0, k, 0] - goal
        sums[TD_SUM] += td_error[k]
        sums[GOAL_SUM] += goal
        sums[GOAL_SQUARES] += goal * goal
        sums[ERROR_SUM] += error
        sums[ERROR_SQUARES] += error * error


@numba.njit(cache=True)
def smaller_critic(
    chosen: NDArray[np.float32], gradient: NDArray[np.float32], sums: NDArray[np.float64]
) -> None:
    """Gradient of -mean over rows of the smaller critic, at the critics' outputs.

    Args:
        chosen: (critic, row, 1) at obs and the policy's own actions.
        gradient: (critic, row, 1), receives it.
        sums: receives CHOSEN_SUM and CHOSEN_MAX.
    """
    critics, rows, _ = chosen.shape
    share = np.float32(1.0) / np.float32(rows)
    sums[CHOSEN_SUM], sums[CHOSEN_MAX] = 0.0, -np.inf
    for k in range(rows):
        best = 0
        for c in range(1, critics):
            if chosen[c, k, 0] < chosen[best, k, 0]:
                best = c
        for c in range(critics):
            gradient[c, k, 0] = -share if c == best else np.float32(0.0)
        sums[CHOSEN_SUM] += chosen[best, k, 0]
        sums[CHOSEN_MAX] = max(sums[CHOSEN_MAX], chosen[best, k, 0])


@numba.njit(cache=True)
def actor_gradient(
    head: NDArray[np.float32],
    noise: NDArray[np.float32],
    actions: NDArray[np.float32],
    logp: NDArray[np.float32],
    through_critics: NDArray[np.float32],
    offset: int,
    alpha: Any,
    log_std_min: Any,
    log_std_max: Any,
    gradient: NDArray[np.float32],
    sums: NDArray[np.float64],
) -> None:
    """Gradient of mean(alpha logp - min Q) at the actor's output.

    With a = tanh(u), u = mean + std n: d logp / du = 2 a, da / du = 1 - a^2, du / d mean = 1,
    du / d log std = std n, and logp holds -log std by itself. Beyond its limits log std gets no gradient.

    Args:
        head: (row, 2 x action) as in `squash`.
        noise: (row, action)
        actions: (row, action) from `squash`.
        logp: (row,) from `squash`.
        through_critics: (critic, row, input), gradient of -min Q at the critics' input.
        offset: Where the actions begin in that input.
        alpha: float32, the temperature.
        log_std_min: float32.
        log_std_max: float32.
        gradient: (row, 2 x action), receives it.
        sums: receives LOGP_SUM.
    """
    critics = through_critics.shape[0]
    rows, size = noise.shape
    share = np.float32(1.0) / np.float32(rows)
    one, two = np.float32(1.0), np.float32(2.0)
    sums[LOGP_SUM] = 0.0
    for k in range(rows):
        sums[LOGP_SUM] += logp[k]
        for i in range(size):
            action = actions[k, i]
            at_action = np.float32(0.0)
            for c in range(critics):
                at_action += through_critics[c, k, offset + i]
            at_u = alpha * two * action * share + at_action * (one - action * action)
            raw = head[k, size + i]
            gradient[k, i] = at_u
            if raw < log_std_min or raw > log_std_max:
                gradient[k, size + i] = 0.0
            else:
                gradient[k, size + i] = at_u * np.exp(raw) * noise[k, i] - alpha * share
