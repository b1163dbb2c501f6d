"""Runs in turn: those that start from another run's weights are handed to Tune once that one is over."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.search import BasicVariantGenerator


class InTurn(BasicVariantGenerator):
    """Tune's grid in its order, but for trials that wait for another one of the same grid.

    A trial's ``cell`` names in ``after`` the run that it waits for. What is no trial of the grid has been
    finished before, and a run that failed is over too: whoever waits for it then says so itself.

    Args:
        max_concurrent: Trials at the same time at most.
    """

    def __init__(self, max_concurrent: int = 0) -> None:
        super().__init__(max_concurrent=max_concurrent)
        self._waiting: list[Trial] | None = None
        self._open: dict[str, str] = {}

    def next_trial(self) -> Trial | None:
        """The first trial that waits for nobody; None while there is none, or as many are at work as may."""
        if self.is_finished():
            return None
        if self._waiting is None:
            self._waiting = list(self._trial_generator)
            self._open = {trial.trial_id: trial.config["cell"]["run_id"] for trial in self._waiting}
        if not self._waiting:
            self.set_finished()
            return None
        if self.max_concurrent > 0 and len(self._live_trials) >= self.max_concurrent:
            return None
        unfinished = set(self._open.values())
        for place, trial in enumerate(self._waiting):
            if trial.config["cell"].get("after") not in unfinished:
                self._live_trials.add(trial.trial_id)
                return self._waiting.pop(place)
        return None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Lets those go on that waited for this one."""
        super().on_trial_complete(trial_id, result, error)
        self._open.pop(trial_id, None)

    def get_state(self) -> Any:
        """Nothing: the ledger knows what is finished, and a resumed experiment is a new grid."""
        return {}
