import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from experiments.final_table import final_table
from experiments.gate import Check, GateResult, judge
from experiments.matrix import Request, resolve
from experiments.next_steps import next_steps
from experiments.report import build_report, failed_entry, figures, model_entry, write_reports
from experiments.report.data import plateau_epoch
from experiments.report.matrix import text_rows
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
        "words": "won kill after 50 served decisions, median 2.0 ms",
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
    assert "1 of 2 minds pass the gate" in page and "7 min 14 s" in page
    assert "monster demo &lt;x&gt;" in page  # text from outside is escaped
    assert "<script" not in page and "<link" not in page and "src=" not in page
    assert "| mage | 65% FAIL |" in paths["md"].read_text()


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
    assert lines[1].split() == ["archetype", "combat"]
    assert any(line.split() == ["tank", "80%"] for line in lines)
    assert any(line.split() == ["mage", "65%", "FAIL"] for line in lines)
    assert any(line.startswith("mage combat_dqn: fail: win rate 0.650") for line in lines)
    assert lines[-1].startswith("1 of 2 minds pass the gate; 7 min 14 s on ")


def perceiving(archetype: str, model_type: str, gate: str = "pass", **figures: Any) -> dict[str, Any]:
    """An entry of a perception mind."""
    made = entry(archetype, 0.8) | {"model_type": model_type, "gate": gate, "baselines": {}}
    made["metrics"] = dict.fromkeys(made["metrics"]) | {f"latency_p{n}_ms": 2.0 for n in (50, 95, 99)}
    against = {"set": "held_out", "question": "deed", "baseline": "last_deed", "error": 0.3,
               "baseline_error": 0.5, "low": 0.1, "high": 0.3, "fights": 120}  # fmt: skip
    return made | {"perception": {"against": [against], **figures}}


def test_every_type_has_its_figure_and_its_table(tmp_path: Path) -> None:
    ceilings = {name: {"value": 0.9, "low": 0.8, "high": 0.95} for name in ("damage", "told_damage")}
    ends = ("", "_low", "_high")
    maps: dict[str, Any] = {f"explained_{name}{end}": 0.7 for name in ("damage", "occupancy") for end in ends}
    maps |= {"share_of_ceiling_damage": 0.78, "share_of_ceiling_occupancy": 0.9}
    points: dict[str, Any] = {f"points_over_best{end}": 14.6 for end in ends}
    points |= {"accuracy": 0.8, "best_baseline": "last_deed", "best_baseline_accuracy": 0.654}
    models = [
        entry("tank", 0.8),
        perceiving("tank", "spatial_vit", "fail", ceilings=ceilings, **maps),
        perceiving("tank", "temporal_transformer", **points),
    ]
    header, rows = text_rows(models)
    assert header == ["archetype", "combat", "spatial", "temporal"]
    assert rows == [["tank", "80%", "0.78 FAIL", "+15"]]
    paths = write_reports(report_of(*models), tmp_path, [])
    text = paths["md"].read_text()
    assert "told 0.900 (0.80 to 0.95), all 0.900 (0.80 to 0.95)" in text
    assert "| tank | pass | 80.0% | last_deed | 65.4% | +14.6 |" in text
    assert "Against every baseline" in paths["html"].read_text()


def test_a_cell_that_never_became_a_version_is_a_row_with_its_reason(tmp_path: Path) -> None:
    run = resolve(Request(("tank",), ("skill_dqn",)))[0]
    check = Check("train", "fail", "train: out of memory")
    broken = failed_entry(run, GateResult("fail", (check.text,), (check,), False), [], {"train": 3.0})
    assert broken.keys() == entry("tank", 0.8).keys()
    report = report_of(entry("tank", 0.8), broken)
    assert "tank skill_dqn: fail: train: out of memory" in final_table(report)
    assert write_reports(report, tmp_path, [])["html"].read_text().count("out of memory") >= 2


def test_the_plateau_is_the_first_epoch_near_the_best_of_smoothed_scores() -> None:
    # means over three: 0.2, 0.3, 0.4, 0.6, 0.767, 0.8, 0.8; 95 % of 0.8 is 0.76, reached in epoch 5
    scores = [0.2, 0.4, 0.6, 0.8, 0.9, 0.7, 0.8]
    assert plateau_epoch([{"epoch": n + 1, "val_skill": s} for n, s in enumerate(scores)]) == 5
    assert plateau_epoch([{"epoch": 1, "loss": 0.1}]) is None
