"""What one round of acting leaves behind: columns `(env, time, ...)`."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Rollout:
    """Consecutive steps of all environments; the runner's own buffers, overwritten by its next round.

    Row (env, t) holds what was seen before step t, what was done, and what came of it; what was seen after
    it is row (env, t + 1). With NEXT_STEP autoreset the row after an end is no step of an episode: its
    observation is the last of the old one, its action was ignored; `valid` is False there.
    """

    obs: NDArray[np.float32]
    """(env, time + 1, observation)"""
    action_mask: NDArray[np.bool_]
    """(env, time + 1, action); the legal actions at that observation."""
    actions: NDArray[np.int64]
    """(env, time)"""
    rewards: NDArray[np.float32]
    """(env, time); scaled for value learning."""
    terminated: NDArray[np.bool_]
    """(env, time); the episode ended, nothing follows."""
    truncated: NDArray[np.bool_]
    """(env, time); the episode was cut, its last observation still has a value."""
    valid: NDArray[np.bool_]
    """(env, time); False for autoreset rows."""

    @classmethod
    def empty(cls, num_envs: int, time: int, observation_size: int, num_actions: int) -> Rollout:
        """Allocate buffers.

        Args:
            num_envs: Environments.
            time: Steps per environment.
            observation_size: Numbers per observation.
            num_actions: Actions of the discrete action space.
        """
        return cls(
            obs=np.zeros((num_envs, time + 1, observation_size), np.float32),
            action_mask=np.ones((num_envs, time + 1, num_actions), np.bool_),
            actions=np.zeros((num_envs, time), np.int64),
            rewards=np.zeros((num_envs, time), np.float32),
            terminated=np.zeros((num_envs, time), np.bool_),
            truncated=np.zeros((num_envs, time), np.bool_),
            valid=np.zeros((num_envs, time), np.bool_),
        )

    @property
    def num_envs(self) -> int:
        """Environments."""
        return self.rewards.shape[0]

    @property
    def time(self) -> int:
        """Steps per environment."""
        return self.rewards.shape[1]
