"""Batches of the counting environments, checked against the environment's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def recorded(trainer: Any, epochs: int) -> list[dict[str, Any]]:
    """Train, and keep a copy of every batch that the learner got, as arrays."""
    learner, batches = trainer.algorithm.learner, []
    update = learner.update_columns

    def recording(columns: dict[str, torch.Tensor]) -> Any:
        batches.append({name: column.numpy().copy() for name, column in columns.items()})
        return update(columns)

    learner.update_columns = recording
    for _ in range(epochs):
        trainer.train_epoch()
    return batches


def length(env: Any, episode: Any) -> Any:
    """Steps of an episode of the counting environment."""
    return 3 + (env + episode) % 4


def legal(env: Any, step: Any, num_actions: int = 4) -> Any:
    """The counting environment's mask, (row, action)."""
    mask = (np.arange(num_actions)[None] + env[:, None] + step[:, None]) % 2 == 0
    mask[:, 0] = True
    return mask


def check_transitions(batch: dict[str, Any], gamma: float, n_step: int, reward_factor: float) -> None:
    """Each row is a window of one episode of one environment: (env, step, episode) says all the rest."""
    env, step, episode = batch["obs"][:, 0], batch["obs"][:, 1], batch["obs"][:, 2]
    # The last observation of an episode is where an autoreset row would start.
    assert (step < length(env, episode)).all()
    taken = np.minimum(n_step, length(env, episode) - step)
    assert np.array_equal(batch["n_step"], taken)
    assert np.array_equal(batch["new_obs"][:, :3], np.stack((env, step + taken, episode), axis=1))
    ended = step + taken == length(env, episode)
    assert np.array_equal(batch["terminateds"], ended & (episode % 2 == 0))
    # Reward of step s (from 1): 1000 env + 100 episode + s
    total = sum(
        np.where(k < taken, gamma**k * (1000 * env + 100 * episode + step + k + 1), 0.0)
        for k in range(n_step)
    )
    np.testing.assert_allclose(batch["rewards"], total * reward_factor, rtol=1e-5)
