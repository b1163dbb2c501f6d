"""Environments for tests: one whose observation says where it came from, and CartPole with masks."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray


class CountingVectorEnv(VectorEnv):
    """Deterministic environment whose observation is (env, step of the episode, episode, constant).

    Episode e of environment b lasts 3 + (b + e) % 4 steps. The reward of step s (from 1) is
    1000 b + 100 e + s; an odd episode is cut (truncated), an even one ends (terminated). Action a is legal in
    environment b at step s if a == 0 or (a + b + s) % 2 == 0. An illegal action raises.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int, num_actions: int = 4, check_actions: bool = True) -> None:
        self.num_envs = num_envs
        self.num_actions = num_actions
        self.check_actions = check_actions
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.single_action_space = gymnasium.spaces.Discrete(num_actions)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self._step = np.zeros(num_envs, np.int64)
        self._episode = np.zeros(num_envs, np.int64)
        self._done = np.zeros(num_envs, np.bool_)
        self._index = np.arange(num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start episode 0 everywhere."""
        self._step[:] = 0
        self._episode[:] = 0
        self._done[:] = False
        return self._obs(), {"action_mask": self.mask()}

    def step(self, actions: NDArray[np.int64]) -> Any:
        """Advance; environments that ended start their next episode instead and ignore the action."""
        acting = ~self._done
        if self.check_actions:
            legal = self.mask()[self._index, actions]
            assert legal[acting].all(), f"illegal actions {actions[acting & ~legal]}"
        self._episode += self._done
        self._step = np.where(self._done, 0, self._step + 1)
        reward = np.where(acting, 1000.0 * self._index + 100.0 * self._episode + self._step, 0.0)
        ended = acting & (self._step >= self.length())
        terminated, truncated = ended & (self._episode % 2 == 0), ended & (self._episode % 2 == 1)
        self._done = ended
        outcome = np.where(ended, np.where(self._episode % 2 == 0, 1, -1), 0).astype(np.int8)
        info = {"action_mask": self.mask(), "outcome": outcome, "reward_terms": {"all": reward}}
        return self._obs(), reward, terminated, truncated, info

    def length(self) -> NDArray[np.int64]:
        """Steps of the running episodes, int64 (env,)."""
        return 3 + (self._index + self._episode) % 4

    def mask(self) -> NDArray[np.bool_]:
        """Legal actions, bool (env, action)."""
        actions = np.arange(self.num_actions)
        mask = (actions[None, :] + self._index[:, None] + self._step[:, None]) % 2 == 0
        mask[:, 0] = True
        return mask

    def get_state(self) -> dict[str, NDArray[Any]]:
        """All of the state."""
        return {"step": self._step.copy(), "episode": self._episode.copy(), "done": self._done.copy()}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Take up a state."""
        self._step = np.array(state["step"])
        self._episode = np.array(state["episode"])
        self._done = np.array(state["done"], np.bool_)

    def _obs(self) -> NDArray[np.float32]:
        columns = (self._index, self._step, self._episode, np.ones(self.num_envs))
        return np.stack(columns, axis=1).astype(np.float32)


class ContinuousCountingVectorEnv(CountingVectorEnv):
    """The counting environment with two continuous controls in [-1, 1], and no mask."""

    def __init__(self, num_envs: int, check_actions: bool = True) -> None:
        super().__init__(num_envs, check_actions=False)
        self.check_controls = check_actions
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start episode 0 everywhere."""
        obs, _ = super().reset(seed=seed)
        return obs, {}

    def step(self, actions: NDArray[Any]) -> Any:
        """As the counting environment does it."""
        if self.check_controls:
            assert actions.shape == (self.num_envs, 2) and (np.abs(actions) <= 1.0).all(), actions
        obs, reward, terminated, truncated, info = super().step(np.zeros(self.num_envs, np.int64))
        del info["action_mask"]
        return obs, reward, terminated, truncated, info


def continuous_counting(num_envs: int, **arguments: Any) -> ContinuousCountingVectorEnv:
    """Factory of the continuous counting environment."""
    return ContinuousCountingVectorEnv(num_envs, **arguments)


def counting(num_envs: int, **arguments: Any) -> CountingVectorEnv:
    """Factory of the counting environment."""
    return CountingVectorEnv(num_envs, **arguments)


def cartpole(num_envs: int) -> VectorEnv:
    """CartPole's own vector environment, NEXT_STEP autoreset."""
    from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

    return CartPoleVectorEnv(num_envs=num_envs)


class BanditVectorEnv(CountingVectorEnv):
    """64 random numbers in, 10 actions: the size of an obs_v1 policy, for timing."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs, num_actions=10, check_actions=False)
        self.single_observation_space = gymnasium.spaces.Box(-2, 2, (64,), np.float32)
        self._random = np.random.default_rng(0)
        self._seen = np.zeros((num_envs, 64), np.float32)

    def _obs(self) -> NDArray[np.float32]:
        self._seen = self._random.random((self.num_envs, 64), dtype=np.float32) * 2.0 - 1.0
        return self._seen


def bandit(num_envs: int) -> BanditVectorEnv:
    """Factory of the timing environment."""
    return BanditVectorEnv(num_envs)
