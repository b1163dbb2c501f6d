import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from experiments.demo import final_table, next_steps
from experiments.gate import judge
from experiments.report import build_report, figures, model_entry, write_reports
from experiments.report.svg import Scale
from tests.experiments.models import FakeRegistry, figures_of


def entry(archetype: str, win_rate: float, p95: float | None = 4.0) -> dict[str, Any]:
    registry = FakeRegistry()
    parity = {"relative_error": 1e-7, "action_agreement": 1.0}
    file = {"uri": "store:x.onnx", "sha256": "ab" * 32, "bytes": 9, "parity": parity, "manifest": {}}
    metrics = figures_of(win_rate) | {"best_epoch": 2, "loss": 0.01, "latency_device": "cpu, 2 cores"}
    metrics |= {f"latency_p{n}_ms": p95 for n in (50, 95, 99)} | {"latency_requests": 250}
    version = registry.register(
        archetype, "combat_dqn", f"{archetype}-run", artifacts={"onnx_fp32": file, "onnx_fp16": file},
        metrics=metrics, contracts={}, lineage={"settings": {"profile": "demo"}}, source_revision="r",
    )  # fmt: skip
    baselines = {
        name: figures_of(rate) for name, rate in (("random", 0.3), ("mirror", 0.5), ("attack_nearest", 0.1))
    }
    gate = judge({**metrics, "fp32_error": 1e-7, "fp16_action_agreement": 1.0}, baselines)
    history = [
        {
            "epoch": e,
            "env_steps": 1000 * e,
            "win_rate": 0.2 * e,
            "selection_win_rate": None if e == 1 else 0.3 * e,
        }
        for e in (1, 2, 3)
    ]
    fight = {
        "outcome": "won_kill",
        "decisions": 50,
        "p50_ms": 2.0,
        "actions": {"attack_nearest": 40, "hold": 10},
    }
    return model_entry(version, gate, baselines, history, fight)


def report_of(*models: dict[str, Any]) -> dict[str, Any]:
    return build_report(
        models, command="monster demo <x>", profile="demo", seed=0, wall_s=434.0,
        phases_s={"warm_up": 2.0, "train": 300.0}, fights=2000,
    )  # fmt: skip


def test_the_report_has_what_programs_look_for() -> None:
    report = report_of(entry("tank", 0.8), entry("mage", 0.65))
    assert {"wall_s", "phases_s", "machine", "seeds", "thresholds", "models"} <= set(report)
    tank, mage = report["models"]
    assert (tank["archetype"], tank["model_type"], tank["version"]) == ("tank", "combat_dqn", 1)
    assert {"win_rate", "win_rate_low", "win_rate_high", "n", "average_reward"} <= set(tank["metrics"])
    assert tank["gate"] == "pass" and mage["gate"] == "fail" and "not above 0.70" in mage["reasons"][0]
    assert tank["onnx"]["sha256"] == "ab" * 32 and tank["onnx"]["parity"]["relative_error"] == 1e-7
    assert tank["deployed"] is False and tank["served_p95_ms"] == 4.0
    assert set(tank["baselines"]) == {"random", "mirror", "attack_nearest"}


def test_all_three_files_are_written_and_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    report = report_of(entry("tank", 0.8), entry("mage", 0.65))
    paths = write_reports(report, tmp_path, next_steps(tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]
    assert json.loads(paths["json"].read_text()) == report
    page = paths["html"].read_text()
    assert "1 of 2 combat minds pass the gate" in page and "7 min 14 s" in page
    assert "monster demo &lt;x&gt;" in page  # text from outside is escaped
    assert "<script" not in page and "<link" not in page and "src=" not in page
    assert "| mage | v1 | fail | 65.0% |" in paths["md"].read_text()


def test_every_figure_is_well_formed_also_without_latency() -> None:
    models = [entry("tank", 0.8), entry("mage", 0.65, p95=None)]
    drawn = [figures.win_rates(models, 0.7), figures.latencies(models, 15.0), figures.phases({"a_b": 3.0})]
    drawn += [
        draw(m) for m in models for draw in (figures.reward_terms, lambda m: figures.learning_curve(m, 0.7))
    ]
    for svg in drawn:
        assert ElementTree.fromstring(svg).tag == "svg"
    assert "not measured" in drawn[1] and "death &amp; loss" in drawn[3]


def test_a_scale_maps_ends_and_middle_and_clips() -> None:
    x = Scale(0.0, 10.0, start=100.0, length=200.0)
    assert [x(v) for v in (0.0, 5.0, 10.0, 12.0, -1.0)] == [100.0, 200.0, 300.0, 300.0, 100.0]
    up = Scale(0.0, 1.0, start=90.0, length=-80.0)
    assert up(0.25) == pytest.approx(70.0)


def test_the_terminal_table_names_what_is_in_the_way() -> None:
    lines = final_table(report_of(entry("tank", 0.8), entry("mage", 0.65)))
    assert any(line.startswith("tank") and "pass" in line for line in lines)
    assert any(line.startswith("mage: win rate 0.650") for line in lines)
    assert lines[-1].startswith("1 of 2 combat minds pass the gate; 7 min 14 s on ")
