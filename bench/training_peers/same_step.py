"""Our environments as other trainers expect them: an ended fight begins again in the same step.

Ours begin again in the step after the end (Gymnasium's NEXT_STEP), which costs a row that is no transition.
Here the ended fights, and only those, begin at once, so that every row is a transition and no trainer works
for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from bench.training_peers.base import Task

REWARD_UNIT = 100.0
"""Trainers see reward / this, as ours do."""

Restart = Callable[[NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True)
class Step:
    """What one step of all fights gave.

    Attributes:
        obs: float32 `(fight, observation)`; of an ended fight the first one of the next episode.
        reward: float32 `(fight,)`.
        terminated: bool `(fight,)`; truncated likewise.
        ended: int64 `(end,)`, the fights that ended.
        last_obs: float32 `(end, observation)`, what they saw last.
    """

    obs: NDArray[np.float32]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    ended: NDArray[np.int64]
    last_obs: NDArray[np.float32]

    def next_obs(self) -> NDArray[np.float32]:
        """What each fight saw after its action, float32 `(fight, observation)`: of an ended one the last."""
        if not len(self.ended):
            return self.obs
        seen = self.obs.copy()
        seen[self.ended] = self.last_obs
        return seen


class SameStepEnv:
    """A vector environment with NEXT_STEP autoreset, turned into SAME_STEP.

    Args:
        env: environment that may overwrite its observations in the next step.
        restart: begins the next episode of the given fights and returns their observations,
            float32 `(row, observation)`; the other fights stand still.
        reward_unit: rewards are divided by it.
    """

    def __init__(self, env: VectorEnv, restart: Restart, reward_unit: float = 1.0) -> None:
        self.env, self.restart, self.reward_unit = env, restart, reward_unit
        self.num_envs = env.num_envs
        self.observation_space: Any = env.single_observation_space
        self.action_space: Any = env.single_action_space

    def reset(self, seed: int) -> NDArray[np.float32]:
        """Begin every fight under a seed; returns observations float32 `(fight, observation)`."""
        obs, _ = self.env.reset(seed=seed)
        return np.array(obs, np.float32)

    def step(self, actions: NDArray[Any]) -> Step:
        """Play one decision in every fight; the arrays returned are the caller's."""
        seen, reward, terminated, truncated, _ = self.env.step(actions)
        obs = np.array(seen, np.float32)
        ended = np.flatnonzero(terminated | truncated)
        last_obs = obs[ended]
        if len(ended):
            obs[ended] = self.restart(ended)
        return Step(
            obs,
            (reward / self.reward_unit).astype(np.float32),
            np.array(terminated),
            np.array(truncated),
            ended,
            last_obs,
        )


def fights(task: Task) -> SameStepEnv:
    """Make the fights of a task, natively vectorised, one thread."""
    from envs.arena import ArenaVectorEnv
    from envs.combat import CombatVectorEnv
    from envs.control import ControlVectorEnv

    head: type[ArenaVectorEnv] = ControlVectorEnv if task.algorithm == "sac" else CombatVectorEnv
    env = head(task.num_envs, "aggressive", opponent="classic", copy=False)
    return SameStepEnv(env, lambda rows: begin_again(env, rows), REWARD_UNIT)


def begin_again(env: Any, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Begin the next episode of some fights, as `World.reset` does for all; returns what they see."""
    from envs.simulation import kernel
    from envs.simulation.state import G_EPISODE

    world = env.world
    world.fights[rows, G_EPISODE] += 1
    world.stats[rows] = 0
    for row in rows.tolist():
        kernel.reset_batch(
            world.units, world.fights, world.skills, world.world, world.template,
            world.obs, world.orders, world.masks, row, row + 1,
        )  # fmt: skip
    seen: NDArray[np.float32] = world.obs[rows, 0]
    return seen
