"""Rows after a switch of style, and how soon it is noticed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from envs.perception import labels
from envs.perception.sights import Sights, record_sights
from envs.simulation import state as s
from policies.perception.pattern import LENGTHS, PatternTask
from policies.perception.pattern_switches import recognition, switch_rows

TEAMS = (("tank", "mage"), ("ranged", "support"))


@pytest.fixture(scope="module")
def sights() -> Sights:
    return record_sights(12, TEAMS, seed=3, styles=((), s.STYLES[1:]), switching=True)


def test_rows_are_those_that_labels_hold_out(sights: Sights) -> None:
    rows, style, since = switch_rows(PatternTask(), sights)
    unit = 2 + rows["slot"]
    assert since.min() == 1 and since.max() == 50
    for length in LENGTHS.values():
        value, valid = labels.switched(sights.recording, length)
        at = rows["time"], rows["fight"], unit
        np.testing.assert_array_equal(valid[at], since < length)
        np.testing.assert_array_equal(value[at], style + 1)
        # No row with a switch in its window is left out, while both live.
        time = np.arange(len(sights.shown))[:, None, None]
        seen = valid[:-1, :, 2:] & sights.shown[:, :, 0] & (time >= 5)
        assert seen.sum() == (since < length).sum()


def test_fights_without_switches_give_no_rows() -> None:
    rows, style, since = switch_rows(
        PatternTask(), record_sights(2, TEAMS, seed=3, styles=((), s.STYLES[1:]))
    )
    assert len(style) == len(since) == len(rows["fight"]) == 0


def test_recognition_by_hand() -> None:
    # Three opponents change to style 2. The first is named from decision 4 on, the second from 31 on, the
    # third, seen for 20 decisions only, at once.
    since = np.concatenate([np.arange(1, 51), np.arange(1, 51), np.arange(1, 21)])
    opponent = np.repeat([0, 1, 2], [50, 50, 20])
    right = since >= np.array([4, 31, 1])[opponent]
    chances = np.full((120, 6), 0.1, np.float32)
    chances[:, 0] = 0.3
    chances[right, 2] = 0.9
    rows = {"fight": opponent // 2, "slot": opponent % 2}
    found = recognition(dict.fromkeys(LENGTHS, chances), rows, np.full(120, 2), since)
    # Decisions 1 to 9: 6, 0 and 9 are right of 27
    assert found["style_2s"].accuracy == pytest.approx(15 / 27) and found["style_2s"].rows == 27
    # Decisions 1 to 49: 46, 19 and 20 of 118
    assert found["style_10s"].accuracy == pytest.approx(85 / 118)
    assert found["style_5s"].switches == 2 and found["style_5s"].delay == (4 + 31) / 2


def test_never_named_is_infinite() -> None:
    rows = {"fight": np.zeros(50, np.int64), "slot": np.zeros(50, np.int64)}
    chances = np.eye(6, dtype=np.float32)[np.zeros(50, np.int64)]
    found = recognition(dict.fromkeys(LENGTHS, chances), rows, np.full(50, 3), np.arange(1, 51))
    assert found["style_10s"].accuracy == 0.0 and math.isinf(found["style_10s"].delay)
