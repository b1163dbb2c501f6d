import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envs.contracts import COMBAT_ACTIONS, FEATURES
from experiments import pipeline, yardsticks
from experiments.errors import ExperimentError
from experiments.ledger import Ledger
from experiments.matrix import Request, Run, resolve
from experiments.progress import Progress
from experiments.tuning import TrainedRun
from policies.combat_dqn import CombatDQN, CombatDQNConfig
from policies.model_types import save_weights
from storage import ArtifactStore
from tests.experiments.models import FakeRegistry, figures_of


@pytest.fixture
def shop(tmp_path: Path) -> pipeline.Workshop:
    lines: list[str] = []
    shop = pipeline.Workshop(
        tmp_path, FakeRegistry(), ArtifactStore(tmp_path / "artifacts"), Progress(lines.append)
    )
    shop.lines = lines  # type: ignore[attr-defined]
    return shop


@pytest.fixture
def trained(tmp_path: Path) -> TrainedRun:
    """A finished run whose model was never trained."""
    run = resolve(Request(("aggressive",), ("combat_dqn",)))[0]
    record = Ledger(tmp_path).run(run.run_id)
    record.begin(run.settings)
    save_weights(CombatDQN(CombatDQNConfig(hidden_dims=(16,))), record.model_folder)
    summary = {
        "train_s": 1.0,
        "epochs": 2,
        "best_epoch": 2,
        "selection_win_rate": 0.4,
        "final": {"loss": 0.02},
    }
    record.finish(summary)
    return TrainedRun(run, record, summary, reused=False)


def said(shop: Any) -> str:
    return str(shop.lines[-1])


def test_register_export_evaluate_each_reuse_what_is_there(
    shop: pipeline.Workshop, trained: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = pipeline.register(shop, trained)
    assert version.state == "trained" and version.metrics["loss"] == 0.02
    assert version.lineage["settings_sha256"] == trained.run.hash
    assert pipeline.register(shop, trained) == version and "already registered" in said(shop)

    version = pipeline.export(shop, version)
    assert version.state == "exported"
    for name in ("onnx_fp32", "onnx_fp16"):
        artifact = version.artifacts[name]
        assert shop.store.fetch(artifact["uri"], artifact["sha256"]).stat().st_size == artifact["bytes"]
    assert version.artifacts["onnx_fp32"]["parity"]["relative_error"] <= 1e-5
    beside = version.artifacts["manifest"]
    manifest = json.loads(shop.store.read(beside["uri"], beside["sha256"]))
    assert manifest["files"]["onnx_fp32"] == version.artifacts["onnx_fp32"]["sha256"]
    assert [row["name"] for row in manifest["features"]] == list(FEATURES)
    assert manifest["archetype"] == "aggressive" and manifest["actions"] == list(COMBAT_ACTIONS)
    assert pipeline.export(shop, version) == version and "reusing the exported" in said(shop)

    metrics = pipeline.evaluate(shop, version, n=40)
    assert metrics["n"] == 40 and metrics["loss"] == 0.02
    played = yardsticks.baselines(shop, ("aggressive",), n=40)
    version, gate = pipeline.validate(shop, version, metrics, played["aggressive"])
    assert version.gate == gate.verdict != "pass"  # 40 fights never pass
    assert pipeline.evaluate(shop, version, n=40)["wins"] == metrics["wins"]
    assert "reusing the evaluation" in said(shop)
    pipeline.evaluate(shop, version, n=41)
    assert "reusing" not in said(shop)
    assert yardsticks.baselines(shop, ("aggressive",), n=40) == played
    assert "reusing the baselines" in said(shop)


def test_a_run_that_started_from_another_descends_from_its_version(
    shop: pipeline.Workshop, trained: TrainedRun
) -> None:
    def heir_of(start: dict[str, str], seed: int) -> TrainedRun:
        return replace(trained, run=Run({**trained.run.settings, "seed": seed, "start_from": start}))

    first = pipeline.register(shop, trained)
    heir = pipeline.register(shop, heir_of({"run_id": trained.run.run_id}, 1))
    assert shop.registry.edges == [(heir.model_id, first.model_id, "transferred from")]
    # Of a source that was never registered nothing can be said, and a transfer says it itself.
    pipeline.register(shop, heir_of({"run_id": "mage-gone"}, 2))
    pipeline.register(shop, heir_of({"run_id": trained.run.run_id, "weights_sha256": "0" * 64}, 3))
    assert len(shop.registry.edges) == 1


def test_parity_reaches_the_gate(shop: pipeline.Workshop, trained: TrainedRun) -> None:
    version = pipeline.register(shop, trained)
    assert pipeline.gate_inputs(version, {})["fp32_error"] is None
    version = pipeline.export(shop, version)
    inputs = pipeline.gate_inputs(version, {"n": 3})
    assert (
        inputs["n"] == 3 and 0.0 <= inputs["fp32_error"] <= 1e-5 and inputs["fp16_action_agreement"] >= 0.995
    )


def test_a_version_that_was_never_exported_cannot_be_evaluated(
    shop: pipeline.Workshop, trained: TrainedRun
) -> None:
    with pytest.raises(ExperimentError, match="not exported; run monster export first"):
        pipeline.evaluate(shop, pipeline.register(shop, trained), n=10)


def test_timing_is_kept_and_reused(shop: pipeline.Workshop, trained: TrainedRun) -> None:
    version = pipeline.register(shop, trained)
    known = {"latency_p95_ms": 3.5, "n": 4}
    assert pipeline.time_decisions(shop, version, known, "http://127.0.0.1:1") == known
    assert "reusing the timing, P95 3.50 ms" in said(shop)


def test_a_passed_version_is_deployed_once(shop: pipeline.Workshop, trained: TrainedRun) -> None:
    version = pipeline.export(shop, pipeline.register(shop, trained))
    metrics = figures_of(0.8) | {"latency_p95_ms": 4.0, "latency_requests": 250, "loss": 0.01}
    version, gate = pipeline.validate(shop, version, metrics, {"mirror": figures_of(0.5)})
    assert gate.verdict == "pass" and version.metrics["baselines"]["mirror"]["win_rate"] == 0.5
    version = pipeline.deploy(shop, version)
    assert version.is_deployed
    assert pipeline.deploy(shop, version) == version and "already deployed" in said(shop)


def test_a_quick_look_takes_no_verdict_back(shop: pipeline.Workshop, trained: TrainedRun) -> None:
    version = pipeline.export(shop, pipeline.register(shop, trained))
    measured = {"latency_p95_ms": 4.0, "latency_requests": 250, "loss": 0.01}
    mirror = {"mirror": figures_of(0.5)}
    version, _ = pipeline.validate(shop, version, figures_of(0.8) | measured, mirror)
    version, gate = pipeline.validate(shop, version, figures_of(0.8, n=100) | measured, mirror)
    assert gate.verdict == "undecided" and version.gate == "pass" and version.metrics["n"] == 100
    assert shop.registry.list()[0].metrics["n"] == 2000
    # A deployed version keeps its pass even against a failure; one that is not deployed does not.
    version = pipeline.deploy(shop, shop.registry.list()[0])
    version, gate = pipeline.validate(shop, version, figures_of(0.4) | measured, mirror)
    assert gate.verdict == "fail" and "keeps its verdict 'pass'" in said(shop)
    other = shop.registry._change(version.model_id, is_deployed=False)
    assert pipeline.validate(shop, other, figures_of(0.4) | measured, mirror)[0].gate == "fail"


def test_the_newest_version_of_each_cell_is_found(shop: pipeline.Workshop) -> None:
    for run_id in ("a", "b"):
        shop.registry.register(
            "tank",
            "combat_dqn",
            run_id,
            artifacts={},
            metrics={},
            contracts={},
            lineage={},
            source_revision="",
        )
    found = pipeline.newest(shop, ("tank", "mage"), ("combat_dqn",))
    assert [(v.archetype, v.version) for v in found] == [("tank", 2)]
    with pytest.raises(ExperimentError, match="nothing is registered for mage/combat_dqn; run monster train"):
        pipeline.newest(shop, ("tank", "mage"), ("combat_dqn",), explicit=True)
    with pytest.raises(ExperimentError, match="nothing is registered"):
        pipeline.newest(shop, ("mage",), ("combat_dqn",))
