"""stable-baselines3: PPO, DQN and SAC, with a VecEnv of its own kind over all fights at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from bench.training_peers import base
from bench.training_peers.base import Clock, Task
from bench.training_peers.same_step import SameStepEnv, fights

NOTES = {
    "ppo": "no action masks",
    "dqn": "no action masks, no double, no dueling, no priorities, one-step returns",
    "sac": "",
}


class FightsVecEnv(VecEnv):
    """All fights as one VecEnv: ended ones begin again at once and leave a `terminal_observation`."""

    def __init__(self, env: SameStepEnv, seed: int) -> None:
        self.env, self.first_seed = env, seed  # first: the base class asks for attributes
        super().__init__(env.num_envs, env.observation_space, env.action_space)
        self._actions: NDArray[Any] = np.zeros(0)
        # It reads the dictionaries of all fights in every step, and writes none.
        self._nothing: dict[str, Any] = {}

    def reset(self) -> NDArray[np.float32]:
        """Begin every fight."""
        return self.env.reset(self.first_seed)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Play one decision in every fight."""
        step = self.env.step(self._actions)
        infos = [self._nothing] * self.num_envs
        for place, fight in enumerate(step.ended.tolist()):
            infos[fight] = {
                "terminal_observation": step.last_obs[place],
                "TimeLimit.truncated": bool(step.truncated[fight] and not step.terminated[fight]),
            }
        return step.obs, step.reward, step.terminated | step.truncated, infos

    def close(self) -> None:
        """End the simulation."""
        self.env.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of each fight: they share the environment's."""
        return [getattr(self.env.env, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the environment."""
        setattr(self.env.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        """Call a method of the environment."""
        return [getattr(self.env.env, method_name)(*args, **kwargs)] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No fight is wrapped."""
        return [False] * self.num_envs


class _Ticks(BaseCallback):
    """Reports to the clock before each round of sampling, when all before has been learned from."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.stop = clock, False

    def _on_rollout_start(self) -> None:
        self.stop = self.clock.over(self.num_timesteps)

    def _on_step(self) -> bool:
        return not self.stop


def run(task: Task, clock: Clock) -> str:
    """Train until the clock is over; returns what it does differently."""
    torch.set_num_threads(1)
    env = FightsVecEnv(fights(task), task.seed)
    common: dict[str, Any] = {
        "env": env,
        "learning_rate": task.lr,
        "gamma": task.gamma,
        "batch_size": task.minibatch,
        "policy_kwargs": {"net_arch": [task.hidden, task.hidden]},
        "seed": task.seed,
        "device": "cpu",
    }
    # Our fights never end by truncation, so its bookkeeping of them is left out, as it recommends for speed.
    replay: dict[str, Any] = {
        "buffer_size": base.CAPACITY,
        "learning_starts": task.learning_starts,
        "train_freq": (task.rollout_length, "step"),
        "gradient_steps": task.updates_per_round,
        "replay_buffer_kwargs": {"handle_timeout_termination": False},
    }
    model: Any
    if task.algorithm == "ppo":
        model = PPO(
            "MlpPolicy",
            n_steps=task.rollout_length,
            n_epochs=task.epochs,
            gae_lambda=task.gae_lambda,
            clip_range=task.clip,
            ent_coef=base.ENTROPY,
            vf_coef=base.VALUE_WEIGHT,
            max_grad_norm=base.GRAD_NORM,
            **common,
        )
    elif task.algorithm == "dqn":
        model = DQN(
            "MlpPolicy",
            # In decisions, not in gradient steps.
            target_update_interval=round(base.TARGET_PERIOD * task.round_steps / task.updates_per_round),
            exploration_initial_eps=base.EXPLORATION,
            exploration_final_eps=base.EXPLORATION,
            **common,
            **replay,
        )
    else:
        model = SAC("MlpPolicy", tau=base.TARGET_TAU, **common, **replay)
    model.learn(2**40, callback=_Ticks(clock), log_interval=None)
    return NOTES[task.algorithm]
