"""A task and a network so small that a test can train several of them: y is a linear function of x."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from policies.perception import trainer as home
from policies.perception.compositions import FightPlan
from policies.perception.settings import SupervisedRun, SupervisedTrainingConfig
from policies.perception.task import Rows, take
from policies.perception.trainer import SupervisedTrainer

WEIGHTS = np.array([1.0, -2.0, 0.5, 3.0], np.float32)


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    """Shape of the toy."""

    units: int = 8
    dropout: float = 0.2


class Toy(nn.Module):
    """Two layers with dropout, and a scale that calibration sets."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.first, self.second = nn.Linear(4, config.units), nn.Linear(config.units, 1)
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.dropout(torch.relu(self.first(x)), self.config.dropout, self.training)
        out: Tensor = self.second(hidden)
        return out.squeeze(-1) * self.scale


class ToyTask:
    """Squared error of one number."""

    model_type = "toy"
    score = "fit"
    grid_stride = 0

    def rows(self, sights: Any, *, stride: int) -> Rows:
        raise AssertionError("tests give their rows")

    def augment(self, rows: Rows, rng: np.random.Generator) -> Rows:
        return {**rows, "x": rows["x"] + rng.normal(0.0, 0.01, rows["x"].shape).astype(np.float32)}

    def fit(self, rows: Rows) -> dict[str, np.ndarray]:
        return {"mean": np.asarray(rows["y"].mean(), np.float32)}

    def loss(self, network: nn.Module, batch: Mapping[str, Tensor], fitted: Any) -> dict[str, Tensor]:
        error = (network(batch["x"]).float() - batch["y"]).square().mean()
        return {"loss": error, "error": error}

    def predict(self, network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"y": network(batch["x"])}

    def calibrate(self, network: Any, answers: Rows, rows: Rows, fitted: Any) -> dict[str, float]:
        scale = float((answers["y"] * rows["y"]).sum() / np.square(answers["y"]).sum())
        network.scale.fill_(scale)
        return {"scale": scale}

    def errors(self, answers: Rows, rows: Rows, fitted: Any) -> dict[str, np.ndarray]:
        return {"y": np.square(answers["y"].astype(np.float64) - rows["y"])}

    def metrics(self, answers: Rows, rows: Rows, fitted: Any) -> dict[str, float]:
        return {"fit": -float(np.square(answers["y"] - rows["y"]).mean())}

    def baselines(self, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, Rows]:
        return {"mean": {"y": np.full(len(rows["y"]), fitted["mean"])}}


def toy_rows(count: int, seed: int) -> Rows:
    """Rows of which four come from one fight each."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    noise = rng.normal(0.0, 0.1, count).astype(np.float32)
    return {"x": x, "y": x @ WEIGHTS + noise, "fight": np.arange(count, dtype=np.int64) // 4}


def toy_sets() -> dict[str, Rows]:
    """Three sets."""
    return {name: toy_rows(count, k) for k, (name, count) in enumerate(SETS.items())}


SETS = {"train": 200, "validation": 64, "test": 64}


def toy_run(seed: int = 0, **training: Any) -> SupervisedRun:
    """Settings of a short run: six batches an epoch."""
    precision = training.pop("precision", "fp32")
    settings = {"epochs": 6, "learning_rate": 0.05, "batch_size": 32, "checkpoint_steps": 4, **training}
    return SupervisedRun(
        model_type="toy",
        archetype="tank",
        model={},
        data=FightPlan(fights=1),
        training=SupervisedTrainingConfig(**settings),
        seed=seed,
        precision=precision,
    )


def use_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the trainer find the toy."""

    class Kind:
        def task_class(self) -> type[ToyTask]:
            return ToyTask

    monkeypatch.setattr(home, "model_type", lambda name: Kind())
    monkeypatch.setattr(home, "build_network", lambda name, config: Toy(ToyConfig(**config)))


def toy_trainer(run: SupervisedRun | None = None, **more: Any) -> SupervisedTrainer:
    """A trainer of the toy."""
    return SupervisedTrainer(run or toy_run(), **{"sets": toy_sets(), **more})


def weights(trainer: SupervisedTrainer) -> dict[str, Tensor]:
    """A copy of its weights."""
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def some(rows: Rows, count: int) -> Rows:
    """The first rows."""
    return take(rows, slice(0, count))
