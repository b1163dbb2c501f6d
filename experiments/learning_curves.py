"""Learning curves of paired runs: what is measured of each, and what one arm gains over the other.

Two arms that share seed, steps and settings and differ in one thing are compared seed by seed, so that the
luck of a seed falls out of the difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.statistics import mean_interval


@dataclass(frozen=True)
class Curve:
    """How well one run did after each epoch.

    Attributes:
        seed: Base seed of the run.
        run_id: Its name in the ledger.
        steps: After how much training each was measured: decisions of the environment, or epochs.
        scores: What was measured, as many.
    """

    seed: int
    run_id: str
    steps: tuple[float, ...]
    scores: tuple[float, ...]

    @classmethod
    def of_history(
        cls, history: Sequence[Mapping[str, Any]], *, seed: int, run_id: str, score: str, steps: str
    ) -> Curve:
        """Reads a run's history.

        Args:
            history: Metrics per epoch, as the ledger keeps them.
            seed: Base seed of the run.
            run_id: Its name.
            score: Metric that says how well it does.
            steps: Metric that says how far it is.

        Raises:
            ValueError: No epoch has both metrics.
        """
        rows = [row for row in history if row.get(score) is not None and row.get(steps) is not None]
        if not rows:
            raise ValueError(f"run {run_id} has no '{score}' in its history; train it anew with --no-resume")
        return cls(
            seed, run_id, tuple(float(row[steps]) for row in rows), tuple(float(row[score]) for row in rows)
        )

    @property
    def area(self) -> float:
        """Mean score over the training, the area under the curve divided by its length."""
        return math.fsum(self.scores) / len(self.scores)

    @property
    def best(self) -> float:
        """Best score of any epoch."""
        return max(self.scores)

    def reached(self, threshold: float) -> float | None:
        """Steps after which a score was first reached, or None if it never was."""
        return next((s for s, y in zip(self.steps, self.scores, strict=True) if y >= threshold), None)

    def padded(self, steps: Sequence[float]) -> Curve:
        """The curve on a longer axis: a run that stopped early stays with its best weights.

        Args:
            steps: Of the longest run of the comparison.
        """
        missing = steps[len(self.steps) :]
        return Curve(
            self.seed, self.run_id, (*self.steps, *missing), (*self.scores, *[self.best] * len(missing))
        )


@dataclass(frozen=True)
class Gain:
    """A mean difference over seeds with its 95 % interval (Student's t).

    Attributes:
        mean: Of the differences.
        low: Lower bound; None for a single seed, which has no interval.
        high: Upper bound; None likewise.
        n: Seeds.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> Gain:
        """Takes the mean of differences, one per seed."""
        mean, low, high = mean_interval(differences)
        known = math.isfinite(low)
        return cls(mean, low if known else None, high if known else None, len(differences))

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0.0 or self.high < 0.0)


@dataclass(frozen=True)
class Paired:
    """Two arms, curve by curve from the same seed.

    Attributes:
        baseline: Curves of the arm that is compared with.
        treated: Curves of the other arm, in the same order of seeds.
        threshold: Score that is to be reached.
    """

    baseline: tuple[Curve, ...]
    treated: tuple[Curve, ...]
    threshold: float

    @classmethod
    def of(cls, baseline: Sequence[Curve], treated: Sequence[Curve], threshold: float) -> Paired:
        """Lays two arms side by side on one axis.

        Raises:
            ValueError: Arms of different seeds, which no difference can be taken of.
        """
        if not baseline or [c.seed for c in baseline] != [c.seed for c in treated]:
            raise ValueError(
                f"arms of the seeds {[c.seed for c in baseline]} and {[c.seed for c in treated]} are no pairs"
            )
        steps = max((c.steps for c in (*baseline, *treated)), key=len)
        return cls(
            tuple(c.padded(steps) for c in baseline), tuple(c.padded(steps) for c in treated), threshold
        )

    @property
    def area_gain(self) -> Gain:
        """Mean score over the training, treated minus baseline."""
        return Gain.of([t.area - b.area for b, t in self._pairs()])

    @property
    def steps_saved(self) -> Gain:
        """Steps to the threshold, baseline minus treated; a run that never gets there counts in full."""
        saved = []
        for b, t in self._pairs():
            # Both end at about the same step; one end for both: two that never get there save nothing.
            end = max(b.steps[-1], t.steps[-1])
            until = [end if (at := c.reached(self.threshold)) is None else at for c in (b, t)]
            saved.append(until[0] - until[1])
        return Gain.of(saved)

    @property
    def unreached(self) -> tuple[int, int]:
        """How many curves of baseline and treated never reached the threshold."""
        baseline, treated = (
            sum(curve.reached(self.threshold) is None for curve in arm)
            for arm in (self.baseline, self.treated)
        )
        return baseline, treated

    def _pairs(self) -> list[tuple[Curve, Curve]]:
        return list(zip(self.baseline, self.treated, strict=True))
