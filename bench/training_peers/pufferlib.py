"""PufferLib: its PPO (`PuffeRL`) on the CPU; all fights are one environment of its native kind.

Its option to compile the network is off: at this size it is slower (57,000 against 64,000 decisions per
CPU second when both were tried).
"""

from __future__ import annotations

import contextlib
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

# When it is imported it puts a link to its games into the folder it is started in.
with tempfile.TemporaryDirectory() as _folder, contextlib.chdir(_folder):
    import pufferlib
    from pufferlib import pufferl

from bench.training_peers import base
from bench.training_peers.base import Clock, Task
from bench.training_peers.network import ActorCritic, seeded
from bench.training_peers.same_step import SameStepEnv, fights

NOTE = (
    "no action masks; advantages by V-trace, anew before each minibatch; minibatches of whole rows of the "
    "rollout, drawn uniformly (priorities off); rewards clamped to [-1, 1]; without its dashboard"
)


class FightsPufferEnv(pufferlib.PufferEnv):
    """All fights as one native environment: ended ones begin again at once, results go into its buffers."""

    def __init__(self, env: SameStepEnv) -> None:
        self.env = env
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space
        self.num_agents = env.num_envs
        super().__init__()

    def reset(self, seed: int | None = None) -> tuple[NDArray[np.float32], list[Any]]:
        """Begin every fight."""
        self.observations[:] = self.env.reset(seed or 0)
        return self.observations, []

    def step(self, actions: NDArray[Any]) -> Any:
        """Play one decision in every fight."""
        step = self.env.step(actions)
        self.observations[:], self.rewards[:] = step.obs, step.reward
        self.terminals[:], self.truncations[:] = step.terminated, step.truncated
        return self.observations, self.rewards, self.terminals, self.truncations, []

    def close(self) -> None:
        """End the simulation."""
        self.env.env.close()


class _Policy(nn.Module):
    """The network under the two names by which PuffeRL calls it."""

    def __init__(self, network: ActorCritic) -> None:
        super().__init__()
        self.network = network

    def forward_eval(self, observations: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        return self.network(observations)

    def forward(self, observations: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        return self.network(observations)


class _Trainer(pufferl.PuffeRL):
    """PuffeRL that neither draws its dashboard four times a second nor keeps checkpoints."""

    def print_dashboard(self, *args: Any, **kwargs: Any) -> None:
        pass

    def save_checkpoint(self) -> str:
        return ""


def run(task: Task, clock: Clock) -> str:
    """Train until the clock is over; returns what it does differently."""
    seeded(task.seed)
    # It looks for nvcc and then takes its extension for one built with CUDA; that of `make peers` never is.
    pufferl.ADVANTAGE_CUDA = False
    env = FightsPufferEnv(fights(task))
    policy = _Policy(
        ActorCritic(env.single_observation_space.shape[0], task.hidden, int(env.single_action_space.n))
    )
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "env": "fights", "seed": task.seed, "device": "cpu", "data_dir": folder,
            "torch_deterministic": True, "cpu_offload": False, "precision": "float32", "use_rnn": False,
            "compile": False, "compile_mode": "default", "compile_fullgraph": True,
            "total_timesteps": 2**40, "batch_size": task.round_steps, "bptt_horizon": task.rollout_length,
            "minibatch_size": task.minibatch, "max_minibatch_size": task.minibatch,
            "update_epochs": task.epochs, "checkpoint_interval": 2**40, "anneal_lr": False,
            "optimizer": "adam", "learning_rate": task.lr,
            "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_eps": 1e-5,
            "gamma": task.gamma, "gae_lambda": task.gae_lambda, "clip_coef": task.clip,
            "vf_coef": base.VALUE_WEIGHT, "vf_clip_coef": task.clip, "ent_coef": base.ENTROPY,
            "max_grad_norm": base.GRAD_NORM, "vtrace_rho_clip": 1.0, "vtrace_c_clip": 1.0,
            "prio_alpha": 0.0, "prio_beta0": 1.0,
        }  # fmt: skip
        trainer = _Trainer(config, env, policy)
        try:
            while not clock.over(trainer.global_step):
                trainer.evaluate()
                trainer.train()
        finally:
            trainer.utilization.stop()
    return NOTE
