"""The ledger over real fights: the exact sum, and each weight moves its own term alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import archetypes
from envs.contracts import ARCHETYPES
from envs.rewards import TERMS, RewardLedger
from envs.simulation import state as s
from envs.simulation.world import World
from tests.envs.play import random_actions

WEIGHTS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda weight: weight or 1.0)


@cache
def real_windows(archetype: str) -> np.ndarray:
    """Statistics of a learner's windows, `(window, statistic)`: whole fights, half of them scripted."""
    team, rng, rows = archetypes.load(archetype).team(), np.random.default_rng(5), []
    for learners in (0, 1):
        world = World(12, (team, team), tiers=("veteran", "classic"), learners=learners, observed=1, seed=11)
        for _ in range(301):
            world.step(random_actions(world.masks, rng))
            rows.append(world.stats[:, 0].copy())
    stats = np.concatenate(rows)
    stats.setflags(write=False)
    return stats


def bits(values: np.ndarray) -> bytes:
    """Every bit counts; only a zero's sign says nothing."""
    return (values + 0.0).tobytes()


@pytest.mark.parametrize("name", ARCHETYPES)
def test_fights_pay_every_term_of_the_archetype(name: str) -> None:
    total, terms = RewardLedger(archetypes.load(name), len(archetypes.load(name).team()))(real_windows(name))
    assert all(value.any() for value in terms.values()), "a term that is never paid proves nothing below"
    assert np.isfinite(total).all()


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(ARCHETYPES),
    terms=st.dictionaries(st.sampled_from(sorted(TERMS)), WEIGHTS, min_size=1, max_size=8),
    factors=st.tuples(WEIGHTS, st.floats(0, 1), st.floats(-200, 200)),
    data=st.data(),
)
def test_exact_sum_and_one_weight_at_a_time(
    name: str, terms: dict[str, float], factors: tuple[float, float, float], data: st.DataObject
) -> None:
    config, stats = archetypes.load(name), real_windows(name)
    reward = replace(
        config.reward,
        individual_weight=factors[0],
        team_weight=factors[1],
        outcome_weight=factors[2],
        terms=terms,
    )
    ledger = RewardLedger(replace(config, reward=reward), 3)
    total, paid = ledger(stats)
    for row in range(0, len(stats), 97):  # plain Python floats, added one by one
        by_hand = 0.0
        for value in paid.values():
            by_hand += float(value[row])
        assert by_hand == total[row]
    dropped = data.draw(st.sampled_from(sorted(terms)))
    fewer = replace(reward, terms={**terms, dropped: 0.0})
    without, rest = RewardLedger(replace(config, reward=fewer), 3)(stats)
    kept_apart = {"team": factors[1], "outcome": factors[2]}.get(dropped, 0.0)  # its weight beside the terms
    assert set(rest) == {term for term in paid if term != dropped or kept_apart != 0.0}
    assert all(bits(rest[term]) == bits(paid[term]) for term in rest if term != dropped)
    again = np.zeros(len(stats))
    for value in rest.values():
        again += value
    assert bits(again) == bits(without)


@pytest.mark.parametrize("name", ARCHETYPES)
def test_dropping_each_term_of_the_archetype_leaves_the_others_bit_for_bit(name: str) -> None:
    config, stats = archetypes.load(name), real_windows(name)
    total, full = RewardLedger(config, 3)(stats)
    for dropped in config.reward.terms:
        fewer = replace(config.reward, terms={**config.reward.terms, dropped: 0.0})
        without, rest = RewardLedger(replace(config, reward=fewer), 3)(stats)
        assert rest.keys() == full.keys() - {dropped}
        assert all(bits(rest[term]) == bits(full[term]) for term in rest)
        unpaid = full[dropped] == 0.0
        assert unpaid.any() and bits(without[unpaid]) == bits(total[unpaid])
        assert (without[~unpaid] != total[~unpaid]).all()


def test_the_statistics_hold_what_outcomes_need() -> None:
    stats = np.concatenate([real_windows(name) for name in ARCHETYPES])
    assert stats[:, s.S_WON].any() and stats[:, s.S_LOST].any()
    assert not (stats[:, s.S_WON] & stats[:, s.S_LOST]).any()
