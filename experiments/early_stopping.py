"""ASHA over the runs of a search: a run whose score falls behind is stopped, and the ledger says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from experiments.ledger import Ledger, RunRecord
from experiments.progress import Progress

REDUCTION = 2
"""One run in so many goes on at each rung; epochs between rungs grow by the same factor."""

_NOBODY: Any = None  # Tune's controller, of which this scheduler asks nothing


class EarlyStopping(AsyncHyperBandScheduler):
    """Successive halving that remembers, over commands, what the ledger's runs have reported.

    Args:
        ledger: Where stopped runs are marked.
        progress: Where lines for people go.
        metric: Name of the reported score; larger is better.
        grace: Epochs that every run is given.
        epochs: Planned for each run.
        earlier: Ids of runs of the same search that an earlier command has ended.
    """

    def __init__(
        self,
        ledger: Ledger,
        progress: Progress,
        *,
        metric: str,
        grace: int,
        epochs: int,
        earlier: Sequence[str] = (),
    ) -> None:
        super().__init__(
            time_attr="epoch",
            metric=metric,
            mode="max",
            grace_period=grace,
            max_t=epochs,
            reduction_factor=REDUCTION,
            stop_last_trials=False,
        )
        self._score = metric
        self._ledger = ledger
        self._progress = progress
        for run_id in earlier:
            trial: Any = SimpleNamespace(trial_id=run_id)
            super().on_trial_add(_NOBODY, trial)
            self._replay(trial, ledger.run(run_id), epochs)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Takes in a run, with the scores up to the checkpoint from which it goes on."""
        super().on_trial_add(tune_controller, trial)
        record = self._record(trial)
        latest = record.latest()
        self._replay(trial, record, latest[1] if latest else 0)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Decides about a run by its newest score; the last epoch of a run always ends it as finished."""
        decision = str(super().on_trial_result(tune_controller, trial, result))
        last = result["epoch"] >= result["epochs"] or result.get("early_stop")
        if decision != TrialScheduler.STOP or last:
            return str(TrialScheduler.CONTINUE)
        score = float(result[self._score])
        self._record(trial).stop(
            {"epoch": result["epoch"], "epochs": result["epochs"], "metric": self._score, "score": score}
        )
        self._progress.line(
            f"{trial.config['cell']['run_id']} stopped early after epoch {result['epoch']}/"
            f"{result['epochs']}: {self._score} {score:.3f} is behind the other samples"
        )
        return decision

    def _replay(self, trial: Trial, record: RunRecord, until: int) -> None:
        rows: list[Mapping[str, Any]] = [row for row in record.history() if row["epoch"] <= until]
        for row in rows:
            if row.get(self._score) is not None:
                super().on_trial_result(_NOBODY, trial, dict(row))

    def _record(self, trial: Trial) -> RunRecord:
        return self._ledger.run(trial.config["cell"]["run_id"])
