"""`MLMonster/Combat-v0`: Gymnasium's own checks without a warning, autoreset, info, and bad arguments."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import envs  # noqa: F401  (registers the id)
from envs.combat import CombatEnv, CombatVectorEnv
from envs.configuration import ConfigError
from envs.contracts import ARCHETYPES, NUM_COMBAT_ACTIONS, Order, combat_orders, observe, order_row
from envs.contracts import layout as f
from envs.simulation import state as s

ID = "MLMonster/Combat-v0"


@pytest.mark.parametrize("mask_in_observation", [False, True])
@pytest.mark.parametrize("name", ARCHETYPES)
def test_check_env_passes_without_a_warning(name: str, mask_in_observation: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(ID, archetype=name, mask_in_observation=mask_in_observation)
        check_env(env.unwrapped, skip_render_check=True)
        env.close()


@pytest.mark.parametrize("name", ARCHETYPES)
def test_make_vec_gives_the_native_environment(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make_vec(ID, num_envs=5, vectorization_mode="vector_entry_point", archetype=name)
    assert isinstance(env.unwrapped, CombatVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    obs, _ = env.reset(seed=1)
    assert env.observation_space.contains(obs) and obs.shape == (5, 64)
    env.action_space.seed(1)
    obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert env.observation_space.contains(obs)
    assert reward.dtype == np.float64 and terminated.dtype == bool and truncated.dtype == bool
    assert info["action_mask"].shape == (5, 10) and info["action_mask"].dtype == bool
    assert info["outcome"].dtype == np.int8 and info["statistics"].shape == (5, s.NUM_STATISTICS)
    env.close()


def test_make_vec_with_the_mask_in_the_observation() -> None:
    env = gymnasium.make_vec(
        ID, num_envs=3, vectorization_mode="vector_entry_point", archetype="mage", mask_in_observation=True
    )
    obs, info = env.reset(seed=1)
    for action in range(10):
        assert env.observation_space.contains(obs)
        assert np.array_equal(obs["action_mask"].astype(bool), info["action_mask"])
        obs, _, _, _, info = env.step(np.full(3, action))
    env.close()


def test_observations_stay_in_their_space_over_ten_thousand_steps() -> None:
    rng = np.random.default_rng(0)
    for name in ARCHETYPES:
        env = CombatVectorEnv(32, name, opponent="veteran")
        space = env.single_observation_space
        assert isinstance(space, gymnasium.spaces.Box)
        env.reset(seed=7)
        for _ in range(64):  # 6 x 32 x 64 = 12,288 steps
            obs, *_ = env.step(rng.integers(0, NUM_COMBAT_ACTIONS, 32))
            assert (obs >= space.low).all() and (obs <= space.high).all()


def test_single_and_vector_environment_play_the_same_fight() -> None:
    single = gymnasium.make(ID, archetype="tank", mask_in_observation=True).unwrapped
    vector = CombatVectorEnv(1, "tank")
    rng = np.random.default_rng(1)
    obs, info = single.reset(seed=3)
    many, infos = vector.reset(seed=3)
    for _ in range(400):
        assert np.array_equal(obs["observation"], many[0])
        assert np.array_equal(obs["action_mask"].astype(bool), infos["action_mask"][0])
        action = int(rng.choice(np.flatnonzero(info["action_mask"])))
        obs, reward, terminated, truncated, info = single.step(action)
        many, rewards, ends, _, infos = vector.step(np.array([action]))
        assert (reward, terminated, truncated) == (rewards[0], ends[0], False)
        assert info["statistics"]["dealt_mp"] == infos["statistics"][0, s.S_DEALT]
        assert reward == sum(info["reward_terms"].values())
        if terminated:
            break
    assert terminated and info["outcome"] == infos["outcome"][0] != 0
    # The single environment goes on by reset, the vector by NEXT_STEP: the same next episode.
    obs, _ = single.reset()
    many, *_ = vector.step(np.array([0]))
    assert np.array_equal(obs["observation"], many[0])


def test_next_step_autoreset() -> None:
    env = CombatVectorEnv(32, "aggressive")
    rng = np.random.default_rng(1)
    env.reset(seed=3)
    ended = np.zeros(32, bool)
    resets = 0
    for _ in range(300):
        obs, reward, terminated, truncated, info = env.step(rng.integers(0, 10, 32))
        # The step after an end ignores its action, pays nothing and shows a fresh fight.
        assert (reward[ended] == 0).all() and not terminated[ended].any()
        assert (obs[ended][:, 0] == 1).all() and (obs[ended][:, 62] == 0).all()
        assert all((value[ended] == 0).all() for value in info["reward_terms"].values())
        assert np.array_equal(info["outcome"] != 0, terminated) and not truncated.any()
        resets += int(ended.sum())
        ended = terminated
    assert resets > 32


def test_seeds() -> None:
    def first(seed: int | None, **arguments: Any) -> np.ndarray:
        env = CombatVectorEnv(16, "mage", **arguments)
        env.reset(seed=seed)
        return np.concatenate([env.step(np.full(16, 1))[0] for _ in range(5)])

    assert np.array_equal(first(5), first(5)) and not np.array_equal(first(5), first(6))
    assert not np.array_equal(first(None), first(None))
    assert not np.array_equal(first(5), first(5, first_fight=16))
    # A list, as Gymnasium's vector interface allows.
    env = CombatVectorEnv(16, "mage")
    one, _ = env.reset(seed=[1, 2])
    assert np.array_equal(one, env.reset(seed=[1, 2])[0]) and not np.array_equal(
        one, env.reset(seed=[2, 1])[0]
    )
    for bad in (-1, 2**63):
        with pytest.raises(ValueError, match=r"is outside \[0, 2\^63\)"):
            env.reset(seed=bad)


def test_reset_without_a_seed_goes_on_to_the_next_episode() -> None:
    env = CombatVectorEnv(16, "mage")
    one, _ = env.reset(seed=5)
    two, _ = env.reset()
    again, _ = env.reset(seed=5)
    assert np.array_equal(one, again) and not np.array_equal(one, two)
    assert np.array_equal(two, env.reset()[0])


def test_copies_are_kept_and_views_are_overwritten() -> None:
    for copy in (True, False):
        env = CombatVectorEnv(4, "mage", copy=copy)
        obs, info = env.reset(seed=1)
        before, mask = obs.copy(), info["action_mask"].copy()
        for _ in range(20):
            env.step(np.full(4, 1))
        assert np.array_equal(obs, before) is copy and np.array_equal(info["action_mask"], mask) is copy


def test_state_resumes_exactly() -> None:
    def go_on(env: CombatVectorEnv) -> list[np.ndarray]:
        rng = np.random.default_rng(4)
        return [
            np.concatenate([o, r[:, None]], 1)
            for o, r, *_ in (env.step(rng.integers(0, 10, 8)) for _ in range(300))
        ]

    env = CombatVectorEnv(8, "support", opponent="veteran")
    env.reset(seed=9)
    go_on(env)
    kept = env.get_state()
    ahead = go_on(env)
    fresh = CombatVectorEnv(8, "support", opponent="veteran")
    fresh.set_state(kept)
    assert all(np.array_equal(a, b) for a, b in zip(ahead, go_on(fresh), strict=True))
    assert np.array_equal(env.reset()[0], fresh.reset()[0])


def test_orders_of_a_served_mind_play_the_same_fight() -> None:
    # What a game server does: view -> mind -> order -> body. It must equal stepping with the action.
    by_action, by_order = CombatVectorEnv(4, "mage"), CombatVectorEnv(4, "mage")
    rng = np.random.default_rng(2)
    for env in (by_action, by_order):
        env.reset(seed=2)
    for _ in range(150):
        views = [by_order.world_view(k) for k in range(4)]
        units = [by_order.learner_unit] * 4
        rows, mask = combat_orders(views, units)
        actions = np.array([rng.choice(np.flatnonzero(row)) for row in mask])
        wire = [Order.from_row(views[k], rows[k, actions[k]]) for k in range(4)]
        orders = np.stack([order_row(views[k], order) for k, order in enumerate(wire)])
        obs, reward, terminated, _, _ = by_action.step(actions)
        obs2, reward2, terminated2, _, _ = by_order.step_orders(orders, actions)
        assert np.array_equal(obs, obs2) and np.array_equal(reward, reward2)
        assert np.array_equal(terminated, terminated2)
        assert np.array_equal(observe([by_order.world_view(k) for k in range(4)], units), obs2)


@pytest.mark.parametrize(
    "row",
    [
        (7, -1, -1, 0, 0),
        (-1, -1, -1, 0, 0),
        (3, 6, 1, 0, 0),
        (3, -1, 1, 0, 0),  # a skill order without a slot
        (2, -1, 2, 0, 0),  # a 1v1 has units 0 and 1
        (1, -1, -1, 2, 0),
    ],
)
def test_orders_outside_their_limits_never_reach_the_kernel(row: tuple[int, ...]) -> None:
    env = CombatVectorEnv(2, "mage")
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r"of fight 1: kind 0\.\.6, skill slot"):
        env.step_orders(np.array([(0, -1, -1, 0, 0), row]))
    with pytest.raises(ValueError, match=r"orders of shape \(3, 5\); this needs \(2, 5\)"):
        env.step_orders(np.zeros((3, 5)))


def test_a_scripted_learner_is_the_mirror() -> None:
    env = CombatVectorEnv(4, "tank", learner="script", opponent="veteran")
    _, _ = env.reset(seed=1)
    first = [env.step(np.full(4, k))[0] for k in range(10)]
    env.reset(seed=1)
    again = [env.step(np.zeros(4, np.int64))[0] for _ in range(10)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))  # actions change nothing
    assert (env.world.units[..., s.BRAIN] == 0).all() and (env.world.units[..., s.SKILL_CHANCE] == 500).all()


def test_composition_of_the_fight() -> None:
    env = CombatVectorEnv(2, "tank", scenario="5v5", opponent="veteran")
    u = env.world.units[0]
    team = ["tank", "mage", "ranged", "support", "aggressive"]
    assert [ARCHETYPES[a] for a in u[:, f.ARCHETYPE]] == team + team
    assert u[:, s.BRAIN].tolist() == [1] + [0] * 9
    assert u[:, s.SKILL_CHANCE].tolist() == [500] * 10
    assert (env.archetype, env.scenario, env.opponent) == ("tank", "5v5", "veteran")
    assert CombatVectorEnv(1, "tank").scenario == "3v3"


@pytest.mark.parametrize(
    ("opponent", "own", "theirs"),
    [("passive", 100, 50), ("classic", 100, 100), ("veteran", 500, 500), ("kiter", 100, 100)],
)
def test_team_mates_play_at_the_tier_of_the_enemies_at_least_classic(
    opponent: str, own: int, theirs: int
) -> None:
    units = CombatVectorEnv(2, "tank", scenario="3v3", opponent=opponent).world.units
    assert units[..., s.SKILL_CHANCE].tolist() == [[own] * 3 + [theirs] * 3] * 2
    assert (units[:, :3, s.AGGRESSIVE] == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"archetype": "tnk"}, "unknown archetype 'tnk'; did you mean 'tank'"),
        ({"opponent": "clasic"}, "unknown opponent 'clasic'; did you mean 'classic'"),
        ({"scenario": "7v7"}, "unknown scenario '7v7'; (valid: 1v1"),
        ({"learner": "human"}, "unknown learner 'human'; 'policy' or 'script'"),
    ],
)
def test_bad_arguments_are_one_line(arguments: dict[str, str], message: str) -> None:
    for make in (CombatVectorEnv, CombatEnv):
        with pytest.raises(ConfigError) as raised:
            make(**arguments)  # type: ignore[arg-type]
        assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("action", [10, -1, 1.5, "hold"])
def test_actions_outside_the_space_are_refused(action: Any) -> None:
    env = CombatEnv("tank")
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r"is not in Discrete\(10\)"):
        env.step(action)


def test_an_outer_time_limit_truncates() -> None:
    env = gymnasium.make(ID, archetype="mage", max_episode_steps=3)
    env.reset(seed=1)
    ends = [env.step(0)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
