"""Profiles and resolved runs: values, composition, and errors that name the key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from envs.configuration import ConfigError
from policies import profiles
from policies.settings import SkillDQNRun

ENV = {"id": "MLMonster/Combat-v0", "archetype": "tank"}


def test_full_profile_is_the_published_architecture() -> None:
    full = profiles.load_profile("combat_dqn", "full")
    model, training = full["model"], full["training"]
    assert model.hidden_dims == (1024, 1024, 512, 512, 256, 256, 128, 128, 64, 64)
    assert model.dropout == 0.2
    assert (training.learning_rate, training.gamma, training.batch_size) == (1e-4, 0.99, 256)


def test_skill_runs_name_their_model_type() -> None:
    full = profiles.load_profile("skill_dqn", "full")["model"]
    combat = profiles.load_profile("combat_dqn", "full")["model"]
    assert (full.hidden_dims, full.dropout) == (combat.hidden_dims, combat.dropout) and full.embedding == 32
    run = profiles.resolve_run("skill_dqn", {"id": "MLMonster/Skill-v0"})
    assert (run["algorithm"], run["model_type"]) == ("dqn", "skill_dqn")
    assert isinstance(profiles.load_run(run), SkillDQNRun)
    # The combat network has no slots, and an unknown type is named.
    with pytest.raises(ConfigError, match=r"unknown key 'model\.embedding'"):
        profiles.load_run({name: value for name, value in run.items() if name != "model_type"})
    with pytest.raises(ConfigError, match=r"unknown model_type 'skil_dqn'.*did you mean 'skill_dqn'"):
        profiles.load_run({**run, "model_type": "skil_dqn"})


@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_every_profile_loads_and_is_double_and_dueling(profile: str) -> None:
    loaded = profiles.load_profile("combat_dqn", profile)
    assert loaded["training"].double_q and loaded["model"].dueling
    assert (loaded["model"].observation_size, loaded["model"].num_actions) == (64, 10)


@pytest.mark.parametrize("profile", profiles.PROFILES)
@pytest.mark.parametrize(
    "model_type",
    [name for name in profiles.ALGORITHM_OF if (profiles.CONFIG_FOLDER / f"{name}.yaml").exists()],
)
def test_every_profile_of_every_model_type_makes_a_run(model_type: str, profile: str) -> None:
    run = profiles.resolve_run(model_type, ENV, profile=profile)
    assert run["algorithm"] == profiles.ALGORITHM_OF[model_type]
    loaded = profiles.load_run(run)
    assert loaded.training.updates_per_epoch > 0 and loaded.planned_env_steps > 100_000
    assert json.loads(json.dumps(run)) == run


def test_run_composes_profile_archetype_and_overrides() -> None:
    run = profiles.resolve_run(
        "combat_dqn",
        ENV,
        seed=7,
        learning_rate_factor=2.0,
        noise=0.05,
        reward_scale=1.5,
        overrides={"training": {"learning_rate": 1e-3, "batch_size": 512}},
    )
    assert run["training"]["learning_rate"] == 2e-3
    assert run["training"]["batch_size"] == 512
    assert (run["seed"], run["noise"], run["reward_scale"]) == (7, 0.05, 1.5)
    assert run["env"] == ENV
    assert json.loads(json.dumps(run)) == run
    assert profiles.load_run(run).training.batch_size == 512


def test_given_learning_rate_wins_over_the_factor() -> None:
    run = profiles.resolve_run("combat_dqn", ENV, learning_rate=3e-4, learning_rate_factor=2.0)
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
        ("demo", "combat_dqn", {"modle": {}}, "unknown key 'modle'.*did you mean 'model'"),
        ("demo", "movement_ppo", {"training": {"minibatch_size": 10**6}}, "lower minibatch_size"),
        ("demo", "soft_actor_critic", {"model": {"hidden_dims": []}}, "hidden_dims is empty"),
    ],
)
def test_mistakes_are_named(profile: str, model_type: str, overrides: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        profiles.load_profile(model_type, profile, overrides)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"nosie": 0.1}, "did you mean 'noise'"),
        ({"precision": "fp8"}, "precision"),
        ({"env_runners": 3}, "num_envs 128 cannot be dealt to 3 env runners evenly"),
        ({"seed": -1}, "seed.*at least 0"),
    ],
)
def test_mistakes_of_a_run_are_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        profiles.resolve_run("combat_dqn", ENV, **settings)


def test_unknown_algorithm_is_named() -> None:
    run = profiles.resolve_run("combat_dqn", ENV)
    with pytest.raises(ConfigError, match=r"unknown algorithm 'pop'.*did you mean 'ppo'"):
        profiles.load_run({**run, "algorithm": "pop"})
