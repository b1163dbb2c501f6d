"""TorchRL: PPO, double DQN and SAC, by its collector and losses in the loops of its own implementations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict
from tensordict.nn import NormalParamExtractor, TensorDictModule, TensorDictSequential
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution
from torchrl.collectors import Collector
from torchrl.data import Bounded, Composite, LazyTensorStorage, TensorDictReplayBuffer, Unbounded
from torchrl.data import Categorical as CategoricalSpec
from torchrl.envs import EnvBase
from torchrl.modules import EGreedyModule, ProbabilisticActor, QValueActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss, DQNLoss, HardUpdate, SACLoss, SoftUpdate
from torchrl.objectives.value import GAE

from bench.training_peers import base
from bench.training_peers.base import Clock, Task
from bench.training_peers.network import seeded, tower
from bench.training_peers.same_step import SameStepEnv, fights

NOTES = {
    "ppo": "no action masks; minibatches by torch.randperm, without its replay buffer",
    "dqn": "no action masks, no dueling, one-step returns; double; not prioritized, since its compiled sum "
    "tree does not load beside this torch",
    "sac": "",
}


class FightsEnv(EnvBase):
    """All fights as one batched environment.

    Its collector asks by a reset with a mask for the first observations of the fights that ended; they have
    begun again already, so they are only handed over.
    """

    def __init__(self, env: SameStepEnv, seed: int) -> None:
        count = env.num_envs
        super().__init__(device="cpu", batch_size=torch.Size([count]))
        self.env, self.first_seed = env, seed
        self.observation_spec = Composite(
            observation=Unbounded((count, *env.observation_space.shape)), shape=(count,)
        )
        space = env.action_space
        self.action_spec = (
            Bounded(-1.0, 1.0, (count, *space.shape))
            if hasattr(space, "low")
            else CategoricalSpec(int(space.n), (count,))
        )
        self.reward_spec = Unbounded((count, 1))
        self._obs: NDArray[np.float32] | None = None

    def _reset(self, tensordict: TensorDict | None = None, **kwargs: Any) -> TensorDict:
        """Begin every fight, or hand over what all of them see now; it takes those that ended."""
        partial = tensordict is not None and "_reset" in tensordict.keys()  # noqa: SIM118  (no dictionary)
        if self._obs is None or not partial:
            self._obs = self.env.reset(self.first_seed)
        return TensorDict({"observation": torch.from_numpy(self._obs)}, self.batch_size)

    def _step(self, tensordict: TensorDict) -> TensorDict:
        """Play one decision in every fight."""
        step = self.env.step(tensordict["action"].numpy())
        self._obs = step.obs
        columns = {
            "observation": torch.from_numpy(step.next_obs()),
            "reward": torch.from_numpy(step.reward)[:, None],
            "terminated": torch.from_numpy(step.terminated)[:, None],
            "done": torch.from_numpy(step.terminated | step.truncated)[:, None],
        }
        return TensorDict(columns, self.batch_size)

    def _set_seed(self, seed: int | None) -> None:
        self.first_seed = seed or 0


def run(task: Task, clock: Clock) -> str:
    """Train until the clock is over; returns what it does differently."""
    seeded(task.seed)
    Distribution.set_default_validate_args(False)  # for speed, as PyTorch recommends
    env = FightsEnv(fights(task), task.seed)
    policy, learn = {"ppo": _ppo, "dqn": _dqn, "sac": _sac}[task.algorithm](task, env)
    collector = Collector(
        env,
        policy,
        frames_per_batch=task.round_steps,
        total_frames=-1,
        init_random_frames=0 if task.algorithm == "ppo" else task.learning_starts,
        trust_policy=True,
        track_traj_ids=False,
        no_cuda_sync=True,
        auto_register_policy_transforms=False,
    )
    done = 0
    for data in collector:
        done += data.numel()
        learn(data, done)
        if clock.over(done):
            break
    collector.shutdown()
    return NOTES[task.algorithm]


Learn = Callable[[Any, int], None]


def _ppo(task: Task, env: FightsEnv) -> tuple[Any, Learn]:
    inputs, actions = env.env.observation_space.shape[0], int(env.env.action_space.n)
    actor = ProbabilisticActor(
        TensorDictModule(tower(inputs, task.hidden, actions), in_keys=["observation"], out_keys=["logits"]),
        in_keys=["logits"],
        distribution_class=Categorical,
        return_log_prob=True,
    )
    critic = ValueOperator(tower(inputs, task.hidden, 1), in_keys=["observation"])
    advantages = GAE(gamma=task.gamma, lmbda=task.gae_lambda, value_network=critic, average_gae=False)
    losses = ClipPPOLoss(
        actor,
        critic,
        clip_epsilon=task.clip,
        entropy_coeff=base.ENTROPY,
        critic_coeff=base.VALUE_WEIGHT,
        loss_critic_type="l2",
        normalize_advantage=True,
        log_explained_variance=False,
    )
    optimizer = torch.optim.Adam(losses.parameters(), lr=task.lr)
    parameters = list(losses.parameters())

    def learn(data: Any, done: int) -> None:
        with torch.no_grad():
            advantages(data)
        rows = data.select(
            "observation", "action", "action_log_prob", "advantage", "value_target", "state_value"
        ).reshape(-1)
        for _ in range(task.epochs):
            for chosen in torch.randperm(len(rows)).split(task.minibatch):
                loss = losses(rows[chosen])
                (loss["loss_objective"] + loss["loss_entropy"] + loss["loss_critic"]).backward()
                torch.nn.utils.clip_grad_norm_(parameters, base.GRAD_NORM)
                optimizer.step()
                optimizer.zero_grad()

    return actor, learn


def _memory(task: Task) -> Any:
    return TensorDictReplayBuffer(storage=LazyTensorStorage(base.CAPACITY), batch_size=task.minibatch)


KEPT = ("observation", "action", ("next", "observation"), ("next", "reward"), ("next", "done"))


def _off_policy(task: Task, update: Callable[[Any], None]) -> Learn:
    """Store a round, then draw and learn as often as the task says."""
    memory = _memory(task)

    def learn(data: Any, done: int) -> None:
        memory.extend(data.select(*KEPT, ("next", "terminated")).reshape(-1))
        if done > task.learning_starts:
            for _ in range(task.updates_per_round):
                update(memory.sample())

    return learn


def _dqn(task: Task, env: FightsEnv) -> tuple[Any, Learn]:
    inputs, actions = env.env.observation_space.shape[0], int(env.env.action_space.n)
    spec = CategoricalSpec(actions)
    network = QValueActor(tower(inputs, task.hidden, actions, nn.ReLU), spec=spec, in_keys=["observation"])
    explore = EGreedyModule(eps_init=base.EXPLORATION, eps_end=base.EXPLORATION, spec=spec)
    losses = DQNLoss(network, loss_function="l2", delay_value=True, double_dqn=True)
    losses.make_value_estimator(gamma=task.gamma)
    target = HardUpdate(losses, value_network_update_interval=base.TARGET_PERIOD)
    optimizer = torch.optim.Adam(losses.parameters(), lr=task.lr)

    def update(rows: Any) -> None:
        losses(rows)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        target.step()

    return TensorDictSequential(network, explore), _off_policy(task, update)


class _Critic(nn.Module):
    """Value of an observation and an action."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.tower = tower(inputs, hidden, 1, nn.ReLU)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        value: Tensor = self.tower(torch.cat((obs, action), -1))
        return value


def _sac(task: Task, env: FightsEnv) -> tuple[Any, Learn]:
    inputs, actions = env.env.observation_space.shape[0], env.env.action_space.shape[0]
    actor = ProbabilisticActor(
        TensorDictModule(
            nn.Sequential(tower(inputs, task.hidden, 2 * actions, nn.ReLU), NormalParamExtractor()),
            in_keys=["observation"],
            out_keys=["loc", "scale"],
        ),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        spec=Bounded(-1.0, 1.0, (actions,)),
        return_log_prob=False,
    )
    critic = ValueOperator(_Critic(inputs + actions, task.hidden), in_keys=["observation", "action"])
    losses = SACLoss(actor, critic, num_qvalue_nets=2, loss_function="l2", delay_qvalue=True, alpha_init=1.0)
    losses.make_value_estimator(gamma=task.gamma)
    target = SoftUpdate(losses, eps=1.0 - base.TARGET_TAU)
    optimizer = torch.optim.Adam(losses.parameters(), lr=task.lr)

    def update(rows: Any) -> None:
        loss = losses(rows)
        # Each of its losses reaches its own parameters only, so one backward pass serves the three.
        (loss["loss_actor"] + loss["loss_qvalue"] + loss["loss_alpha"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        target.step()

    return actor, _off_policy(task, update)
