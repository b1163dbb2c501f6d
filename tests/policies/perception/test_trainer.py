"""The supervised trainer: exact resumption, early stopping, checkpoints, precision, and refused data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policies.perception import trainer as home
from policies.perception.data import DataError
from policies.perception.trainer import DivergedError, SupervisedTrainer, train
from policies.state_files import CheckpointError
from tests.policies.perception.toy import ToyTask, toy_run, toy_sets, toy_trainer, use_toy, weights


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy(monkeypatch)


def same(one: SupervisedTrainer, other: SupervisedTrainer) -> bool:
    ours, theirs = weights(one), weights(other)
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_learns_and_ends_calibrated() -> None:
    trainer = toy_trainer()
    seen: list[dict[str, float]] = []
    fitted = train(trainer, seen.append)
    assert [metrics["epoch"] for metrics in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1]["val_fit"] > 0.5 * seen[0]["val_fit"] and seen[-1]["loss"] < seen[0]["loss"]
    assert trainer.finished and float(trainer.model().scale) == pytest.approx(fitted["scale"])
    with pytest.raises(RuntimeError, match="training is over"):
        trainer.train_epoch()


def test_same_seed_same_weights_whatever_happened_to_the_generators() -> None:
    one, other, third = toy_trainer(), toy_trainer(), toy_trainer(toy_run(seed=1))
    train(one)
    torch.manual_seed(77)
    np.random.seed(5)
    train(other)
    train(third)
    assert same(one, other) and not same(one, third)


@pytest.mark.parametrize("prefetch", [0, 3])
def test_batches_prepared_ahead_are_the_same(prefetch: int) -> None:
    one, other = toy_trainer(), toy_trainer(toy_run(prefetch=prefetch))
    train(one)
    train(other)
    assert same(one, other)


def test_resumed_in_the_middle_of_an_epoch_equals_never_stopped(tmp_path: Path) -> None:
    whole = toy_trainer()
    train(whole)
    broken = toy_trainer(checkpoints=tmp_path)
    broken.train_epoch()
    broken.train_epoch()  # twelve steps: checkpoints at 4, 8 and 12
    for step, batches in ((4, 4), (8, 2), (12, 6)):
        again = toy_trainer()
        again.restore(tmp_path / f"step-{step:09d}")
        assert again.steps == step and again.batches_done == batches
        train(again)
        assert same(whole, again)
        assert again.best == whole.best and again._history == whole._history


def test_a_run_killed_between_its_last_epoch_and_its_end_only_ends(tmp_path: Path) -> None:
    trainer = toy_trainer()
    while not trainer.over:
        trainer.train_epoch()
    trainer.save(tmp_path / "last")
    trainer.finish()
    again = toy_trainer()
    again.restore(tmp_path / "last")
    train(again)
    assert again.steps == trainer.steps and same(trainer, again)


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    trainer = toy_trainer(toy_run(checkpoint_steps=2, keep_checkpoints=5), checkpoints=tmp_path)
    train(trainer)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        f"step-{k:09d}" for k in (28, 30, 32, 34, 36)
    ]


def test_it_stops_when_nothing_gets_better(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([1.0, 3.0, 2.0, 2.5, 2.9, 2.0])
    monkeypatch.setattr(ToyTask, "metrics", lambda self, answers, rows, fitted: {"fit": next(scores)})
    trainer = toy_trainer(toy_run(patience=2))
    kept: list[Any] = []
    seen: list[dict[str, float]] = []

    def look(metrics: dict[str, float]) -> None:
        seen.append(metrics)
        kept.append(weights(trainer))

    train(trainer, look)
    assert [metrics["early_stop"] for metrics in seen] == [0.0, 0.0, 0.0, 1.0]
    assert trainer.best == {"epoch": 2, "score": 3.0}
    assert torch.equal(trainer.network.first.weight, kept[1]["first.weight"])


def test_a_batch_in_parts_gives_the_same_step() -> None:
    # Without dropout, which is drawn part by part.
    runs = [toy_run(accumulate=parts, augment=False) for parts in (1, 3)]
    trainers = [
        SupervisedTrainer(
            home.load_dataclass(home.SupervisedRun, {**home.to_plain(run), "model": {"dropout": 0.0}}, "run"),
            sets=toy_sets(),
        )
        for run in runs
    ]
    for trainer in trainers:
        trainer.train_epoch()
    ours, theirs = (weights(trainer) for trainer in trainers)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6)


def test_bf16_ends_near_fp32() -> None:
    fp32, bf16 = toy_trainer(), toy_trainer(toy_run(precision="bf16"))
    train(fp32)
    train(bf16)
    assert not same(fp32, bf16), "autocast changed nothing"
    assert bf16.best["score"] == pytest.approx(fp32.best["score"], rel=0.2)
    assert all(value.dtype == torch.float32 for value in weights(bf16).values())


def test_weights_decay_but_biases_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy_trainer(toy_run(weight_decay=0.5))
    decays = {
        id(parameter): group["weight_decay"]
        for group in trainer.optimizer.param_groups
        for parameter in group["params"]
    }
    assert decays[id(trainer.network.first.weight)] == 0.5
    assert decays[id(trainer.network.first.bias)] == 0.0


def test_the_rate_warms_up_and_falls() -> None:
    trainer = toy_trainer(toy_run(warmup_share=0.1, learning_rate_final_share=0.1))
    rates = []
    for _ in range(36):
        rates.append(trainer._rate())
        trainer.steps += 1
    assert rates[0] == pytest.approx(0.05 / 4) and rates[3] == pytest.approx(0.05) == max(rates)
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[-1] == pytest.approx(0.005, rel=0.1)


def test_nan_in_data_is_refused_with_the_row_named() -> None:
    sets = toy_sets()
    sets["train"]["x"][17, 2] = np.nan
    with pytest.raises(DataError, match=r"train: row 17 \(fight 4\) holds nan in 'x'\[2\]; 1 of 200 rows"):
        toy_trainer(sets=sets)
    sets = toy_sets()
    sets["validation"]["y"][3] = np.inf
    with pytest.raises(DataError, match=r"validation: row 3 \(fight 0\) holds inf in 'y'"):
        toy_trainer(sets=sets)


def test_a_gradient_that_stays_nan_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy_trainer(toy_run(epochs=10))
    trainer.train_epoch()
    before = weights(trainer)
    real = ToyTask.loss

    def broken(self: ToyTask, *arguments: Any) -> dict[str, torch.Tensor]:
        return {name: value * float("nan") for name, value in real(self, *arguments).items()}

    monkeypatch.setattr(ToyTask, "loss", broken)
    with pytest.raises(DivergedError, match=r"toy of tank: the gradient was not finite in 10 steps in a row"):
        for _ in range(3):
            trainer.train_epoch()
    assert trainer.skipped_steps == 10
    after = weights(trainer)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_overfitting_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    losses = iter([1.0, 1.1, 1.2, 1.3, 1.2, 1.1])
    monkeypatch.setattr(SupervisedTrainer, "_loss_of", lambda self, rows: next(losses))
    trainer = toy_trainer()
    with caplog.at_level(logging.WARNING):
        said = [trainer.train_epoch()["overfitting"] for _ in range(5)]
    assert said == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert "the validation loss rose over 3 epochs while the training loss fell" in caplog.text


def test_checkpoints_of_other_runs_and_broken_ones_are_refused(tmp_path: Path) -> None:
    trainer = toy_trainer()
    trainer.train_epoch()
    trainer.save(tmp_path / "saved")
    with pytest.raises(CheckpointError, match=r"other settings \(training.batch_size\)"):
        toy_trainer(toy_run(batch_size=16)).restore(tmp_path / "saved")
    toy_trainer(toy_run(epochs=9)).restore(tmp_path / "saved")
    (tmp_path / "saved" / "state.npz").unlink()
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        toy_trainer().restore(tmp_path / "saved")
