"""A run carries the user's archetypes along: hash, trial, and evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envs import archetypes
from experiments import pipeline, trainable, yardsticks
from experiments.errors import UsageError
from experiments.matrix import Request, check_names, resolve
from experiments.progress import Progress
from storage import ArtifactStore
from tests.experiments.models import FakeRegistry


def write(path: Path, hp: int = 500) -> Path:
    path.write_text(
        f"ant: {{base: mage, stats: {{hp: {hp}}}, partners: [bee]}}\nbee: {{base: tank}}\n", encoding="utf-8"
    )
    return path


@pytest.fixture
def mine(tmp_path: Path, own_archetypes: None) -> Path:
    path = write(tmp_path / "mine.yaml")
    archetypes.use_file(path)
    return path


def cell(*names: str) -> Any:
    return resolve(Request(names, ("combat_dqn",)))


def test_names_are_known_in_the_file_s_order_and_the_six_stay_the_default(mine: Path) -> None:
    assert check_names(["bee", "ant", "tank"], None)[0] == ("tank", "ant", "bee")
    assert check_names(None, None)[0] == archetypes.ARCHETYPES
    with pytest.raises(UsageError, match="unknown archetype 'beee'; did you mean 'bee'"):
        check_names(["beee"], None)


def test_the_settings_hold_the_content_and_no_path(mine: Path) -> None:
    (run,) = cell("ant")
    assert run.settings["archetypes"] == archetypes.definitions(["ant"])
    assert sorted(run.settings["archetypes"]) == ["ant", "bee"] and str(mine) not in run.json
    # The archetype's own rate: mage 3.5e-4 / 3e-4.
    assert run.settings["trial"]["noise"] == 0.12
    (tank,) = cell("tank")
    assert "archetypes" not in tank.settings


def test_the_hash_changes_with_the_definition_and_with_nothing_else(mine: Path) -> None:
    (before,), (tank,) = cell("ant"), cell("tank")
    archetypes.use_file(write(mine.with_name("elsewhere.yaml")))
    assert cell("ant")[0].hash == before.hash
    archetypes.use_file(write(mine, hp=501))
    assert cell("ant")[0].hash != before.hash and cell("tank")[0].hash == tank.hash


def test_a_trial_defines_its_archetypes_itself(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = cell("ant")
    seen = []
    monkeypatch.setitem(
        trainable.KINDS, "rl", lambda run, *places: seen.append(archetypes.load("ant").stats.hp)
    )
    archetypes.forget()  # another machine: no file, no variable
    trainable.run_cell({"cell": {"run": run.json, "resume_from": None}})
    archetypes.use_file(write(mine, hp=1))  # a file that has changed meanwhile
    trainable.run_cell({"cell": {"run": run.json, "resume_from": None}})
    assert seen == [500, 500]


def test_an_evaluation_is_reused_for_the_same_definition_only(mine: Path, tmp_path: Path) -> None:
    shop = pipeline.Workshop(
        tmp_path, FakeRegistry(), ArtifactStore(tmp_path / "artifacts"), Progress(lambda _: None)
    )
    before = yardsticks.evaluation_key(shop, 10, "ant")
    assert before != yardsticks.evaluation_key(shop, 10, "tank") == yardsticks.evaluation_key(shop, 10)
    first = yardsticks.baselines(shop, ("ant", "bee"), n=8)
    assert set(first) == {"ant", "bee"} and yardsticks.baselines(shop, ("ant", "bee"), n=8) == first
    assert len(list((tmp_path / "baselines").iterdir())) == 2
    archetypes.use_file(write(mine, hp=501))
    assert yardsticks.evaluation_key(shop, 10, "ant") != before
    assert json.loads(json.dumps(first)) == first
