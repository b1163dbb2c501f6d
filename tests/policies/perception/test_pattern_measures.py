"""How chances and embeddings are judged, on numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from policies.perception.pattern_measures import hits, log_losses, neighbours
from policies.perception.reliability import best_temperature


def test_ties_are_broken_by_lot() -> None:
    chances = np.array([[0.4, 0.4, 0.2], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [1 / 3, 1 / 3, 1 / 3]])
    assert hits(chances, np.array([1, 1, 0, 2])) == pytest.approx([0.5, 1.0, 0.0, 1 / 3])


def test_log_loss_by_hand() -> None:
    losses = log_losses(np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([0, 1]))
    assert losses == pytest.approx([math.log(4.0), math.log(1e12)])


def test_the_temperature_takes_back_overconfidence() -> None:
    # Truth follows softmax(x); what is stated is three times as sharp, so t = 3 is best.
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random((20_000, 1)) > np.cumsum(chances, axis=1)).sum(axis=1).clip(max=3)
    assert best_temperature(3.0 * logits, truth) == pytest.approx(3.0, abs=0.15)


def test_the_temperature_by_hand() -> None:
    # 100 rows say log odds 2 for class 0 and 75 are: sigmoid(2 / t) = 3/4, t = 2 / log 3
    logits = np.tile([2.0, 0.0], (100, 1))
    truth = (np.arange(100) >= 75).astype(np.int64)
    assert best_temperature(logits, truth) == pytest.approx(2.0 / math.log(3.0), rel=1e-4)
    assert best_temperature(logits[:5], truth[:5]) == 1.0


def test_neighbours_of_other_fights_only() -> None:
    # Two styles on two axes. Every window has four twins of its own fight, which must not count.
    embedding = np.repeat(np.eye(2, dtype=np.float32), 20, axis=0)
    style = np.repeat([0, 1], 20)
    fight = np.repeat(np.arange(8), 5)
    assert neighbours(embedding, style, fight) == 1.0
    # One fight alone has no windows of others.
    assert neighbours(embedding, style, np.zeros(40, np.int64)) == 0.0
    # Ten rows of style 0 lie among the ten of style 1 on the second axis, all in fights of their own:
    # a window there has, whoever it is, 19 equally near ones, so the five are not all of its style.
    mixed = np.where(np.arange(40) < 10, 1 - style, style)
    assert neighbours(embedding, mixed, np.arange(40)) < 1.0
