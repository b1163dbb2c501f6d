"""The callback as Tune calls it, without Ray: curves, log lines, warnings, resumption."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.checkpoint_store import FILES
from experiments.ledger import Ledger
from experiments.monitoring.callback import MonitoringCallback, overfitting
from experiments.monitoring.curves import read_curve
from experiments.monitoring.log import events
from experiments.progress import Progress

RUN = "mage-spatial_vit-demo-s0-0123456789"


class Stage:
    """A home with one run, and the calls that Tune makes."""

    def __init__(self, home: Path) -> None:
        self.home, self.lines = home, list[str]()
        self.record = Ledger(home).run(RUN)
        self.record.begin(
            {
                "seed": 7,
                "trial": {"seed": 70, "device": "cpu", "training": {"epochs": 6}},
                "selection": {"fights": 8, "seed": 7},
            }
        )
        self.trial: Any = SimpleNamespace(
            config={"cell": {"run_id": RUN}}, path="somewhere", error_file=str(home / "error.txt")
        )
        self.driver()

    def driver(self) -> None:
        self.callback = MonitoringCallback(self.home, [], Progress(self.lines.append))
        self.callback.on_trial_start(0, [], self.trial)

    def epoch(self, epoch: int, **metrics: Any) -> None:
        result = {"epoch": epoch, "epochs": 6, "training_iteration": 99, "trial_id": "x", **metrics}
        self.callback.on_trial_result(0, [], self.trial, result)

    def checkpoint(self, epoch: int) -> Path:
        folder = self.home / f"checkpoint-{epoch}"
        folder.mkdir()
        written = (folder / "progress.json").write_text(json.dumps({"epoch": epoch}))
        (folder / FILES).write_text(json.dumps({"progress.json": written}))
        self.record.set_latest(str(folder), epoch)
        self.callback.on_checkpoint(0, [], self.trial, SimpleNamespace(path=str(folder)))  # type: ignore[arg-type]
        return folder

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in events(self.home) if event["event"] == kind]

    def curve(self) -> dict[str, dict[int, float]]:
        return read_curve(self.home / "logs" / "tensorboard" / RUN)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_run_from_start_to_finish(stage: Stage) -> None:
    stage.epoch(1, loss=0.5, win_rate=0.25, best_epoch=1, gpu_memory_bytes=0)
    stage.checkpoint(1)
    stage.record.finish({"epochs": 1, "best_epoch": 1, "train_s": 3.0})
    stage.record.model_folder.mkdir()
    stage.callback.on_trial_complete(0, [], stage.trial)
    kinds = [event["event"] for event in events(stage.home)]
    assert kinds == ["start", "epoch", "best", "checkpoint", "finish"]
    assert stage.events("start")[0]["seeds"] == {"base": 7, "training": 70, "selection": 7}
    metrics = stage.events("epoch")[0]["metrics"]
    assert metrics["loss"] == 0.5 and "training_iteration" not in metrics
    assert stage.curve()["play/win_rate"] == {1: 0.25}
    text = (stage.home / "logs" / "training.log").read_text()
    assert "6 epochs on cpu; seeds: base 7, training 70, selection 7" in text
    assert "1/6 loss 0.5 win_rate 0.25" in text


def test_a_resumed_run_continues_its_curve(stage: Stage) -> None:
    for epoch in (1, 2):
        stage.epoch(epoch, loss=float(epoch))
    stage.checkpoint(2)
    stage.epoch(3, loss=3.0)
    stage.driver()  # killed, and started again from the checkpoint of epoch 2
    for epoch in (3, 4):
        stage.epoch(epoch, loss=10.0 * epoch)
    assert stage.curve()["learning/loss"] == {1: 1.0, 2: 2.0, 3: 30.0, 4: 40.0}
    assert [event["resumed_epoch"] for event in stage.events("start")] == [0, 2]


def test_a_run_without_a_checkpoint_starts_its_curve_anew(stage: Stage) -> None:
    stage.epoch(1, loss=1.0, reward=5.0)
    stage.driver()
    stage.epoch(1, loss=2.0)
    assert stage.curve() == {"learning/loss": {1: 2.0}}


def test_overfitting_is_said_once_for_each_stretch(stage: Stage) -> None:
    losses = [(1.0, 1.0), (0.9, 1.1), (0.8, 1.2), (0.7, 1.3), (0.6, 1.4), (0.5, 1.0)]
    for epoch, (loss, val_loss) in enumerate(losses, 1):
        stage.epoch(epoch, loss=loss, val_loss=val_loss)
    (warning,) = stage.events("warning")
    assert (warning["epoch"], warning["loss"], warning["val_loss"]) == (4, 0.7, 1.3)
    assert [RUN in line and "validation loss rose over 3 epochs" in line for line in stage.lines] == [True]


def test_overfitting_is_seen_across_a_resume(stage: Stage) -> None:
    for epoch in (1, 2, 3):
        metrics = {"loss": 1.0 / epoch, "val_loss": 1.0 * epoch}
        stage.record.add_epoch({"epoch": epoch, "epochs": 6, **metrics})
        stage.epoch(epoch, **metrics)
    stage.checkpoint(3)
    stage.driver()
    stage.epoch(4, loss=0.1, val_loss=4.0)
    assert [event["epoch"] for event in stage.events("warning")] == [4]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([(4, 1), (3, 2), (2, 3), (1, 4)], True),
        ([(4, 1), (3, 2), (2, 3)], False),  # too few epochs
        ([(4, 4), (3, 3), (2, 2), (1, 1)], False),  # both fall
        ([(1, 1), (2, 2), (3, 3), (4, 4)], False),  # both rise
        ([(4, 1), (3, 2), (2, 1.5), (1, 4)], False),  # one epoch got better
    ],
)
def test_overfitting(losses: list[tuple[float, float]], expected: bool) -> None:
    assert overfitting(losses) is expected


def test_memory_promotion_and_early_stop(stage: Stage) -> None:
    stage.epoch(1, accumulate=1, curriculum_level=2.0)  # the course begins on the first level
    stage.epoch(2, accumulate=2, curriculum_level=2.0, early_stop=1.0, best_epoch=1)
    assert stage.events("out_of_memory")[0]["accumulate"] == 2
    assert stage.events("promotion")[0]["level"] == 2
    assert stage.events("early_stop")[0]["best_epoch"] == 1
    assert "out of GPU memory" in stage.lines[0]


def test_an_error_is_logged_with_its_last_line(stage: Stage) -> None:
    Path(stage.trial.error_file).write_text("Traceback\n  somewhere\nDivergedError: lower the rate\n\n")
    stage.callback.on_trial_error(0, [], stage.trial)
    assert stage.events("error")[0]["message"] == "DivergedError: lower the rate"
    Path(stage.trial.error_file).write_text("torch.OutOfMemoryError: CUDA out of memory\n")
    stage.callback.on_trial_recover(0, [], stage.trial)
    assert "CUDA out of memory" in stage.events("out_of_memory")[0]["message"]


def test_training_goes_on_when_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in the way")
    stage = Stage(tmp_path)
    stage.epoch(1, loss=1.0)
    assert len(stage.lines) == 1 and "training goes on" in stage.lines[0]


def test_a_cut_batch_is_logged_in_the_words_of_the_trial(stage: Stage) -> None:
    stage.epoch(1, accumulate=1, out_of_memory="")
    for epoch in (2, 3):
        stage.epoch(epoch, accumulate=2, out_of_memory="out of memory (x): batches in 2 parts")
    (event,) = stage.events("out_of_memory")
    assert (event["epoch"], event["accumulate"]) == (2, 2)
    assert "batches in 2 parts" in stage.lines[0] and len(stage.lines) == 1
