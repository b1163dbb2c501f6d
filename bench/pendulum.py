"""Gymnasium's Pendulum, many at once: it has a vector form of CartPole only.

The same physics and start as `Pendulum-v1` (its `PendulumEnv` and 200 steps); torque is asked for in [-1, 1]
of the largest, as our continuous actions are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

MAX_SPEED, MAX_TORQUE, STEP_S = 8.0, 2.0, 0.05
GRAVITY, MASS, LENGTH = 10.0, 1.0, 1.0
MAX_STEPS = 200
# Starts are uniform within these, in rad and rad/s.
START = np.array([np.pi, 1.0])


class PendulumVectorEnv(VectorEnv):
    """Pendulums side by side, NEXT_STEP autoreset.

    Args:
        num_envs: How many.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        high = np.array([1.0, 1.0, MAX_SPEED], np.float32)
        self.single_observation_space = spaces.Box(-high, high, dtype=np.float32)
        self.single_action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._angle = np.zeros(num_envs)
        self._speed = np.zeros(num_envs)
        self._steps = np.zeros(num_envs, np.int64)
        self._done = np.zeros(num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Start every pendulum anew."""
        super().reset(seed=seed)
        self._begin(np.ones(self.num_envs, np.bool_))
        self._done[:] = False
        return self._seen(), {}

    def step(self, actions: NDArray[np.float32]) -> Any:
        """Advance by 50 ms; a pendulum whose episode has ended starts anew instead."""
        again = self._done
        torque = np.clip(actions[:, 0].astype(np.float64), -1.0, 1.0) * MAX_TORQUE
        angle = (self._angle + np.pi) % (2.0 * np.pi) - np.pi
        # cost = angle^2 + 0.1 speed^2 + 0.001 torque^2
        cost = angle**2 + 0.1 * self._speed**2 + 0.001 * torque**2
        pull = 3.0 * GRAVITY / (2.0 * LENGTH) * np.sin(self._angle) + 3.0 / (MASS * LENGTH**2) * torque
        self._speed = np.clip(self._speed + pull * STEP_S, -MAX_SPEED, MAX_SPEED)
        self._angle = self._angle + self._speed * STEP_S
        self._steps += 1
        reward = np.where(again, 0.0, -cost)
        self._begin(again)
        truncated = self._steps >= MAX_STEPS
        self._done = truncated
        return self._seen(), reward, np.zeros(self.num_envs, np.bool_), truncated.copy(), {}

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Everything but the random state of later starts."""
        names = ("angle", "speed", "steps", "done")
        return {name: getattr(self, f"_{name}").copy() for name in names}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Take up a state."""
        for name, value in state.items():
            setattr(self, f"_{name}", np.array(value))

    def _begin(self, which: NDArray[np.bool_]) -> None:
        count = int(which.sum())
        if count:
            start = self.np_random.uniform(-START, START, size=(count, 2))
            self._angle[which], self._speed[which] = start[:, 0], start[:, 1]
            self._steps[which] = 0

    def _seen(self) -> NDArray[np.float32]:
        columns = (np.cos(self._angle), np.sin(self._angle), self._speed)
        return np.stack(columns, axis=1).astype(np.float32)


def pendulum(num_envs: int) -> PendulumVectorEnv:
    """Factory for a run's `env`."""
    return PendulumVectorEnv(num_envs)
