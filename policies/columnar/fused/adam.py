"""AdamW over a flat vector in one compiled pass, with the gradient's scale folded in."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True)
def adamw(
    weights: NDArray[np.float32],
    gradient: NDArray[np.float32],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    scale: Any,
    decay: Any,
    step_size: Any,
    beta1: Any,
    rest1: Any,
    beta2: Any,
    rest2: Any,
    root_factor: Any,
    eps: Any,
) -> None:
    """One step of AdamW (Loshchilov and Hutter 2019, algorithm 2), in place.

    g = scale x gradient; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2
    w = (1 - decay) w - step_size m / (sqrt(v) root_factor + eps)

    Args:
        weights: float32 (parameter,).
        gradient: (parameter,), left as it is.
        first: m.
        second: v.
        scale: float32; clipping and loss scale in one factor.
        decay: float32; learning rate x weight decay.
        step_size: float32; learning rate / (1 - b1^t).
        beta1: float32; decay of m, usually 0.9.
        rest1: float32; 1 - b1, subtracted in float64.
        beta2: float32; decay of v, usually 0.999.
        rest2: float32; 1 - b2, subtracted in float64: in float32 it would be off by 1e-5 of itself.
        root_factor: float32; 1 / sqrt(1 - b2^t).
        eps: float32.
    """
    one = np.float32(1.0)
    for k in range(weights.shape[0]):
        g = scale * gradient[k]
        m = beta1 * first[k] + rest1 * g
        v = beta2 * second[k] + rest2 * g * g
        first[k] = m
        second[k] = v
        weights[k] = (one - decay) * weights[k] - step_size * m / (np.sqrt(v) * root_factor + eps)


@numba.njit(cache=True)
def lerp(target: NDArray[np.float32], source: NDArray[np.float32], share: Any) -> None:
    """Move `target` towards `source` by a share, in place: t <- t + share (s - t)."""
    for k in range(target.shape[0]):
        target[k] += share * (source[k] - target[k])
