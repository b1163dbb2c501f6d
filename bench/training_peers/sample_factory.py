"""Sample Factory: its PPO, sampler and learner by turns in one process (serial mode), batched sampling."""

from __future__ import annotations

import logging
import tempfile
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from sample_factory.algo.runners.runner import AlgoObserver
from sample_factory.algo.utils import make_env
from sample_factory.algo.utils.context import global_model_factory
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.model.encoder import MlpEncoder
from sample_factory.train import make_runner
from torch import Tensor

from bench.training_peers import base
from bench.training_peers.base import Clock, Task
from bench.training_peers.same_step import SameStepEnv, fights

NOTE = (
    "no action masks; serial mode, synchronous, minibatches not shuffled (its default, and faster), no "
    "normalisation of observations or returns"
)


class FightsBatchedEnv(gymnasium.Env):
    """All fights as one environment of many agents that gives tensors: ended ones begin again at once."""

    is_multiagent = True

    def __init__(self, env: SameStepEnv, seed: int) -> None:
        self.env, self.first_seed, self.num_agents = env, seed, env.num_envs
        self.observation_space = gymnasium.spaces.Dict({"obs": env.observation_space})
        self.action_space = env.action_space
        self.render_mode = None

    def reset(self, **kwargs: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Begin every fight."""
        return {"obs": torch.from_numpy(self.env.reset(self.first_seed))}, {}

    def step(self, action: NDArray[Any] | Tensor) -> Any:
        """Play one decision in every fight."""
        step = self.env.step(np.asarray(action))
        terminated, truncated = torch.from_numpy(step.terminated), torch.from_numpy(step.truncated)
        return {"obs": torch.from_numpy(step.obs)}, torch.from_numpy(step.reward), terminated, truncated, {}

    def close(self) -> None:
        """End the simulation."""
        self.env.env.close()


class _ManyAgents(make_env.BatchedListToDictWrapper):
    """Its wrapper, still knowing how many agents there are: wrappers of Gymnasium 1 pass no attributes on."""

    def __init__(self, env: FightsBatchedEnv) -> None:
        super().__init__(env)
        self.is_multiagent, self.num_agents = env.is_multiagent, env.num_agents


# While importing, since it asks an environment for its spaces in a process of its own.
make_env.BatchedListToDictWrapper = _ManyAgents


class _Encoder(MlpEncoder):
    """Its encoder of vectors, without the one around it that joins several inputs."""

    def forward(self, obs: dict[str, Tensor]) -> Tensor:
        features: Tensor = self.mlp_head(obs["obs"])
        return features


class _Ticks(AlgoObserver):
    """Reports to the clock after each training step, and stops the run when it is over."""

    def __init__(self, task: Task, clock: Clock) -> None:
        self.task, self.clock = task, clock

    def on_training_step(self, runner: Any, training_iteration_since_resume: int) -> None:
        if self.clock.over(training_iteration_since_resume * self.task.round_steps):
            runner.cfg.train_for_env_steps = 0  # reached, so it stops at the next look


# By name, since both travel to the process in which it asks an environment for its spaces.
def _make_env(task: Task, *_: Any, **__: Any) -> FightsBatchedEnv:
    return FightsBatchedEnv(fights(task), task.seed)


def _make_encoder(config: Any, space: Any) -> _Encoder:
    return _Encoder(config, space["obs"])


def run(task: Task, clock: Clock) -> str:
    """Train until the clock is over; returns what it does differently."""
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    register_env("fights", partial(_make_env, task))
    global_model_factory().register_encoder_factory(_make_encoder)
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "env": "fights", "experiment": "run", "train_dir": folder, "restart_behavior": "overwrite",
            "device": "cpu", "seed": task.seed,
            "serial_mode": True, "async_rl": False, "batched_sampling": True,
            "num_workers": 1, "num_envs_per_worker": 1, "worker_num_splits": 1,
            "policy_workers_per_policy": 1, "num_batches_to_accumulate": 1,
            "use_rnn": False, "normalize_input": False, "normalize_returns": False,
            "actor_critic_share_weights": False, "nonlinearity": "tanh",
            "rollout": task.rollout_length, "batch_size": task.minibatch,
            "num_batches_per_epoch": task.round_steps // task.minibatch, "num_epochs": task.epochs,
            "shuffle_minibatches": False,
            "learning_rate": task.lr, "gamma": task.gamma, "gae_lambda": task.gae_lambda,
            "ppo_clip_ratio": task.clip, "exploration_loss_coeff": base.ENTROPY,
            "value_loss_coeff": base.VALUE_WEIGHT, "max_grad_norm": base.GRAD_NORM,
            "train_for_env_steps": 2**40, "save_every_sec": 2**30, "save_best_every_sec": 2**30,
            "keep_checkpoints": 1, "experiment_summaries_interval": 2**20, "stats_avg": 100,
        }  # fmt: skip
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        layers = ["--encoder_mlp_layers", str(task.hidden), str(task.hidden)]
        parser, _ = parse_sf_args([*arguments, *layers])
        _, runner = make_runner(parse_full_cfg(parser, [*arguments, *layers]))
        runner.register_observer(_Ticks(task, clock))
        runner.init()
        runner.run()
    return NOTE
