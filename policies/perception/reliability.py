"""Whether stated chances and intervals hold, and whether stated doubt shows where the errors are."""

from __future__ import annotations

import numpy as np
import torch

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Nominal shares of the intervals that are checked."""
FEW = 20
"""Below so many known rows nothing is fitted."""


def expected_calibration_error(chance: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Mean distance between stated chance and frequency over bins of equal width (Guo et al. 2017, eq. 3).

    Args:
        chance: float `(row,)` in [0, 1].
        truth: bool or 0 and 1 `(row,)`.
        bins: so many.
    """
    place = np.minimum((chance * bins).astype(np.int64), bins - 1)
    stated = np.bincount(place, chance, minlength=bins)
    true = np.bincount(place, truth.astype(np.float64), minlength=bins)
    return float(np.abs(stated - true).sum() / len(chance))


def amount_moments(chance: np.ndarray, mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the part that is not zero, of a quantity that is zero with 1 - chance.

    From mean = c m and std^2 = c (v + m^2) - mean^2; the variance has a floor of (m / 100)^2.
    """
    chance = np.maximum(chance, 1e-6)
    amount = np.maximum(mean, 1e-9) / chance
    variance = (std**2 + mean**2) / chance - amount**2
    return amount, np.maximum(variance, 1e-4 * amount**2)


def places(
    chance: np.ndarray, mean: np.ndarray, std: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the truth lies in a stated distribution: zero with 1 - chance, else gamma.

    Args:
        chance: of more than zero, float `(row,)`.
        mean: of the whole distribution.
        std: of the whole distribution.
        truth: what happened, not negative.

    Returns:
        Lower and upper end of the probability integral transform, float64 `(row,)` each: equal but at zero,
        where the distribution jumps from 0 to 1 - chance.
    """
    amount, variance = amount_moments(*(np.asarray(x, np.float64) for x in (chance, mean, std)))
    shape = amount**2 / variance
    scaled = np.asarray(truth, np.float64) * amount / variance
    below = torch.special.gammainc(torch.from_numpy(shape), torch.from_numpy(scaled)).numpy()
    upper = 1.0 - chance + chance * below
    return np.where(truth > 0, upper, 0.0), upper


def coverage(low: np.ndarray, high: np.ndarray, level: float) -> np.ndarray:
    """Chance that the truth's place lies in the middle `level` of the distribution, float64 `(row,)`.

    A jump counts by the share of it that lies inside (Czado, Gneiting & Held 2009, the non-randomised
    transform), so a calibrated forecast covers exactly its level.
    """
    start, end = (1.0 - level) / 2, (1.0 + level) / 2
    inside = np.minimum(high, end) - np.maximum(low, start)
    jump = high - low
    point = (high >= start) & (high <= end)
    return np.where(jump > 1e-12, np.clip(inside, 0.0, None) / np.maximum(jump, 1e-12), point)


def interval_error(low: np.ndarray, high: np.ndarray, levels: tuple[float, ...] = LEVELS) -> float:
    """Mean of |covered share - nominal share| over intervals of several levels."""
    return float(np.mean([abs(coverage(low, high, level).mean() - level) for level in levels]))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, equal values share the mean of theirs, float64."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[inverse]


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation; nan if either never varies."""
    x, y = ranks(a), ranks(b)
    if x.std() == 0 or y.std() == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def best_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The temperature with the least log loss, between 1/8 and 8; 1 with hardly any rows.

    Args:
        logits: float64 `(row, class)`.
        truth: int64 `(row,)`.
    """
    if len(truth) < FEW:
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        own = scaled[np.arange(len(truth)), truth]
        return float((np.log(np.exp(scaled).sum(axis=1)) - own).mean())

    # The log loss has one minimum in 1 / t, for it is convex there.
    low, high = np.log(0.125), np.log(8.0)
    golden = (np.sqrt(5.0) - 1.0) / 2.0
    for _ in range(40):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2.0))
