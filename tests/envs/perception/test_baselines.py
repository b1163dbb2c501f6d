from __future__ import annotations

import numpy as np
import pytest

from envs.perception import baselines
from envs.perception.labels import Label
from envs.perception.recording import TARGET, X
from tests.envs.perception.small import small


def test_repeated_threat_scales_the_last_two_seconds() -> None:
    recording = small([14], [True])
    recording.damage[1, 0, 1, 0], recording.damage[3, 0, 1, 0] = 100, 60
    threat = baselines.repeated_threat(recording, 25)[:, 0, 1, 0]
    # At t = 4 windows 0-3: 160 of 1,000, times 25 / 10; at t = 12 windows 2-11: 60; the present is unseen.
    assert threat[[0, 1, 4, 12]].tolist() == [np.float32(x) for x in (0, 0, 0.4, 0.15)]


def test_reach_threat_counts_swings_within_reach() -> None:
    recording = small([2], [True])
    recording.units[1, 0, 1, X] = 12  # two cells away, within its reach
    threat = baselines.reach_threat(recording, 10)
    # Two seconds, a swing of 50 points each second: 100 of 1,000.
    assert threat[:, 0, 1, 0].tolist() == [0, np.float32(0.1)] and threat[1, 0, 1, 1] == 0
    recording.hp[1, 0, 1] = 0
    assert not baselines.reach_threat(recording, 10)[1, 0, 1].any()


def test_what_stays_as_it_is() -> None:
    recording = small([2], [True])
    recording.units[1, 0, 0, TARGET] = 1
    recording.hp[1, 0, 0] = 250
    assert baselines.same_target(recording)[:, 0, 0].tolist() == [-1, 1]
    assert baselines.same_hp(recording, 2)[:, 0, 0].tolist() == [[1, 1], [0.25, 0.25]]


def test_class_prior_and_scores() -> None:
    label = Label(np.array([0, 0, 1, 2]), np.array([True, True, True, False]))
    prior = baselines.class_prior(label, 3)  # counts 2, 1, 0 plus one each
    assert prior.tolist() == [3 / 6, 2 / 6, 1 / 6]
    loss = baselines.log_loss(prior, np.array([0, 2]))
    assert loss == pytest.approx((np.log(2) + np.log(6)) / 2)
    assert baselines.log_loss(np.eye(2), np.array([0, 1])) == 0
    truth = np.array([1.0, 3.0])  # variance 1
    assert baselines.explained_variance(np.array([2.0, 2.0]), truth) == 0
    assert baselines.explained_variance(np.array([1.0, 2.0]), truth) == 0.5
    assert np.isnan(baselines.explained_variance(truth, np.ones(2)))
