"""How good stated chances of classes are, and how well an embedding keeps like with like."""

from __future__ import annotations

import numpy as np

NEIGHBOURS = 5
FEW = 20
"""Below so many known rows no temperature is fitted."""
MOST_COMPARED = 2000
"""Rows among which neighbours are looked for."""


def hits(chances: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Chance to name the truth by taking the likeliest style, equal ones by lot, float64 `(row,)`."""
    best = chances >= chances.max(axis=1, keepdims=True)
    return best[np.arange(len(truth)), truth.astype(np.int64)] / best.sum(axis=1)


def log_losses(chances: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """-log p[truth] in nats, float64 `(row,)`."""
    chance = chances[np.arange(len(truth)), truth.astype(np.int64)].astype(np.float64)
    return -np.log(np.maximum(chance, 1e-12))


def best_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The temperature with the least log loss, between 1/8 and 8; 1 with hardly any rows.

    Args:
        logits: float64 `(row, style)`.
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


def neighbours(embedding: np.ndarray, style: np.ndarray, fight: np.ndarray) -> float:
    """Share of a window's nearest five of other fights that have its style, over at most 2,000 windows."""
    step = -(-len(style) // MOST_COMPARED)
    vectors, style, fight = embedding[::step], style[::step], fight[::step]
    likeness = vectors @ vectors.T
    likeness[fight[:, None] == fight[None, :]] = -np.inf
    count = min(NEIGHBOURS, len(style) - 1)
    nearest = np.argpartition(-likeness, count - 1, axis=1)[:, :count] if count > 0 else np.zeros((0, 0), int)
    usable = np.take_along_axis(likeness, nearest, axis=1) > -np.inf
    same = (style[nearest] == style[:, None]) & usable
    return float(same.sum() / max(int(usable.sum()), 1))
