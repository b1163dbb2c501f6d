"""Blind play loses: random actions, and patterns of actions that ignore the fight."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench import baselines
from envs.contracts import ARCHETYPES

FIGHTS = 400  # a standard error of 2.5 points


@pytest.mark.parametrize("head", ["combat", "movement", "skill", "control", "pack"])
@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_random_play_stays_below_the_mirror(head: str, archetype: str) -> None:
    row = (head, archetype, baselines.own_scenarios(archetype, head)[0])
    mirror = baselines.scores(baselines.make_world(row, FIGHTS, 1, mirror=True), None).mean()
    assert mirror == pytest.approx(0.5, abs=0.1)
    played = baselines.scores(baselines.make_world(row, FIGHTS, 1), baselines.random_policy(1)).mean()
    assert played < mirror - 0.03


@pytest.mark.parametrize("archetype", ["aggressive", "mage", "ranged"])
def test_no_alternation_of_two_combat_actions_wins_half(archetype: str) -> None:
    # Skills and swings in turn, whatever the clock says, used to beat the traditional AI.
    pairs = list(itertools.product((0, 1, 5, 9), repeat=2))
    world = baselines.make_world(("combat", archetype, "1v1"), len(pairs) * 100, 3)
    plans = np.array([(pairs[k // 100] * 20) for k in range(world.num_fights)])
    won = baselines.scores(world, baselines.play_sequence(np.arange(10, dtype=np.int32), plans))
    best = won.reshape(len(pairs), 100).mean(axis=1).max()
    assert best < 0.5, best


def test_the_search_finds_a_plan_better_than_doing_nothing() -> None:
    row = ("control", "support", "3v3")
    actions, plan = baselines.train_open_loop(row, 2, 1)
    assert actions.shape[1:] == (5,) and plan.shape == (baselines.OPENING + baselines.CYCLE,)
    idle = np.zeros((FIGHTS, 40), int)
    nothing = baselines.scores(
        baselines.make_world(row, FIGHTS, 9), baselines.play_sequence(np.zeros((1, 5), np.float32), idle)
    ).mean()
    found = baselines.scores(
        baselines.make_world(row, FIGHTS, 9), baselines.play_sequence(actions, np.tile(plan, (FIGHTS, 1)))
    ).mean()
    assert found > nothing
