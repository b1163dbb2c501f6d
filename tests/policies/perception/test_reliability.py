"""Calibration and coverage by hand, and against draws from known distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from policies.perception import reliability


def test_expected_calibration_error_by_hand() -> None:
    # Two bins: 0.2, 0.2 say 0.2 and half are true (off by 0.3); 0.9, 0.9 are both true (off by 0.1).
    chance, truth = np.array([0.2, 0.2, 0.9, 0.9]), np.array([0, 1, 1, 1])
    assert reliability.expected_calibration_error(chance, truth, bins=2) == pytest.approx(0.2)
    assert reliability.expected_calibration_error(np.array([1.0]), np.array([1])) == 0.0


def test_moments_of_the_amount_by_hand() -> None:
    # Half a chance of 2 with variance 1: mean 1, variance 0.5 x (1 + 4) - 1 = 1.5.
    amount, variance = reliability.amount_moments(np.array([0.5]), np.array([1.0]), np.array([1.5**0.5]))
    assert amount[0] == pytest.approx(2.0) and variance[0] == pytest.approx(1.0)


def test_coverage_by_hand() -> None:
    # A jump from 0 to 0.8 lies in the middle half (0.25 to 0.75) with 0.5 of its 0.8; points in or out.
    low, high = np.array([0.0, 0.5, 0.9]), np.array([0.8, 0.5, 0.9])
    assert reliability.coverage(low, high, 0.5).tolist() == pytest.approx([0.625, 1.0, 0.0])


@pytest.mark.parametrize(("factor", "good"), [(1.0, True), (0.3, False), (8.0, False)])
def test_intervals_of_the_true_distribution_hold(factor: float, good: bool) -> None:
    rng = np.random.default_rng(0)
    rows = 20_000
    chance = rng.uniform(0.1, 0.9, rows)
    amount, shape = rng.uniform(0.1, 0.4, rows), 4.0
    truth = np.where(rng.random(rows) < chance, rng.gamma(shape, amount / shape), 0.0)
    variance = chance * (amount**2 / shape * factor + amount**2) - (chance * amount) ** 2
    places = reliability.places(chance, chance * amount, np.sqrt(variance), truth)
    error = reliability.interval_error(*places)
    assert error < 0.01 if good else error > 0.02


def test_rank_correlation_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(0, 20, 200).astype(float)
    b = a + rng.normal(0, 10, 200)
    assert reliability.rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(reliability.rank_correlation(np.ones(5), np.arange(5.0)))
    assert reliability.ranks(np.array([3.0, 1.0, 3.0])).tolist() == [1.5, 0.0, 1.5]
