"""Greedy play is counted by hand, and entropies by formula."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from policies.columnar.evaluation import ActionCounts, evaluate
from policies.profiles import load_run, resolve_run


class AlwaysZero(torch.nn.Module):
    """Takes action 0 and notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.asked: list[bool] = []

    def act(self, columns: dict[str, torch.Tensor], *, explore: bool, env_steps: int) -> dict[str, Any]:
        assert columns["action_mask"][:, 0].all()
        self.asked.append(explore)
        return {"actions": torch.zeros(len(columns["obs"]), dtype=torch.int64)}


def test_every_environment_plays_as_many_episodes_by_hand() -> None:
    run = load_run(resolve_run("combat_dqn", {"factory": "tests.policies.fake_env:counting"}))
    module = AlwaysZero().train()
    result = evaluate(module, run, episodes=3, seed=0)
    # Three environments b, one episode each: lengths 3 + b % 4 = 3, 4, 5; reward 1000 b + s at step s:
    # 6, 4 x 1000 + 10, 5 x 2000 + 15
    assert result["episodes"] == 3
    assert result["episode_length"] == 4.0
    assert result["reward"] == pytest.approx((6 + 4010 + 10015) / 3)
    assert result["win_rate"] == result["score"] == 1.0  # episode 0 is even, and won
    assert result["action_entropy_bits"] == 0.0
    assert module.training and not any(module.asked)


def test_no_episodes_is_an_error() -> None:
    run = load_run(resolve_run("combat_dqn", {"factory": "tests.policies.fake_env:counting"}))
    with pytest.raises(ValueError, match="at least 1"):
        evaluate(AlwaysZero(), run, episodes=0, seed=0)


def test_entropy_of_discrete_actions_by_hand() -> None:
    counts = ActionCounts()
    assert math.isnan(counts.entropy_bits())
    counts.add(np.array([[0, 1], [0, 5]]), np.array([[True, True], [True, False]]))
    # p = (2/3, 1/3): H = 2/3 log2(3/2) + 1/3 log2 3
    assert counts.entropy_bits() == pytest.approx(2 / 3 * math.log2(1.5) + math.log2(3) / 3)
    counts.add(np.array([5, 5, 5]), np.array([True, True, True]))
    # p = (2/6, 1/6, 3/6)
    assert counts.entropy_bits() == pytest.approx(math.log2(3) / 3 + math.log2(6) / 6 + 0.5)
    counts.reset()
    assert math.isnan(counts.entropy_bits())


def test_entropy_of_continuous_actions_is_that_of_sixteen_bins() -> None:
    counts = ActionCounts()
    actions = np.stack([np.linspace(-1.0, 1.0, 160, endpoint=False), np.full(160, 0.3)], axis=1)
    counts.add(actions.astype(np.float32), np.ones(160, np.bool_))
    # evenly over 16 bins: 4 bits; one bin: 0; their mean
    assert counts.entropy_bits() == pytest.approx(2.0, abs=0.01)
    counts.add(np.ones((1, 2), np.float32), np.ones(1, np.bool_))  # the upper edge belongs to the last bin
    assert np.isfinite(counts.entropy_bits())
