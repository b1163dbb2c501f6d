"""Reward summaries with numbers worked by hand, and the fights behind them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import envs.rewards
from envs import archetypes
from envs.configuration import ConfigError
from envs.simulation import state as s
from experiments import rewards
from experiments.evaluation import random_policy
from experiments.ledger import plain
from experiments.reward_summary import Episodes, TermSummary, summarise, warnings
from experiments.rewards import match, measure, play_episodes


def episodes(**terms: list[float]) -> Episodes:
    values = {name: np.array(value, float) for name, value in terms.items()}
    fights = len(next(iter(values.values())))
    return Episodes(
        rewards=np.sum(list(values.values()), axis=0),
        lengths=np.arange(fights) * 10,
        outcomes=np.array([1, -1, 2, -1][:fights]),
        terms=values,
    )


def test_a_summary_by_hand() -> None:
    played = episodes(kill=[100, 0, 0, 0], damage_taken=[-10, -20, -30, -40])
    summary = summarise("tank", "classic", "script", {"kill": 100, "damage_taken": -0.5}, 3, played)
    kill, taken = summary.terms
    # |kill| adds up to 100, |damage taken| to 100: half of what is paid each
    assert (kill.share, taken.share) == (0.5, 0.5)
    # deviations of 100, 0, 0, 0 from 25: 75, -25, -25, -25; 7500 / 3 = 2500
    assert (kill.mean, kill.sd, kill.min, kill.max, kill.nonzero) == (25.0, 50.0, 0.0, 100.0, 0.25)
    assert (kill.mean_won, kill.mean_lost) == (100.0, 0.0)
    assert (taken.mean, taken.mean_won, taken.mean_lost) == (-25.0, -10.0, -30.0)  # lost: -20 and -40
    assert (summary.total.mean, summary.total.max) == (0.0, 90.0)
    assert (summary.won, summary.lost, summary.win_rate, summary.scenario) == (1, 2, 0.25, "3v3")
    assert summary.decisions == 15.0 and summary.warnings == ()
    h = summary.histogram
    assert (sum(h.won), sum(h.lost), sum(h.other)) == (1, 2, 1) and h.won[-1] == 1
    json.dumps(plain(summary.as_dict()), allow_nan=False)


def term(name: str, share: float, nonzero: float) -> TermSummary:
    return TermSummary(name, 1.0, 0.0, 0.0, 0.0, 0.0, share, nonzero, None, None)


@pytest.mark.parametrize(
    ("share", "nonzero", "kinds"),
    [
        (0.5, 0.05, []),
        (0.5, 0.049, ["sparse"]),
        (0.01, 1.0, []),
        (0.0099, 1.0, ["dominated"]),
        (0.0, 0.0, ["sparse"]),  # one warning says it
        (0.80, 1.0, []),
        (0.801, 1.0, ["dominating"]),
        (0.9, 0.01, ["dominating", "sparse"]),
    ],
)
def test_warnings_begin_beyond_their_limits(share: float, nonzero: float, kinds: list[str]) -> None:
    found = warnings([term("kill", share, nonzero)], 200, {})
    assert [w.kind for w in found] == kinds and all(w.text.startswith("kill ") for w in found)


def test_a_term_that_is_not_finite_is_named_with_fight_and_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def broken(stats: np.ndarray, team_size: int) -> np.ndarray:
        nonlocal calls
        calls += 1
        value = stats[:, s.S_DEALT] / 1000.0
        if calls == 5:
            value[3] = np.nan
        return np.asarray(value)

    monkeypatch.setitem(envs.rewards.TERMS, "damage_dealt", broken)
    summary = measure("aggressive", None, 8, 0)
    (warned,) = [w for w in summary.warnings if w.kind == "non-finite"]
    assert warned.term == "damage_dealt" and "first in fight 3 at decision 4" in warned.text
    dealt = summary.terms[0]
    assert dealt.name == "damage_dealt" and np.isfinite([dealt.mean, dealt.sd, summary.total.mean]).all()
    json.dumps(plain(summary.as_dict()), allow_nan=False)


def test_figures_do_not_depend_on_how_fights_are_cut_into_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = match("support", "veteran")
    whole = play_episodes("support", None, 11, 4, arguments)
    monkeypatch.setattr(rewards, "CHUNK", 4)
    heard: list[int] = []
    parts = play_episodes("support", None, 11, 4, arguments, heard.append)
    assert heard == [4, 8, 11]
    for name in whole.terms:
        assert whole.terms[name].tobytes() == parts.terms[name].tobytes(), name
    assert whole.rewards.tobytes() == parts.rewards.tobytes()
    assert (whole.lengths == parts.lengths).all() and (whole.outcomes == parts.outcomes).all()
    again, other = (
        play_episodes("support", None, 11, 4, arguments),
        play_episodes("support", None, 11, 5, arguments),
    )
    assert (again.rewards == whole.rewards).all() and (other.rewards != whole.rewards).any()


@pytest.mark.parametrize("learner", ["script", "random"])
def test_only_the_first_episode_counts_and_terms_add_up(learner: str) -> None:
    policy = None if learner == "script" else random_policy(1)
    played = play_episodes("mage", policy, 20, 1, match("mage", "classic"))
    assert set(np.unique(played.outcomes)) <= {1, -1, 2, -2, 3} and (played.lengths <= 300).all()
    total = np.sum(list(played.terms.values()), axis=0)
    assert played.rewards == pytest.approx(total)  # sums over decisions and over terms round differently
    # spell damage of one enemy is at most its bar and one last blow: 3 x 100 plus overkill
    assert played.terms["spell_kill"].max() <= 80.0 and len(played.rewards) == 20


def test_who_plays_whom() -> None:
    assert match("aggressive", "veteran")["tiers"] == ("veteran", "veteran")
    assert match("aggressive", "passive")["tiers"] == ("classic", "passive")
    kiters = match("tank", "kiter")
    assert kiters["styles"] == ((), ("kiter",)) and len(kiters["teams"][1]) == 3
    with pytest.raises(ConfigError, match="unknown opponent 'kite'; did you mean 'kiter'"):
        match("tank", "kite")
    with pytest.raises(ValueError, match="0 fights"):
        play_episodes("tank", None, 0, 0, match("tank", "classic"))


def test_a_level_is_played_as_the_curriculum_says() -> None:
    level = rewards.measure_level("ranged", 2, 1e6, 12, 1)
    assert (level.name, level.scenario, level.fights) == ("classic", "1v1", 12)
    assert level.warning is not None and "ranged, level 2: threshold 1e+06" in level.warning
    # Level 2 is the archetype's own scenario against classic scripts.
    own = play_episodes("ranged", None, 12, 1, match("ranged", "classic"))
    assert level.scripted_mean == own.rewards.mean() and level.win_rate == (own.outcomes == 1).mean()
    passive = rewards.measure_level("ranged", 1, 50.0, 12, 1)
    assert passive.win_rate > level.win_rate and passive.scenario == "1v1"
    assert rewards.measure_level("ranged", 3, 200.0, 4, 1).scenario == "2v2"


def test_weights_are_the_effective_ones() -> None:
    assert rewards.weights_of("tank", 3)["damage_absorbed"] == pytest.approx(0.6)  # 0.3 x 2.0
    config = archetypes.load("tank")
    assert replace(config.reward, outcome_weight=1.0).outcome_weight == 1.0
