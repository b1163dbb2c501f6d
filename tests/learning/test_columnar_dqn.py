"""The columnar lane learns: CartPole, from nothing, on one core in well under a minute."""

from __future__ import annotations

import numpy as np
import pytest

from policies.profiles import resolve_run
from policies.training import build_trainer

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("seed", [0, 1])
def test_cartpole_is_learned(seed: int) -> None:
    run = resolve_run(
        "combat_dqn",
        {"factory": "tests.policies.fake_env:cartpole"},
        seed=seed,
        overrides={"training": {"epochs": 15, "reward_unit": 10.0}},
    )
    trainer = build_trainer(run)
    try:
        returns = [trainer.train_epoch()["reward"] for _ in range(run["training"]["epochs"])]
    finally:
        trainer.stop()
    # A random policy holds the pole for about 22 steps.
    assert returns[0] < 40
    assert np.mean(returns[-3:]) > 120
