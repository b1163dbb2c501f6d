from pathlib import Path

import pytest

from envs.configuration import ConfigError
from experiments.config import SettingsFile, curriculum_of, load_settings, overrides, without_effect
from experiments.errors import UsageError
from experiments.matrix import Request, plan_rows, resolve

WHOLE_PRODUCT = """
training: {batch_size: 256, learning_rate: 0.0003, epochs: 100, gamma: 0.98}
hardware: {device: "cuda:0", max_vram_gb: 11.0, use_amp: true}
checkpoints: {save_frequency: 1000, keep_last_n: 5}
curriculum: {enabled: true, num_levels: 5, level_thresholds: [50.0, 100.0, 200.0, 400.0, 800.0]}
strategies: {continuous: {enabled: true, update_frequency: "hourly", min_new_experiences: 1000}}
models: {combat_dqn: {hidden_dims: [1024, 512], dropout: 0.2, learning_rate: 0.0001}}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "training_config.yaml"
    path.write_text(text)
    return path


def test_a_file_for_the_whole_product_loads_and_idle_settings_are_named(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, WHOLE_PRODUCT))
    assert settings.training.batch_size == 256 and settings.hardware.device == "cuda:0"
    laid = overrides(settings, "x", ("combat_dqn", "movement_ppo", "spatial_vit"))
    assert laid == {
        "combat_dqn": {
            "training": {"gamma": 0.98, "learning_rate": 0.0001},
            "model": {"hidden_dims": [1024, 512], "dropout": 0.2},
        },
        "movement_ppo": {"training": {"gamma": 0.98}, "model": {}},
        "spatial_vit": {"training": {"checkpoint_steps": 1000, "keep_checkpoints": 5}, "model": {}},
    }
    assert without_effect(settings, ("spatial_vit",)) == [
        "curriculum.enabled",
        "strategies.continuous.enabled",
        "models.combat_dqn",
    ]
    assert without_effect(settings) == [
        "checkpoints.save_frequency",
        "checkpoints.keep_last_n",
        "strategies.continuous.enabled",
    ]


def test_the_curriculum_reaches_the_runs_of_minds_that_act_on_their_own(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "curriculum: {enabled: true, level_thresholds: [10.0, 20.0]}"))
    asked = curriculum_of(settings)
    assert asked == {"enabled": True, "num_levels": None, "level_thresholds": [10.0, 20.0]}
    assert curriculum_of(settings, False) is None and curriculum_of(SettingsFile()) is None
    assert curriculum_of(SettingsFile(), True) == {
        "enabled": True,
        "num_levels": None,
        "level_thresholds": None,
    }
    types = ("combat_dqn", "team_coordination", "spatial_vit")
    runs = {run.model_type: run for run in resolve(Request(("tank",), types, curriculum=asked))}
    assert runs["combat_dqn"].settings["trial"]["curriculum"] == asked
    assert runs["team_coordination"].settings["trial"]["curriculum"] is None
    assert "curriculum" not in runs["spatial_vit"].settings["trial"]
    rows = {row["model_type"]: row["curriculum_levels"] for row in plan_rows(list(runs.values()))}
    assert rows == {"combat_dqn": 2, "team_coordination": None, "spatial_vit": None}
    with pytest.raises(UsageError, match="stock"):
        resolve(Request(("tank",), ("combat_dqn",), lane={"sampler": "stock"}, curriculum=asked))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training: {batch_sise: 256}", r"training_config.yaml: .*training.batch_sise.*batch_size"),
        ("training: {epochs: -3}", r"training.epochs.*at least 1"),
        ("training: {learning_rate: fast}", r"training.learning_rate.*number"),
        ("trainin: {}", r"trainin.*training"),
        ("models: {combat_dqm: {}}", r"models.combat_dqm.*combat_dqn"),
        ("training: {epochs: 1", r"training_config.yaml"),
    ],
)
def test_a_mistake_names_file_and_key_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        load_settings(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_an_unknown_key_of_a_model_names_the_nearest(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "models: {combat_dqn: {dropot: 0.1}}"))
    with pytest.raises(ConfigError, match=r"models.combat_dqn.dropot.*dropout"):
        overrides(settings, "training_config.yaml")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "none.yaml")
