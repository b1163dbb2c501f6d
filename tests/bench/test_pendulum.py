"""The vector Pendulum is Gymnasium's Pendulum, and resets on the step after an end."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from bench.pendulum import MAX_STEPS, PendulumVectorEnv


def test_steps_like_gymnasiums_own() -> None:
    ours = PendulumVectorEnv(3)
    theirs: Any = gymnasium.make("Pendulum-v1").unwrapped
    ours.reset(seed=0)
    random = np.random.default_rng(0)
    for _ in range(50):
        actions = random.uniform(-1.2, 1.2, (3, 1)).astype(np.float32)
        before = ours.get_state()
        obs, reward, terminated, truncated, _ = ours.step(actions)
        for env in range(3):
            theirs.reset()
            theirs.state = np.array([before["angle"][env], before["speed"][env]])
            # Theirs takes newton metres, 2 at the most.
            seen, paid, *_ = theirs.step(actions[env].astype(np.float64) * 2.0)
            np.testing.assert_allclose(obs[env], seen, rtol=1e-6)
            np.testing.assert_allclose(reward[env], paid, rtol=1e-12)
        assert not terminated.any() and not truncated.any()


def test_row_after_the_end_is_the_reset_row() -> None:
    env = PendulumVectorEnv(2)
    env.reset(seed=1)
    action = np.zeros((2, 1), np.float32)
    ends = [env.step(action)[3] for _ in range(MAX_STEPS)]
    assert not np.any(ends[:-1]) and ends[-1].all()
    last = env.get_state()
    obs, reward, _, truncated, _ = env.step(np.ones((2, 1), np.float32))
    assert not truncated.any() and (reward == 0.0).all()
    assert (np.abs(obs[:, 2]) <= 1.0).all()  # starts with at most 1 rad/s
    assert not np.allclose(env.get_state()["angle"], last["angle"])
    assert (env.get_state()["steps"] == 0).all()


def test_state_comes_back() -> None:
    env = PendulumVectorEnv(2)
    env.reset(seed=1)
    action = np.full((2, 1), 0.5, np.float32)
    state = env.get_state()
    first = env.step(action)[0]
    env.step(action)
    env.set_state(state)
    np.testing.assert_array_equal(env.step(action)[0], first)
