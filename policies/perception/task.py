"""What a perception mind learns, as the supervised trainer needs to know it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from envs.perception.sights import Sights
from policies.inference import Signature

Rows = dict[str, np.ndarray]
"""Arrays by name, all with the same first axis: one row is one example (a decision, or a whole sequence).

`fight` int64 `(row,)` is always there: rows of one fight are drawn together when intervals are made."""
Batch = Mapping[str, Tensor]


class PerceptionTask(Protocol):
    """Rows from fights, loss of a network on them, and how good its answers are."""

    model_type: str
    score: str
    """Name of the metric by which the best epoch is chosen, larger is better."""
    grid_stride: int
    """Decisions between two grids of a fight; 0 if the task needs none."""

    def rows(self, sights: Sights, *, stride: int) -> Rows:
        """Inputs, targets and where they are known, for the first observer of each fight.

        Small types where they hold the numbers exactly (uint8, int8, float16 never for targets).
        """

    def augment(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """A batch changed in ways that the world allows: mirrored, turned, renumbered, cut, with noise.

        What it changes in the inputs it changes in the targets. It never writes into its argument.
        """

    def fit(self, rows: Rows) -> dict[str, np.ndarray]:
        """Numbers taken from the training rows that loss and metrics need, such as class weights, scales
        and priors."""

    def loss(self, network: nn.Module, batch: Batch, fitted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Differentiable `loss`, and figures beside it, all scalars."""

    def predict(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Answers in evaluation mode, named as the baselines name theirs."""

    def calibrate(
        self, network: nn.Module, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """Set the network's calibration buffers (temperatures, scales of variances) from what it answers on
        the validation rows while they are neutral; called once, with the best weights, when training ends.

        Returns:
            What was fitted, by name; {} for a task that needs none.
        """

    def errors(self, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Per question ("threat_2s", "style" ...) the error of each row, float64 `(row,)`, nan where unknown:
        squared error for numbers, negative log-likelihood or 0/1 error for classes. Model and baselines are
        compared by these, row by row."""

    def metrics(self, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Figures of one set; `score` is among them."""

    def baselines(self, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, Rows]:
        """Answers of each named baseline; a baseline may answer some of the questions only."""


def served_inputs(task: PerceptionTask, signature: Signature, rows: Rows) -> Rows:
    """What the inference form would be given for rows, by input name, without the carried state.

    A task whose rows are whole fights has a method `served_inputs(rows)` of its own, which gives one decision
    after the other; any other names its inputs as the inference form does.
    """
    own = getattr(task, "served_inputs", None)
    if own is not None:
        found: Rows = own(rows)
        return found
    carried = dict(signature.state)
    return {
        port.name: np.ascontiguousarray(rows[port.name], dtype=port.dtype)
        for port in signature.inputs
        if port.name not in carried
    }


def count_rows(rows: Rows) -> int:
    """How many rows there are."""
    return len(next(iter(rows.values()))) if rows else 0


def take(rows: Rows, chosen: Any) -> Rows:
    """Some of the rows."""
    return {name: values[chosen] for name, values in rows.items()}


def join(parts: list[Rows]) -> Rows:
    """Rows behind each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
