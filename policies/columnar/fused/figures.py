"""Figures that all compiled losses give from their sums."""

from __future__ import annotations

from typing import Any

import numpy as np


def explained_variance(sums: Any, rows: int, goals: tuple[int, int], errors: tuple[int, int]) -> float:
    """1 - Var(error) / Var(goal), from sums and sums of squares.

    Args:
        sums: float64 (sum,).
        rows: Summed over.
        goals: Places of the goals' sum and sum of squares.
        errors: Places of the errors' sum and sum of squares.

    Returns:
        NaN if a sum is not finite.
    """
    # A batch with NaN is looked into by the guard; here it needs no warning.
    with np.errstate(invalid="ignore", over="ignore"):
        goal = sums[goals[1]] - sums[goals[0]] ** 2 / rows
        error = sums[errors[1]] - sums[errors[0]] ** 2 / rows
        return float(1.0 - error / np.maximum(goal, 1e-8 * rows))
