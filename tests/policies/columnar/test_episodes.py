"""Episode statistics by hand."""

from __future__ import annotations

import math

import numpy as np

from policies.columnar.episodes import EpisodeLog


def test_means_by_hand() -> None:
    log = EpisodeLog(2, window=3)
    assert math.isnan(log.means()["reward"]) and math.isnan(log.means()["win_rate"])
    yes, no = np.array([True, True]), np.array([False, False])
    log.record(
        np.array([1.0, 10.0]),
        no,
        yes,
        {"outcome": np.array([0, 0]), "reward_terms": {"kill": np.array([1.0, 0.0])}},
    )
    log.record(
        np.array([2.0, 20.0]),
        np.array([True, False]),
        yes,
        {"outcome": np.array([1, 0]), "reward_terms": {"kill": np.array([4.0, 0.0])}},
    )
    # Environment 0: return 3 in 2 steps, won. Its next row is the autoreset one and must not count.
    assert log.means() == {
        "reward": 3.0,
        "episode_length": 2.0,
        "win_rate": 1.0,
        "score": 1.0,
        "reward_terms/kill": 5.0,
    }
    log.record(
        np.array([99.0, 30.0]),
        np.array([False, True]),
        np.array([False, True]),
        {"outcome": np.array([0, 2])},
    )
    # Environment 1: return 60 in 3 steps, won on time only, which is no strict win but scores 1.
    assert log.means() == {
        "reward": 31.5,
        "episode_length": 2.5,
        "win_rate": 0.5,
        "score": 1.0,
        "reward_terms/kill": 2.5,
    }
    assert log.finished == 2


def test_score_counts_a_draw_half() -> None:
    log = EpisodeLog(4, window=10)
    yes = np.ones(4, np.bool_)
    log.record(np.zeros(4), yes, yes, {"outcome": np.array([1, 2, 3, -1])})
    # Won by kill 1, on time 1, drawn 0.5, lost 0: 2.5 / 4; only the first is a strict win: 1 / 4
    assert log.means()["score"] == 0.625 and log.means()["win_rate"] == 0.25


def test_merged_logs_are_read_as_one() -> None:
    one, two = EpisodeLog(1, window=5), EpisodeLog(2, window=5)
    one.record(np.array([6.0]), np.array([True]), np.array([True]), {"outcome": np.array([1])})
    two.record(np.array([1.0, 2.0]), np.array([True, True]), np.array([True, True]), {})
    merged = EpisodeLog.merged([one.get_state(), two.get_state()])
    # (6 + 1 + 2) / 3; the outcome is known of the first episode only
    assert merged.means()["reward"] == 3.0 and merged.finished == 3 and merged.means()["win_rate"] == 1.0


def test_window_forgets_the_oldest_and_state_comes_back() -> None:
    log = EpisodeLog(1, window=2)
    for reward in (1.0, 2.0, 6.0):
        log.record(np.array([reward]), np.array([True]), np.array([True]), {})
    log.record(np.array([5.0]), np.array([False]), np.array([True]), {})
    other = EpisodeLog(1, window=2)
    other.set_state(log.get_state())
    assert other.means()["reward"] == 4.0 and other.finished == 3
    for both in (log, other):
        both.record(np.array([5.0]), np.array([True]), np.array([True]), {})
    # The running episode's 5 is part of the state: (6 + 10) / 2
    assert log.means()["reward"] == other.means()["reward"] == 8.0
