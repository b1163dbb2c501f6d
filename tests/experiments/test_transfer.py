"""Transfer end to end with runs that are written down instead of trained; training is `test_trainable`'s."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments import pipeline, transfer, tuning
from experiments.errors import ExperimentError, UsageError
from experiments.ledger import Ledger
from experiments.matrix import Request, Run, resolve
from experiments.progress import Progress
from experiments.report.transfer_page import curves, write_transfer_page
from experiments.transfer import TransferRequest
from experiments.transfer_result import gain_lines, result_json, result_rows
from experiments.tuning import TrainedRun
from policies.actor_critic import ActorCritic, ActorCriticConfig
from policies.model_types import save_weights
from storage import ArtifactStore
from tests.experiments.models import FakeRegistry

REQUEST = TransferRequest("mage", "ranged", "movement_ppo", seeds=2, epochs=3)


class Bench:
    """A project whose runs finish at once, those that start from weights with better scores."""

    def __init__(self, home: Path) -> None:
        self.home, self.lines, self.registry = home, [], FakeRegistry()  # type: ignore[var-annotated]
        self.trained: list[Run] = []
        self.progress = Progress(self.lines.append)

    @contextlib.contextmanager
    def workshop(self) -> Iterator[pipeline.Workshop]:
        yield pipeline.Workshop(
            self.home, self.registry, ArtifactStore(self.home / "artifacts"), self.progress
        )

    def train(self, home: Path, runs: Sequence[Run], progress: Any, **options: Any) -> list[TrainedRun]:
        return [self.finish(run) for run in runs]

    def finish(self, run: Run) -> TrainedRun:
        self.trained.append(run)
        start = run.settings.get("start_from")
        if start:
            assert tuning.start_file(self.home, start["weights_sha256"]).is_file()
        record = Ledger(self.home).run(run.run_id)
        record.begin(run.settings)
        head = 0.4 if start else 0.0
        scores = [head + 0.1 * run.settings["seed"] + 0.2 * epoch for epoch in (0, 1, 2)]
        for epoch, score in enumerate(scores, start=1):
            record.add_epoch({"epoch": epoch, "env_steps": 100 * epoch, "selection_win_rate": score})
        network = ActorCritic(ActorCriticConfig(shared_dims=(4,), actor_dims=(4,), critic_dims=(4,)))
        save_weights(network, record.model_folder)
        record.finish(
            {"train_s": 1.0, "epochs": 3, "best_epoch": 3, "selection_win_rate": scores[-1], "final": {}}
        )
        summary = record.done()
        assert summary is not None
        return TrainedRun(run, record, summary, False)

    def carry_out(self, request: TransferRequest = REQUEST) -> Any:
        return transfer.carry_out(self.home, request, self.workshop, self.progress)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    monkeypatch.setattr(tuning, "train", made.train)
    return made


def test_the_source_is_trained_first_if_nobody_has_it_and_both_arms_share_everything_else(
    bench: Bench,
) -> None:
    result = bench.carry_out()
    assert any("so it is trained first" in line for line in bench.lines)
    source, *runs = bench.trained
    assert source.archetype == "mage" and "start_from" not in source.settings
    started = [run for run in runs if "start_from" in run.settings]
    fresh = [run for run in runs if "start_from" not in run.settings]
    assert [run.settings["seed"] for run in started] == [run.settings["seed"] for run in fresh] == [0, 1]
    for run, other in zip(started, fresh, strict=True):
        rest = {name: value for name, value in run.settings.items() if name != "start_from"}
        assert rest == dict(other.settings) and run.run_id != other.run_id
        assert run.settings["start_from"]["run_id"] == source.run_id
        assert run.settings["selection"]["every_epoch"]
    assert result.source == "mage/movement_ppo v1" and result.registered == "ranged/movement_ppo v1"
    # The better of the two transferred runs, and where it came from.
    assert bench.registry.find_run(started[1].run_id) and len(bench.registry.versions) == 2
    assert bench.registry.edges == [(2, 1, "transferred from")]


def test_the_newest_registered_mind_is_the_source_and_else_the_newest_of_the_ledger(bench: Bench) -> None:
    (run,) = resolve(Request(("mage",), ("movement_ppo",), epochs=2))
    bench.finish(run)
    with bench.workshop() as shop:
        found = transfer.find_source(shop, REQUEST)
        assert found is not None and found.run_id == run.run_id  # of the ledger, registered now
        (later,) = resolve(Request(("mage",), ("movement_ppo",), epochs=4))
        pipeline.register(shop, bench.finish(later))
        newest = transfer.find_source(shop, REQUEST)
        assert newest is not None and newest.run_id == later.run_id
        assert transfer.find_source(shop, replace(REQUEST, source="tank")) is None


def test_the_result_says_what_was_gained(bench: Bench) -> None:
    result = bench.carry_out()
    values = result_json(result)
    # The arms differ by 0.4 everywhere; 0.70 is never reached from scratch, else after 300 and 200 steps.
    assert values["area_gain"]["mean"] == pytest.approx(0.4) and values["area_gain"]["excludes_zero"]
    assert [curve["steps_to_threshold"] for curve in values["arms"]["scratch"]] == [None, None]
    assert [curve["steps_to_threshold"] for curve in values["arms"]["transfer"]] == [300.0, 200.0]
    assert values["steps_saved"]["mean"] == 50.0
    header, rows = result_rows(result)
    assert [row[:2] for row in rows] == [[0, "scratch"], [0, "transfer"], [1, "scratch"], [1, "transfer"]]
    assert header[-1] == "steps to 0.70" and rows[0][-1] == "not in 300" and rows[3][-1] == "200"
    said = gain_lines(result)
    assert said[0].startswith("mean win rate over training: +0.400 (+0.400 to +0.400) over 2 seeds")
    assert "2 of 2 from scratch and 0 of 2 transferred never got there" in said[1]


def test_without_a_comparison_only_the_transferred_runs_are_trained(bench: Bench) -> None:
    result = bench.carry_out(replace(REQUEST, compare=False, seeds=1))
    assert len(bench.trained) == 2 and result.paired is None
    assert gain_lines(result) == [] and result_json(result)["area_gain"] is None
    assert list(result_json(result)["arms"]) == ["transfer"]


def test_the_page_stands_alone_and_draws_every_run(bench: Bench, tmp_path: Path) -> None:
    result = bench.carry_out()
    write_transfer_page(tmp_path / "new" / "page.html", result, "monster transfer <x>")
    page = (tmp_path / "new" / "page.html").read_text()
    assert "<script" not in page and "<link" not in page and "src=" not in page
    assert "monster transfer &lt;x&gt;" in page and "mage to ranged: transfer helps" in page
    root = ElementTree.fromstring(curves(result))
    drawn = [element.attrib["class"] for element in root.iter() if element.tag.endswith("path")]
    # Two seeds and a mean per arm, and a key.
    assert sorted(drawn) == ["axis"] * 2 + ["curve"] * 2 + ["curve-soft"] * 2 + ["grid-run"] * 2


def test_perception_is_measured_by_its_validation_score() -> None:
    assert transfer.measured_by("combat_dqn") == ("selection_win_rate", "env_steps")
    assert transfer.measured_by("temporal_transformer") == ("val_skill", "epoch")
    (run, _) = transfer.plan(replace(REQUEST, model_type="threat_assessment"), None)
    assert run.settings["kind"] == "supervised" and "selection" not in run.settings


def test_what_cannot_be_transferred_is_refused(bench: Bench) -> None:
    with pytest.raises(UsageError, match="both mage"):
        bench.carry_out(replace(REQUEST, target="mage"))
    with pytest.raises(UsageError, match="did you mean 'ranged'"):
        transfer.plan(replace(REQUEST, target="rangde"), None)


def test_a_run_without_curves_is_one_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "measured_by", lambda model_type: ("val_skill", "epoch"))
    with pytest.raises(ExperimentError, match="no 'val_skill' in its history"):
        bench.carry_out()
