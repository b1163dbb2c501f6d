"""PettingZoo's form of the pack: its own tests, and the same fights as the native form."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest

from envs.contracts import ARCHETYPES
from envs.contracts.central import CENTRAL_SIZE
from envs.contracts.vocabulary import NUM_PACK_ORDERS
from envs.pack import PackVectorEnv

pytest.importorskip("pettingzoo", reason="PettingZoo is not installed (pip install 'ml-monster[pettingzoo]')")
from pettingzoo.test import parallel_api_test, parallel_seed_test

from envs.pack_parallel import PackParallelEnv


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_pettingzoos_own_tests(archetype: str) -> None:
    for scenario in ("3v3", "5v5"):
        parallel_api_test(PackParallelEnv(archetype, scenario), num_cycles=700)
        parallel_seed_test(lambda scenario=scenario: PackParallelEnv(archetype, scenario), num_cycles=100)


@pytest.mark.filterwarnings("error")
def test_pettingzoos_own_tests_with_the_mask_in_the_observation() -> None:
    parallel_api_test(PackParallelEnv("tank", mask_in_observation=True), num_cycles=700)
    parallel_seed_test(lambda: PackParallelEnv("tank", mask_in_observation=True), num_cycles=100)


def test_it_plays_the_fights_of_the_native_form_and_the_dead_leave() -> None:
    env, vector = PackParallelEnv("tank", opponent="veteran"), PackVectorEnv(1, "tank", opponent="veteran")
    seen, infos = env.reset(seed=4)
    obs, info = vector.reset(seed=4)
    rng = np.random.default_rng(3)
    left_early = 0
    while env.agents:
        assert list(seen) == env.agents
        members = [env.possible_agents.index(agent) for agent in env.agents]
        for member, agent in zip(members, env.agents, strict=True):
            assert env.observation_space(agent).contains(seen[agent])
            assert np.array_equal(seen[agent], obs["local"][0, member])
            assert np.array_equal(infos[agent]["action_mask"].astype(bool), info["action_mask"][0, member])
        assert np.array_equal(env.state(), obs["global"][0]) and env.state().shape == (CENTRAL_SIZE,)
        row = rng.integers(0, NUM_PACK_ORDERS, (1, 3))
        acted = dict(zip(env.agents, row[0, members].tolist(), strict=True))
        seen, rewards, ends, cuts, infos = env.step(acted)
        obs, paid, ended, _, info = vector.step(row)
        assert list(rewards) == list(acted) and not any(cuts.values())
        assert list(rewards.values()) == paid[0, members].tolist()
        for member, agent in zip(members, acted, strict=True):
            assert ends[agent] == (ended[0] or not info["alive"][0, member])
            assert rewards[agent] == sum(infos[agent]["reward_terms"].values())
            left_early += bool(ends[agent] and not ended[0])
        seen = {agent: seen[agent] for agent in env.agents}
    assert left_early and ended[0]
    assert env.step({}) == ({}, {}, {}, {}, {})  # the fight is over until the next reset
    # The next fight is the native form's next episode.
    env.reset()
    assert np.array_equal(env.state(), vector.step(row)[0]["global"][0])
    assert env.agents == env.possible_agents


def test_bad_actions_are_refused() -> None:
    env = PackParallelEnv()
    env.reset(seed=1)
    with pytest.raises(ValueError, match="no action for monster_2; every agent in `agents` needs one"):
        env.step({"monster_0": 0, "monster_1": 0})
    with pytest.raises(ValueError, match="action for unknown agent 'wolf'"):
        env.step(dict.fromkeys([*env.agents, "wolf"], 0))
    with pytest.raises(ValueError, match="action 8 of monster_0 is not a whole number from 0 to 7"):
        env.step(dict.fromkeys(env.agents, 8))


def test_without_pettingzoo_the_native_form_works_and_the_other_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    monkeypatch.delitem(sys.modules, "envs.pack_parallel")
    with pytest.raises(ImportError, match=r"pip install 'ml-monster\[pettingzoo\]'"):
        importlib.import_module("envs.pack_parallel")
    assert PackVectorEnv(1).num_members == 3


def test_the_pack_loads_pettingzoo_only_on_demand() -> None:
    code = (
        "import sys, envs.pack; assert 'pettingzoo' not in sys.modules; "
        "from envs.pack import PackParallelEnv; assert 'pettingzoo' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
