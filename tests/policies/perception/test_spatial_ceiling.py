"""Ceilings of the spatial questions: by hand, and of states that are played on."""

from __future__ import annotations

import numpy as np
import pytest

from envs.perception.branching import noise_ceiling
from policies.perception.compositions import FightPlan
from policies.perception.spatial_ceiling import best_steps, ceiling, map_ceiling


def test_ceiling_of_maps_is_the_noise_ceiling() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 1, 5)) + rng.normal(size=(30, 6, 5))
    measure = map_ceiling(values)
    assert measure(np.ones(30)) == pytest.approx(noise_ceiling(values))
    times = rng.integers(0, 3, 30)
    assert measure(times.astype(np.float64)) == pytest.approx(noise_ceiling(np.repeat(values, times, axis=0)))


def test_ceiling_of_maps_at_its_ends() -> None:
    sure = np.repeat(np.arange(4.0)[:, None, None], 3, axis=1)
    assert map_ceiling(sure)(np.ones(4)) == 1.0
    dice = np.array([[[0.0], [1.0]], [[1.0], [0.0]]])
    assert map_ceiling(dice)(np.ones(2)) == 0.0
    assert np.isnan(map_ceiling(np.zeros((2, 2, 1)))(np.ones(2)))


def test_best_steps_are_chosen_by_the_other_futures() -> None:
    # Three futures of one state, three steps; the last one is blocked.
    best = np.array([[[1, 0, 0], [1, 0, 0], [0, 1, 0]]], np.float64)
    fire = np.array([[[1.0, 2.0, -1.0], [1.0, 2.0, -1.0], [9.0, 3.0, -1.0]]])
    right, regret = best_steps(best, fire)
    # By the others: in futures 0 and 1 one vote each, the first wins; in future 2 two for the first.
    assert right.tolist() == [pytest.approx(2 / 3)]
    # Least fire of the others: (10, 5), (10, 5), (2, 4): steps 1, 1, 0; beyond the best 1, 1, 6.
    assert regret.tolist() == [pytest.approx(8 / 3)]


def test_ceilings_of_a_set() -> None:
    plan = FightPlan(fights=12, sizes={"1v1": 2}, stride=20)
    one = ceiling("mage", plan, 1, split="held_out", states=12, copies=3, resamples=20)
    assert one == ceiling("mage", plan, 1, split="held_out", states=12, copies=3, resamples=20)
    asked = {"damage", "damage_total", "occupancy"}
    assert set(one) == {*asked, "best_cell", "fire", *(f"told_{name}" for name in asked)}
    for name, value in one.items():
        assert 0.0 <= value.low <= value.high and value.states <= 12, name
        assert value.value <= 1.0
    assert one["occupancy"].value > 0.3  # where enemies stand is mostly known a second before
