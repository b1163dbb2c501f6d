"""`obs_v1` by hand: every value of one small fight worked out on paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from envs.contracts import FEATURES, OBS_SIZE, WorldView, describe_features, observe


def unit(unit_id: int, team: int, x: int, y: int, hp: int, **more: Any) -> dict[str, Any]:
    return {"id": unit_id, "team": team, "x": x, "y": y, "hp": hp, "max_hp": 1000, **more}


def scene(**mine: Any) -> WorldView:
    """Me (0) with an ally (1), a dead ally (2); three enemies, the second dead. Origin (10, 10), 15 s in."""
    me = unit(0, 0, 14, 8, 500, sp=30, max_sp=120, stats={"range": 3}, **mine)
    return WorldView.from_json(
        {
            "elapsed_ms": 15_000,
            "origin": [10, 10],
            "units": [
                me,
                unit(1, 0, 12, 8, 250),
                unit(2, 0, 1, 1, 0),
                unit(3, 1, 16, 11, 1000, target=0, stats={"range": 2}),
                unit(4, 1, 14, 8, 0, target=0),
                unit(5, 1, 14, 2, 100, target=0, stats={"range": 9}, cast={"skill": 1, "left_ms": 400}),
            ],
        }
    )


def named(view: WorldView, me: int = 0) -> dict[str, float]:
    return dict(zip(FEATURES, observe([view], [me])[0].tolist(), strict=True))


def test_names_are_unique_and_as_many_as_values() -> None:
    assert len(FEATURES) == len(set(FEATURES)) == OBS_SIZE


def test_my_own_numbers() -> None:
    view = scene(
        clocks={"action_ms": 500, "move_ms": 250, "act_ms": 2000},
        status={"guard_ms": 1500, "power_ms": 6000, "slow_ms": 750, "taunt_ms": 600, "shield": 50},
        cast={"skill": 0, "left_ms": 300},
    )
    seen = named(view)
    expected = {
        "hp": 0.5,  # 500 / 1000
        "sp": 0.25,  # 30 / 120
        "x": 0.25,  # 4 cells of 16
        "y": -0.125,
        "action_clock": 0.25,  # 500 / 2000
        "move_lock": 0.25,  # 250 / 1000
        "act_lock": 1.0,  # cut at 1000
        "cast_left": 0.2,  # 300 / 1500
        "guard": 0.25,  # 1500 / 6000
        "power": 1.0,
        "stun_or_taunt": -0.2,  # taunted 600 / 3000
        "slow": 0.25,  # 750 / 3000
        "shield": 0.2,  # 4 x 50 / 1000
        "targeted_by": 0.4,  # 3 and 5; the dead enemy 4 does not count
        "time": 0.25,  # 15 of 60 s
    }
    assert {name: seen[name] for name in expected} == pytest.approx(expected, abs=1e-7)
    assert (
        named(scene(status={"stun_ms": 3000, "taunt_ms": 600}))["stun_or_taunt"] == 1.0
    )  # stun hides a taunt
    # Thousandths of HP: own 500 + 250 + 0, theirs 1000 + 0 + 100, three a side: -350 / 3000.
    assert seen["hp_advantage"] == pytest.approx(-350 / 3000)


def test_enemies_keep_their_slots_and_the_dead_are_zeros() -> None:
    obs = observe([scene()], [0])[0]
    first, dead, last = obs[20:26], obs[26:32], obs[32:38]
    # Unit 3: 2 right, 3 down; at 3 cells I (range 3) reach it, it (range 2) not me; it targets me.
    assert first.tolist() == pytest.approx([2 / 16, 3 / 16, 1.0, 1.0, 0.5, 0.2])
    assert dead.tolist() == [0] * 6
    # Unit 5: 6 cells up; only it (range 9) reaches; it targets me and casts.
    assert last.tolist() == pytest.approx([0, -6 / 16, 0.1, -1.0, 1.0, 0.9])
    assert obs[38:50].tolist() == [0] * 12


def test_allies_without_myself_and_the_dead_are_zeros() -> None:
    obs = observe([scene()], [0])[0]
    assert obs[50:53].tolist() == pytest.approx([-2 / 16, 0, 0.25])
    assert obs[53:62].tolist() == [0] * 9
    # Seen by unit 1, I am in the first slot.
    assert observe([scene()], [1])[0, 50:53].tolist() == pytest.approx([2 / 16, 0, 0.5])


def test_skill_slots() -> None:
    def slot(cooldown: int, cost: int = 10) -> dict[str, Any]:
        return {"kind": "strike", "cost": cost, "cooldown_ms": 4000, "cooldown_left_ms": cooldown}

    skills = [slot(0), slot(200), slot(2000), slot(8000), slot(0, cost=31)]
    seen = [named(scene(skills=skills))[f"skill_{k}"] for k in range(6)]
    # Ready; ready within the window; half the cooldown left: -0.9 / 2; cut at the whole; SP short; absent.
    assert seen == pytest.approx([1.0, 1.0, -0.45, -0.9, -0.05, -1.0])
    busy = [named(scene(skills=skills, clocks={"action_ms": 201}))[f"skill_{k}"] for k in range(6)]
    assert busy == pytest.approx([0.0, -0.045, -0.45, -0.9, -0.05, -1.0])


def test_the_dead_see_clock_and_score_only() -> None:
    obs = observe([scene()], [2])[0]
    assert (obs[:62] == 0).all() and obs[62] == 0.25 and obs[63] != 0


def test_far_away_is_cut_at_the_range_of_the_space() -> None:
    view = WorldView.from_json(
        {"elapsed_ms": 90_000, "origin": [0, 0], "units": [unit(0, 0, 400, -90, 10), unit(1, 1, 0, 0, 10)]}
    )
    seen = named(view)
    assert (seen["x"], seen["y"], seen["time"]) == (1.0, -1.0, 1.0)
    assert (seen["enemy_0_dx"], seen["enemy_0_dy"]) == (-2.0, 2.0)


def test_rows_are_independent() -> None:
    views, units = [scene(), scene(status={"guard_ms": 60}), scene()], [0, 0, 5]
    together = observe(views, units)
    alone = np.concatenate([observe([view], [me]) for view, me in zip(views, units, strict=True)])
    assert np.array_equal(together, alone) and together.dtype == np.float32
    with pytest.raises(ValueError, match="2 views but 1 units"):
        observe(views[:2], [0])


def test_every_value_is_described_with_the_limits_of_the_observation_space() -> None:
    from envs.arena import vector_box

    rows = describe_features()
    space = vector_box()
    assert [row["name"] for row in rows] == list(FEATURES)
    assert isinstance(space, Box)
    assert [row["low"] for row in rows] == space.low.tolist()
    assert [row["high"] for row in rows] == space.high.tolist()
    assert all(row["scale"] for row in rows)
