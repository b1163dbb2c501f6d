"""What a transfer came to: the curves of both arms and their gains, as values, as a table and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.learning_curves import Curve, Gain, Paired

WIN_RATE = 0.70
"""Greedy win rate against the traditional AI whose first epoch is asked for."""


@dataclass(frozen=True)
class TransferResult:
    """What a transfer came to.

    Attributes:
        source_archetype: Whose weights were taken.
        target_archetype: Who was trained.
        model_type: Of both.
        profile: Sizes.
        source: Name of the version whose weights were taken, such as `mage/movement_ppo v1`.
        source_run: The run that trained it.
        measure: Metric of the curves: `selection_win_rate`, or a validation score.
        unit: What the curves are counted in: `env_steps` or `epoch`.
        transferred: Curves of the runs that started from the source.
        paired: Both arms; None if nothing was compared.
        registered: Name of the version that was registered.
        run_id: Its run.
    """

    source_archetype: str
    target_archetype: str
    model_type: str
    profile: str
    source: str
    source_run: str
    measure: str
    unit: str
    transferred: tuple[Curve, ...]
    paired: Paired | None
    registered: str
    run_id: str

    @property
    def acting(self) -> bool:
        """Whether the curves are win rates of a mind with actions."""
        return self.unit == "env_steps"

    @property
    def arms(self) -> dict[str, tuple[Curve, ...]]:
        """Curves by arm: `scratch`, if it was trained, and `transfer`, on one axis."""
        if self.paired is None:
            return {"transfer": self.transferred}
        return {"scratch": self.paired.baseline, "transfer": self.paired.treated}


def result_json(result: TransferResult) -> dict[str, Any]:
    """The result as plain values: every curve, and the gains with their intervals.

    Args:
        result: Of `carry_out`.
    """
    values: dict[str, Any] = {
        "source_archetype": result.source_archetype,
        "target_archetype": result.target_archetype,
        "model_type": result.model_type,
        "profile": result.profile,
        "seeds": [curve.seed for curve in result.transferred],
        "source": result.source,
        "source_run": result.source_run,
        "registered": result.registered,
        "run_id": result.run_id,
        "measure": result.measure,
        "unit": result.unit,
        "threshold": WIN_RATE if result.acting else None,
        "arms": {
            name: [_curve_json(result, curve) for curve in curves] for name, curves in result.arms.items()
        },
        "area_gain": None,
        "steps_saved": None,
    }
    if result.paired is not None:
        values["area_gain"] = _gain_json(result.paired.area_gain)
        if result.acting:
            values["steps_saved"] = _gain_json(result.paired.steps_saved)
    return values


def _curve_json(result: TransferResult, curve: Curve) -> dict[str, Any]:
    return {
        "seed": curve.seed,
        "run_id": curve.run_id,
        "steps": list(curve.steps),
        "scores": list(curve.scores),
        "area": curve.area,
        "best": curve.best,
        "steps_to_threshold": curve.reached(WIN_RATE) if result.acting else None,
    }


def _gain_json(gain: Gain) -> dict[str, Any]:
    return {
        "mean": gain.mean,
        "low": gain.low,
        "high": gain.high,
        "n": gain.n,
        "excludes_zero": gain.excludes_zero,
    }


def result_rows(result: TransferResult) -> tuple[list[str], list[list[Any]]]:
    """Header and cells of the table: one row per seed and arm.

    Args:
        result: Of `carry_out`.
    """
    header = ["seed", "start", "mean over training", "best", "last"]
    if result.acting:
        header.append(f"steps to {WIN_RATE:.2f}")
    rows = []
    for name, curves in result.arms.items():
        for curve in curves:
            cells: list[Any] = [curve.seed, name, *_three(curve.area, curve.best, curve.scores[-1])]
            if result.acting:
                cells.append(reached_text(curve))
            rows.append(cells)
    return header, sorted(rows, key=lambda row: (row[0], row[1]))


def reached_text(curve: Curve) -> str:
    """Steps to the win rate, or that a run did not get there."""
    reached = curve.reached(WIN_RATE)
    return f"{reached:,.0f}" if reached is not None else f"not in {curve.steps[-1]:,.0f}"


def gain_lines(result: TransferResult) -> list[str]:
    """What the comparison says, for people."""
    if result.paired is None:
        return []
    gain, n = result.paired.area_gain, len(result.transferred)
    words = "win rate" if result.acting else result.measure
    lines = [f"mean {words} over training: {gain.mean:+.3f} {interval_text(gain, '+.3f')} over {n} seeds"]
    if result.acting:
        saved = result.paired.steps_saved
        line = f"steps to {WIN_RATE:.2f} saved: {saved.mean:,.0f} {interval_text(saved, ',.0f')}"
        scratch, transferred = result.paired.unreached
        if scratch or transferred:
            line += (
                f"; {scratch} of {n} from scratch and {transferred} of {n} transferred never got there and"
                " count with their whole length"
            )
        lines.append(line)
    return lines


def interval_text(gain: Gain, form: str) -> str:
    """An interval in parentheses.

    Args:
        gain: With or without one.
        form: Format of its bounds.
    """
    if gain.low is None:
        return "(no interval: one seed)"
    return f"({format(gain.low, form)} to {format(gain.high, form)})"


def _three(*values: float) -> list[str]:
    return [f"{value:.3f}" for value in values]
