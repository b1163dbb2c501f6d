"""AdamW in one pass: by hand, and beside torch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from policies.columnar.fused.adam import adamw, lerp

number = np.float32


def step(weights: Any, gradient: Any, moments: Any, t: int, **s: float) -> None:
    beta1, beta2 = 0.9, 0.999
    first, second = moments
    adamw(
        weights,
        gradient,
        first,
        second,
        number(s.get("scale", 1.0)),
        number(s["lr"] * s.get("decay", 0.0)),
        number(s["lr"] / (1 - beta1**t)),
        number(beta1),
        number(1 - beta1),
        number(beta2),
        number(1 - beta2),
        number(1 / math.sqrt(1 - beta2**t)),
        number(s.get("eps", 1e-8)),
    )


def test_first_step_by_hand() -> None:
    weights, moments = np.array([1.0, -2.0], np.float32), [np.zeros(2, np.float32) for _ in range(2)]
    step(weights, np.array([4.0, -0.5], np.float32), moments, 1, lr=0.1, scale=0.5, decay=0.01)
    # g = (2, -0.25); m = 0.1 g, v = 0.001 g^2; corrected they are g and g^2: a step of lr against g's sign
    # w = (1 - 0.1 x 0.01) w -+ 0.1
    assert weights == pytest.approx([0.999 - 0.1, -2 * 0.999 + 0.1], rel=1e-5)
    assert moments[0] == pytest.approx([0.2, -0.025])
    assert moments[1] == pytest.approx([0.004, 0.0000625])


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_many_steps_equal_torch(decay: float) -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=1000).astype(np.float32)
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = torch.optim.AdamW([theirs], lr=3e-3, eps=1e-7, weight_decay=decay)
    mine, moments = start.copy(), [np.zeros(1000, np.float32) for _ in range(2)]
    for t in range(1, 51):
        gradient = (random.normal(size=1000) * 10.0 ** random.integers(-4, 2)).astype(np.float32)
        theirs.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        step(mine, gradient, moments, t, lr=3e-3, decay=decay, eps=1e-7)
    np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_target_moves_by_its_share() -> None:
    target = np.array([0.0, 10.0], np.float32)
    lerp(target, np.array([4.0, 2.0], np.float32), number(0.25))
    assert target.tolist() == [1.0, 8.0]
    lerp(target, np.array([4.0, 2.0], np.float32), number(1.0))
    assert target.tolist() == [4.0, 2.0]
