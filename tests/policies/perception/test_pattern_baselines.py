"""Means of windows, and the two simple models on them."""

from __future__ import annotations

import numpy as np
import pytest

from policies.perception.pattern_baselines import fit_means, window_means


def test_means_of_the_known_decisions_by_hand() -> None:
    window = np.zeros((2, 50, 16), np.float32)
    window[0, 48:, 3] = (1.0, 0.5)
    window[0, 40, 3] = 7.0  # further back than is looked at
    window[1, 49, 5] = 0.8
    shown = np.zeros((2, 50), bool)
    shown[0, 46:] = True
    shown[1, 49] = True
    means = window_means(window, shown, np.array([0, 4]), length=5)
    assert means.shape == (2, 22)
    # (1 + 0.5) / 4 known decisions; 0.8 / 1
    assert means[0, 3] == pytest.approx(0.375) and means[1, 5] == pytest.approx(0.8)
    assert means[:, 16:].argmax(axis=1).tolist() == [0, 4] and means[:, 16:].sum() == 2.0


def test_nothing_known_is_zero() -> None:
    means = window_means(np.ones((1, 50, 16), np.float32), np.zeros((1, 50), bool), np.array([1]), 10)
    assert not means[0, :16].any()


def test_both_models_find_what_a_line_can_tell() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(600) % 3
    means = rng.normal(size=(600, 4)).astype(np.float32)
    means[:, 0] += 6.0 * truth  # 0, 6, 12: six deviations apart
    models = fit_means(means, truth, 3)
    for chances in (models.nearest(means), models.regression(means)):
        assert chances.shape == (600, 3) and chances.dtype == np.float32
        np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-5)
        assert (chances.argmax(axis=1) == truth).mean() > 0.95


def test_the_regression_is_the_likeliest_line() -> None:
    # One feature, x = -1 or 1; class 1 in 1 of 4 rows at -1 and in 3 of 4 at 1.
    x = np.repeat([-1.0, 1.0], 400).astype(np.float32)[:, None]
    truth = np.tile([0, 0, 0, 1], 100).tolist() + np.tile([1, 1, 1, 0], 100).tolist()
    models = fit_means(x, np.array(truth), 2)
    chances = models.regression(np.array([[-1.0], [1.0]], np.float32))
    np.testing.assert_allclose(chances, [[0.75, 0.25], [0.25, 0.75]], atol=2e-3)


def test_a_class_without_rows_is_no_nan() -> None:
    means = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    models = fit_means(means, np.zeros(20, np.int64), 2)
    assert all(np.isfinite(values).all() for values in models)
