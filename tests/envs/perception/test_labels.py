"""Labels of recordings written by hand."""

from __future__ import annotations

import numpy as np

from envs.contracts import layout as f
from envs.perception import labels
from envs.perception.recording import SKILLS, SLOT, STEPS, STYLE, SWINGS, TARGET
from tests.envs.perception.small import small


def test_a_kill_end_is_exact_and_a_time_limit_is_not() -> None:
    # Four windows each; with horizon 3 the last full look ahead begins at t = 1.
    recording = small([4, 4, 2], [True, False, True])
    assert labels.exact(recording, 3).T.tolist() == [
        [True, True, True, True],
        [True, True, False, False],
        [True, True, False, False],  # over after two windows: no decision at t = 2
    ]


def test_sums_and_states_ahead_stop_at_the_end() -> None:
    values = np.array([1, 10, 100, 1000])
    assert labels.ahead(values, 2).tolist() == [11, 110, 1100, 1000]
    assert labels.ahead(values, 9).tolist() == [1111, 1110, 1100, 1000]
    assert labels.later(np.arange(5), 3).tolist() == [3, 4, 4, 4]


def test_threat_of_two_sources_on_two_targets() -> None:
    recording = small([3], [True], half=2)
    recording.damage[0, 0, 2, 0] = 100  # enemy 2 hits me, 0
    recording.damage[2, 0, 2, 0] = 200
    recording.damage[1, 0, 3, 1] = 50
    recording.hp[3, 0, 3] = 0
    threat = labels.threat(recording, 2)
    # t = 0: windows 0 and 1: 100 of 1,000; t = 1: windows 1 and 2: 200; t = 2: 200, the fight ends by a kill.
    assert threat.value[:, 0, 2, 0].tolist() == [np.float32(x) for x in (0.1, 0.2, 0.2)]
    assert threat.valid[:, 0, 2, 0].all() and not threat.valid[:, 0, 2, 3].any()
    team = labels.team_threat(recording, 2)
    # 100 and 0 of the 2,000 HP of the team at t = 0; enemy 3 does its 50 in window 1.
    assert team.value[:, 0, 2].tolist() == [np.float32(x) for x in (0.05, 0.1, 0.1)]
    assert team.value[:, 0, 3].tolist() == [np.float32(x) for x in (0.025, 0.025, 0.0)]


def test_kills_and_deaths() -> None:
    recording = small([4], [True])
    recording.killer[3, 0, 0] = 1
    recording.hp[4, 0, 0] = 0
    kills, deaths = labels.kills(recording, 2), labels.deaths(recording, 2)
    assert kills.value[:, 0, 1].tolist() == deaths.value[:, 0, 0].tolist() == [False, False, True, True]
    assert not kills.value[:, 0, 0].any() and not deaths.value[:, 0, 1].any()
    assert kills.valid.all()


def test_the_dead_have_no_labels() -> None:
    recording = small([3], [True], half=2)
    recording.hp[1:, 0, 2] = 0
    recording.killer[0, 0, 2] = 0
    for label in (labels.kills(recording, 2), labels.deaths(recording, 2), labels.next_target(recording, 2)):
        assert label.valid[:, 0, 2].tolist() == [True, False, False]
    threat = labels.threat(recording, 2)
    assert threat.valid[:, 0, 0, 2].tolist() == threat.valid[:, 0, 2, 0].tolist() == [True, False, False]


def test_a_target_that_is_dead_by_then_is_none() -> None:
    recording = small([3], [True], half=2)
    recording.units[:, 0, 0, TARGET] = 3
    recording.units[2:, 0, 1, TARGET] = 2
    recording.hp[2:, 0, 3] = 0
    target = labels.next_target(recording, 1)
    assert target.value[:, 0, 0].tolist() == [3, -1, -1]
    assert target.value[:, 0, 1].tolist() == [-1, 2, 2]


def test_next_deed_is_the_first_of_the_hands_else_a_move() -> None:
    recording = small([5], [True])
    recording.skills[0, 2, f.KIND] = f.K_HEAL
    recording.deeds[0, 0, 0, STEPS] = 1
    recording.deeds[1, 0, 0, [SWINGS, STEPS]] = 1
    recording.deeds[3, 0, 0, [SWINGS, SKILLS]], recording.deeds[3, 0, 0, SLOT] = 1, 2
    names = [labels.DEEDS[deed] for deed in labels.deeds(recording)[:, 0, 0]]
    assert names == ["move", "swing", "none", "heal", "none"]
    names = [labels.DEEDS[deed] for deed in labels.next_deed(recording, 2).value[:, 0, 0]]
    assert names == ["swing", "swing", "heal", "heal", "none"]
    names = [labels.DEEDS[deed] for deed in labels.next_deed(recording, 1).value[:, 0, 0]]
    assert names == ["move", "swing", "none", "heal", "none"]


def test_future_hp_in_shares() -> None:
    recording = small([3], [False])
    recording.hp[1:, 0, 1] = [900, 900, 500]
    hp = labels.future_hp(recording, at=(1, 2))
    assert hp.value[:, 0, 1].tolist() == [
        [np.float32(0.9), np.float32(0.9)],
        [np.float32(0.9), 0.5],
        [0.5, 0.5],
    ]
    assert hp.valid[:, 0, 1].tolist() == [[True, True], [True, True], [True, False]]


def test_a_style_holds_for_windows_without_a_switch() -> None:
    recording = small([6], [True])
    # Decisions 0-2 in style 1, from decision 3 on in style 4; state t + 1 tells of decision t.
    recording.units[:, 0, 1, STYLE] = [1, 1, 1, 1, 4, 4, 4]
    style, switched = labels.style(recording, 2), labels.switched(recording, 2)
    assert style.value[:, 0, 1].tolist() == [1, 1, 1, 1, 4, 4, 4]
    assert style.valid[:, 0, 1].tolist() == [False, True, True, True, False, True, True]
    assert switched.valid[:, 0, 1].tolist() == [False, False, False, False, True, False, False]


def test_pairs_are_two_windows_of_one_opponent_in_one_style() -> None:
    recording = small([40, 9], [True, True])
    recording.units[21:, 0, 1, STYLE] = 3
    pairs = labels.contrastive_pairs(recording, 8, 200, np.random.default_rng(0))
    assert pairs.shape == (200, 4) and set(pairs[:, 0]) == {0}  # nine decisions hold no two windows of eight
    assert (pairs[:, 3] - pairs[:, 2] >= 8).all() and pairs[:, 2].min() == 8 and pairs[:, 3].max() == 40
    switching = pairs[pairs[:, 1] == 1]
    # No window crosses the switch at decision 20, and no pair joins the two styles.
    assert not ((switching[:, 2:] > 20) & (switching[:, 2:] < 28)).any()
    assert ((switching[:, 2] > 20) == (switching[:, 3] > 20)).all()
    assert len(labels.contrastive_pairs(recording, 30, 5, np.random.default_rng(0))) == 0
