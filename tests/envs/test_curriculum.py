"""Levels, their settings and the promotion rule, with numbers worked by hand."""

from __future__ import annotations

import json
import typing
from dataclasses import replace

import numpy as np
import pytest

from envs import archetypes, curriculum
from envs.configuration import ConfigError, load_dataclass
from envs.contracts import ARCHETYPES
from envs.contracts import layout as f
from envs.curriculum import Curriculum, CurriculumSettings, Level, level, threshold_warning
from envs.rewards import RewardLedger
from envs.simulation import state as s
from envs.simulation.world import TIERS, World

OWN = {"aggressive": 1, "defensive": 2, "support": 3, "mage": 1, "tank": 3, "ranged": 1}


@pytest.mark.parametrize("name", ARCHETYPES)
def test_the_five_levels_of_an_archetype(name: str) -> None:
    config, own = archetypes.load(name), OWN[name]
    setups = [level(number).resolve(config) for number in range(1, 6)]
    assert [len(setup.team) for setup in setups] == [own, own, own + 1, 3, 5]
    assert all(setup.team[0] == name for setup in setups)
    assert [setup.tiers[1] for setup in setups] == ["passive", "classic", "classic", "classic", "veteran"]
    assert [setup.hp_percent for setup in setups] == [(100, 60), *[(100, 100)] * 4]
    assert [setup.starts for setup in setups] == ["near", "near", "random", "random", "random"]
    assert [bool(setup.styles) for setup in setups] == [False, False, False, True, True]
    assert [setup.switching for setup in setups] == [False, False, False, False, True]
    assert setups[2].scenario == f"{own + 1}v{own + 1}"


@pytest.mark.parametrize("number", range(1, 6))
def test_a_world_takes_every_level(number: int) -> None:
    setup = level(number).resolve(archetypes.load("defensive"))
    world = World(4, learners=1, seed=3, **setup.world_arguments())
    half = len(setup.team)
    assert world.units.shape[1] == 2 * half
    own, its = world.units[0, [0, half]][:, f.MAX_HP]
    assert its == own * setup.hp_percent[1] // 100
    assert world.template[half, s.SKILL_CHANCE] == TIERS[setup.tiers[1]][1]
    assert (world.units[:, :half, s.STYLE] == 0).all()  # the learner's side are plain scripts
    ledger = RewardLedger(archetypes.load("defensive"), half)
    for _ in range(20):
        world.step(np.zeros((4, 1), np.int32))
        assert np.isfinite(ledger(world.stats[:, 0])[0]).all()


def test_names_are_those_the_world_knows() -> None:
    assert set(typing.get_args(curriculum.Tier)) == set(TIERS)
    assert typing.get_args(curriculum.Starts) == s.STARTS
    assert typing.get_args(curriculum.Style) == s.STYLES


def test_a_team_never_grows_above_five_and_missing_partners_are_named() -> None:
    tank = archetypes.load("tank")
    assert len(Level("big", "classic", "classic", size_added=4).resolve(tank).team) == 5
    with pytest.raises(ConfigError, match=r"tank: level 'veteran' plays 5v5, .* names 2 partners; add 2"):
        level(5).resolve(replace(tank, partners=("mage", "ranged")))
    with pytest.raises(ConfigError, match="level 6 does not exist; give 1 to 5"):
        level(6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"opponent": "vetran"}, "did you mean 'veteran'"),
        ({"styles": ["rusher", "kite"]}, "did you mean 'kiter'"),
        ({"styles": ["rusher"], "switching": True}, "needs at least two styles"),
        ({"styles": ["rusher", "rusher"]}, "named twice"),
        ({"min_size": 6}, "at most 5"),
        ({"waves": 3}, "unknown key 'waves'"),
    ],
)
def test_mistakes_in_a_level_are_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_dataclass(Level, {"name": "x", "mates": "classic", "opponent": "classic", **wrong}, "c.yaml")


@pytest.mark.parametrize(
    ("given", "thresholds"),
    [
        ({}, (50, 100, 200, 400, 800)),
        ({"enabled": True, "num_levels": 5, "level_thresholds": [50.0, 100.0, 200.0, 400.0, 800.0]},
         (50, 100, 200, 400, 800)),
        ({"num_levels": 2}, (50, 100)),
        ({"level_thresholds": [10, 20, 35.5]}, (10, 20, 35.5)),
        ({"num_levels": 1, "level_thresholds": [-5]}, (-5,)),
    ],
)  # fmt: skip
def test_settings(given: dict[str, object], thresholds: tuple[float, ...]) -> None:
    read = load_dataclass(CurriculumSettings, given, "training.yaml")
    assert read.thresholds == thresholds and Curriculum(read).num_levels == len(thresholds)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_levels": 6}, "key 'num_levels' is 6; it must be at least 1 and at most 5"),
        ({"num_levels": 0}, "key 'num_levels' is 0"),
        ({"num_levels": 3, "level_thresholds": [1, 2]}, "2 thresholds for 3 levels; give one threshold"),
        (
            {"level_thresholds": [1, 2, 3, 4, 5, 6]},
            "6 thresholds for 5 levels|6 thresholds for 1 to 5 levels",
        ),
        ({"level_thresholds": []}, "0 thresholds"),
        ({"level_thresholds": [50, 50]}, "50 follows 50; thresholds have to ascend"),
        ({"level_thresholds": [float("inf")]}, "finite"),
        ({"enabled": "yes"}, "true or false"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_dataclass(CurriculumSettings, given, "training.yaml")


def episodes(run: Curriculum, n: int, reward: float, wins: int) -> int:
    return run.record([reward] * n, [i < wins for i in range(n)])


def test_promotion_needs_a_full_window_the_mean_and_the_wins() -> None:
    run = Curriculum()
    assert episodes(run, 99, 1000.0, 99) == 0 and run.level == 1  # 99 episodes are not 100
    assert episodes(run, 1, 1000.0, 1) == 1 and run.level == 2
    assert np.isnan(run.mean_reward) and np.isnan(run.win_rate)  # the window is empty again
    assert episodes(run, 100, 1000.0, 59) == 0  # 59 % won by kill: farming does not promote
    # The 59 wins came first and leave first: 59 more keep it at 59 %, the next one replaces a loss.
    assert episodes(run, 59, 1000.0, 59) == 0 and run.win_rate == 0.59
    assert episodes(run, 1, 1000.0, 1) == 1 and run.level == 3
    run = Curriculum()
    assert episodes(run, 100, 50.0, 60) == 1  # exactly the threshold and exactly 60 %
    run = Curriculum()
    assert run.record([50.0] * 99 + [49.9], [True] * 100) == 0  # mean 49.999
    assert run.record([50.1], [True]) == 1  # the first 50 leaves: 98 x 50 + 49.9 + 50.1 = 5000


def test_levels_go_up_to_the_last_and_never_down() -> None:
    run = Curriculum(CurriculumSettings(level_thresholds=(1.0, 2.0)))
    assert episodes(run, 100, 5.0, 100) == 1 and (run.level, run.completed) == (2, False)
    assert episodes(run, 300, -1000.0, 0) == 0 and run.level == 2
    assert episodes(run, 100, 5.0, 100) == 1 and (run.level, run.completed) == (2, True)
    assert episodes(run, 100, 5.0, 100) == 0
    assert run.episodes == 600


def test_fights_of_the_level_before_are_not_counted() -> None:
    run = Curriculum()
    episodes(run, 100, 1000.0, 100)
    assert run.record([1000.0] * 100, [True] * 100, [1] * 100) == 0 and run.episodes == 100
    # 150 episodes of level 1: the first 100 promote, the other 50 began too early for level 2.
    run = Curriculum()
    assert run.record([1000.0] * 150, [True] * 150, [1] * 150) == 1
    assert run.level == 2 and np.isnan(run.mean_reward)


def test_rewards_that_are_not_finite_and_uneven_lists_are_refused() -> None:
    with pytest.raises(ValueError, match=r"reward nan after 1 episodes .*`monster rewards` names the term"):
        Curriculum().record([1.0, float("nan")], [True, True])
    with pytest.raises(ValueError, match="shorter"):
        Curriculum().record([1.0, 1.0], [True])


def test_a_resumed_run_goes_on_as_if_never_stopped() -> None:
    rng = np.random.default_rng(1)
    rewards, won = rng.normal(52, 30, 2000), rng.random(2000) < 0.62
    whole, first = Curriculum(), Curriculum()
    promoted = [whole.record([r], [w]) for r, w in zip(rewards, won, strict=True)]
    cut = promoted.index(1) - 7  # in the middle of a window that is about to promote
    first.record(rewards[:cut], won[:cut])
    second = Curriculum()
    second.set_state(json.loads(json.dumps(first.get_state())))
    assert [second.record([r], [w]) for r, w in zip(rewards[cut:], won[cut:], strict=True)] == promoted[cut:]
    assert second.get_state() == whole.get_state() and whole.level > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level_thresholds": [1.0, 2.0]}, "resume with the settings the run began with"),
        ({"level": 6}, "level 6 .* damaged"),
        ({"rewards": [1.0]}, "1 rewards and 0 results"),
    ],
)
def test_foreign_states_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Curriculum().set_state({**Curriculum().get_state(), **change})


def test_thresholds_out_of_reach_give_a_warning() -> None:
    assert threshold_warning("mage", 2, 300.0, 200.0) is None  # exactly 1.5 x
    line = threshold_warning("mage", 2, 301.0, 200.0)
    assert line is not None and "mage, level 2: threshold 301 is above 1.5 x the scripted mean 200.0" in line
    assert line.endswith("lower it to 300 or use fewer levels")
    assert threshold_warning("ranged", 1, 50.0, -20.0) is not None
