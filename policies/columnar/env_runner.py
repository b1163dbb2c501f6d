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

from policies.columnar.course import level_env
from policies.columnar.episodes import EpisodeLog
from policies.columnar.flat import load_flat
from policies.columnar.learner import AUTOCAST
from policies.columnar.rollout import Rollout
from policies.columnar.vector_env import make_vector_env
from policies.rl_modules.masks import ACTION_MASK
from policies.settings import Run

# Rows of one critic pass at the end of a round; more would only fill memory.
VALUE_ROWS = 16384
# Names of the recurrent state in the outputs of a module's `act`.
STATE_PREFIX = "state_"


class ColumnarEnvRunner(SingleAgentEnvRunner):
    """Acts in many environments side by side; one batched forward pass per step.

    The configuration's `run` says what to make and how to act. In the trainer's own process the algorithm
    shares the learner's module with it, so weights are never copied; in another process it has a copy.
    """

    # RLlib's types are wider than what the lane makes of them.
    env: Any
    module: Any
    config: Any

    def make_env(self) -> None:
        """Make the vector environment and the column buffers that every round reuses."""
        if self.env is not None:
            self.env.close()
        run: Run = self.config.run
        self.level: int | None = None if run.curriculum is None else 1
        self.env = self._made_env()
        self.num_envs = self.env.num_envs
        self.members = int(getattr(self.env, "members", 1))
        self.reward_factor = run.reward_factor
        seed = run.seed if run.env_seed is None else run.env_seed
        index = int(self.worker_index or 0)
        # The first runner plays the fights that the trainer's own process would play.
        self.env_seed = seed if index <= 1 else _seed_of_runner(seed, index)
        self.random_seed = run.seed if index <= 1 else _seed_of_runner(run.seed, index)
        self._needs_initial_reset = True
        self._begin_anew = False
        action_space = self.env.single_action_space
        discrete = hasattr(action_space, "n")
        self._rollout = Rollout.empty(
            self.num_envs,
            run.training.rollout_length,
            int(self.env.single_observation_space.shape[0]),
            int(action_space.n) if discrete else 0,
            () if discrete else tuple(action_space.shape),
        )
        self.episodes = EpisodeLog(self.num_envs, self.config.episodes_window)
        self._after_done = np.zeros(self.num_envs, np.bool_)
        self._state: dict[str, Tensor] = {}
        # Our own counter: RLlib overwrites its `num_env_steps_sampled_lifetime` from the metrics tree.
        self.env_steps = 0
        self.rounds = 0
        self.env_seconds = 0.0
        self.clock = time.perf_counter

    def make_module(self) -> None:
        """Make the module as RLlib does, and seed what it explores with."""
        super().make_module()
        run: Run = self.config.run
        if self.env is not None:
            self.module.exploration_random.manual_seed(self.random_seed)
        self._autocast = AUTOCAST.get(run.precision)

    def sample(  # type: ignore[override]
        self,
        *,
        explore: bool | None = None,
        random_actions: bool = False,
        env_steps: int | None = None,
        level: int | None = None,
        **kwargs: Any,
    ) -> Rollout:
        """Act for one round.

        Args:
            explore: Explore instead of acting greedily; the configuration's choice if not given.
            random_actions: Uniform over the legal actions, without the network.
            env_steps: Decisions of all runners so far, for exploration schedules; this runner's if not given.
            level: Of the curriculum, to play on from now on; as before if not given.
            **kwargs: Taken for RLlib's sake; a round's length is the run's `rollout_length`.

        Returns:
            The round, in buffers that the next call overwrites.
        """
        rollout = self._rollout
        explore = bool(self.config.explore) if explore is None else explore
        runners = max(self.config.run.env_runners, 1)
        before = self.env_steps
        if level is not None and level != self.level:
            self._change_level(level)
        if self._needs_initial_reset:
            obs, info = self.env.reset(seed=self.env_seed)
            self._see(0, obs, info)
            self._needs_initial_reset = False
            if hasattr(self.module, "initial_state"):
                self._state = self.module.initial_state(self.num_envs)
        else:
            self._carry_over()
        self.module.eval()
        rollout.start = {name: value.cpu().numpy().copy() for name, value in self._state.items()}
        with (
            torch.no_grad(),
            torch.autocast(self._device_type, dtype=self._autocast, enabled=self._autocast is not None),
        ):
            for t in range(rollout.time):
                steps = (
                    self.env_steps if env_steps is None else env_steps + runners * (self.env_steps - before)
                )
                self._step(t, explore, random_actions, steps)
            if self.config.needs_values:
                self._value_round()
        self.rounds += 1
        return rollout

    def share_module(self, module: Any) -> None:
        """Act with the learner's module from now on, instead of a copy of it."""
        module.exploration_random.set_state(self.module.exploration_random.get_state())
        self.module = module
        self._device = next(module.parameters()).device

    def load_weights(self, vector: Tensor) -> None:
        """Take up the weights of `module.acting_parameters()`, as one vector."""
        load_flat(self.module.acting_parameters(), vector)

    def get_metrics(self) -> dict[str, Any]:
        """Nothing for RLlib's metrics tree: the algorithm reads `episodes` directly."""
        return {}

    def sampler_state(self, *, exact: bool = True) -> dict[str, Any]:
        """Everything but the weights that an exact resumption of acting needs.

        Args:
            exact: Refuse if the environment cannot give its state; otherwise who takes the state up starts
                its episodes anew.

        Returns:
            "env" (the environment's own state, arrays by name), "obs", "action_mask", "central", "alive"
            (what was seen last), "after_done" (env,), "recurrent" (arrays by name), "episodes", "level",
            "exploration" (uint8), "env_steps", "rounds", "started" and "exact".

        Raises:
            ValueError: The environment cannot give its state.
        """
        get_state = getattr(self.env.unwrapped, "get_state", None)
        if get_state is None and exact:
            raise ValueError(
                f"{type(self.env.unwrapped).__name__} has no get_state(), so a run on it cannot be "
                "resumed exactly; give it get_state() and set_state(), or train without checkpoints"
            )
        started = not self._needs_initial_reset and get_state is not None
        episodes = self.episodes.get_state()
        if not started:
            kept = {name: value for name, value in episodes.items() if name.startswith(("rows:", "finished"))}
            episodes = EpisodeLog(self.num_envs, 0).get_state() | kept
        return {
            "env": dict(get_state()) if started and get_state is not None else {},
            **{
                name: column[:, -1].copy()
                for name in _CARRIED
                if (column := getattr(self._rollout, name)) is not None
            },
            "after_done": self._after_done & started,
            "recurrent": {name: value.cpu().numpy().copy() for name, value in self._state.items()},
            "episodes": episodes,
            "exploration": self.module.exploration_random.get_state().numpy(),
            "level": self.level,
            "env_steps": self.env_steps,
            "rounds": self.rounds,
            "started": started,
            "exact": get_state is not None,
        }

    def set_sampler_state(self, state: dict[str, Any]) -> None:
        """Take up a state from `sampler_state`."""
        if state["level"] != self.level:
            self._change_level(state["level"])
        self._begin_anew = False
        if state["started"]:
            # A reset first: environments may allocate in it what set_state then fills.
            obs, info = self.env.reset(seed=self.env_seed)
            self._see(0, obs, info)
            self.env.unwrapped.set_state(state["env"])
            for name in _CARRIED:
                column = getattr(self._rollout, name)
                if column is not None:
                    column[:, -1] = state[name]
        self._needs_initial_reset = not state["started"]
        self._after_done = np.array(state["after_done"], np.bool_)
        self._state = {
            name: torch.from_numpy(np.array(value)).to(self._device)
            for name, value in state["recurrent"].items()
        }
        self.episodes.set_state(state["episodes"])
        self.module.exploration_random.set_state(torch.from_numpy(np.array(state["exploration"], np.uint8)))
        self.env_steps = int(state["env_steps"])
        self.rounds = int(state["rounds"])

    @property
    def _device_type(self) -> str:
        return torch.device(self._device).type

    def _made_env(self) -> Any:
        run: Run = self.config.run
        return make_vector_env(
            level_env(run.env, self.level), run.training.num_envs // max(run.env_runners, 1)
        )

    def _change_level(self, level: int) -> None:
        """Break the fights off and play others from the next row on, which is an autoreset row."""
        self.env.close()
        self.level = level
        self.env = self._made_env()
        self.episodes.break_off()
        self._after_done[:] = True
        self._begin_anew = not self._needs_initial_reset

    def _begin(self) -> tuple[Any, ...]:
        """What the step of an autoreset row gives, in all environments at once."""
        self._begin_anew = False
        obs, info = self.env.reset(seed=self.env_seed)
        never = np.zeros(self.num_envs, np.bool_)
        return obs, np.zeros(self.num_envs), never, never, info

    def _step(self, t: int, explore: bool, random_actions: bool, env_steps: int) -> None:
        rollout = self._rollout
        actions = self._uniform_actions(t) if random_actions else self._policy_actions(t, explore, env_steps)
        started = self.clock()
        stepped = self._begin() if self._begin_anew else self.env.step(actions)
        obs, reward, terminated, truncated, info = stepped
        self.env_seconds += self.clock() - started
        rollout.actions[:, t] = actions
        np.multiply(reward, self.reward_factor, out=rollout.rewards[:, t], casting="same_kind")
        rollout.terminated[:, t] = terminated
        rollout.truncated[:, t] = truncated
        np.logical_not(self._after_done, out=rollout.valid[:, t])
        self._see(t + 1, obs, info)
        done = np.logical_or(terminated, truncated)
        self.episodes.record(reward, done, rollout.valid[:, t], info)
        if self._state and self._after_done.any():
            # The row just stepped was an autoreset row: an episode begins with the next one.
            begins = torch.from_numpy(np.flatnonzero(self._after_done)).to(self._device)
            for value in self._state.values():
                value[begins] = 0.0
        self._after_done = done
        self.env_steps += int(np.count_nonzero(rollout.valid[:, t])) // self.members

    def _see(self, t: int, obs: NDArray[np.float32], info: dict[str, Any]) -> None:
        rollout = self._rollout
        rollout.obs[:, t] = obs
        if rollout.action_mask is not None:
            mask = info.get(ACTION_MASK)
            rollout.action_mask[:, t] = True if mask is None else mask
        if "central" in info:
            if rollout.central is None:
                shape = (len(info["central"]), rollout.time + 1, info["central"].shape[1])
                rollout.central = np.zeros(shape, np.float32)
                rollout.alive = np.zeros((rollout.num_envs, rollout.time + 1), np.bool_)
            assert rollout.alive is not None
            rollout.central[:, t] = info["central"]
            rollout.alive[:, t] = info["alive"]

    def _carry_over(self) -> None:
        for name in _CARRIED:
            column = getattr(self._rollout, name)
            if column is not None:
                column[:, 0] = column[:, -1]

    def _policy_actions(self, t: int, explore: bool, env_steps: int) -> NDArray[Any]:
        rollout = self._rollout
        columns: dict[str, Tensor] = {Columns.OBS: torch.from_numpy(rollout.obs[:, t]).to(self._device)}
        if rollout.action_mask is not None:
            columns[ACTION_MASK] = torch.from_numpy(rollout.action_mask[:, t]).to(self._device)
        output = self.module.act(columns | self._state, explore=explore, env_steps=env_steps)
        actions: NDArray[Any] = output.pop(Columns.ACTIONS).cpu().numpy()
        for name, value in output.items():
            if name.startswith(STATE_PREFIX):
                self._state[name] = value
                continue
            array = value.cpu().numpy()
            if name not in rollout.extra:
                rollout.extra[name] = np.zeros(
                    (rollout.num_envs, rollout.time, *array.shape[1:]), array.dtype
                )
            rollout.extra[name][:, t] = array
        return actions

    def _uniform_actions(self, t: int) -> NDArray[Any]:
        random = self.module.exploration_random
        mask = self._rollout.action_mask
        if mask is None:
            shape = self._rollout.actions[:, t].shape
            return torch.rand(shape, generator=random).mul_(2.0).sub_(1.0).numpy()
        draw = torch.rand(mask[:, t].shape, generator=random).numpy()
        return np.where(mask[:, t], draw, -1.0).argmax(axis=1)

    def _value_round(self) -> None:
        """Values of all observations of the round, a few large passes."""
        rollout = self._rollout
        if rollout.values is None:
            rollout.values = np.zeros((rollout.num_envs, rollout.time + 1), np.float32)
        step = max(VALUE_ROWS // (rollout.time + 1), self.members)
        step -= step % self.members
        for first in range(0, rollout.num_envs, step):
            rows = slice(first, first + step)
            columns = {Columns.OBS: torch.from_numpy(rollout.obs[rows]).to(self._device)}
            if rollout.central is not None:
                fights = slice(first // self.members, (first + step) // self.members)
                columns["central"] = torch.from_numpy(rollout.central[fights]).to(self._device)
            rollout.values[rows] = self.module.compute_values(columns).float().cpu().numpy()


_CARRIED = ("obs", "action_mask", "central", "alive")
"""Columns whose last entry is the next round's first."""


def _seed_of_runner(seed: int, index: int) -> int:
    """A seed of its own for each env runner, the same on every machine."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 2)
