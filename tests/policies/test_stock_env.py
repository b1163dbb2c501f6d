"""The environment as RLlib's own runner sees it: scaled rewards, masks inside, episodes counted before."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from policies.profiles import load_run
from policies.stock_env import StockVectorEnv, env_config, make_stock_env
from tests.policies.fake_env import CountingVectorEnv
from tests.policies.tiny_runs import tiny_run


def test_rewards_are_scaled_and_episodes_are_not() -> None:
    env = StockVectorEnv(CountingVectorEnv(2), reward_factor=0.5)
    env.reset(seed=0)
    paid = np.array([env.step(np.zeros(2, np.int64))[1] for _ in range(5)])
    # Environment 0: rewards 1, 2, 3, then the autoreset row, then 101 of its episode 1.
    np.testing.assert_allclose(paid[:, 0], [0.5, 1.0, 1.5, 0.0, 50.5])
    assert paid.dtype == np.float32
    # Environment 1 earns 1001 + 1002 + 1003 + 1004 = 4010 in its first episode, environment 0 earns 6.
    means = env.episodes.means()
    assert (means["reward"], means["episode_length"], means["win_rate"]) == (2008.0, 3.5, 1.0)


def test_mask_lies_in_the_observation_and_nothing_is_shared() -> None:
    env = StockVectorEnv(CountingVectorEnv(3))
    assert isinstance(env.single_observation_space, spaces.Dict)
    obs, info = env.reset(seed=0)
    assert info == {} and env.observation_space.contains(obs)
    first = obs["observation"].copy()
    after, *_ = env.step([0, 0, 0])
    np.testing.assert_array_equal(obs["observation"], first)
    # Action a is legal in environment b at step s if a == 0 or (a + b + s) is even; here s = 1.
    np.testing.assert_array_equal(after["action_mask"], [[1, 1, 0, 1], [1, 0, 1, 0], [1, 1, 0, 1]])


def test_made_from_a_run() -> None:
    run = load_run(tiny_run("dqn", seed=3, env_seed=10, reward_scale=2.0))
    config = env_config(run)
    assert config["seed_offset"] == 7  # RLlib resets with the run's seed, 3
    env = make_stock_env({**config, "num_envs": 2})
    assert env.num_envs == 2 and env.reward_factor == run.reward_factor == 0.02
    own = env_config(load_run({**tiny_run("dqn"), "env": {"id": "MLMonster/Combat-v0"}}))
    assert own["spec"]["copy"] is True
