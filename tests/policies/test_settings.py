"""Settings of algorithms and runs: what follows from them by arithmetic, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest

from envs.configuration import ConfigError
from policies.profiles import load_run
from policies.settings import RUNS, TeamTrainingConfig, TrainingConfig
from tests.policies.tiny_runs import REPLAY, ROUNDS, tiny_run

PPO: dict[str, Any] = {
    "gae_lambda": 0.9,
    "clip": 0.2,
    "value_clip": 1.0,
    "value_coeff": 0.5,
    "entropy_coeff": 0.0,
}
COMMON: dict[str, Any] = {
    "learning_rate": 1e-3,
    "learning_rate_final_share": 1.0,
    "gamma": 0.9,
    "grad_clip": 1.0,
}


def test_sizes_of_a_replay_run_by_hand() -> None:
    run = load_run(tiny_run("dqn", reward_scale=1.5, training={"reward_unit": 50.0}))
    # 4 fights x 5 decisions a round; 4 rounds x 3 updates an epoch; 6 epochs x 4 rounds x 20 decisions
    assert run.training.rows_per_round == 20
    assert run.training.updates_per_epoch == 12
    assert run.planned_env_steps == 480
    assert run.reward_factor == 1.5 / 50.0


def test_sizes_of_a_ppo_run_by_hand() -> None:
    training = load_run(tiny_run("ppo")).training
    # 4 fights x 15 decisions = 60 rows in minibatches of 30; 2 rounds x 2 passes x 2 minibatches
    assert (training.rows_per_round, training.updates_per_epoch) == (60, 8)
    # 60 / 45 is nearer to 1 than to 2
    assert load_run(tiny_run("ppo", training={"minibatch_size": 45})).training.updates_per_epoch == 4


def test_sizes_of_a_team_by_hand() -> None:
    training = TeamTrainingConfig(**COMMON, **ROUNDS, **PPO, reward_unit=1.0, sequence_length=5)
    training.validate()
    # 3 members x 60 decisions = 180 rows in minibatches of 30: 6; 2 rounds x 2 passes x 6
    assert training.updates_per_epoch == 24
    with pytest.raises(ValueError, match="rollout_length 15 is no multiple of sequence_length 4"):
        TeamTrainingConfig(**COMMON, **ROUNDS, **PPO, reward_unit=1.0, sequence_length=4).validate()


def test_common_settings_alone_have_no_updates() -> None:
    values: dict[str, Any] = {name: REPLAY[name] for name in ("epochs", "num_envs", "rollout_length")}
    common = TrainingConfig(**COMMON, **values, rounds_per_epoch=1, reward_unit=1.0)
    with pytest.raises(AttributeError):
        _ = common.updates_per_epoch


def test_every_run_knows_its_algorithm() -> None:
    assert {name: kind.__dataclass_fields__["algorithm"].default for name, kind in RUNS.items()} == {
        name: name for name in RUNS
    }


@pytest.mark.parametrize(
    ("algorithm", "settings", "words"),
    [
        # Two rounds of 4 x (5 + 3) rows are 64.
        ("dqn", {"training": {"buffer_capacity": 63}}, "63 holds less than two rounds of 32 rows"),
        ("sac", {"training": {"learning_starts": 161}}, "learning_starts 161 is more than buffer_capacity"),
        ("ppo", {"training": {"minibatch_size": 61}}, "minibatch_size 61 is more than the 60 rows"),
        ("ppo", {"env_runners": 3}, "num_envs 4 cannot be dealt to 3 env runners"),
        ("sac", {"training": {"target_tau": 0.0}}, "target_tau.*above 0"),
        ("ppo", {"training": {"weight_decay": -1.0}}, "weight_decay.*at least 0"),
        ("ppo", {"sampler": "stok"}, "sampler"),
    ],
)
def test_contradictions_are_named(algorithm: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tiny_run(algorithm, **settings)


def test_least_buffer_is_accepted() -> None:
    assert tiny_run("dqn", training={"buffer_capacity": 64, "learning_starts": 64})
