"""What the pattern mind has to beat: simple models of the mean of a window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from envs.contracts.vocabulary import ARCHETYPES

PENALTY = 1e-4
"""Weight of the squared coefficients of the logistic regression."""
ITERATIONS = 60
MOST_ROWS = 20_000
"""Rows that the regression is fitted on, evenly spread over those given."""


def window_means(window: np.ndarray, shown: np.ndarray, kind: np.ndarray, length: int) -> np.ndarray:
    """Mean of each feature over the known ones of the last decisions, and the opponent's kind.

    Args:
        window: float32 `(row, 50, 16)`.
        shown: bool `(row, 50)`.
        kind: int `(row,)`.
        length: decisions that are looked at, the last ones.

    Returns:
        float32 `(row, 16 + 6)`.
    """
    known = shown[:, -length:]
    count = np.maximum(known.sum(axis=1), 1).astype(np.float32)
    means = np.einsum("rdf,rd->rf", window[:, -length:], known.astype(np.float32)) / count[:, None]
    one_hot = (kind[:, None] == np.arange(len(ARCHETYPES))).astype(np.float32)
    return np.concatenate([means, one_hot], axis=1)


class MeanModels(NamedTuple):
    """Two models of window means, each feature scaled to mean 0 and deviation 1.

    Attributes:
        middle: float32 `(feature,)`, mean over the training rows.
        spread: float32 `(feature,)`, standard deviation.
        centres: float32 `(class, feature)`, mean of each class, scaled.
        weights: float32 `(feature + 1, class)` of the logistic regression, the constant last.
    """

    middle: np.ndarray
    spread: np.ndarray
    centres: np.ndarray
    weights: np.ndarray

    def nearest(self, means: np.ndarray) -> np.ndarray:
        """softmax(-squared distance to each centre / 2), float32 `(row, class)`."""
        scaled = (means - self.middle) / self.spread
        apart = ((scaled[:, None, :] - self.centres) ** 2).sum(axis=-1)
        return _softmax(-0.5 * apart)

    def regression(self, means: np.ndarray) -> np.ndarray:
        """softmax(x W + b), float32 `(row, class)`."""
        scaled = (means - self.middle) / self.spread
        return _softmax(scaled @ self.weights[:-1] + self.weights[-1])


def fit_means(means: np.ndarray, truth: np.ndarray, classes: int) -> MeanModels:
    """Fit both models.

    Args:
        means: float32 `(row, feature)`.
        truth: int64 `(row,)`.
        classes: so many.
    """
    middle, spread = means.mean(axis=0), means.std(axis=0) + np.float32(1e-3)
    scaled = (means - middle) / spread
    centres = np.stack(
        [
            scaled[truth == k].mean(axis=0) if (truth == k).any() else np.zeros_like(middle)
            for k in range(classes)
        ]
    )
    step = max(1, -(-len(truth) // MOST_ROWS))
    weights = _fit_regression(scaled[::step], truth[::step], classes)
    return MeanModels(middle, spread, centres.astype(np.float32), weights)


def _fit_regression(scaled: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Multinomial logistic regression with a small ridge, float32 `(feature + 1, class)`."""
    x = torch.from_numpy(np.concatenate([scaled, np.ones((len(scaled), 1), np.float32)], axis=1))
    y = torch.from_numpy(truth)
    weights = torch.zeros((x.shape[1], classes), requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        search.zero_grad()
        value = functional.cross_entropy(x @ weights, y) + PENALTY * weights[:-1].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        search.step(closure)
    return weights.detach().numpy()


def _softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)
