"""The pattern window by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.contracts import WINDOW_FEATURES, WorldView, describe_window, opponent_features, opponent_windows
from tests.envs.views import unit, view


def moment(x: int, hp: int = 1000, *, target: int = 1, mine: int = 600, **its: Any) -> WorldView:
    """Me (0) at (10, 10), a support (1) at (12, 10); the enemy (2) with range 2 at (x, 10)."""
    enemy = unit(2, 1, x, 10, hp, target=target, stats={"range": 2}, **its)
    return view(unit(0, 0, 10, 10, mine), unit(1, 0, 12, 10, 500, archetype="support"), enemy)


def named(history: list[WorldView]) -> dict[str, float]:
    values = opponent_features([history], [0], [2])[0]
    return dict(zip(WINDOW_FEATURES, values.tolist(), strict=True))


def test_names() -> None:
    assert len(set(WINDOW_FEATURES)) == 16 == len(describe_window())


def test_what_it_shows() -> None:
    before = moment(20, clocks={"action_ms": 100})
    now = moment(
        18, 900, clocks={"action_ms": 900}, status={"guard_ms": 100}, cast={"skill": 0, "left_ms": 100}
    )
    seen = named([before, now])
    expected = {
        "dx": 0.5,  # 8 cells of 16
        "moved_x": -0.5,  # -2 of 4
        "approach": 0.5,  # nearest is the support: 8 -> 6 cells
        "hp": 0.9,
        "hp_change": -0.1,
        "targets_weakest": 1.0,
        "targets_nearest": 1.0,
        "targets_healer": 1.0,
        "casting": 1.0,
        "acted": 0.5,  # the clock rose by 800
        "guarded": 1.0,
        "gap": 0.4,  # 6 cells less a range of 2, of 10
    }
    for name, value in seen.items():
        assert value == pytest.approx(expected.get(name, 0.0)), name


def test_blow_fumble_and_skill_are_told_apart() -> None:
    before = moment(20, clocks={"action_ms": 0, "act_ms": 0})
    assert named([before, moment(20, clocks={"action_ms": 200})])["acted"] == 0  # as a fumble does
    assert named([before, moment(20, clocks={"action_ms": 201})])["acted"] == 0.5
    assert named([before, moment(20, clocks={"action_ms": 900, "act_ms": 300})])["acted"] == 1


def test_whom_it_targets() -> None:
    seen = named([moment(20, target=0, mine=400, status={"stun_ms": 1})])
    assert (seen["targets_me"], seen["targets_weakest"], seen["targets_nearest"]) == (1, 1, 0)
    assert (seen["targets_healer"], seen["stunned"]) == (0, 1)
    assert seen["gap"] == pytest.approx(0.8)  # 10 cells to me less 2
    none = named([moment(14, target=2)])  # a unit of its own side is no target
    assert [none[name] for name in WINDOW_FEATURES if name.startswith("targets")] == [0] * 4
    assert none["gap"] == 0  # its nearest enemy stands just in range


def test_the_dead_show_nothing() -> None:
    assert not any(named([moment(20, 0)]).values())
    assert not any(named([moment(20, mine=0)]).values())


def test_windows_are_padded_at_the_start_and_hold_the_last_decisions() -> None:
    history = [moment(20 - k) for k in range(4)]
    windows, mask = opponent_windows([history, history[:1]], [0, 0], [2, 2], 3)
    assert windows.shape == (2, 3, 16) and mask.tolist() == [[True] * 3, [False, False, True]]
    assert windows[0, :, 0].tolist() == [9 / 16, 8 / 16, 7 / 16]
    assert windows[0, :, 2].tolist() == [-0.25] * 3  # the view before the window is still read
    assert not windows[1, :2].any() and windows[1, 2, 0] == 10 / 16
    gap = [moment(20), view(unit(0, 0, 10, 10)), moment(19)]
    windows, mask = opponent_windows([gap], [0], [2], 3)
    assert mask.tolist() == [[True, False, True]]
    assert np.array_equal(windows[0, 2], opponent_features([gap[1:]], [0], [2])[0])
    assert windows[0, 2, 2] == 0  # where it was is not known
