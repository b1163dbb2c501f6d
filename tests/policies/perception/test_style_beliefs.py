"""Styles redrawn in futures: by what was seen of them, and by nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from envs.perception import bayes
from envs.perception.branching import branch
from envs.perception.recording import TWO_SECONDS
from envs.simulation import state as s
from envs.simulation.world import World
from policies.perception import ceilings
from policies.perception.ceilings import Draws, ceiling, draw
from policies.perception.compositions import FightPlan, compositions, world_arguments
from policies.perception.style_beliefs import StyleBeliefs, redraw
from policies.perception.threat import _futures

PLAN = FightPlan(fights=40, sizes={"1v1": 1, "2v2": 1}, stride=10, styles=s.STYLES[1:])
TEAMS = 1  # place of the 2v2 composition


def world(plan: FightPlan = PLAN, fights: int = 6) -> World:
    found = compositions("mage", plan, 1, held_out=False)[TEAMS]
    arguments = world_arguments(found, plan, 1, TEAMS, held_out=False)
    return World(fights, found.teams, log_damage=True, **arguments)


@pytest.mark.parametrize("window", [None, 12])
def test_beliefs_are_the_exact_posterior_of_the_side(window: int | None) -> None:
    here = world()
    beliefs = StyleBeliefs(here, np.arange(6), window)
    known = here.units[:, 0, s.STYLE] == s.SCRIPT
    assert np.allclose(beliefs.chances(here)[:, 1], bayes.even())
    for _ in range(30):
        beliefs.watch(here)
        here.step(np.zeros((6, 0), np.int32))
    found = compositions("mage", PLAN, 1, held_out=False)[TEAMS]
    arguments = world_arguments(found, PLAN, 1, TEAMS, held_out=False)
    _, said = bayes.likelihoods(6, found.teams, seen="deeds", **arguments)
    expected = bayes.posterior(bayes.by_team(said), window)[30][:, [0, -1]]
    expected[known, 0] = np.eye(len(s.STYLES))[s.SCRIPT]
    np.testing.assert_allclose(beliefs.chances(here), expected, atol=1e-12)
    assert beliefs.chances(here)[:, 1].max() > 0.5, "30 decisions tell something"


def test_redrawn_styles_follow_their_chances_side_by_side() -> None:
    here = world()
    copies = branch(here, 2, 4000, 1)
    script = np.eye(len(s.STYLES))[s.SCRIPT]
    redraw(copies, np.array([script, [0, 0.25, 0.75, 0, 0, 0, 0]]), np.random.default_rng(0))
    drawn = copies.units[:, 2:, s.STYLE]
    assert (drawn[:, 0] == drawn[:, 1]).all() and set(np.unique(drawn)) == {s.RUSHER, s.KITER}
    assert (drawn[:, 0] == s.KITER).mean() == pytest.approx(0.75, abs=0.03)
    assert (copies.units[:, :2, s.STYLE] == s.SCRIPT).all()


def test_styles_that_change_are_refused() -> None:
    with pytest.raises(ValueError, match="switching"):
        StyleBeliefs(world(dataclasses.replace(PLAN, switching=True)), np.arange(2))


def futures(plan: FightPlan, *, told: bool) -> Draws:
    more = {"horizon": TWO_SECONDS, "split": "train", "states": 150, "copies": 8, "told": told}
    return draw("mage", plan, 2, _futures, **more)  # type: ignore[arg-type]


def test_with_one_possible_style_both_predictors_know_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(*given: Any, **more: Any) -> dict[str, Any]:
        return {**world_arguments(*given, **more), "styles": (("kiter",), ("kiter",))}

    monkeypatch.setattr(ceilings, "world_arguments", alike)
    np.testing.assert_array_equal(futures(PLAN, told=False).values, futures(PLAN, told=True).values)


def test_sure_of_the_truth_is_all_knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sure(StyleBeliefs):
        def watch(self, world: World) -> None:
            """Look at nothing."""

        def chances(self, world: World) -> np.ndarray:
            chances: np.ndarray = np.eye(len(s.STYLES))[world.units[:, [0, -1], s.STYLE]]
            return chances

    monkeypatch.setattr(ceilings, "StyleBeliefs", Sure)
    np.testing.assert_array_equal(futures(PLAN, told=False).values, futures(PLAN, told=True).values)


def test_who_must_infer_styles_knows_no_more() -> None:
    known, told = futures(PLAN, told=False), futures(PLAN, told=True)
    assert not np.array_equal(known.values, told.values, equal_nan=True)
    assert ceiling(told).value < ceiling(known).value + 0.02
