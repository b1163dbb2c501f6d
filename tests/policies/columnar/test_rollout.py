"""Rounds: empty buffers, and several runners' rounds side by side."""

from __future__ import annotations

import numpy as np

from policies.columnar.rollout import Rollout, joined


def filled(first: int, num_envs: int) -> Rollout:
    """A round whose numbers say which environment they are of: first, first + 1, ..."""
    rollout = Rollout.empty(num_envs, 2, 3, num_actions=4)
    envs = np.arange(first, first + num_envs)
    rollout.obs[:] = envs[:, None, None]
    rollout.actions[:] = envs[:, None]
    rollout.rewards[:] = envs[:, None]
    rollout.valid[:] = envs[:, None] % 2 == 0
    rollout.extra = {"action_logp": np.repeat(-envs[:, None].astype(np.float32), 2, axis=1)}
    rollout.start = {"state_h": np.repeat(envs[:, None].astype(np.float32), 5, axis=1)}
    return rollout


def test_shapes_of_discrete_and_continuous_rounds() -> None:
    discrete = Rollout.empty(2, 3, 4, num_actions=5)
    assert discrete.action_mask is not None and discrete.action_mask.shape == (2, 4, 5)
    assert discrete.action_mask.all() and discrete.actions.dtype == np.int64
    assert (discrete.num_envs, discrete.time) == (2, 3)
    continuous = Rollout.empty(2, 3, 4, action_shape=(2,))
    assert continuous.action_mask is None and continuous.values is None
    assert continuous.actions.shape == (2, 3, 2) and continuous.actions.dtype == np.float32


def test_joined_rounds_stand_one_after_the_other() -> None:
    together = joined([filled(0, 2), filled(2, 3)])
    assert (together.num_envs, together.time) == (5, 2)
    assert together.obs[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert together.actions[:, 1].tolist() == [0, 1, 2, 3, 4]
    assert together.valid[:, 0].tolist() == [True, False, True, False, True]
    assert together.extra["action_logp"][:, 0].tolist() == [0, -1, -2, -3, -4]
    assert together.start["state_h"].shape == (5, 5)
    assert together.action_mask is not None and together.action_mask.shape == (5, 3, 4)
    assert together.values is None and together.central is None and together.alive is None


def test_one_round_is_handed_on() -> None:
    only = filled(0, 2)
    assert joined([only]) is only
