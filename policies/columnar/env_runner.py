"""An RLlib EnvRunner that steps one native vector environment and writes columns, without episode objects."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from torch import Tensor

from policies.columnar.episodes import EpisodeLog
from policies.columnar.rollout import Rollout
from policies.columnar.vector_env import make_vector_env


class ColumnarEnvRunner(SingleAgentEnvRunner):
    """Acts in `num_envs_per_env_runner` environments side by side; one batched forward pass per step.

    The configuration's `env_config` is the description that `make_vector_env` takes, `reward_factor`
    multiplies what value learning sees. The algorithm shares the learner's module with it, so weights are
    never copied.
    """

    # RLlib's types are wider than what the lane makes of them.
    env: Any
    module: Any
    config: Any

    def make_env(self) -> None:
        """Make the vector environment and the column buffers that every round reuses."""
        if self.env is not None:
            self.env.close()
        self.env = make_vector_env(dict(self.config.env_config), self.config.num_envs_per_env_runner)
        self.num_envs = self.env.num_envs
        self._needs_initial_reset = True
        self._rollout = Rollout.empty(
            self.num_envs,
            self.config.get_rollout_fragment_length(),
            int(self.env.single_observation_space.shape[0]),
            int(self.env.single_action_space.n),
        )
        self.episodes = EpisodeLog(self.num_envs, self.config.episodes_window)
        self._after_done = np.zeros(self.num_envs, np.bool_)
        # Our own counter: RLlib overwrites its `num_env_steps_sampled_lifetime` from the metrics tree.
        self.env_steps = 0
        self.env_seconds = 0.0

    def sample(  # type: ignore[override]
        self, *, explore: bool | None = None, random_actions: bool = False, **kwargs: Any
    ) -> Rollout:
        """Act for one round.

        Args:
            explore: Epsilon-greedy instead of greedy; the configuration's choice if not given.
            random_actions: Uniform over the legal actions, without the network.
            **kwargs: Taken for RLlib's sake; a round's length is `rollout_fragment_length`.

        Returns:
            The round, in buffers that the next call overwrites.
        """
        rollout = self._rollout
        explore = bool(self.config.explore) if explore is None else explore
        if self._needs_initial_reset:
            obs, info = self.env.reset(seed=self.config.env_seed)
            self._see(0, obs, info)
            self._needs_initial_reset = False
        else:
            rollout.obs[:, 0] = rollout.obs[:, -1]
            rollout.action_mask[:, 0] = rollout.action_mask[:, -1]
        self.module.eval()
        for t in range(rollout.time):
            if random_actions:
                actions = self._uniform_actions(rollout.action_mask[:, t])
            else:
                actions = self._policy_actions(t, explore)
            started = time.perf_counter()
            obs, reward, terminated, truncated, info = self.env.step(actions)
            self.env_seconds += time.perf_counter() - started
            rollout.actions[:, t] = actions
            rollout.rewards[:, t] = reward * self.config.reward_factor
            rollout.terminated[:, t] = terminated
            rollout.truncated[:, t] = truncated
            np.logical_not(self._after_done, out=rollout.valid[:, t])
            self._see(t + 1, obs, info)
            done = np.logical_or(terminated, truncated)
            self.episodes.record(reward, done, rollout.valid[:, t], info)
            self._after_done = done
            self.env_steps += int(np.count_nonzero(rollout.valid[:, t]))
        return rollout

    def share_module(self, module: Any) -> None:
        """Act with the learner's module from now on, instead of a copy of it."""
        self.module = module
        self._device = next(module.parameters()).device

    def get_metrics(self) -> dict[str, Any]:
        """Nothing for RLlib's metrics tree: the algorithm reads `episodes` directly."""
        return {}

    def sampler_state(self) -> dict[str, Any]:
        """Everything but the weights that an exact resumption of acting needs.

        Returns:
            "env" (the environment's own state, arrays by name), "obs" (env, observation), "action_mask"
            (env, action), "after_done" (env,), "episodes" (arrays by name), "exploration" (uint8) and
            "env_steps".

        Raises:
            ValueError: The environment cannot give its state.
        """
        get_state = getattr(self.env.unwrapped, "get_state", None)
        if get_state is None:
            raise ValueError(
                f"{type(self.env.unwrapped).__name__} has no get_state(), so a run on it cannot be "
                "resumed exactly; give it get_state() and set_state(), or train without checkpoints"
            )
        return {
            "env": {} if self._needs_initial_reset else dict(get_state()),
            "obs": self._rollout.obs[:, -1].copy(),
            "action_mask": self._rollout.action_mask[:, -1].copy(),
            "after_done": self._after_done.copy(),
            "episodes": self.episodes.get_state(),
            "exploration": self.module.exploration_random.get_state().numpy(),
            "env_steps": self.env_steps,
            "started": not self._needs_initial_reset,
        }

    def set_sampler_state(self, state: dict[str, Any]) -> None:
        """Take up a state from `sampler_state`."""
        if state["started"]:
            # A reset first: environments may allocate in it what set_state then fills.
            self.env.reset(seed=self.config.env_seed)
            self.env.unwrapped.set_state(state["env"])
            self._rollout.obs[:, -1] = state["obs"]
            self._rollout.action_mask[:, -1] = state["action_mask"]
        self._needs_initial_reset = not state["started"]
        self._after_done = np.array(state["after_done"], np.bool_)
        self.episodes.set_state(state["episodes"])
        self.module.exploration_random.set_state(torch.from_numpy(np.array(state["exploration"], np.uint8)))
        self.env_steps = int(state["env_steps"])

    def _see(self, t: int, obs: NDArray[np.float32], info: dict[str, Any]) -> None:
        self._rollout.obs[:, t] = obs
        mask = info.get("action_mask")
        self._rollout.action_mask[:, t] = True if mask is None else mask

    def _policy_actions(self, t: int, explore: bool) -> NDArray[np.int64]:
        batch: dict[str, Tensor] = {
            Columns.OBS: torch.from_numpy(self._rollout.obs[:, t]).to(self._device),
            "action_mask": torch.from_numpy(self._rollout.action_mask[:, t]).to(self._device),
        }
        if explore:
            output = self.module._forward_exploration(batch, t=self.env_steps)
        else:
            output = self.module._forward_inference(batch)
        actions: NDArray[np.int64] = output[Columns.ACTIONS].cpu().numpy()
        return actions

    def _uniform_actions(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        draw = torch.rand(mask.shape, generator=self.module.exploration_random).numpy()
        return np.where(mask, draw, -1.0).argmax(axis=1)
