"""What a profile says of single archetypes: laid over the rest, checked, and overridden by users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from envs import archetypes
from envs.configuration import ConfigError, load_yaml
from envs.contracts import ARCHETYPES, MODEL_TYPES
from policies import profiles

TANK = {"id": "MLMonster/Movement-v0", "archetype": "tank", "opponent": "classic"}
Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Puts a profile file in place whose demo block has some more."""
    block = load_yaml(profiles.CONFIG_FOLDER / "movement_ppo.yaml")["demo"]
    monkeypatch.setattr(profiles, "CONFIG_FOLDER", tmp_path)

    def put(archetypes: Any, **base: Any) -> None:
        shape = {name: dict(block[name]) for name in ("model", "training")}
        shape["training"]["epochs"] = 40
        demo = {**shape, **base, "archetypes": archetypes}
        (tmp_path / "movement_ppo.yaml").write_text(yaml.safe_dump({"demo": demo}))

    return put


@pytest.fixture
def own_monster() -> Iterator[str]:
    archetypes.define({"ogre": {"base": "tank"}})
    yield "ogre"
    archetypes.forget()


def resolve(archetype: str = "tank", **settings: Any) -> dict[str, Any]:
    env = {**TANK, "archetype": archetype}
    return profiles.resolve_run("movement_ppo", env, archetype=archetype, **settings)


def test_an_archetypes_part_lies_over_the_profile(write: Write) -> None:
    part = {
        "training": {"epochs": 7},
        "model": {"activation": "relu"},
        "noise": 0.03,
        "env": {"scenario": "2v2"},
        "reward": {"individual_weight": 0.0, "terms": {"kill": 3.0}},
    }
    write({"tank": part}, noise=0.2, reward={"outcome_weight": 500.0})
    tank, mage = resolve(), resolve("mage")
    assert (tank["training"]["epochs"], mage["training"]["epochs"]) == (7, 40)
    assert (
        tank["model"]["activation"] == "relu" and tank["model"]["shared_dims"] == mage["model"]["shared_dims"]
    )
    assert (tank["noise"], mage["noise"]) == (0.03, 0.2)
    assert tank["env"] == {
        **TANK,
        "scenario": "2v2",
        "reward": {"outcome_weight": 500.0, "individual_weight": 0.0, "terms": {"kill": 3.0}},
    }
    assert mage["env"] == {**TANK, "archetype": "mage", "reward": {"outcome_weight": 500.0}}


def test_what_a_user_asks_for_wins(write: Write) -> None:
    write({"tank": {"training": {"epochs": 7, "gamma": 0.9}, "noise": 0.03}})
    run = resolve(overrides={"training": {"epochs": 3}, "noise": 0.5, "env": {"scenario": "3v3"}})
    assert (run["training"]["epochs"], run["training"]["gamma"], run["noise"]) == (3, 0.9, 0.5)
    assert run["env"]["scenario"] == "3v3"
    assert resolve(learning_rate=2e-4)["training"]["learning_rate"] == 2e-4


def test_a_users_own_archetype_takes_what_is_for_all(write: Write, own_monster: str) -> None:
    write({"tank": {"training": {"epochs": 7}}}, reward={"outcome_weight": 500.0})
    run = resolve(own_monster)
    assert run["training"]["epochs"] == 40 and run["env"]["reward"] == {"outcome_weight": 500.0}


def test_without_an_archetype_a_profile_says_nothing_of_the_world(write: Write) -> None:
    write({"tank": {"training": {"epochs": 7}}}, noise=0.2, reward={"outcome_weight": 500.0})
    run = profiles.resolve_run("movement_ppo", TANK, noise=0.1)
    assert (run["training"]["epochs"], run["noise"], run["env"]) == (40, 0.1, TANK)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"tnak": {}}, r"movement_ppo.yaml \[demo\]: unknown key 'archetypes.tnak'.*did you mean 'tank'"),
        ({"tank": 3}, r"\[demo\]: key 'archetypes.tank' must be a mapping"),
        (["tank"], r"\[demo\]: key 'archetypes' must be a mapping"),
        (
            {"tank": {"training": {"gama": 0.9}}},
            r"\[demo\] with archetypes.tank: unknown key 'training.gama'.*'gamma'",
        ),
        ({"tank": {"modle": {}}}, r"archetypes.tank: unknown key 'modle'.*'model'"),
        ({"tank": {"noise": 2.0}}, r"archetypes.tank: key 'noise' is 2.0; it must be"),
        ({"tank": {"env": {"scenaro": "1v1"}}}, r"archetypes.tank: unknown key 'env.scenaro'.*'scenario'"),
        (
            {"tank": {"env": {"scenario": "7v7"}}},
            r"archetypes.tank: key 'env.scenario': unknown scenario '7v7'",
        ),
        ({"tank": {"reward": {"outcome": 1.0}}}, r"archetypes.tank: reward: unknown key 'outcome'"),
        (
            {"tank": {"reward": {"terms": {"kil": 1.0}}}},
            r"archetypes.tank: reward: unknown key 'terms.kil'.*'kill'",
        ),
        ({"tank": {"reward": {"outcome_weight": "many"}}}, r"reward: key 'outcome_weight' must be a number"),
    ],
)
def test_mistakes_are_named(write: Write, part: Any, words: str) -> None:
    write(part)
    with pytest.raises(ConfigError, match=words):
        resolve()


@pytest.mark.parametrize("model_type", profiles.ALGORITHM_OF)
@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_every_part_of_the_files_makes_a_run(model_type: str, profile: str) -> None:
    for archetype in ARCHETYPES:
        profiles.load_run(
            profiles.resolve_run(
                model_type, {**TANK, "archetype": archetype}, profile=profile, archetype=archetype
            )
        )


@pytest.mark.parametrize("model_type", profiles.ALGORITHM_OF)
def test_the_full_profile_is_the_published_one_for_everybody(model_type: str) -> None:
    block = load_yaml(profiles.CONFIG_FOLDER / f"{model_type}.yaml")["full"]
    assert sorted(block) == ["model", "training"]


def test_a_part_names_whose_run_comes_first(write: Write) -> None:
    write({"tank": {"starts_from": "mage", "noise": 0.03}, "ranged": {"starts_from": "tank"}})
    starts = {name: profiles.starts_from("movement_ppo", "demo", name) for name in ARCHETYPES}
    assert {name: start for name, start in starts.items() if start} == {"tank": "mage", "ranged": "tank"}
    # Of the run itself it is no setting.
    assert resolve()["noise"] == 0.03
    assert profiles.starts_from("movement_ppo", "demo", "ogre") is None


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"tank": {"starts_from": "maeg"}},
            r"'archetypes.tank.starts_from': unknown archetype 'maeg'.*'mage'",
        ),
        ({"tank": {"starts_from": "tank"}}, "tank from tank: no run could be the first"),
        (
            {"tank": {"starts_from": "mage"}, "mage": {"starts_from": "tank"}},
            "tank from mage from tank: no run could be the first",
        ),
    ],
)
def test_starts_that_lead_nowhere_are_refused(write: Write, parts: Any, words: str) -> None:
    write(parts)
    with pytest.raises(ConfigError, match=words):
        profiles.starts_from("movement_ppo", "demo", "tank")


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_the_files_starts_can_be_carried_out(model_type: str, profile: str) -> None:
    for archetype in ARCHETYPES:
        profiles.starts_from(model_type, profile, archetype)
