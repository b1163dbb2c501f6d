import json
from pathlib import Path

import pytest
import yaml

from experiments.errors import UsageError
from experiments.matrix import STAGES, Request, Run, check_names, plan_rows, resolve
from experiments.seeds import Purpose, purpose_of
from policies import profiles


def request(**changes: object) -> Request:
    return Request(**{"archetypes": ("tank",), "model_types": ("combat_dqn",), **changes})  # type: ignore[arg-type]


def test_all_six_archetypes_resolve_to_plain_json() -> None:
    runs = resolve(Request(check_names(None, None)[0], ("combat_dqn",)))
    assert [run.archetype for run in runs] == ["aggressive", "defensive", "support", "mage", "tank", "ranged"]
    assert len({run.hash for run in runs}) == len({run.run_id for run in runs}) == 6
    for run in runs:
        assert json.loads(run.json) == run.settings


def test_learning_rate_is_the_types_times_the_archetypes_share_of_3e4() -> None:
    # The archetype table: aggressive 4e-4, so its factor is 4/3; tank states none, so its factor is 1.
    aggressive, tank = resolve(request(archetypes=("aggressive", "tank")))
    rate = {run.archetype: run.settings["trial"]["training"]["learning_rate"] for run in (aggressive, tank)}
    assert rate["aggressive"] == pytest.approx(rate["tank"] * 4 / 3)
    assert aggressive.settings["trial"]["noise"] == 0.10
    assert aggressive.settings["trial"]["reward_scale"] == 1.5
    assert tank.settings["trial"]["noise"] == 0.1 and tank.settings["trial"]["reward_scale"] == 1.0
    given = resolve(request(archetypes=("aggressive",), lr=1e-3))[0]
    assert given.settings["trial"]["training"]["learning_rate"] == 1e-3


def test_options_reach_the_run_and_change_its_hash() -> None:
    plain = resolve(request())[0]
    changed = resolve(
        request(epochs=3, batch_size=64, overrides={"combat_dqn": {"model": {"hidden_dims": [32]}}})
    )[0]
    assert changed.epochs == 3
    assert changed.settings["trial"]["training"]["batch_size"] == 64
    assert changed.settings["trial"]["model"]["hidden_dims"] == [32]
    assert plain.hash != changed.hash and plain.hash == resolve(request())[0].hash
    assert resolve(request(seed=1))[0].hash != plain.hash


def test_training_draws_from_the_training_seeds() -> None:
    assert purpose_of(resolve(request(seed=5))[0].settings["trial"]["seed"]) is Purpose.TRAINING


@pytest.mark.parametrize(
    ("archetypes", "model_types", "said"),
    [
        (["tnak"], None, "did you mean 'tank'"),
        (["tank"], ["combat_dqm"], "did you mean 'combat_dqn'"),
        (["tank"], ["spatial_vti"], "did you mean 'spatial_vit'"),
    ],
)
def test_wrong_names_are_one_clear_line(
    archetypes: list[str], model_types: list[str] | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as error:
        check_names(archetypes, model_types)
    assert "\n" not in str(error.value)


def test_a_wrong_setting_is_a_usage_error_that_names_the_key() -> None:
    with pytest.raises(UsageError, match=r"training\.gama.*gamma"):
        resolve(request(overrides={"combat_dqn": {"training": {"gama": 0.9}}}))


def test_the_plan_shows_the_resolved_values_and_what_is_there() -> None:
    run = resolve(request(epochs=2))[0]
    row = plan_rows([run], {run.run_id: "done"})[0]
    training = run.settings["trial"]["training"]
    assert (
        row["env_steps"]
        == 2 * training["rounds_per_epoch"] * training["num_envs"] * training["rollout_length"]
    )
    assert row["updates"] == 2 * training["rounds_per_epoch"] * training["updates_per_round"]
    assert row["state"] == "done" and row["learning_rate"] == training["learning_rate"]


def test_all_54_cells_resolve_and_no_two_are_the_same() -> None:
    runs = resolve(Request(*check_names(None, None)))
    assert len(runs) == 54 == len({run.hash for run in runs}) == len({run.run_id for run in runs})
    kinds = {run.model_type: run.settings["kind"] for run in runs}
    assert sorted(name for name, kind in kinds.items() if kind == "supervised") == [
        "pattern_recognition", "spatial_vit", "temporal_transformer", "threat_assessment",
    ]  # fmt: skip
    assert {name for stage in STAGES.values() for name in stage} == set(kinds)
    versions = {run.model_type: run.settings["contracts"]["action"] for run in runs}
    assert versions["team_coordination"] == "pack_v1" and versions["spatial_vit"] == "none"
    for row in plan_rows(runs):
        assert row["batch_size"] > 0 and row["learning_rate"] > 0.0


def test_options_reach_every_kind_of_run() -> None:
    names = ("team_coordination", "spatial_vit", "soft_actor_critic")
    asked = resolve(
        Request(("mage",), names, epochs=3, batch_size=64, lane={"precision": "bf16", "sampler": "stock"})
    )
    pack, vit, control = (
        run.settings["trial"] for run in sorted(asked, key=lambda run: names.index(run.model_type))
    )
    assert [trial["training"]["epochs"] for trial in (pack, vit, control)] == [3, 3, 3]
    assert pack["training"]["minibatch_size"] == vit["training"]["batch_size"] == 64
    assert pack["precision"] == vit["precision"] == "bf16"
    assert pack["sampler"] == "stock" and "sampler" not in vit
    assert control["env"]["id"] == "MLMonster/Control-v0" and "factory" in pack["env"]


def test_what_a_profile_says_of_an_archetype_is_part_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from envs.configuration import load_yaml

    demo = load_yaml(profiles.CONFIG_FOLDER / "combat_dqn.yaml")["demo"]
    monkeypatch.setattr(profiles, "CONFIG_FOLDER", tmp_path)

    def resolved(part: dict[str, object]) -> tuple[Run, Run]:
        (tmp_path / "combat_dqn.yaml").write_text(
            yaml.safe_dump({"demo": {**demo, "archetypes": {"tank": part}}})
        )
        mage, tank = resolve(request(archetypes=("mage", "tank")))
        return mage, tank

    mage, plain = resolved({})
    part = {
        "training": {"epochs": 5},
        "noise": 0.3,
        "reward": {"outcome_weight": 9.0},
        "env": {"scenario": "2v2"},
    }
    same_mage, tank = resolved(part)
    assert same_mage.hash == mage.hash and tank.hash != plain.hash
    assert resolved({**part, "reward": {"outcome_weight": 8.0}})[1].hash != tank.hash
    row = plan_rows([tank])[0]
    assert (row["epochs"], row["noise"], row["scenario"]) == (5, 0.3, "2v2")
    assert row["reward"] == {"outcome_weight": 9.0} and plan_rows([plain])[0]["reward"] is None
    # It is chosen among its epochs, and judged, as everybody: in its own scenario, by the published weights.
    assert tank.settings["selection"] == plain.settings["selection"]
    with pytest.raises(
        UsageError, match=r"combat_dqn.yaml \[demo\] with archetypes.tank: unknown key 'nosie'"
    ):
        resolved({"nosie": 0.3})
