"""One row of the registry, as every other package sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from .jsonable import to_jsonable

STATES = ("trained", "exported", "validated", "deployed")
GATES = ("pass", "fail", "undecided")
ONNX_FORMS = ("onnx_fp32", "onnx_fp16")
RELATIONS = ("trained from", "transferred from", "distilled from", "collected by")
"""How a version descends from an older one."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of one mind.

    Attributes:
        model_id: Number of the row.
        archetype: Kind of monster, such as `tank`.
        model_type: Kind of mind, such as `combat_dqn`.
        version: Counts from 1 for each archetype and model type.
        state: `trained`, `exported`, `validated` or `deployed`.
        is_deployed: Whether running services answer with this version; at most one of its kind is.
        metrics: Named numbers of training and validation; NaN is None.
        gate: `pass`, `fail` or `undecided`; None before validation.
        gate_reasons: Why the gate said so, one line each.
        artifacts: Form (`weights`, `onnx_fp32`, `onnx_fp16`) -> `uri`, `sha256`, `bytes`.
        artifact_uri: Address of the file that a service loads by default; None until exported.
        sha256: Digest of that file; None until exported.
        contracts: Names of the contracts the model was made for, such as `obs_v1`.
        run_id: The training run it came from.
        lineage: What it was made from: data, parents, resolved settings.
        source_revision: Revision of the source code that trained it.
        created_at: When it was registered, UTC.
    """

    model_id: int
    archetype: str
    model_type: str
    version: int
    state: str
    is_deployed: bool
    metrics: dict[str, Any]
    gate: str | None
    gate_reasons: tuple[str, ...]
    artifacts: dict[str, dict[str, Any]]
    artifact_uri: str | None
    sha256: str | None
    contracts: dict[str, Any]
    run_id: str
    lineage: dict[str, Any]
    source_revision: str
    created_at: datetime

    @property
    def name(self) -> str:
        """Name for people: `tank/combat_dqn v3`."""
        return f"{self.archetype}/{self.model_type} v{self.version}"

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ModelVersion:
        """Build from a row of `ml_models` or from the form of `to_json`.

        Args:
            record: Column name -> value; columns that this class does not know are ignored.
        """
        values = {field.name: record[field.name] for field in fields(cls)}
        values["gate_reasons"] = tuple(values["gate_reasons"])
        if isinstance(values["created_at"], str):
            values["created_at"] = datetime.fromisoformat(values["created_at"])
        values["created_at"] = values["created_at"].astimezone(UTC)
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; `from_record` reads them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["created_at"] = self.created_at.isoformat()
        plain: dict[str, Any] = to_jsonable(values)
        return plain
