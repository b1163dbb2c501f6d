"""Tianshou: PPO, double DQN with prioritized replay and SAC, by its collector and its `update`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tianshou.algorithm import DQN, PPO, SAC
from tianshou.algorithm.algorithm_base import policy_within_training_step
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.modelfree.sac import AutoAlpha, SACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, PrioritizedVectorReplayBuffer, VectorReplayBuffer
from tianshou.env.venvs import BaseVectorEnv
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic
from torch import Tensor
from torch.distributions import Categorical, Distribution

from bench.training_peers import base
from bench.training_peers.base import Clock, Task
from bench.training_peers.network import seeded
from bench.training_peers.same_step import SameStepEnv, fights

NOTES = {
    "ppo": "no action masks; without its progress bars",
    "dqn": "no action masks, no dueling, one-step returns; double and prioritized; without its progress bars",
    "sac": "without its progress bars",
}


class FightsVectorEnv(BaseVectorEnv):
    """All fights as one of its vector environments, without workers.

    Its collector asks by `reset` for the first observations of the fights that ended; they have begun again
    already, so they are only handed over.
    """

    def __init__(self, env: SameStepEnv, seed: int) -> None:
        self.env, self.first_seed, self.env_num = env, seed, env.num_envs
        self.is_async = self.is_closed = False
        self._obs: NDArray[np.float32] | None = None
        self._info = np.array([{} for _ in range(env.num_envs)])

    def get_env_attr(self, key: str, id: Any = None) -> list[Any]:
        """Return an attribute of each fight: they share the environment's."""
        return [getattr(self.env, key, None)] * self.env_num

    def reset(self, env_id: Any = None, **kwargs: Any) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Begin every fight, or hand over what those that ended see now."""
        if env_id is None or self._obs is None:
            self._obs = self.env.reset(self.first_seed)
            return self._obs, self._info
        return self._obs[env_id], self._info[env_id]

    def step(self, action: Any, id: Any = None) -> Any:
        """Play one decision in every fight; `id` always names all of them."""
        step = self.env.step(action)
        self._obs = step.obs
        return step.next_obs(), step.reward, step.terminated, step.truncated, self._info

    def close(self) -> None:
        """End the simulation."""
        self.env.env.close()
        self.is_closed = True


def run(task: Task, clock: Clock) -> str:
    """Train until the clock is over; returns what it does differently."""
    seeded(task.seed)
    np.random.seed(task.seed)  # it draws from there
    Distribution.set_default_validate_args(False)  # for speed, as PyTorch recommends
    env = FightsVectorEnv(fights(task), task.seed)
    algorithm = {"ppo": _ppo, "dqn": _dqn, "sac": _sac}[task.algorithm](task, env)
    on_policy = task.algorithm == "ppo"
    memory: Any
    if task.algorithm == "dqn":
        memory = PrioritizedVectorReplayBuffer(
            base.CAPACITY, task.num_envs, alpha=base.PRIORITY_ALPHA, beta=base.PRIORITY_BETA
        )
    else:
        memory = VectorReplayBuffer(task.round_steps if on_policy else base.CAPACITY, task.num_envs)
    collector = Collector(algorithm, env, memory, exploration_noise=task.algorithm == "dqn")
    collector.reset()
    done = 0
    with policy_within_training_step(algorithm.policy):
        if not on_policy:
            done += int(collector.collect(n_step=task.learning_starts, random=True).n_collected_steps)
        while not clock.over(done):
            done += int(collector.collect(n_step=task.round_steps).n_collected_steps)
            if on_policy:
                algorithm.update(buffer=memory, batch_size=task.minibatch, repeat=task.epochs)
                collector.reset_buffer(keep_statistics=True)
                continue
            for _ in range(task.updates_per_round):
                algorithm.update(buffer=memory, sample_size=task.minibatch)
    return NOTES[task.algorithm]


def _net(task: Task, env: FightsVectorEnv, activation: type[torch.nn.Module], **more: Any) -> Net:
    return Net(
        state_shape=env.env.observation_space.shape,
        hidden_sizes=[task.hidden, task.hidden],
        activation=activation,
        **more,
    )


def _categorical(logits: Tensor) -> Categorical:
    return Categorical(logits=logits)


def _ppo(task: Task, env: FightsVectorEnv) -> Any:
    space = env.env.action_space
    actor = DiscreteActor(
        preprocess_net=_net(task, env, torch.nn.Tanh), action_shape=space.n, softmax_output=False
    )
    return PPO(
        policy=ProbabilisticActorPolicy(
            actor=actor,
            dist_fn=_categorical,
            action_space=space,
            action_scaling=False,
            action_bound_method=None,
        ),
        critic=DiscreteCritic(preprocess_net=_net(task, env, torch.nn.Tanh)),
        optim=AdamOptimizerFactory(lr=task.lr),
        eps_clip=task.clip,
        vf_coef=base.VALUE_WEIGHT,
        ent_coef=base.ENTROPY,
        max_grad_norm=base.GRAD_NORM,
        gae_lambda=task.gae_lambda,
        gamma=task.gamma,
        max_batchsize=task.minibatch,
    )


def _dqn(task: Task, env: FightsVectorEnv) -> Any:
    space = env.env.action_space
    return DQN(
        policy=DiscreteQLearningPolicy(
            model=_net(task, env, torch.nn.ReLU, action_shape=space.n),
            action_space=space,
            eps_training=base.EXPLORATION,
        ),
        optim=AdamOptimizerFactory(lr=task.lr),
        gamma=task.gamma,
        target_update_freq=base.TARGET_PERIOD,
        is_double=True,
    )


def _sac(task: Task, env: FightsVectorEnv) -> Any:
    space = env.env.action_space
    actor = ContinuousActorProbabilistic(
        preprocess_net=_net(task, env, torch.nn.ReLU),
        action_shape=space.shape,
        unbounded=True,
        conditioned_sigma=True,
    )
    critics = [
        ContinuousCritic(preprocess_net=_net(task, env, torch.nn.ReLU, action_shape=space.shape, concat=True))
        for _ in range(2)
    ]
    rate = AdamOptimizerFactory(lr=task.lr)
    return SAC(
        policy=SACPolicy(actor=actor, action_space=space),
        policy_optim=rate,
        critic=critics[0],
        critic_optim=rate,
        critic2=critics[1],
        critic2_optim=rate,
        tau=base.TARGET_TAU,
        gamma=task.gamma,
        alpha=AutoAlpha(-float(space.shape[0]), 0.0, rate),
    )
