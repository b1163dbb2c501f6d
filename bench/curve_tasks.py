"""What the learning curves of both lanes are drawn for: small tasks that are learned in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FIGHT = {"id": "MLMonster/Combat-v0", "archetype": "mage", "opponent": "classic"}


@dataclass(frozen=True)
class Task:
    """One learning task; every setting that is not here is the demo profile's."""

    title: str
    model_type: str
    env: dict[str, Any]
    score: str
    """The curve: name of an episode's figure."""
    low: float
    """Score that counts as 0: about what no learning gives."""
    high: float
    """Score that counts as 1: the best there is."""
    model: dict[str, Any]
    training: dict[str, Any]
    noise: float = 0.1
    seeds: int = 5
    """Runs per lane. More than five where returns jump so much from seed to seed that five, and for DQN on
    CartPole ten, gave an interval too wide for any verdict; the margin stayed as it was."""


TASKS = {
    "cartpole_ppo": Task(
        title="CartPole, PPO",
        model_type="movement_ppo",
        env={"id": "CartPole-v1"},
        score="reward",
        low=0.0,
        high=500.0,
        model={"shared_dims": [], "actor_dims": [64, 64], "critic_dims": [64, 64]},
        training={
            "epochs": 16, "rounds_per_epoch": 3, "num_envs": 16, "rollout_length": 64,
            "minibatch_size": 256, "passes": 6, "learning_rate": 1e-3,
        },
        seeds=10,
    ),
    "cartpole_dqn": Task(
        title="CartPole, DQN",
        model_type="combat_dqn",
        env={"id": "CartPole-v1"},
        score="reward",
        low=0.0,
        high=500.0,
        model={"hidden_dims": [64, 64]},
        training={
            "epochs": 16, "rounds_per_epoch": 25, "num_envs": 8, "rollout_length": 8,
            "updates_per_round": 8, "batch_size": 64, "learning_rate": 1e-3, "target_period": 200,
            "learning_starts": 1000, "buffer_capacity": 60_000, "reward_unit": 20.0,
            "priority_beta": 0.6, "priority_beta_final": 0.6,
        },
        noise=0.05,
        seeds=20,
    ),
    "pendulum_sac": Task(
        title="Pendulum, SAC",
        model_type="soft_actor_critic",
        env={"factory": "bench.pendulum:pendulum"},
        score="reward",
        low=-1600.0,
        high=0.0,
        model={"hidden_dims": [64, 64]},
        training={
            # 26 rounds of 8 rows are an episode of 200 decisions and its autoreset row.
            "epochs": 7, "rounds_per_epoch": 26, "num_envs": 8, "rollout_length": 8,
            "updates_per_round": 16, "batch_size": 32, "n_step": 1, "learning_rate": 3e-3,
            "critic_learning_rate": 3e-3, "alpha_learning_rate": 3e-3, "target_tau": 0.02,
            "learning_starts": 500, "buffer_capacity": 40_000, "reward_unit": 10.0,
        },
    ),
    "combat_ppo": Task(
        title="Combat (mage), PPO",
        model_type="movement_ppo",
        env=FIGHT,
        score="win_rate",
        low=0.0,
        high=1.0,
        model={"shared_dims": [], "actor_dims": [64, 64], "critic_dims": [64, 64]},
        training={
            "epochs": 16, "rounds_per_epoch": 5, "num_envs": 32, "rollout_length": 32,
            "minibatch_size": 256, "passes": 4, "learning_rate": 1e-3,
        },
    ),
    "combat_dqn": Task(
        title="Combat (mage), DQN",
        model_type="combat_dqn",
        env=FIGHT,
        score="win_rate",
        low=0.0,
        high=1.0,
        model={"hidden_dims": [64, 64]},
        training={
            "epochs": 12, "rounds_per_epoch": 20, "num_envs": 16, "rollout_length": 8,
            "updates_per_round": 10, "batch_size": 32, "learning_rate": 1e-3, "target_period": 200,
            "learning_starts": 2000, "buffer_capacity": 80_000,
            "priority_beta": 0.6, "priority_beta_final": 0.6,
        },
        noise=0.05,
    ),
}  # fmt: skip
"""By name."""
