"""How good stated chances of classes are, and how well an embedding keeps like with like."""

from __future__ import annotations

import numpy as np

NEIGHBOURS = 5
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
