"""Carries what trials report into the ledger and into progress lines; runs in the driver process.

Trials never write the ledger: on a cluster they may sit on another machine.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping
from typing import Any

from ray.exceptions import ActorUnavailableError, RayActorError
from ray.tune import Callback, Checkpoint
from ray.tune.experiment import Trial

from experiments import checkpoint_store
from experiments.demands import GIGABYTE, Demand, table
from experiments.ledger import Ledger, RunRecord
from experiments.progress import Progress

# Tune adds its own bookkeeping to each result; the ledger keeps what the run reported.
TUNE_KEYS = frozenset(
    {
        "config",
        "date",
        "done",
        "experiment_tag",
        "hostname",
        "iterations_since_restore",
        "node_ip",
        "pid",
        "should_checkpoint",
        "time_since_restore",
        "time_this_iter_s",
        "time_total_s",
        "timestamp",
        "training_iteration",
        "trial_id",
        "checkpoint_dir_name",
    }
)

# How Ray words the loss of a machine, as opposed to that of one process.
_NODE_LOST = ("node has died", "node died")


class LedgerCallback(Callback):
    """Writes epochs, checkpoint pointers and completion markers.

    Args:
        ledger: Where the runs are recorded.
        progress: Where lines for people go.
        done: Runs that were finished before.
        total: Runs of the experiment.
        storage: Path or URI of the place where Tune keeps checkpoints.
        needs: What each run was expected to need, by run id.
    """

    def __init__(
        self,
        ledger: Ledger,
        progress: Progress,
        done: int,
        total: int,
        storage: str,
        needs: Mapping[str, Demand] | None = None,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._progress = progress
        self._done, self._total = done, total
        self._checkpoints: dict[str, str] = {}
        self._levels: dict[str, int] = {}
        self._needs = needs or {}
        self._parts: dict[str, int] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict, **info: Any
    ) -> None:
        """Appends the epoch to the run's history and says it in one line."""
        metrics = {key: value for key, value in result.items() if key not in TUNE_KEYS}
        record = self._record(trial)
        if "curriculum_level" in metrics:
            self._say_promotion(record, metrics)
        record.add_epoch(metrics)
        self._tell_of_cuts(trial, metrics)
        self._progress.epoch(metrics, self._done, self._total)

    def on_checkpoint(
        self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: Checkpoint, **info: Any
    ) -> None:
        """Points the ledger at a checkpoint that is completely written."""
        place = checkpoint_store.pointer(self._storage, checkpoint.path)
        epoch = checkpoint_store.read_json(place, checkpoint_store.PROGRESS)["epoch"]
        self._checkpoints[trial.trial_id] = place
        self._record(trial).set_latest(place, epoch)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Keeps the best weights and writes the completion marker."""
        record = self._record(trial)
        place = self._checkpoints.get(trial.trial_id)
        if place is None:
            latest = record.latest()
            if latest is None:
                return
            place = latest[0]
        progress = checkpoint_store.read_json(place, checkpoint_store.PROGRESS)
        history = record.history()
        whole = progress.get("finished") or (history and progress["epoch"] >= history[-1]["epochs"])
        if not history or not whole:
            return
        beside = record.folder / "model.writing"
        shutil.rmtree(beside, ignore_errors=True)
        filesystem, path = checkpoint_store.open_place(place)
        best_weights = checkpoint_store.bring(filesystem, f"{path}/best", beside)
        if best_weights != beside:
            shutil.copytree(best_weights, beside)
        shutil.rmtree(record.model_folder, ignore_errors=True)
        beside.rename(record.model_folder)
        best = progress["best"] or {"epoch": progress["epoch"], "rank": [None, None]}
        record.finish(
            {
                "run_id": record.run_id,
                "epochs": progress["epoch"],
                "best_epoch": best["epoch"],
                "selection_win_rate": best["rank"][0],
                "selection_reward": best["rank"][1],
                "train_s": sum(row.get("epoch_s") or 0.0 for row in history),
                "final": history[-1],
                **self._memory(record.run_id, history),
            }
        )
        self._done += 1
        rate = best["rank"][0]
        what = (
            "score on the validation set"
            if progress.get("finished")
            else "greedy win rate on the selection fights"
        )
        seen = f", {what} {rate:.2f}" if rate is not None else ""
        self._progress.line(
            f"{history[-1]['archetype']:<10} {history[-1]['model_type']} finished: best epoch "
            f"{best['epoch']}{seen}"
        )

    def _tell_of_cuts(self, trial: Trial, metrics: Mapping[str, Any]) -> None:
        """Says once that memory ran out and the run went on with batches in more parts."""
        settings = json.loads(trial.config["cell"]["run"])["trial"].get("training", {})
        before = self._parts.get(trial.trial_id, int(settings.get("accumulate", 1)))
        now = int(metrics.get("accumulate") or before)
        self._parts[trial.trial_id] = now
        if now > before:
            note = metrics.get("out_of_memory") or f"out of memory: batches are now worked on in {now} parts"
            self._progress.line(f"{metrics['archetype']:<10} {metrics['model_type']}: {note}")

    def _memory(self, run_id: str, history: list[dict[str, Any]]) -> dict[str, Any]:
        """Measured peak beside the expected one; warns of a run that took more."""
        need = self._needs.get(run_id)
        on_gpu = need is not None and need.on_gpu
        peak = max(
            (row.get("peak_gpu_bytes" if on_gpu else "peak_process_bytes") or 0 for row in history), default=0
        )
        if on_gpu and peak:
            peak += int(table()["gpu"]["context_gb"] * GIGABYTE)  # which torch does not count
        expected = need.memory_bytes if need is not None else None
        if expected is not None and peak > expected:
            self._progress.line(
                f"warning: {run_id} took {peak / GIGABYTE:.2f} GB of memory and {expected / GIGABYTE:.2f} GB "
                "were expected; if memory runs short, lower --parallel"
            )
        parts = history[-1].get("accumulate")
        return {"peak_memory_bytes": peak, "expected_memory_bytes": expected, "accumulate": parts}

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Says that a trial broke; Tune may start it once more from its checkpoint."""
        self._progress.line(f"{self._record(trial).run_id} broke off; see the error below or in {trial.path}")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Says that a trial starts once more; a lost machine does not count as a failure of the run."""
        error = _error_of(trial)
        text = str(error)
        lost = isinstance(error, RayActorError) and any(words in text.lower() for words in _NODE_LOST)
        # A node that dies closes its connections before Ray has noticed its death.
        cut_off = isinstance(error, ActorUnavailableError)
        if lost or cut_off:
            # Tune forgives announced preemptions only: a second lost machine would end the run.
            trial.run_metadata.num_failures -= 1
            why = "its node was lost" + " or cannot be reached" * cut_off
        else:
            why = next(
                (line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given"
            )
        self._progress.line(
            f"{self._record(trial).run_id} starts again from its last checkpoint: {why[:300]}"
        )

    def _say_promotion(self, record: RunRecord, metrics: dict[str, Any]) -> None:
        """Says so when a run's fights got harder since its last epoch."""
        level = int(metrics["curriculum_level"])
        if record.run_id not in self._levels:
            history = record.history()
            self._levels[record.run_id] = int(history[-1].get("curriculum_level") or 1) if history else 1
        before = self._levels[record.run_id]
        self._levels[record.run_id] = level
        if level > before:
            from envs.curriculum import level as level_of

            self._progress.line(
                f"{metrics['archetype']:<10} {metrics['model_type']} promoted in epoch {metrics['epoch']}: "
                f"level {level}, {level_of(level).name}"
            )

    def _record(self, trial: Trial) -> RunRecord:
        return self._ledger.run(trial.config["cell"]["run_id"])


def _error_of(trial: Trial) -> BaseException | None:
    """What ended a trial just now, from its folder on this machine; the storage gets it later."""
    try:
        with open(trial.pickled_error_file, "rb") as file:
            error = pickle.load(file)
    except (OSError, TypeError, pickle.UnpicklingError, EOFError):
        return None
    return error if isinstance(error, BaseException) else None
