"""Generalised advantage estimation against numbers worked out by hand, and against the sum it stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policies.columnar.advantages import advantages

VALUES = [1.0, 2.0, 3.0, 4.0]


def estimate(rewards: list[float], *, terminated: Any = (), truncated: Any = (), invalid: Any = ()) -> Any:
    """Advantages with gamma 1/2 and lambda 1/2 of one row of three steps; flags name steps."""
    flags = [np.array([[t in steps for t in range(3)]]) for steps in (terminated, truncated, invalid)]
    out = np.full((1, 3), np.nan, np.float32)
    reward = np.array([rewards], np.float32)
    advantages(reward, np.array([VALUES], np.float32), flags[0], flags[1], ~flags[2], 0.5, 0.5, out)
    return out[0].tolist()


@pytest.mark.parametrize(
    ("rewards", "flags", "expected"),
    [
        # delta = r + V(t + 1) / 2 - V(t): (1 + 1 - 1, 2 + 1.5 - 2, 3 + 2 - 3) = (1, 1.5, 2)
        # A2 = 2, A1 = 1.5 + 2 / 4 = 2, A0 = 1 + 2 / 4 = 1.5
        ([1, 2, 3], {}, [1.5, 2.0, 2.0]),
        # Step 1 ends its episode: A1 = 5 - 2 = 3, A0 = 1 + 3 / 4; row 2 is the autoreset row.
        ([1, 5, 9], {"terminated": [1], "invalid": [2]}, [1.75, 3.0, 0.0]),
        # Step 1 is cut: A1 = 5 + 3 / 2 - 2 = 4.5 with the value of its last observation, A0 = 1 + 4.5 / 4.
        ([1, 5, 9], {"truncated": [1], "invalid": [2]}, [2.125, 4.5, 0.0]),
        # The round before ended at its last step: row 0 is the autoreset row, the new episode is whole.
        ([7, 2, 3], {"invalid": [0]}, [0.0, 2.0, 2.0]),
        # Ended, and cut, at the round's last step: 3 - 3 = 0, and 3 + 4 / 2 - 3 = 2
        ([1, 2, 3], {"terminated": [2]}, [1 + 1.5 / 4, 1.5, 0.0]),
        ([1, 2, 3], {"truncated": [2]}, [1.5, 2.0, 2.0]),
        # Both at once is an end: nothing follows.
        ([1, 2, 3], {"terminated": [2], "truncated": [2]}, [1.375, 1.5, 0.0]),
    ],
)
def test_by_hand(rewards: list[float], flags: dict[str, Any], expected: list[float]) -> None:
    assert estimate(rewards, **flags) == pytest.approx(expected)


def test_equals_the_weighted_sum_of_n_step_advantages() -> None:
    """A = (1 - lambda) sum over n of lambda^(n - 1) A^(n), with the rest on the longest (eq. 14)."""
    random = np.random.default_rng(0)
    reward, value = random.normal(size=(1, 6)), random.normal(size=(1, 7))
    gamma, lambda_ = 0.9, 0.8
    no = np.zeros((1, 6), np.bool_)
    out = np.empty((1, 6), np.float32)
    advantages(reward.astype(np.float32), value.astype(np.float32), no, no, ~no, gamma, lambda_, out)
    for t in range(6):
        longest = 6 - t
        total = 0.0
        for n in range(1, longest + 1):
            discounted = sum(gamma**k * reward[0, t + k] for k in range(n))
            advantage = discounted + gamma**n * value[0, t + n] - value[0, t]
            weight = lambda_ ** (n - 1) * ((1 - lambda_) if n < longest else 1.0)
            total += weight * advantage
        assert out[0, t] == pytest.approx(total, rel=1e-5)


def test_rows_do_not_mix() -> None:
    random = np.random.default_rng(1)
    shape = (5, 9)
    reward = random.normal(size=shape).astype(np.float32)
    value = random.normal(size=(5, 10)).astype(np.float32)
    terminated, truncated = random.random(shape) < 0.2, random.random(shape) < 0.2
    valid = random.random(shape) < 0.9
    together = np.empty(shape, np.float32)
    advantages(reward, value, terminated, truncated, valid, 0.9, 0.9, together)
    for k in range(5):
        one = slice(k, k + 1)
        alone = np.empty((1, 9), np.float32)
        flags = terminated[one], truncated[one], valid[one]
        advantages(reward[one], value[one], *flags, 0.9, 0.9, alone)
        assert np.array_equal(alone[0], together[k])
