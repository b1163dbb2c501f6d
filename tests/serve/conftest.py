"""A store of tiny minds for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from serve.heads import contracts_of
from serve.models import ServedVersion
from storage import ArtifactStore
from tests.serve.tiny_onnx import favourite, tiny_mind

Stored = Callable[..., ServedVersion]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def stored(store: ArtifactStore, tmp_path: Path) -> Stored:
    """Put a tiny mind into the store: `stored("tank", 2, action=5)` decides 5 wherever that is legal."""

    def put(
        archetype: str = "tank",
        version: int = 1,
        action: int = 0,
        broken: str = "",
        content: bytes = b"",
        model_type: str = "combat_dqn",
    ) -> ServedVersion:
        file = tmp_path / "mind.onnx"
        file.write_bytes(content or tiny_mind(favourite(action), broken))
        artifact = store.put(file)
        contracts = contracts_of(model_type)
        model_id = f"{archetype}{version}"
        return ServedVersion(
            model_id, archetype, model_type, version, artifact.uri, artifact.sha256, contracts
        )

    return put
