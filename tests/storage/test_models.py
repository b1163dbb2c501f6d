from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from storage import ModelVersion


@pytest.fixture
def row() -> dict[str, Any]:
    return {
        "model_id": 5,
        "archetype": "tank",
        "model_type": "combat_dqn",
        "version": 3,
        "state": "validated",
        "is_deployed": False,
        "metrics": {"win_rate": 0.8},
        "gate": "pass",
        "gate_reasons": ["won enough"],
        "artifacts": {"onnx_fp32": {"uri": "store:x", "sha256": "x", "bytes": 1}},
        "artifact_uri": "store:x",
        "sha256": "x",
        "contracts": {"observation": "obs_v1"},
        "run_id": "run-1",
        "lineage": {},
        "source_revision": "abc",
        "created_at": datetime(2026, 11, 22, 14, 0, tzinfo=timezone(timedelta(hours=2))),
        "updated_at": "not of interest",
    }


def test_a_row_becomes_a_version_in_utc(row: dict[str, Any]) -> None:
    model = ModelVersion.from_record(row)
    assert model.created_at == datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    assert model.created_at.tzinfo is UTC
    assert model.gate_reasons == ("won enough",)
    assert model.name == "tank/combat_dqn v3"


def test_a_version_survives_json(row: dict[str, Any]) -> None:
    model = ModelVersion.from_record(row)
    assert ModelVersion.from_record(json.loads(json.dumps(model.to_json()))) == model


def test_a_version_cannot_be_changed(row: dict[str, Any]) -> None:
    with pytest.raises(AttributeError):
        ModelVersion.from_record(row).gate = "pass"  # type: ignore[misc]
