"""RLlib's own lane: refused settings, its configuration, and runs of each algorithm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from envs.configuration import ConfigError
from policies.combat_dqn import CombatDQN
from policies.profiles import load_run
from policies.stock import StockTrainer
from policies.stock_config import stock_config
from policies.training import build_trainer
from tests.policies.tiny_runs import tiny_run, weights

DQN: dict[str, Any] = {"target_period": 6, "n_step": 2}


@pytest.fixture
def made() -> Iterator[list[Any]]:
    trainers: list[Any] = []
    yield trainers
    for trainer in trainers:
        trainer.stop()


@pytest.mark.parametrize(
    ("algorithm", "settings", "message"),
    [
        ("dqn", {"training": {"accumulate": 2}}, "training.accumulate is 2"),
        ("ppo", {"training": {"weight_decay": 0.1}}, "training.weight_decay is 0.1"),
        ("dqn", {"training": {"warm_start_fights": 5}}, "warm_start_fights is 5"),
        ("ppo", {"training": {"symmetries": True}}, "symmetries is True"),
        ("dqn", {"training": {"adam_eps": 1e-5}}, "training.adam_eps is 1e-05 .* only do 1e-08"),
        ("sac", {"precision": "bf16"}, "precision is bf16"),
        ("ppo", {"compiled": True}, "compiled is True"),
        ("ppo", {"learners": 2}, "learners is 2"),
        ("dqn", {"training": {"target_period": 2}}, "target_period is 2 .* 1, or 3 and more"),
        ("dqn", {"training": {"rollout_length": 2}}, "rollout_length is 2 .* at least n_step 3"),
        ("dqn", {"training": {"updates_per_round": 0}}, "updates_per_round is 0"),
    ],
)
def test_settings_without_a_way(algorithm: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message + ".*sampler 'columnar'"):
        stock_config(load_run(tiny_run(algorithm, sampler="stock", **settings)))


def test_configuration_by_hand() -> None:
    """4 environments x 5 rows = 20 a round, 6 x 4 x 20 = 480 planned; 3 updates of 32 rows a round."""
    config: Any = stock_config(load_run(tiny_run("dqn", training=DQN)))
    # 96 rows replayed for 20 sampled; RLlib gets the 3 updates back: 4.8 / (32 / 20)
    assert config.training_intensity == pytest.approx(96 / 20)
    # 6 updates are 2 rounds.
    assert config.target_network_update_freq == 40
    assert config.lr == [[0, 5e-4], [480, pytest.approx(5e-5)]]
    assert config.replay_buffer_config["type"] == "PrioritizedEpisodeReplayBuffer"
    assert (config.replay_buffer_config["alpha"], config.replay_buffer_config["beta"]) == (0.6, 0.4)
    config = stock_config(load_run(tiny_run("sac", training={"priority_alpha": 0.0})))
    assert config.replay_buffer_config["type"] == "EpisodeReplayBuffer"
    assert config.target_network_update_freq == 0
    assert config.critic_lr == [[0, 1e-3], [480, pytest.approx(1e-4)]]


@pytest.mark.ray
def test_dqn_makes_as_many_updates_and_counts_as_our_lane(made: list[Any]) -> None:
    run = tiny_run("dqn", training=DQN, sampler="stock")
    trainer = build_trainer(run)
    made.append(trainer)
    assert isinstance(trainer, StockTrainer)
    start = weights(trainer)
    metrics = [trainer.train_epoch() for _ in range(2)]
    # Rounds of at least 20 decisions, learning starts at 40: in the first epoch after 1 of 4 rounds.
    assert [m["updates"] for m in metrics] == [9, 21]
    assert 80 <= metrics[0]["env_steps"] < 4 * 24 and metrics[0]["epoch"] == 1
    # Every second episode of an environment is won; the return is in the environment's own units.
    assert metrics[1]["win_rate"] == pytest.approx(0.5, abs=0.2)
    assert metrics[1]["reward"] == pytest.approx(metrics[1]["reward_terms/all"])
    assert metrics[1]["reward"] > 1000
    assert 3 <= metrics[1]["episode_length"] <= 6
    for name in ("loss", "q_mean", "q_max", "td_error", "env_steps_per_s", "epoch_s"):
        assert math.isfinite(metrics[1][name]), name
    model = trainer.model()
    assert isinstance(model, CombatDQN)
    assert any(not torch.equal(a, b) for a, b in zip(start, weights(trainer), strict=True))
    assert not trainer.algorithm.env_runner.module.training  # else dropout draws while acting


@pytest.mark.ray
def test_ppo_and_its_figures(made: list[Any]) -> None:
    trainer = build_trainer(tiny_run("ppo", sampler="stock"))
    made.append(trainer)
    metrics = trainer.train_epoch()
    # Uniform over one to four legal actions at the start: at most 2 bits.
    assert 0.5 < metrics["entropy_bits"] <= 2.0
    for name in ("loss", "policy_loss", "value_loss", "kl", "explained_variance"):
        assert math.isfinite(metrics[name]), name
    assert metrics["updates"] >= 2 * 2 * 2  # rounds x passes x minibatches


@pytest.mark.ray
def test_sac_saves_and_restores_its_networks(made: list[Any], tmp_path: Path) -> None:
    run = tiny_run("sac", sampler="stock")
    trainer = build_trainer(run)
    made.append(trainer)
    metrics = trainer.train_epoch()
    for name in ("loss", "actor_loss", "alpha", "entropy_nats", "q_mean", "td_error"):
        assert math.isfinite(metrics[name]), name
    trainer.save(tmp_path / "checkpoint")
    other = build_trainer({**run, "seed": 5})
    made.append(other)
    other.restore(tmp_path / "checkpoint")
    assert other.epoch == 1
    assert all(torch.equal(a, b) for a, b in zip(weights(trainer), weights(other), strict=True))
    assert math.isfinite(other.train_epoch()["loss"])
