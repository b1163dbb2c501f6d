"""Packs as rows: the fights of the native form, member by member."""

from __future__ import annotations

import numpy as np
import pytest

from envs.configuration import ConfigError
from envs.pack import PackVectorEnv
from policies.columnar.pack_rows import PackRows
from policies.columnar.vector_env import make_vector_env

FIGHTS = 5


def rows_of(**arguments: object) -> PackRows:
    env = make_vector_env({"factory": "policies.columnar.pack_rows:make", **arguments}, FIGHTS)
    assert isinstance(env, PackRows)
    return env


@pytest.mark.parametrize(("scenario", "members"), [("3v3", 3), ("4v4", 4)])
def test_it_plays_the_fights_of_the_native_form(scenario: str, members: int) -> None:
    env = rows_of(archetype="tank", scenario=scenario, opponent="classic")
    pack = PackVectorEnv(FIGHTS, "tank", scenario, "classic")
    assert (env.num_envs, env.members) == (FIGHTS * members, members)
    obs, info = env.reset(seed=3)
    expected, theirs = pack.reset(seed=3)
    random = np.random.default_rng(0)
    ended = dead = 0
    for _ in range(310):  # the time limit ends a fight after 300
        for row in range(env.num_envs):
            fight, member = divmod(row, members)
            assert np.array_equal(obs[row], expected["local"][fight, member])
            assert np.array_equal(info["action_mask"][row], theirs["action_mask"][fight, member])
            assert info["alive"][row] == theirs["alive"][fight, member]
            assert info["outcome"][row] == theirs["outcome"][fight]
        assert np.array_equal(info["central"], expected["global"])
        dead += int(np.count_nonzero(~info["alive"]))
        actions = random.integers(0, 8, env.num_envs)
        obs, reward, terminated, truncated, info = env.step(actions)
        expected, paid, over, cut, theirs = pack.step(actions.reshape(FIGHTS, members))
        assert np.array_equal(reward.reshape(FIGHTS, members), paid)
        assert np.array_equal(terminated.reshape(FIGHTS, members), np.stack([over] * members, axis=1))
        assert not truncated.any() and not cut.any()
        ended += int(over.sum())
        for name, values in info["reward_terms"].items():
            for row in range(env.num_envs):
                fight, member = divmod(row, members)
                term = theirs["reward_terms"][member].get(name)
                assert values[row] == (0.0 if term is None else term[fight])
        assert np.array_equal(sum(info["reward_terms"].values()).round(6), reward.round(6))
    assert ended and dead  # else autoreset and dead members were never seen


def test_nothing_is_copied() -> None:
    env = rows_of()
    obs, info = env.reset(seed=0)
    assert np.shares_memory(obs, env.pack._local)
    assert np.shares_memory(info["action_mask"], env.world.masks)
    assert np.shares_memory(info["central"], env.pack._central)


def test_it_goes_on_from_a_state() -> None:
    env, other = rows_of(), rows_of()
    env.reset(seed=4)
    other.reset(seed=9)
    actions = np.zeros(env.num_envs, np.int64)
    for _ in range(20):
        env.step(actions)
    other.set_state(env.get_state())
    for _ in range(20):
        obs, reward, *_ = env.step(actions)
        same, paid, *_ = other.step(actions)
        assert np.array_equal(obs, same) and np.array_equal(reward, paid)


def test_spaces_are_those_of_a_member() -> None:
    env = rows_of()
    assert env.single_observation_space.shape == (70,) and env.observation_space.shape == (15, 70)
    assert env.single_action_space.n == 8  # type: ignore[attr-defined]
    obs, _ = env.reset(seed=0)
    assert env.observation_space.contains(obs)
    env.close()


def test_unknown_archetype_is_refused() -> None:
    with pytest.raises(ConfigError, match="archetype"):
        rows_of(archetype="agressive")
