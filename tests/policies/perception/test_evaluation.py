"""Comparisons by fight: intervals that hold, rows of one fight counted together."""

from __future__ import annotations

import numpy as np
import pytest

from policies.perception.evaluation import bootstrap_means, compare, interval, lines, paired
from tests.policies.perception.toy import ToyTask, toy_rows


def test_interval_of_independent_rows_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(1.0, 2.0, 900)
    low, high = interval(values, np.arange(900))
    half = 1.96 * values.std() / 30
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_rows_of_one_fight_count_as_one() -> None:
    values = np.random.default_rng(0).normal(size=40)
    narrow = interval(values, np.arange(40))
    repeated, fights = np.repeat(values, 25), np.repeat(np.arange(40), 25)
    wide, wrong = interval(repeated, fights), interval(repeated, np.arange(1000))
    assert wide == pytest.approx(narrow, abs=1e-12)
    assert wrong[1] - wrong[0] < 0.3 * (wide[1] - wide[0])


def test_fights_of_many_rows_weigh_more() -> None:
    means = bootstrap_means(np.array([0.0, 1.0, 1.0, 1.0]), np.array([0, 1, 1, 1]))
    # Both fights: 3/4; the first twice: 0; the second twice: 1.
    assert set(np.unique(means)) == {0.0, 0.75, 1.0}


def test_unknown_rows_are_left_out_on_both_sides() -> None:
    own, theirs = np.array([1.0, np.nan, 0.0]), np.array([2.0, 0.0, np.nan])
    found = paired("y", "mean", own, theirs, np.array([0, 1, 2]))
    assert (found.error, found.baseline_error, found.rows, found.fights) == (1.0, 2.0, 1, 1)
    assert found.better and found.low == found.high == 1.0


def test_a_mind_that_is_no_better_is_said_to_be() -> None:
    task, rows = ToyTask(), toy_rows(64, 0)
    fitted = task.fit(rows)
    good = compare(task, {"y": rows["y"] * 0.9}, rows, fitted)
    bad = compare(task, {"y": np.full(64, float(fitted["mean"]))}, rows, fitted)
    assert good[0].better and not bad[0].better
    assert "NOT BETTER" not in "\n".join(lines(good, "test"))
    assert "NOT BETTER" in "\n".join(lines(bad, "test"))
