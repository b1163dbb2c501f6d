"""Every head as a Gymnasium environment, in every archetype and scenario it is measured in."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs  # noqa: F401  (registers the ids)
from envs import scenarios
from envs.arena import OPPONENTS, ArenaVectorEnv
from envs.configuration import ConfigError
from envs.contracts import ARCHETYPES, movement_orders, skill_features, skill_ids, skill_orders
from envs.simulation import state as s

HEADS = ("Combat", "Movement", "Skill", "Control")
MASKED = ("Combat", "Movement", "Skill")


def own_scenarios(head: str, archetype: str) -> list[str]:
    if head == "Movement":
        return [name for name, scenario in scenarios.named().items() if archetype in scenario.enemy_hp]
    own = scenarios.default(archetype, head.lower())
    return ["1v1", "2v2"] if own == "1v1" else [own]


FIGHTS = [(head, name, where) for head in HEADS for name in ARCHETYPES for where in own_scenarios(head, name)]


def vector(head: str, num_envs: int, **arguments: Any) -> ArenaVectorEnv:
    env = gymnasium.make_vec(
        f"MLMonster/{head}-v0", num_envs=num_envs, vectorization_mode="vector_entry_point", **arguments
    ).unwrapped
    assert isinstance(env, ArenaVectorEnv)
    return env


@pytest.mark.parametrize(("head", "archetype", "scenario"), FIGHTS)
def test_check_env_passes_without_a_warning(head: str, archetype: str, scenario: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(f"MLMonster/{head}-v0", archetype=archetype, scenario=scenario)
        check_env(env.unwrapped, skip_render_check=True)
        env.close()


@pytest.mark.parametrize("head", MASKED)
def test_check_env_passes_with_the_mask_in_the_observation(head: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(f"MLMonster/{head}-v0", archetype="support", mask_in_observation=True)
        check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("head", HEADS)
def test_single_and_vector_environment_play_the_same_fight(head: str) -> None:
    single = gymnasium.make(f"MLMonster/{head}-v0", archetype="mage").unwrapped
    many = vector(head, 1, archetype="mage")
    obs, _ = single.reset(seed=3)
    batch, _ = many.reset(seed=3)
    single.action_space.seed(1)
    for _ in range(120):
        for a, b in zip(
            gymnasium.spaces.flatten(single.observation_space, obs), _flat(many, batch), strict=True
        ):
            assert a == b
        action = single.action_space.sample()
        obs, reward, terminated, _, info = single.step(action)
        batch, rewards, ends, _, infos = many.step(np.array([action]))
        assert (reward, terminated) == (rewards[0], ends[0]) and reward == sum(info["reward_terms"].values())
        assert info["outcome"] == infos["outcome"][0] and ("action_mask" in info) == (head != "Control")
        if terminated:
            break


def _flat(env: ArenaVectorEnv, batch: Any) -> Any:
    first = {key: value[0] for key, value in batch.items()} if isinstance(batch, dict) else batch[0]
    return gymnasium.spaces.flatten(env.single_observation_space, first)


def test_what_the_skill_head_sees_comes_from_the_contracts() -> None:
    env = vector("Skill", 8, archetype="support", mask_in_observation=True)
    rng = np.random.default_rng(0)
    obs, info = env.reset(seed=1)
    for _ in range(60):
        views, units = [env.world_view(k) for k in range(8)], [0] * 8
        assert np.array_equal(obs["skills"], skill_features(views, units))
        assert np.array_equal(obs["skill_ids"], skill_ids(views, units))
        assert np.array_equal(obs["action_mask"].astype(bool), skill_orders(views, units)[1])
        assert env.observation_space.contains(obs)
        obs, _, _, _, info = env.step((info["action_mask"] * rng.random((8, 70))).argmax(axis=1))


def test_movement_masks_come_from_the_contracts_also_on_rough_ground() -> None:
    env = vector("Movement", 8, archetype="ranged", terrain_name="pillars")
    rng = np.random.default_rng(0)
    _, info = env.reset(seed=1)
    barred = 0
    for _ in range(150):
        _, mask = movement_orders([env.world_view(k) for k in range(8)], [0] * 8)
        assert np.array_equal(info["action_mask"], mask)
        barred += int((~mask).sum())
        _, _, _, _, info = env.step((mask * rng.random((8, 9))).argmax(axis=1))
    assert barred > 0


@pytest.mark.parametrize("opponent", OPPONENTS)
def test_opponents(opponent: str) -> None:
    env = vector("Combat", 32, archetype="ranged", scenario="2v2", opponent=opponent)
    env.reset(seed=1)
    styles = env.world.units[:, 2:, s.STYLE]
    assert (env.world.units[:, :2, s.STYLE] == 0).all()  # the learner's mates stay scripts
    if opponent in ("styles", "switching"):
        assert set(styles.ravel()) == {1, 2, 3, 4, 5, 6} and (styles[:, 0] == styles[:, 1]).all()
    else:
        assert (styles == (s.STYLES.index(opponent) if opponent in s.STYLES else 0)).all()
    switch = env.world.units[:, 2:, s.SWITCH_TICK]
    assert ((switch >= 100) & (switch < 300)).all() if opponent == "switching" else (switch == -1).all()


def test_a_switching_opponent_changes_its_style_once() -> None:
    env = vector("Combat", 16, archetype="support", opponent="switching")
    env.reset(seed=2)
    before = env.world.units[:, 3, s.STYLE].copy()
    at, follow = env.world.units[:, 3, s.SWITCH_TICK].copy(), env.world.units[:, 3, s.NEXT_STYLE].copy()
    for window in range(1, 151):  # 300 ticks
        env.step(np.zeros(16, int))
        running = (env.world.outcome == 0) & (env.world.fights[:, s.G_EPISODE] == 0)
        alive = env.world.units[:, 3, 2] > 0
        tick = env.world.fights[:, s.G_TICK]
        expected = np.where(tick - 2 >= at, follow, before)
        assert (env.world.units[:, 3, s.STYLE] == expected)[running & alive].all(), window


@pytest.mark.parametrize("level", range(1, 6))
@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_levels(archetype: str, level: int) -> None:
    env = vector("Combat", 64, archetype=archetype, level=level)
    env.reset(seed=1)
    own = len(env.world.teams[0])
    foe, mine = env.world.units[0, own], env.world.units[0, 0]
    assert env.world.teams[0] == env.world.teams[1]
    assert foe[3] == (mine[3] * 60 // 100 if level == 1 else mine[3])  # max HP
    assert foe[s.AGGRESSIVE] == (0 if level == 1 else 1)
    styled = bool((env.world.units[:, own:, s.STYLE] > 0).any())
    assert (foe[s.SKILL_CHANCE], styled) == {
        1: (50, False), 2: (100, False), 3: (100, False), 4: (100, True), 5: (500, True),
    }[level]  # fmt: skip
    assert own == {1: own, 2: own, 4: max(own, 3), 5: 5}.get(level, own)


@pytest.mark.parametrize(
    ("head", "arguments", "message"),
    [
        ("Movement", {"archetype": "tank", "scenario": "hunt"}, "'hunt' is not calibrated for 'tank'"),
        ("Combat", {"opponent": "rushr"}, "unknown opponent 'rushr'; did you mean 'rusher'"),
        ("Combat", {"level": 6}, "level 6 does not exist; give 1 to 5"),
        ("Combat", {"level": 2, "scenario": "1v1"}, "level 2 says who fights whom"),
        ("Combat", {"terrain_name": "pilars"}, "unknown terrain 'pilars'; did you mean 'pillars'"),
        ("Control", {"mask_in_observation": True}, "continuous actions have no mask"),
    ],
)
def test_bad_arguments_are_one_line(head: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        vector(head, 1, **arguments)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_control_takes_the_same_numbers_for_the_same_fight_and_ignores_what_lies_outside() -> None:
    inside, outside = vector("Control", 4, archetype="mage"), vector("Control", 4, archetype="mage")
    inside.reset(seed=1)
    outside.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(40):
        numbers = rng.uniform(-1, 1, (4, 5)).astype(np.float32)
        numbers[:, 3] = np.where(rng.random(4) < 0.5, 1.0, numbers[:, 3])
        wild = np.where(numbers == 1.0, 9.0, numbers)  # clipped
        a, b = inside.step(numbers), outside.step(wild)
        assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
