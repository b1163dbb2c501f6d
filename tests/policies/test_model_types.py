"""The registry of model types: every one can be built, saved and read; foreign files are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from envs.configuration import ConfigError
from envs.contracts.vocabulary import MODEL_TYPES as NAMES
from policies.combat_dqn import CombatDQN, CombatDQNConfig
from policies.model_types import (
    MODEL_TYPES,
    WEIGHTS_FILE,
    WeightsError,
    build_network,
    load_weights,
    model_type,
    save_weights,
    type_of,
)
from policies.profiles import profile_values


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_every_type_come_back(name: str, tmp_path: Path) -> None:
    network = build_network(name, profile_values(name, "demo")[0]["model"])
    assert type_of(network) == name
    path = save_weights(network, tmp_path)
    assert path == tmp_path / WEIGHTS_FILE
    loaded = load_weights(path, name)
    assert loaded.config == network.config and not loaded.training
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert [entry.name for entry in tmp_path.iterdir()] == [WEIGHTS_FILE]


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(WeightsError, match="no model type weights"):
        load_weights(tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        load_weights(tmp_path / "text.safetensors")
    path = save_weights(CombatDQN(CombatDQNConfig(hidden_dims=(4,))), tmp_path)
    with pytest.raises(WeightsError, match="no movement_ppo weights"):
        load_weights(path, "movement_ppo")


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown model type 'combat_dqm'.*combat_dqn"):
        model_type("combat_dqm")
    with pytest.raises(ConfigError, match=r"combat_dqn: model.*hidden_dims"):
        build_network("combat_dqn", {"hiden_dims": [4]})
    with pytest.raises(ConfigError, match="learns by reinforcement"):
        model_type("movement_ppo").task_class()
    with pytest.raises(ConfigError, match="Linear is not the network"):
        type_of(torch.nn.Linear(1, 1))


def test_every_type_says_what_it_learns_by() -> None:
    for name, kind in MODEL_TYPES.items():
        assert (kind.task is None) == (kind.algorithm != "supervised"), name
        assert (kind.head is None) == (kind.algorithm == "supervised"), name
