"""The bench of learning curves: areas, intervals and verdicts by hand, resumption, the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import curves
from bench.curve_tasks import TASKS
from bench.curves_plot import plot


def results(stock: list[float], columnar: list[float]) -> dict[str, list[dict[str, Any]]]:
    """Runs of `combat_ppo` whose curves are flat."""
    lanes = {"stock": stock, "columnar": columnar, "untrained": [0.1, 0.1]}
    return {
        lane: [{"score": [value, value], "env_steps": [100, 200], "cpu_s": 1.0} for value in values]
        for lane, values in lanes.items()
    }


def test_area_by_hand() -> None:
    # Returns -1200, -400 and -200 are 0.25, 0.75 and 0.875 of the way from -1600 to 0; their mean is 0.625.
    assert curves.area(TASKS["pendulum_sac"], [-1200.0, -400.0, -200.0]) == pytest.approx(0.625)


def test_interval_by_hand() -> None:
    # Means 0.75 and 0.55, variances 0.02 and 0.02, so SE = sqrt(0.02 / 2 + 0.02 / 2) = 0.1414; t = 6.314
    gap, low, high = curves.difference([0.65, 0.85], [0.45, 0.65])
    assert gap == pytest.approx(0.2)
    assert (low, high) == (pytest.approx(0.2 - 0.8929, abs=1e-4), pytest.approx(0.2 + 0.8929, abs=1e-4))


@pytest.mark.parametrize(
    ("columnar", "expected"),
    [
        ([0.60, 0.61, 0.62], True),  # the same spread: SE 0.0082, t(0.95, 2) = 2.92, so +-0.024
        ([0.68, 0.69, 0.70], True),  # 0.08 off, up to 0.104
        ([0.72, 0.73, 0.74], False),  # 0.12 off, though the interval ends at 0.144
        ([0.50, 0.60, 0.73], False),  # the means agree, the interval is wider than the margin
    ],
)
def test_verdicts(columnar: list[float], expected: bool) -> None:
    verdict = curves.judge("combat_ppo", results([0.60, 0.61, 0.62], columnar))
    assert verdict.equivalent is expected
    assert verdict.seeds == 3 and verdict.untrained == pytest.approx(0.1)


def test_finished_runs_are_read_and_others_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def learn(task: Any, run: Any) -> dict[str, Any]:
        made.append((task.title, run["sampler"], run["seed"], run["training"]["learning_rate"]))
        return {"env_steps": [1], "score": [0.5], "updates": 1, "cpu_s": 0.1}

    monkeypatch.setattr(curves, "learn", learn)
    first = curves.run_or_read("combat_dqn", "stock", 3, tmp_path)
    assert curves.run_or_read("combat_dqn", "stock", 3, tmp_path) == first
    assert made == [("Combat (mage), DQN", "stock", 3, 1e-3)]
    # A file of other settings does not count, one without a setting that came later does.
    path = tmp_path / "combat_dqn-stock-3.json"
    del first["run"]["training"]["accumulate"]
    path.write_text(json.dumps(first), encoding="utf-8")
    curves.run_or_read("combat_dqn", "stock", 3, tmp_path)
    assert len(made) == 1
    first["run"]["training"]["gamma"] = 0.5
    path.write_text(json.dumps(first), encoding="utf-8")
    curves.run_or_read("combat_dqn", "stock", 3, tmp_path)
    curves.run_or_read("combat_dqn", "untrained", 3, tmp_path)
    assert made[1:] == [
        ("Combat (mage), DQN", "stock", 3, 1e-3),
        ("Combat (mage), DQN", "columnar", 3, curves.NO_LEARNING),
    ]


def test_picture_is_a_drawing_with_a_line_per_run(tmp_path: Path) -> None:
    plot(tmp_path / "p.svg", {"combat_ppo": results([0.5, 0.6], [0.5, 0.7])})
    root = ElementTree.fromstring((tmp_path / "p.svg").read_text(encoding="utf-8"))
    paths = root.findall("{http://www.w3.org/2000/svg}path")
    assert len(paths) == 3 * (2 + 1)  # lanes x (runs and their mean)
