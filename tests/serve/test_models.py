"""Loading a version: verified, of our contracts, and checked before it may serve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest

from serve import ray_session
from serve.models import ModelError, ServedVersion, load_model
from storage import ArtifactStore
from tests.serve.conftest import Stored
from tests.serve.tiny_onnx import counter, favourite, tiny_mind


def test_a_loaded_model_takes_the_best_legal_action(store: ArtifactStore, stored: Stored) -> None:
    model = load_model(store, stored(action=5))
    observations = np.zeros((2, 64), np.float32)
    observations[:, 5] = (1.0, 2.0)
    masks = np.ones((2, 10), np.float32)
    masks[1, 5] = 0.0  # then action 0 is next: its bias is 0, that of action k is -0.1 k
    answer = model.run({"obs": observations, "action_mask": masks})
    q_values, actions = answer["q_values"], answer["action"]
    assert actions.tolist() == [5, 0]
    assert q_values[0, 5] == np.float32(1.0) + np.float32(0.01)
    assert q_values[1, 5] == -1e4
    assert model.provider == "CPUExecutionProvider"


def test_a_changed_file_is_refused(store: ArtifactStore, stored: Stored) -> None:
    version = stored(action=1)
    path = store.fetch(version.uri, version.sha256)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ModelError, match=r"tank/combat_dqn v1: .*damaged or was changed"):
        load_model(store, version)


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ("nan", "q_values that are not finite"),
        ("argmin", "actions that are not the best legal ones"),
        ("leak", "illegal q_values other than -10000"),
        ("name", "has inputs .*state.*expected"),
        ("type", "is a skill_dqn, not a combat_dqn"),
        ("shape", r"has inputs .*\(64,\).*its manifest says .*\(63,\)"),
    ],
)
def test_a_mind_that_answers_wrongly_is_refused(
    store: ArtifactStore, stored: Stored, broken: str, line: str
) -> None:
    with pytest.raises(ModelError, match=line):
        load_model(store, stored(action=1, broken=broken))


def test_a_file_from_before_its_manifest_named_the_mask_is_checked_all_the_same(
    store: ArtifactStore, stored: Stored
) -> None:
    signature = load_model(store, stored(action=5, broken="old")).signature
    assert signature.mask == ("action_mask", "q_values") and signature.illegal is None


def test_a_mind_that_remembers_is_loaded_by_its_manifest(store: ArtifactStore, stored: Stored) -> None:
    model = load_model(store, stored(model_type="spatial_vit", content=counter()))
    assert list(model.signature.asked) == ["grid", "kinds"]
    state = model.signature.first_state(2)
    for total in ([5.0, 6.0], [10.0, 12.0]):
        answer = model.run(
            {"grid": np.ones((2, 2, 2), np.uint8), "kinds": np.array([1, 2], np.int64), **state}
        )
        assert answer["total"].tolist() == total
        state = {own: answer[after] for own, after in model.signature.state.items()}


def test_bytes_that_are_no_onnx_are_refused_in_one_line(store: ArtifactStore, stored: Stored) -> None:
    with pytest.raises(ModelError, match="not a loadable ONNX file") as refused:
        load_model(store, stored(content=b"these are not the weights you are looking for"))
    assert "\n" not in str(refused.value)


def test_a_file_without_a_manifest_is_refused(store: ArtifactStore, stored: Stored) -> None:
    bare = onnx.load_from_string(tiny_mind(favourite(1)))
    del bare.metadata_props[:]
    with pytest.raises(ModelError, match="carries no manifest; export it"):
        load_model(store, stored(content=bare.SerializeToString()))


def test_every_head_has_its_own_action_contract(store: ArtifactStore, stored: Stored) -> None:
    version = replace(stored(content=counter(), model_type="spatial_vit"), contracts={"action": "combat_v1"})
    with pytest.raises(ModelError, match=r"trained for action contract 'combat_v1'.*speaks 'none'"):
        load_model(store, version)


def test_a_model_of_another_observation_contract_is_refused(store: ArtifactStore, stored: Stored) -> None:
    version = replace(stored(), contracts={"observation": "obs_v2", "action": "combat_v1"})
    with pytest.raises(ModelError, match=r"trained for observation contract 'obs_v2'.*speaks 'obs_v1'"):
        load_model(store, version)


def test_a_registry_row_gives_its_fp32_file() -> None:
    row = SimpleNamespace(
        model_id=12,
        archetype="mage",
        model_type="combat_dqn",
        version=3,
        artifacts={"onnx_fp32": {"uri": "store:ab.onnx", "sha256": "ab", "bytes": 5}, "onnx_fp16": {}},
        contracts={"observation": "obs_v1"},
    )
    version = ServedVersion.from_registry(cast(Any, row))
    expected = ServedVersion("12", "mage", "combat_dqn", 3, "store:ab.onnx", "ab", {"observation": "obs_v1"})
    assert version == expected
    assert version.name == "mage/combat_dqn v3"
    assert ServedVersion.from_json(version.to_json()) == version
    row.artifacts = {"weights": {"uri": "store:cd", "sha256": "cd", "bytes": 5}}
    with pytest.raises(ModelError, match=r"mage/combat_dqn v3 has no FP32 ONNX file.*monster export"):
        ServedVersion.from_registry(cast(Any, row))


def test_loading_a_model_reports_nothing_and_writes_nothing_into_the_home(
    store: ArtifactStore, stored: Stored, tmp_path: Path
) -> None:
    version = stored(action=1)
    home = tmp_path / "empty"
    home.mkdir()
    code = (
        "import json, sys; from serve.models import ServedVersion, load_model\n"
        "from storage import ArtifactStore\n"
        "load_model(ArtifactStore(sys.argv[1]), ServedVersion.from_json(json.loads(sys.argv[2])))\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "CI"))}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home)}
    environment |= {"PYTHONPATH": str(ray_session.PACKAGE_ROOT)}
    command = [sys.executable, "-P", "-c", code, str(store.root), json.dumps(version.to_json())]
    subprocess.run(command, check=True, env=environment, cwd=home)
    assert list(home.iterdir()) == []
