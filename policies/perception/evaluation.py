"""A perception mind against the named baselines: errors row by row, intervals by fight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from policies.perception.task import PerceptionTask, Rows

RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """A mind and a baseline on one question.

    Attributes:
        question: as the task names it.
        baseline: its name.
        error: mean error of the mind.
        baseline_error: of the baseline, on the same rows.
        low: lower end of the 95 % interval of baseline_error - error; above 0 the mind is better.
        high: upper end.
        fights: that the rows come from.
        rows: compared.
    """

    question: str
    baseline: str
    error: float
    baseline_error: float
    low: float
    high: float
    fights: int
    rows: int

    @property
    def better(self) -> bool:
        """Whether the interval excludes zero on the mind's side."""
        return self.low > 0.0


def bootstrap_means(
    values: np.ndarray, fight: np.ndarray, seed: int = 0, resamples: int = RESAMPLES
) -> np.ndarray:
    """Means of rows over resampled fights: the rows of one fight are not independent, fights are.

    (Efron & Tibshirani 1993, chapter 8: resample the units that are independent.)

    Args:
        values: float `(row,)` or `(row, column)`, without nan.
        fight: int `(row,)`.
        seed: of the resampling.
        resamples: so many.

    Returns:
        float64 `(resample,)` or `(resample, column)`.
    """
    _, group = np.unique(fight, return_inverse=True)
    groups = int(group.max()) + 1
    table = values.reshape(len(values), -1).astype(np.float64)
    sums = np.stack([np.bincount(group, column, minlength=groups) for column in table.T], axis=1)
    counts = np.bincount(group, minlength=groups).astype(np.float64)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(groups, np.full(groups, 1.0 / groups), size=resamples).astype(np.float64)
    means = (draws @ sums) / (draws @ counts)[:, None]
    return means[:, 0] if values.ndim == 1 else means


def interval(values: np.ndarray, fight: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of a mean over rows, by fight; nan rows are left out."""
    known = np.isfinite(values)
    low, high = np.quantile(bootstrap_means(values[known], fight[known], seed), [0.025, 0.975])
    return float(low), float(high)


def compare(
    task: PerceptionTask, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray], seed: int = 0
) -> list[Comparison]:
    """A mind's answers against every baseline on every question that the baseline answers.

    Args:
        task: whose questions.
        answers: the mind's.
        rows: what was asked.
        fitted: from the training rows.
        seed: of the resampling.
    """
    own = task.errors(answers, rows, fitted)
    return [
        paired(question, name, own[question], theirs, rows["fight"], seed)
        for name, guess in task.baselines(rows, fitted).items()
        for question, theirs in task.errors(guess, rows, fitted).items()
        if question in own
    ]


def paired(
    question: str, baseline: str, own: np.ndarray, theirs: np.ndarray, fight: np.ndarray, seed: int = 0
) -> Comparison:
    """One comparison by paired bootstrap over fights, on the rows where both errors are known."""
    known = np.isfinite(own) & np.isfinite(theirs)
    mine, other, fight = own[known], theirs[known], fight[known]
    low, high = np.quantile(bootstrap_means(other - mine, fight, seed), [0.025, 0.975])
    fights = len(np.unique(fight))
    return Comparison(
        question,
        baseline,
        float(mine.mean()),
        float(other.mean()),
        float(low),
        float(high),
        fights,
        len(mine),
    )


def lines(comparisons: list[Comparison], name: str) -> Iterator[str]:
    """A table for people, one line per comparison."""
    head = ("set", "question", "baseline", "mind", "baseline", "better by, 95 %")
    yield "{:9} {:22} {:22} {:>9} {:>9} {:>21} fights".format(*head)
    for one in comparisons:
        yield (
            f"{name:9} {one.question:22} {one.baseline:22} {one.error:9.4f} {one.baseline_error:9.4f} "
            f"{one.low:+10.4f} {one.high:+10.4f} {one.fights:6d}{'' if one.better else '  NOT BETTER'}"
        )
