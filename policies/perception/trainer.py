"""The supervised trainer: trains a perception mind an epoch at a time, saves, restores, stops early.

A step is the same whatever happened before it: its rows, their augmentation and the network's dropout come
from (seed, epoch, batch), so a run that is broken off and resumed in the middle of an epoch ends with the
weights of one that never was.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import logging
import math
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from envs.configuration import load_dataclass, to_plain
from policies.columnar.phases import SUPERVISED, Phases
from policies.memory import more_parts, release
from policies.model_types import build_network, model_type
from policies.perception import data
from policies.perception.settings import SupervisedRun
from policies.perception.task import PerceptionTask, Rows, count_rows, take
from policies.state_files import (
    CheckpointError,
    check_same_run,
    optimizer_state,
    put_arrays,
    put_back,
    replaced,
    take_arrays,
)
from policies.transfer import Transfer, transfer

logger = logging.getLogger(__name__)

FORMAT = 1
WEIGHTS_FILE, BEST_FILE = "weights.safetensors", "best.safetensors"
ARRAYS_FILE, SCALARS_FILE = "state.npz", "state.json"
FREE_SETTINGS = (
    ("training", "epochs"),
    ("training", "accumulate"),
    ("training", "prefetch"),
    ("device",),
    ("data_folder",),
)
EVALUATION_ROWS = 512
"""Rows per forward pass when nothing is learned."""
MAX_SKIPPED = 10
"""Steps in a row whose gradient is not finite, before training gives up."""
OVERFITTING_EPOCHS = 3
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class DivergedError(RuntimeError):
    """The gradient stayed NaN or infinite; its text says what to change."""


class SupervisedTrainer:
    """Trains one perception mind on one thread of torch.

    Args:
        run: What to train, or its plain form.
        sets: Rows of train, validation and test; played (or read from the run's `data_folder`) if not given.
        checkpoints: Where the checkpoints of every `checkpoint_steps` go; none are written if not given.
        tell: Is told the progress of recording, one line each.

    Raises:
        ConfigError: A setting that cannot be used.
        DataError: Rows that cannot be learned from.
    """

    def __init__(
        self,
        run: SupervisedRun | Mapping[str, Any],
        *,
        sets: dict[str, Rows] | None = None,
        checkpoints: Path | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.run = load_dataclass(SupervisedRun, run, "run")  # type: ignore[arg-type]
        torch.set_num_threads(1)
        training = self.run.training
        self.task: PerceptionTask = model_type(self.run.model_type).task_class()(**self.run.task)
        if sets is None:
            sets = self._sets(tell)
        else:
            for name, rows in sets.items():
                data.check(rows, name, "given rows")
        self.sets = sets
        self.fitted = self.task.fit(sets["train"])
        self.device = torch.device(self.run.device)
        torch.manual_seed(self.run.seed)
        self.network = build_network(self.run.model_type, self.run.model).to(self.device)
        self.optimizer = torch.optim.AdamW(
            _groups(self.network, training.weight_decay), lr=training.learning_rate
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.run.precision == "fp16")
        self.loader = data.Loader(
            sets["train"],
            min(training.batch_size, count_rows(sets["train"])),
            self.run.seed,
            self.task.augment if training.augment else None,
            training.prefetch,
        )
        self.checkpoints = checkpoints
        self.phases = Phases(SUPERVISED)
        self.epoch = 0
        """Epochs done."""
        self.batches_done = 0
        """Batches done of the epoch that is under way."""
        self.steps = 0
        self.skipped_steps = 0
        self.accumulate = training.accumulate
        self.best: dict[str, Any] = {"epoch": 0, "score": -math.inf}
        self.best_weights: dict[str, Tensor] = {}
        self.finished = False
        """Whether training is over, by its last epoch or early, and the best weights are calibrated."""
        self._skipped_in_a_row = 0
        self._sums: dict[str, float] = {}
        self._history: list[tuple[float, float]] = []
        self._fitted_tensors = {
            name: torch.from_numpy(np.asarray(value)).to(self.device) for name, value in self.fitted.items()
        }

    @property
    def over(self) -> bool:
        """Whether no epoch is left, or the last ones brought nothing better."""
        training = self.run.training
        return self.epoch >= training.epochs or self.epoch - self.best["epoch"] >= training.patience

    def train_epoch(self) -> dict[str, float]:
        """Train what is left of an epoch, and look at the validation set.

        Returns:
            By name: epoch, loss and the task's other figures (means over the epoch's steps), val_loss, the
            task's metrics with val_ before, best_epoch, early_stop (1 if training is over), overfitting (1
            if the validation loss rose and the training loss fell for three epochs), learning_rate, steps,
            skipped_steps, rows_per_s, epoch_s, gpu_memory_bytes; seconds_ and a phase of
            `policies.columnar.phases.SUPERVISED`, and seconds_other.

        Raises:
            DivergedError: The gradient stayed NaN or infinite.
            RuntimeError: Training is over.
        """
        if self.finished:
            raise RuntimeError("training is over; build another trainer")
        clock, spent_before = self.phases.clock, dict(self.phases.seconds)
        started, first = clock(), self.batches_done
        for rows in self.phases.each("build", self.loader.epoch(self.epoch, self.batches_done)):
            figures = self._step(rows)
            self.batches_done += 1
            for name, value in figures.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            every = self.run.training.checkpoint_steps
            if self.checkpoints is not None and self.steps % every == 0:
                self._checkpoint()
        rows_done = (self.batches_done - first) * self.loader.batch_size
        means = {name: value / self.loader.batches for name, value in self._sums.items()}
        seconds = clock() - started
        self.epoch, self.batches_done, self._sums = self.epoch + 1, 0, {}
        with self.phases.measure("validate"):
            metrics = means | self._validate(means["loss"])
        epoch_s, phases = clock() - started, self.phases.since(spent_before)
        phases["other"] = epoch_s - sum(phases.values())
        metrics |= {
            "epoch": self.epoch,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "steps": self.steps,
            "skipped_steps": self.skipped_steps,
            "accumulate": self.accumulate,
            "rows_per_s": rows_done / seconds,
            "epoch_s": epoch_s,
            "gpu_memory_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        }
        return metrics | {f"seconds_{name}": spent for name, spent in phases.items()}

    def start_from(self, source: nn.Module, fresh: tuple[str, ...] | None = None) -> Transfer:
        """Take up another mind's weights before the first step, see `policies.transfer.transfer`.

        Args:
            source: A network of the same model type, for instance another archetype's.
            fresh: Parts that start anew all the same; None takes the type's own.

        Raises:
            TransferError: Weights that cannot start this network.
            RuntimeError: Training has begun.
        """
        if self.steps:
            raise RuntimeError("training has begun; start from other weights before the first step")
        return transfer(source, self.network, fresh)

    def answers(self, rows: Rows, network: nn.Module | None = None) -> Rows:
        """What a network, the trained one if none is given, says of rows.

        Returns:
            Arrays by name, as `PerceptionTask.predict` names them.
        """
        network = self.network if network is None else network
        was_training = network.training
        network.eval()
        parts: list[dict[str, np.ndarray]] = []
        with torch.no_grad():
            for start in range(0, count_rows(rows), EVALUATION_ROWS):
                batch = self._batch(take(rows, slice(start, start + EVALUATION_ROWS)))
                answers = self.task.predict(network, batch)
                parts.append({name: value.float().cpu().numpy() for name, value in answers.items()})
        network.train(was_training)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def evaluate(self, name: str = "validation", rows: Rows | None = None) -> dict[str, float]:
        """The task's metrics of a set, by the network as it is.

        Args:
            name: train, validation or test.
            rows: Other rows in place of the set.
        """
        rows = self.sets[name] if rows is None else rows
        return self.task.metrics(self.answers(rows), rows, self.fitted)

    def model(self) -> Any:
        """The network that is being trained; after the last epoch the best one, calibrated."""
        return self.network

    def finish(self) -> dict[str, float]:
        """End training: take the best epoch's weights and calibrate them on the validation set.

        Returns:
            What was fitted, by name.
        """
        if self.best_weights:
            self.network.load_state_dict(self.best_weights)
        self.network.eval()
        rows = self.sets["validation"]
        fitted = self.task.calibrate(self.network, self.answers(rows), rows, self.fitted)
        self.finished = True
        return fitted

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write everything that an exact resumption needs; the folder appears whole or not at all.

        Args:
            folder: Where to; replaced if it exists.

        Returns:
            The folder.
        """
        target = Path(folder)
        arrays: dict[str, Any] = {}
        state = {
            "format": FORMAT,
            "run": to_plain(self.run),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "sums": self._sums,
            "history": self._history,
            **{name: getattr(self, name) for name in COUNTERS},
        }
        state["best"] = {**self.best, "score": repr(self.best["score"])}
        scalars = take_arrays(state, arrays)
        with replaced(target) as beside:
            save_file(_on_cpu(self.network.state_dict()), beside / WEIGHTS_FILE)
            if self.best_weights:
                save_file(_on_cpu(self.best_weights), beside / BEST_FILE)
            np.savez(beside / ARRAYS_FILE, **arrays)
            (beside / SCALARS_FILE).write_text(json.dumps(scalars), encoding="utf-8")
        return target

    def restore(self, folder: str | os.PathLike[str]) -> None:
        """Go on from a saved state, also in the middle of an epoch.

        Args:
            folder: Written by `save` for a run with the same settings; more epochs are allowed.

        Raises:
            CheckpointError: Not a checkpoint, or one of a run with other settings.
        """
        source = Path(folder)
        put_back(source)
        try:
            scalars = json.loads((source / SCALARS_FILE).read_text(encoding="utf-8"))
            with np.load(source / ARRAYS_FILE, allow_pickle=False) as stored:
                state = put_arrays(scalars, {name: stored[name] for name in stored.files})
            weights = load_file(source / WEIGHTS_FILE)
            best = load_file(source / BEST_FILE) if (source / BEST_FILE).exists() else {}
            if state["format"] != FORMAT:
                raise ValueError(f"format {state['format']}, this release reads {FORMAT}")
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, SafetensorError) as error:
            raise CheckpointError(
                f"{source}: not a whole checkpoint ({error}); start the run anew"
            ) from error
        check_same_run(state["run"], to_plain(self.run), source, FREE_SETTINGS)
        self.network.load_state_dict(weights)
        self.optimizer.load_state_dict(optimizer_state(state["optimizer"]))
        self.scaler.load_state_dict(state["scaler"])
        for name in COUNTERS:
            setattr(self, name, state[name])
        self.best = {**state["best"], "score": float(state["best"]["score"])}
        self.best_weights = {name: value.to(self.device) for name, value in best.items()}
        self._sums = dict(state["sums"])
        self._history = [(float(a), float(b)) for a, b in state["history"]]

    def stop(self) -> None:
        """Nothing is held beyond memory."""

    def _sets(self, tell: Callable[[str], None] | None) -> dict[str, Rows]:
        run = self.run
        if run.data_folder is not None:
            return data.read(Path(run.data_folder))
        return data.collect(self.task, run.archetype, run.data, run.seed, tell=tell)

    def _batch(self, rows: Rows) -> dict[str, Tensor]:
        return {
            name: torch.from_numpy(np.ascontiguousarray(values)).to(self.device, non_blocking=True)
            for name, values in rows.items()
        }

    def _step(self, rows: Rows) -> dict[str, float]:
        """One step, in as many parts as memory needs."""
        training, rows_each = self.run.training, self.loader.batch_size
        who = f"{self.run.model_type} of {self.run.archetype}"
        while True:
            try:
                return self._try_step(rows)
            except (RuntimeError, MemoryError) as error:
                self.accumulate = more_parts(error, who, rows_each, self.accumulate, training.accumulate)
            self.optimizer.zero_grad(set_to_none=True)
            release()

    def _try_step(self, rows: Rows) -> dict[str, float]:
        run = self.run
        self.network.train()
        # Dropout is drawn from the step's own number, so nothing about it has to be remembered.
        torch.manual_seed((run.seed * 1_000_003 + self.steps + self.skipped_steps) % 2**63)
        total = count_rows(rows)
        size = -(-total // self.accumulate)
        figures: dict[str, float] = {}
        self.optimizer.zero_grad(set_to_none=True)
        for start in range(0, total, size):
            part = take(rows, slice(start, start + size))
            share = count_rows(part) / total
            with self.phases.measure("forward"), self._autocast():
                losses = self.task.loss(self.network, self._batch(part), self._fitted_tensors)
            with self.phases.measure("backward"):
                self.scaler.scale(losses["loss"] * share).backward()
            for name, value in losses.items():
                figures[name] = figures.get(name, 0.0) + float(value.detach()) * share
        with self.phases.measure("optimize"):
            norm = self._optimize(figures["loss"])
        return {**figures, "grad_norm": norm if math.isfinite(norm) else 0.0}

    def _optimize(self, loss: float) -> float:
        """Steps by the gradients that are there, unless they are not finite; gives their norm.

        Raises:
            DivergedError: They were not finite too often.
        """
        run = self.run
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), run.training.grad_clip))
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        if math.isfinite(norm):
            self._skipped_in_a_row = 0
            self.scaler.step(self.optimizer)
            self.steps += 1
        else:
            self.skipped_steps += 1
            self._skipped_in_a_row += 1
            if self._skipped_in_a_row >= MAX_SKIPPED:
                raise DivergedError(
                    f"{run.model_type} of {run.archetype}: the gradient was not finite in {MAX_SKIPPED} "
                    f"steps in a row (epoch {self.epoch + 1}, loss {loss}); lower "
                    "learning_rate or use precision fp32"
                )
        self.scaler.update()
        return norm

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.run.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.run.precision])

    def _rate(self) -> float:
        """Linear warm-up, then half a cosine down to the final share."""
        training = self.run.training
        planned = training.epochs * self.loader.batches
        warm = max(1, round(training.warmup_share * planned))
        step = self.steps + self.skipped_steps
        if step < warm:
            return training.learning_rate * (step + 1) / warm
        progress = min((step - warm) / max(1, planned - warm), 1.0)
        final = training.learning_rate_final_share
        return training.learning_rate * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress)))

    def _validate(self, loss: float) -> dict[str, float]:
        """Metrics of the validation set; keeps the best weights and says whether training is over."""
        rows = self.sets["validation"]
        metrics = self.evaluate("validation", rows)
        val_loss = self._loss_of(rows)
        score = metrics[self.task.score]
        if score > self.best["score"] or not self.best_weights:
            self.best = {"epoch": self.epoch, "score": score}
            self.best_weights = copy.deepcopy(self.network.state_dict())
        self._history.append((loss, val_loss))
        recent = self._history[-OVERFITTING_EPOCHS - 1 :]
        overfitting = len(recent) > OVERFITTING_EPOCHS and all(
            later[0] < earlier[0] and later[1] > earlier[1] for earlier, later in itertools.pairwise(recent)
        )
        if overfitting:
            logger.warning(
                "%s of %s: the validation loss rose over %d epochs while the training loss fell; more "
                "fights, more dropout or fewer epochs help",
                self.run.model_type,
                self.run.archetype,
                OVERFITTING_EPOCHS,
            )
        early = self.over and self.epoch < self.run.training.epochs
        return {
            "val_loss": val_loss,
            **{f"val_{name}": value for name, value in metrics.items()},
            "best_epoch": self.best["epoch"],
            "overfitting": float(overfitting),
            "early_stop": float(early),
        }

    def _loss_of(self, rows: Rows) -> float:
        """The loss of rows without learning."""
        self.network.eval()
        total = 0.0
        with torch.no_grad(), self._autocast():
            for start in range(0, count_rows(rows), EVALUATION_ROWS):
                part = take(rows, slice(start, start + EVALUATION_ROWS))
                losses = self.task.loss(self.network, self._batch(part), self._fitted_tensors)
                total += float(losses["loss"]) * count_rows(part)
        self.network.train()
        return total / count_rows(rows)

    def _checkpoint(self) -> None:
        """Save by the number of the step, and let the oldest go."""
        assert self.checkpoints is not None
        self.save(self.checkpoints / f"step-{self.steps:09d}")
        kept = sorted(self.checkpoints.glob("step-*[0-9]"))
        for old in kept[: -self.run.training.keep_checkpoints]:
            shutil.rmtree(old)


COUNTERS = ("epoch", "batches_done", "steps", "skipped_steps", "accumulate", "finished", "_skipped_in_a_row")


def train(
    trainer: SupervisedTrainer, tell: Callable[[dict[str, float]], None] | None = None
) -> dict[str, float]:
    """Train until the last epoch or until it stops getting better, and calibrate.

    Args:
        trainer: At its start, or restored.
        tell: Is told the metrics of each epoch.

    Returns:
        What was fitted by the calibration.
    """
    while not trainer.over:
        metrics = trainer.train_epoch()
        if tell is not None:
            tell(metrics)
    return trainer.finish()


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and single vectors do not."""
    matrices = [parameter for parameter in network.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in network.parameters() if parameter.ndim < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _on_cpu(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
