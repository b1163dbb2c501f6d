"""Ceilings: states are the set's own rows, and a copy under the original's numbers repeats its future."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from envs.perception.branching import noise_ceiling
from envs.perception.recording import TWO_SECONDS, Recording
from policies.perception.ceilings import Draws, ceiling, draw
from policies.perception.compositions import FightPlan, record, split_sights
from policies.perception.threat_rows import damage_done

PLAN = FightPlan(fights=30, sizes={"1v1": 1, "2v2": 1}, stride=20)


def damage(recording: Recording) -> np.ndarray:
    """Damage of the first enemy to unit 0 within 2 s, nan where unknown."""
    value, known = damage_done(recording, 0)
    out: np.ndarray = np.where(known, value, np.nan)[0, :, 0, 0]
    return out


def futures(split: Any = "test", **more: Any) -> Draws:
    return draw("mage", PLAN, 2, damage, horizon=TWO_SECONDS, split=split, states=10_000, **more)


def test_every_row_of_the_set_is_drawn_once_and_the_first_copy_repeats_its_future() -> None:
    draws = futures(copies=2, salt=0)
    found = {}
    for number, (_, sights) in enumerate(record("mage", PLAN, 2)):
        test = split_sights(sights)["test"]
        value, known = damage_done(test.recording, 0)
        for time, fight in np.argwhere(test.seeing[..., 0]):
            if time % PLAN.stride == 0:
                truth = value[time, fight, 0, 0] if known[time, fight, 0, 0] else np.nan
                found[number, int(test.recording.number[fight]), int(time)] = truth
    names = list(zip(draws.composition.tolist(), draws.fight.tolist(), draws.time.tolist(), strict=True))
    assert len(names) == len(set(names)) and set(names) == set(found) and len(names) > 30
    np.testing.assert_allclose(draws.values[:, 0], [found[name] for name in names], rtol=1e-6)
    assert (draws.values[:, 0] != draws.values[:, 1]).any(), "the second copy has luck of its own"


def test_held_out_has_compositions_of_its_own() -> None:
    draws = futures("held_out", copies=2)
    assert len(draws.values) > 20 and set(draws.composition.tolist()) == {0, 1}


def test_a_set_without_fights_is_refused() -> None:
    few = dataclasses.replace(PLAN, fights=1)
    with pytest.raises(ValueError, match="record more than 1 per composition"):
        draw("mage", few, 2, damage, horizon=TWO_SECONDS, split="test")


def test_ceiling_of_known_shares() -> None:
    rng = np.random.default_rng(0)
    states = 600
    # Variance 3 between states, 1 within them: 3 / 4 can be known. Unknown labels are left out.
    values = rng.normal(0, 3**0.5, (states, 1, 2)) + rng.normal(0, 1, (states, 8, 2))
    values[::7, 3, 0] = np.nan
    draws = Draws(values, np.zeros(states, np.int64), np.arange(states) // 3, np.arange(states))
    found = ceiling(draws)
    assert found.value == pytest.approx(0.75, abs=0.04) and found.low < found.value < found.high
    rows, _ = draws.entries()
    assert found.value == noise_ceiling(rows) and found.states == states
    assert found.entries == 2 * states - len(range(0, states, 7))
