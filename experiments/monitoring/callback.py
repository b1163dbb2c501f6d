"""What Tune tells the driver, as curves and log lines.

Trials never write them: on a cluster they may sit on another machine.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray.tune import Callback, Checkpoint
from ray.tune.experiment import Trial

from experiments.ledger import Ledger
from experiments.matrix import Run
from experiments.monitoring.curves import Curve
from experiments.monitoring.drivers import Presence
from experiments.monitoring.log import TrainingLog, describe
from experiments.monitoring.status import note_state
from experiments.progress import Progress
from experiments.tune_callback import TUNE_KEYS

OVERFITTING_EPOCHS = 3
"""Epochs in a row whose validation loss rises while the training loss falls, before a warning."""
SHOWN = (
    "loss", "val_loss", "reward", "win_rate", "selection_win_rate", "q_mean", "q_max", "td_error",
    "episode_length", "epoch_s", "peak_gpu_bytes", "peak_process_bytes",
)  # fmt: skip
"""Metrics of an epoch in training.log; training.jsonl has all of them."""


SUMMED_UP = ("epochs", "best_epoch", "selection_win_rate", "selection_reward", "train_s")
"""What training.log says of a finished run."""


def overfitting(history: Sequence[tuple[float, float]], epochs: int = OVERFITTING_EPOCHS) -> bool:
    """Whether validation loss rose in each of the last epochs while the training loss fell.

    Args:
        history: Training and validation loss per epoch.
        epochs: How many epochs in a row.
    """
    recent = history[-epochs - 1 :]
    return len(recent) > epochs and all(
        later[0] < earlier[0] and later[1] > earlier[1] for earlier, later in itertools.pairwise(recent)
    )


class MonitoringCallback(Callback):
    """Writes the TensorBoard curves and the training log of a home.

    Training goes on if they cannot be written: the first failure is said in a line, then it is tried again.

    Args:
        home: Project folder.
        runs: What the experiment trains, for `monster status`.
        progress: Where warnings for people go.
    """

    def __init__(self, home: Path, runs: Sequence[Run], progress: Progress) -> None:
        self._home = Path(home).absolute()
        self._ledger = Ledger(home)
        self._log = TrainingLog(home)
        self._progress = progress
        self._runs: dict[str, _Watched] = {}
        self._said = False
        self._presence = Presence(home)
        self._run_ids = [run.run_id for run in runs]

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Says that this process trains the runs."""
        self._guarded(self._presence.enter, self._run_ids)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Says that this process trains no more."""
        self._presence.leave()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Logs the start or the continuation of a run, with every seed that it draws from."""
        self._guarded(self._start, _run_id(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict, **info: Any
    ) -> None:
        """Adds an epoch to the curve and the log, and says what is worth a look."""
        metrics = {key: value for key, value in result.items() if key not in TUNE_KEYS}
        self._guarded(self._epoch, _run_id(trial), metrics)

    def on_checkpoint(
        self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: Checkpoint, **info: Any
    ) -> None:
        """Logs a checkpoint that is completely written."""
        self._guarded(self._checkpoint, _run_id(trial), str(checkpoint.path))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Logs the end of a run with the summary of the ledger."""
        self._guarded(self._finish, _run_id(trial))

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Logs the last line of what broke a run that Tune will start once more."""
        self._guarded(self._error, _run_id(trial), trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Logs the last line of what broke a run, and notes that it failed."""
        self._guarded(self._error, _run_id(trial), trial, failed=True)

    def _start(self, run_id: str) -> None:
        record = self._ledger.run(run_id)
        note_state(record, "running")
        settings = record.settings() or {}
        latest = record.latest()
        done = latest[1] if latest else 0
        trial = settings.get("trial", {})
        seeds = {"base": settings.get("seed"), "training": trial.get("seed")}
        if "selection" in settings:
            seeds["selection"] = settings["selection"]["seed"]
        epochs = trial.get("training", {}).get("epochs")
        words = f"continuing after epoch {done}/{epochs}" if done else f"{epochs} epochs"
        drawn = ", ".join(f"{name} {seed}" for name, seed in seeds.items())
        text = f"{words} on {trial.get('device')}; seeds: {drawn}"
        self._log.write(run_id, "start", text, resumed_epoch=done, seeds=seeds, settings=settings)
        earlier = [row for row in record.history() if row["epoch"] <= done]
        self._runs[run_id] = run = _Watched(self._curve(run_id), earlier)
        if not done:
            run.curve.clear()

    def _epoch(self, run_id: str, metrics: dict[str, Any]) -> None:
        run, epoch = self._watched(run_id), int(metrics["epoch"])
        run.curve.add(epoch, metrics)
        text = f"{epoch}/{metrics['epochs']}  {describe(metrics, SHOWN)}"
        self._log.write(run_id, "epoch", text, metrics=metrics)
        for event, words, fields in run.notable(epoch, metrics):
            self._log.write(run_id, event, words, epoch=epoch, **fields)
            if event in ("warning", "out_of_memory"):
                self._progress.line(f"{run_id}: {words}")

    def _checkpoint(self, run_id: str, folder: str) -> None:
        # The ledger's callback comes before this one and has looked inside, wherever the checkpoint lies.
        latest = self._ledger.run(run_id).latest()
        epoch = latest[1] if latest else None
        self._log.write(run_id, "checkpoint", f"epoch {epoch} in {folder}", epoch=epoch, folder=folder)

    def _finish(self, run_id: str) -> None:
        summary = self._ledger.run(run_id).done()
        if summary is None:
            return
        shown = describe(summary, SUMMED_UP)
        self._log.write(run_id, "finish", shown, summary=summary)

    def _error(self, run_id: str, trial: Trial, failed: bool = False) -> None:
        lines = _error_text(trial)
        last = lines[-1] if lines else "no message"
        if failed:
            note_state(self._ledger.run(run_id), "failed", last)
        event = "out_of_memory" if any("OutOfMemoryError" in line for line in lines[-3:]) else "error"
        self._log.write(run_id, event, last, message=last, files=trial.path)

    def _watched(self, run_id: str) -> _Watched:
        if run_id not in self._runs:
            self._runs[run_id] = _Watched(self._curve(run_id))
        return self._runs[run_id]

    def _curve(self, run_id: str) -> Curve:
        return Curve(self._home / "logs" / "tensorboard" / run_id)

    def _guarded(self, write: Callable[..., None], *arguments: Any, **options: Any) -> None:
        try:
            write(*arguments, **options)
        except OSError as error:
            if not self._said:
                self._progress.line(
                    f"curves, log or state cannot be written ({error}); training goes on without them: free"
                    f" space or fix rights under {self._home}"
                )
            self._said = True


class _Watched:
    """What has to be remembered of a run from epoch to epoch."""

    def __init__(self, curve: Curve, history: Sequence[dict[str, Any]] = ()) -> None:
        self.curve = curve
        self._losses: list[tuple[float, float]] = []
        self._before: dict[str, Any] = {}
        self._warned = False
        for metrics in history:
            self._overfits(metrics)
            self._before = metrics

    def notable(self, epoch: int, metrics: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
        """Events beside the epoch itself: kind, words, fields."""
        found: list[tuple[str, str, dict[str, Any]]] = []
        before, self._before = self._before, metrics
        if metrics.get("best_epoch") == epoch:
            found.append(("best", f"epoch {epoch} is the best so far", {}))
        level, parts = metrics.get("curriculum_level"), metrics.get("accumulate")
        note = metrics.get("out_of_memory")
        if level is not None and level > before.get("curriculum_level", 1):
            found.append(("promotion", f"curriculum level {level:g}", {"level": level}))
        if note and note != before.get("out_of_memory"):
            found.append(("out_of_memory", str(note), {"accumulate": parts}))
        elif parts is not None and parts > before.get("accumulate", parts):
            words = f"out of GPU memory: the batch is now worked on in {parts:g} parts"
            found.append(("out_of_memory", words, {"accumulate": parts}))
        if metrics.get("early_stop"):
            best = metrics.get("best_epoch")
            found.append(("early_stop", f"nothing better since epoch {best}", {"best_epoch": best}))
        if self._overfits(metrics):
            words = (
                f"the validation loss rose over {OVERFITTING_EPOCHS} epochs while the training loss fell"
                f" (epoch {epoch}: {metrics['loss']:.3g} and {metrics['val_loss']:.3g}): it learns its rows"
                " by heart; more fights, more dropout, weight decay or fewer epochs help"
            )
            found.append(("warning", words, {"loss": metrics["loss"], "val_loss": metrics["val_loss"]}))
        return found

    def _overfits(self, metrics: dict[str, Any]) -> bool:
        """True once for each stretch of overfitting."""
        loss, val_loss = metrics.get("loss"), metrics.get("val_loss")
        if loss is None or val_loss is None or not math.isfinite(loss + val_loss):
            return False
        self._losses.append((loss, val_loss))
        now = overfitting(self._losses)
        first, self._warned = now and not self._warned, now
        return first


def _run_id(trial: Trial) -> str:
    return str(trial.config["cell"]["run_id"])


def _error_text(trial: Trial) -> list[str]:
    path = trial.error_file
    if not path or not Path(path).exists():
        return []
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]
