"""Profiles and resolved runs: values, composition, and errors that name the key."""

from __future__ import annotations

import json

import pytest

from envs.configuration import ConfigError
from policies import profiles

ENV = {"id": "MLMonster/Combat-v0", "archetype": "tank"}


def test_full_profile_is_the_published_architecture() -> None:
    full = profiles.load_profile("full")
    assert full.model.hidden_dims == (1024, 1024, 512, 512, 256, 256, 128, 128, 64, 64)
    assert full.model.dropout == 0.2
    assert (full.training.learning_rate, full.training.gamma, full.training.batch_size) == (1e-4, 0.99, 256)


@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_every_profile_loads_and_is_double_and_dueling(profile: str) -> None:
    loaded = profiles.load_profile(profile)
    assert loaded.training.double_q and loaded.model.dueling
    assert (loaded.model.observation_size, loaded.model.num_actions) == (64, 10)


def test_run_composes_profile_archetype_and_overrides() -> None:
    run = profiles.combat_dqn_run(
        ENV,
        seed=7,
        learning_rate_factor=2.0,
        final_epsilon=0.05,
        reward_scale=1.5,
        overrides={"training": {"learning_rate": 1e-3, "batch_size": 512}},
    )
    assert run["training"]["learning_rate"] == 2e-3
    assert run["training"]["batch_size"] == 512
    assert (run["seed"], run["final_epsilon"], run["reward_scale"]) == (7, 0.05, 1.5)
    assert run["env"] == ENV
    assert json.loads(json.dumps(run)) == run
    assert profiles.load_run(run).training.batch_size == 512


def test_given_learning_rate_wins_over_the_factor() -> None:
    run = profiles.combat_dqn_run(ENV, learning_rate=3e-4, learning_rate_factor=2.0)
    assert run["training"]["learning_rate"] == 3e-4


@pytest.mark.parametrize(
    ("profile", "model_type", "overrides", "words"),
    [
        ("dmeo", "combat_dqn", {}, "did you mean 'demo'"),
        ("demo", "combat_dnq", {}, "did you mean 'combat_dqn'"),
        (
            "demo",
            "combat_dqn",
            {"training": {"batchsize": 1}},
            "training.batchsize.*did you mean 'batch_size'",
        ),
        ("demo", "combat_dqn", {"training": {"gamma": 1.5}}, "training.gamma.*at most 1"),
        ("demo", "combat_dqn", {"training": {"epochs": -3}}, "training.epochs.*at least 1"),
        ("demo", "combat_dqn", {"training": {"buffer_capacity": 10}}, "raise buffer_capacity"),
        ("demo", "combat_dqn", {"training": {"learning_starts": 10**7}}, "lower learning_starts"),
    ],
)
def test_mistakes_are_named(profile: str, model_type: str, overrides: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        profiles.load_profile(profile, model_type, overrides)
