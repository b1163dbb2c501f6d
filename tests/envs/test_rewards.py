"""Reward terms by hand, and the ledger's promise: the reward is the exact sum of its named terms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs import archetypes
from envs.combat import CombatVectorEnv
from envs.configuration import ConfigError
from envs.contracts import ARCHETYPES
from envs.pack import PackVectorEnv
from envs.rewards import TERMS, RewardLedger, weighed
from envs.simulation.state import NUM_STATISTICS, STATISTICS


def statistics(**values: int) -> np.ndarray:
    row = np.zeros((1, NUM_STATISTICS), np.int32)
    for name, value in values.items():
        row[0, STATISTICS.index(name)] = value
    return row


@pytest.mark.parametrize(
    ("term", "stats", "expected"),
    [
        ("damage_dealt", {"dealt_mp": 12_345}, 12.345),  # thousandths of a per cent
        ("damage_taken", {"taken_mp": 500}, 0.5),
        ("damage_blocked", {"blocked_mp": 2000}, 2.0),
        ("damage_absorbed", {"absorbed_mp": 7000}, 7.0),
        ("sustained_damage", {"sustained_mp": 1000}, 1.0),
        ("spell_damage", {"spell_mp": 4000}, 4.0),
        ("mana_efficiency", {"mana_mp": 3000}, 3.0),
        ("kill", {"kills": 2}, 2.0),
        ("spell_kill", {"spell_kills": 1}, 1.0),
        ("spell_kill_bonus", {"spell_kills": 1}, 1.0),
        ("death", {"deaths": 1}, 1.0),
        ("ally_death", {"ally_deaths": 3}, 3.0),
        ("ally_protected", {"protected": 2}, 2.0),
        ("survival_time", {"alive_ticks": 2}, 0.2),  # ticks of 100 ms
        ("survival_bonus", {"alive_at_end": 1}, 1.0),
        ("healing_done", {"healed_mp": 9000}, 9.0),
        ("effective_healing", {"effective_healed_mp": 8000}, 8.0),
        ("buff_applied", {"new_buffs": 1}, 1.0),
        ("aggro", {"aggro_ticks": 50}, 0.5),  # 5 enemy-seconds of 10
        ("optimal_distance", {"optimal_ticks": 100}, 1.0),
        ("kiting", {"kiting_ticks": 10}, 0.1),
        ("win", {"won": 1}, 1.0),
        ("outcome", {"won": 1}, 1.0),
        ("team", {"team_gain_mp": -30_000}, -10.0),  # three units: 30 % of one bar is 10 % of the team's
    ],
)
def test_each_term_by_hand(term: str, stats: dict[str, int], expected: float) -> None:
    assert TERMS[term](statistics(**stats), 3).tolist() == pytest.approx([expected])


def test_the_table_above_holds_every_term() -> None:
    cases = test_each_term_by_hand.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {case[0] for case in cases} == set(TERMS)


def test_every_term_says_what_it_does() -> None:
    for name, term in TERMS.items():
        assert (term.__doc__ or "").startswith(("Reward", "Penalize")), name


def test_an_aggressive_window_by_hand() -> None:
    # 2.0 x 10 % dealt + 100 per kill - 0.5 x 4 % taken - 50 for dying: 20 + 100 - 2 - 50 = 68
    stats = statistics(dealt_mp=10_000, kills=1, taken_mp=4000, deaths=1, healed_mp=5000)
    total, terms = RewardLedger(archetypes.load("aggressive"), 1)(stats)
    assert total.tolist() == [68.0]
    assert {name: value.tolist() for name, value in terms.items()} == {
        "damage_dealt": [20.0],
        "kill": [100.0],
        "damage_taken": [-2.0],
        "death": [-50.0],
    }


@pytest.mark.parametrize("name", ARCHETYPES)
def test_the_outcome_is_open_to_every_archetype_and_off_by_default(name: str) -> None:
    config = archetypes.load(name)
    assert "outcome" not in RewardLedger(config, 1).weights
    ledger = RewardLedger(replace(config, reward=replace(config.reward, outcome_weight=100.0)), 1)
    for stats, expected in (
        (statistics(won=1), 100.0),  # as it stands: not multiplied by support's individual weight 0.3
        (statistics(lost=1), -100.0),
        (statistics(deaths=1), 0.0),  # lost on time, drawn, or still running
    ):
        assert ledger(stats)[1]["outcome"].tolist() == [expected]


def test_a_weight_among_the_terms_adds_to_the_outcomes_own() -> None:
    # 0.3 x 10 among the terms and 100 beside them
    config = archetypes.load("tank")
    reward = replace(config.reward, terms={"outcome": 10.0}, team_weight=0.0, outcome_weight=100.0)
    total, terms = RewardLedger(replace(config, reward=reward), 3)(statistics(lost=1))
    assert total.tolist() == [-103.0] and list(terms) == ["outcome"]


def test_a_support_window_by_hand() -> None:
    # 0.3 (2 x 10 healed + 4 x 6 effective + 15 x 1 buff - 50 x 1 ally lost) + 0.7 x 9 % / 3 units = 2.7 + 2.1
    stats = statistics(
        healed_mp=10_000, effective_healed_mp=6000, new_buffs=1, ally_deaths=1, team_gain_mp=9000
    )
    total, terms = RewardLedger(archetypes.load("support"), 3)(stats)
    assert total.tolist() == pytest.approx([4.8])
    assert terms["team"].tolist() == pytest.approx([2.1])


@pytest.mark.parametrize("name", ARCHETYPES)
def test_reward_is_the_exact_sum_of_terms_in_play(name: str) -> None:
    env = CombatVectorEnv(16, name, opponent="veteran")
    rng = np.random.default_rng(2)
    env.reset(seed=2)
    paid = dict.fromkeys(env.ledger.weights, 0.0)
    for _ in range(250):
        legal = env.world.masks[:, 0]
        _, reward, _, _, info = env.step((legal * rng.random(legal.shape)).argmax(axis=1))
        total = np.zeros(16)
        for term, value in info["reward_terms"].items():
            total += value
            paid[term] += float(np.abs(value).sum())
        assert np.array_equal(total, reward) and reward.dtype == np.float64
    # A term that is never paid would hide behind this test; random play seldom wins or survives.
    rare = {"spell_kill", "spell_kill_bonus", "win", "survival_bonus"}
    assert {term for term, sum_ in paid.items() if sum_ == 0} <= rare


@pytest.mark.parametrize("name", ARCHETYPES)
def test_zeroing_one_weight_changes_only_that_term(name: str) -> None:
    config = archetypes.load(name)
    stats = np.random.default_rng(3).integers(0, 50_000, (8, NUM_STATISTICS), dtype=np.int32)
    _, full = RewardLedger(config, 3)(stats)
    for dropped in config.reward.terms:
        terms = {**config.reward.terms, dropped: 0.0}
        total, rest = RewardLedger(replace(config, reward=replace(config.reward, terms=terms)), 3)(stats)
        assert rest.keys() == full.keys() - {dropped}
        assert all(np.array_equal(rest[term], full[term]) for term in rest)
        assert total.tolist() == pytest.approx((sum(full.values()) - full[dropped]).tolist())


def test_unknown_terms_are_named() -> None:
    config = archetypes.load("tank")
    wrong = replace(config, reward=replace(config.reward, terms={"damage_delt": 1.0}))
    with pytest.raises(
        ConfigError, match=r"tank.yaml: reward.terms: unknown term 'damage_delt'.*'damage_dealt'"
    ):
        RewardLedger(wrong, 1)


def test_the_table_for_people() -> None:
    rows = RewardLedger(archetypes.load("tank"), 3).table()
    assert [row[0] for row in rows] == list(RewardLedger(archetypes.load("tank"), 3).weights)
    assert all(row[2].startswith(("Reward", "Penalize")) for row in rows)


def test_other_weights_for_learning_lie_over_the_published_ones() -> None:
    config = archetypes.load("tank")
    assert weighed(config, None) is config and weighed(config, {}) is config
    paid = weighed(config, {"outcome_weight": 200.0, "terms": {"kill": 7.0}})
    assert paid.reward == replace(
        config.reward, outcome_weight=200.0, terms={**config.reward.terms, "kill": 7.0}
    )
    assert archetypes.load("tank").reward.outcome_weight == 0.0
    for wrong, words in (
        ({"outcome": 1.0}, r"mine: unknown key 'outcome'"),
        ({"terms": {"kil": 1.0}}, r"mine: unknown key 'terms.kil'.*'kill'"),
        ({"team_weight": None}, r"mine: key 'team_weight' must be a number"),
    ):
        with pytest.raises(ConfigError, match=words):
            weighed(config, wrong, "mine")


def test_an_environment_pays_by_the_weights_it_is_given_and_plays_the_same_fights() -> None:
    paid, usual = (
        CombatVectorEnv(4, "aggressive", reward=reward) for reward in ({"outcome_weight": 200.0}, None)
    )
    for env in (paid, usual):
        env.reset(seed=3)
    assert paid.ledger.weights == {**usual.ledger.weights, "outcome": 200.0}
    total, outcome = np.zeros(4), np.zeros(4)
    for _ in range(150):
        _, reward, *_, info = paid.step(np.ones(4, np.int64))
        other = usual.step(np.ones(4, np.int64))
        total += reward - other[1]
        outcome += info["reward_terms"]["outcome"]
    assert np.array_equal(paid.world.units, usual.world.units)
    assert total.tolist() == pytest.approx(outcome.tolist()) and np.abs(outcome).max() >= 200.0
    pack = PackVectorEnv(1, "tank", reward={"outcome_weight": 200.0})
    assert [ledger.weights["outcome"] for ledger in pack.ledgers] == [200.0] * 3
