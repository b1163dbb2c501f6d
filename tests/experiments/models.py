"""A registry without a database, and measured figures, for tests of the steps around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from storage.models import ModelVersion


class FakeRegistry:
    """Keeps versions in a list, by the rules of the real one that the steps rely on."""

    def __init__(self) -> None:
        self.versions: list[ModelVersion] = []
        self.edges: list[tuple[int, int, str]] = []

    def _change(self, model_id: int, **changes: Any) -> ModelVersion:
        index = next(i for i, v in enumerate(self.versions) if v.model_id == model_id)
        self.versions[index] = replace(self.versions[index], **changes)
        return self.versions[index]

    def find_run(self, run_id: str) -> ModelVersion | None:
        return next((v for v in self.versions if v.run_id == run_id), None)

    def list(self) -> list[ModelVersion]:
        return list(self.versions)

    def register(
        self, archetype: str, model_type: str, run_id: str, *, artifacts: Any, metrics: Any, contracts: Any,
        lineage: Any, source_revision: str,
    ) -> ModelVersion:  # fmt: skip
        same = [v for v in self.versions if (v.archetype, v.model_type) == (archetype, model_type)]
        version = ModelVersion(
            len(self.versions) + 1, archetype, model_type, len(same) + 1, "trained", False, metrics, None, (),
            artifacts, None, None, contracts, run_id, lineage, source_revision, datetime.now(UTC),
        )  # fmt: skip
        self.versions.append(version)
        return version

    def link(self, child_id: int, parent_id: int, relation: str) -> None:
        self.edges.append((child_id, parent_id, relation))

    def mark_exported(self, model_id: int, artifacts: Mapping[str, Any]) -> ModelVersion:
        known = next(v for v in self.versions if v.model_id == model_id)
        return self._change(model_id, state="exported", artifacts={**known.artifacts, **artifacts})

    def mark_validated(
        self, model_id: int, metrics: Mapping[str, Any], gate: str, reasons: Sequence[str]
    ) -> ModelVersion:
        known = next(v for v in self.versions if v.model_id == model_id)
        merged = {**known.metrics, **metrics}
        return self._change(
            model_id, state="validated", metrics=merged, gate=gate, gate_reasons=tuple(reasons)
        )

    def deploy(self, archetype: str, model_type: str, version: int | None = None) -> ModelVersion:
        cell = (archetype, model_type, version)
        known = next(v for v in self.versions if (v.archetype, v.model_type, v.version) == cell)
        return self._change(known.model_id, state="deployed", is_deployed=True)


def figures_of(win_rate: float, n: int = 2000, **changes: Any) -> dict[str, Any]:
    """Figures of an evaluation as `FightScore.as_dict` gives them."""
    wins = round(win_rate * n)
    return {
        "n": n, "wins": wins, "win_rate": wins / n, "win_rate_low": win_rate - 0.02,
        "win_rate_high": min(1.0, win_rate + 0.02), "score": win_rate, "average_reward": 150.0,
        "average_reward_se": 1.0, "episode_length": 80.0, "action_entropy_bits": 2.1,
        "action_shares": [0.1] * 10, "reward_terms": {"kill": 170.0, "death & loss": -20.0},
        "outcomes": {"won_kill": wins, "lost_kill": n - wins},
        **changes,
    }  # fmt: skip
