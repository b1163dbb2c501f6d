"""What one round of acting leaves behind: columns `(env, time, ...)`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass
class Rollout:
    """Consecutive steps of all environments; the runner's own buffers, overwritten by its next round.

    Row (env, t) holds what was seen before step t, what was done, and what came of it; what was seen after
    it is row (env, t + 1). With NEXT_STEP autoreset the row after an end is no step of an episode: its
    observation is the last of the old one, its action was ignored; `valid` is False there.
    In a pack "env" counts members, fight by fight.
    """

    obs: NDArray[np.float32]
    """(env, time + 1, observation)"""
    action_mask: NDArray[np.bool_] | None
    """(env, time + 1, action); the legal actions at that observation. None for continuous actions."""
    actions: NDArray[Any]
    """(env, time) int64, or (env, time, component) float32."""
    rewards: NDArray[np.float32]
    """(env, time); scaled for value learning."""
    terminated: NDArray[np.bool_]
    """(env, time); the episode ended, nothing follows."""
    truncated: NDArray[np.bool_]
    """(env, time); the episode was cut, its last observation still has a value."""
    valid: NDArray[np.bool_]
    """(env, time); False for autoreset rows."""
    central: NDArray[np.float32] | None = None
    """(fight, time + 1, state) what the critic of a pack sees, in training only."""
    alive: NDArray[np.bool_] | None = None
    """(env, time + 1); whether the member of a pack lived at that observation."""
    extra: dict[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    """What else the module gave while acting, by name, (env, time, ...); such as action_logp."""
    start: dict[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    """Recurrent state before the first step, by name, (env, ...)."""
    values: NDArray[np.float32] | None = None
    """(env, time + 1) the critic's values, where advantages need them."""

    @classmethod
    def empty(
        cls,
        num_envs: int,
        time: int,
        observation_size: int,
        num_actions: int = 0,
        action_shape: tuple[int, ...] = (),
    ) -> Rollout:
        """Allocate buffers.

        Args:
            num_envs: Environments.
            time: Steps per environment.
            observation_size: Numbers per observation.
            num_actions: Actions of a discrete action space, 0 for continuous actions.
            action_shape: () for discrete actions, (component,) for continuous ones.
        """
        return cls(
            obs=np.zeros((num_envs, time + 1, observation_size), np.float32),
            action_mask=np.ones((num_envs, time + 1, num_actions), np.bool_) if num_actions else None,
            actions=np.zeros((num_envs, time, *action_shape), np.float32 if action_shape else np.int64),
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


def joined(rollouts: Sequence[Rollout]) -> Rollout:
    """Put the rounds of several env runners side by side, one after the other along the env axis."""
    if len(rollouts) == 1:
        return rollouts[0]

    def join(parts: list[Any]) -> Any:
        if parts[0] is None:
            return None
        if isinstance(parts[0], dict):
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return np.concatenate(parts)

    return Rollout(
        **{
            field.name: join([getattr(rollout, field.name) for rollout in rollouts])
            for field in dataclasses.fields(Rollout)
        }
    )
