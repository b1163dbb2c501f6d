"""Reading a WorldView: what may be left out, and one clear line for each mistake."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from envs.contracts import ContractError, WorldView, combat_orders, observe
from envs.contracts import layout as f

SKILL = {"kind": "strike", "magic": True, "effect": 200, "range": 9, "cost": 12, "cast_ms": 700}


def unit(unit_id: Any, team: int, x: int, **more: Any) -> dict[str, Any]:
    return {"id": unit_id, "team": team, "x": x, "y": 5, "hp": 50, "max_hp": 100, **more}


def example() -> dict[str, Any]:
    return {
        "elapsed_ms": 1200,
        "units": [
            unit("me", 0, 3, archetype="mage", skills=[SKILL], clocks={"action_ms": 300}, stats={"atk": 10}),
            unit(7, 1, 6, target="me", status={"stun_ms": 100, "taunted_by": "me"}),
        ],
    }


def test_what_is_left_out_gets_its_default() -> None:
    view = WorldView.from_json(example())
    me, foe = view.units
    assert view.ids == ("me", 7) and view.unit_index(7) == 1
    assert view.bounds == (0, 0, 31, 31)
    assert view.origin_x2 == (9, 10)  # twice the mean of (3, 5) and (6, 5)
    assert me[f.RANGE] == 1 and me[f.SPEED] == 200 and me[f.ATTACK_DELAY] == 1000 and me[f.ATK] == 10
    assert me[f.TARGET] == me[f.CAST_SLOT] == me[f.TAUNT_BY] == me[f.LAST_ACTION] == -1
    assert foe[f.ARCHETYPE] == -1 and foe[f.TARGET] == 0 and foe[f.TAUNT_BY] == 0
    assert view.skills[0, 0, f.KIND] == f.K_STRIKE and (view.skills[0, 1:] == 0).all()


def test_references_to_units_out_of_view_mean_nobody() -> None:
    data = example()
    data["units"][1]["target"] = "gone"
    assert WorldView.from_json(data).units[1, f.TARGET] == -1


def test_points_above_the_bar_are_cut() -> None:
    data = example()
    data["units"][0].update(hp=120, sp=30, max_sp=20)
    assert WorldView.from_json(data).units[0, [f.HP, f.SP]].tolist() == [100, 20]


def test_an_empty_slot_before_a_skill_stays_empty() -> None:
    data = example()
    data["units"][0]["skills"] = [None, SKILL]
    view = WorldView.from_json(data)
    assert view.skills[0, :2, f.KIND].tolist() == [f.K_NONE, f.K_STRIKE]
    assert view.to_json()["units"][0]["skills"][0] is None


def test_blocked_cells_are_rows_from_the_lowest_y_up() -> None:
    data = example() | {"bounds": [2, 5, 4, 6], "blocked": ["#..", ".##"]}
    view = WorldView.from_json(json.loads(json.dumps(data)))
    assert view.blocked is not None and view.blocked.dtype == bool
    assert view.blocked.tolist() == [[True, False, False], [False, True, True]]
    assert view.to_json()["blocked"] == ["#..", ".##"]
    assert WorldView.from_json(example()).blocked is None
    assert "blocked" not in WorldView.from_json(example()).to_json()


def test_extreme_but_valid_numbers_stay_in_the_observation_s_range() -> None:
    big = 2**31 - 1
    data = example()
    for entry in data["units"]:
        entry.update(hp=big, max_hp=big, sp=big, max_sp=big, x=big if entry["id"] == "me" else -(2**28))
        entry["stats"] = dict.fromkeys(
            ("atk", "matk", "def", "mdef", "hit", "flee", "range", "speed_ms"), big
        )
        entry["clocks"] = {"action_ms": big, "move_ms": big, "act_ms": big}
        entry["status"] = {"guard_ms": big, "shield": big, "taunt_ms": big}
    data["elapsed_ms"] = big
    data["bounds"] = [-big, -big, big, big]
    view = WorldView.from_json(json.loads(json.dumps(data)))
    for me in (0, 1):
        obs = observe([view], [me])
        assert np.isfinite(obs).all() and np.abs(obs).max() <= 2
        assert combat_orders([view], [me])[1].any()


def at(*path: Any, value: Any = ..., drop: bool = False) -> Callable[[dict[str, Any]], None]:
    """Set or drop one place of the example."""

    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        if drop:
            del data[path[-1]]
        else:
            data[path[-1]] = value

    return change


BAD: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (at("version", value="view_v9"), "version 'view_v9' is not supported; this release reads view_v1"),
    (at("extra", value=1), "view: unknown key 'extra'"),
    (at("units", drop=True), "'units' must be a list of 1 to 10 units"),
    (at("units", value=[]), "'units' must be a list of 1 to 10 units"),
    (at("units", value={}), "'units' must be a list of 1 to 10 units"),
    (at("units", value=[3]), "view: unit 0: expected an object, got int"),
    (at("units", value=[unit(k, 0, 0) for k in range(6)]), "team 0 has 6 units, at most 5 fit"),
    (at("units", value=[unit(k, k % 2, 0) for k in range(11)]), "'units' must be a list of 1 to 10 units"),
    (at("units", 1, "id", value="me"), "two units have the same id"),
    (at("units", 1, "id", value=True), "unit 1: 'id' must be a string or a whole number, got True"),
    (at("units", 1, "id", value=[1]), "unit 1: 'id' must be a string or a whole number"),
    (at("units", 1, "id", drop=True), "unit 1: 'id' must be a string or a whole number, got None"),
    (at("units", 0, "hp", drop=True), "unit 'me': 'hp' is missing"),
    (at("units", 0, "hp", value=None), "unit 'me': 'hp' is missing"),
    (at("units", 0, "hp", value=-1), "unit 'me': 'hp' is -1, must be at least 0"),
    (at("units", 0, "hp", value=True), "unit 'me': 'hp' must be a whole number, got True"),
    (at("units", 0, "hp", value=1.5), "unit 'me': 'hp' must be a whole number, got 1.5"),
    (at("units", 0, "hp", value="12"), "unit 'me': 'hp' must be a whole number, got '12'"),
    (at("units", 0, "x", value=math.nan), "unit 'me': 'x' must be a whole number, got nan"),
    (at("units", 0, "x", value=2**31), "unit 'me': 'x' is 2147483648, must be"),
    (at("units", 0, "max_hp", value=0), "unit 'me': 'max_hp' is 0, must be at least 1"),
    (at("units", 0, "mana", value=3), "unit 0: unknown key 'mana'"),
    (at("units", 0, "team", value=2), "unit 'me': 'team' must be 0 or 1, got 2"),
    (at("units", 0, "archetype", value="wizard"), "unknown archetype 'wizard'; known are aggressive, "),
    (at("units", 0, "archetype", value=["mage"]), "unknown archetype ['mage']"),
    (at("units", 0, "last_action", value="dance"), "unknown last_action 'dance'"),
    (at("units", 0, "target", value=1.5), "'target' must be a unit id or null, got 1.5"),
    (at("units", 0, "stats", value=[]), "'stats': expected an object, got list"),
    (at("units", 0, "stats", "luck", value=1), "'stats': unknown key 'luck'"),
    (at("units", 0, "clocks", "action_ms", value=-5), "clocks: 'action_ms' is -5, must be at least 0"),
    (at("units", 0, "status", value={"stun_ms": "long"}), "status: 'stun_ms' must be a whole number"),
    (at("units", 0, "cast", value={"left_ms": 3}), "cast: 'skill' is missing"),
    (at("units", 0, "cast", value={"skill": 6, "left_ms": 3}), "cast: 'skill' must be a slot from 0 to 5"),
    (at("units", 0, "cast", value={"skill": 0, "left_ms": 3, "cell": [1]}), "'cell' must be 2 whole numbers"),
    (at("units", 0, "skills", value=[SKILL] * 7), "'skills' must be a list of at most 6 skills"),
    (at("units", 0, "skills", value="none"), "'skills' must be a list of at most 6 skills"),
    (at("units", 0, "skills", 0, value=3), "skill 0: expected an object, got int"),
    (
        at("units", 0, "skills", 0, value={"kind": "sing"}),
        "skill 0: unknown kind 'sing'; known are none, strike",
    ),
    (
        at("units", 0, "skills", 0, value={**SKILL, "magic": 1}),
        "skill 0: 'magic' must be true or false, got 1",
    ),
    (
        at("units", 0, "skills", 0, value={**SKILL, "cost": math.inf}),
        "skill 0: 'cost' must be a whole number",
    ),
    (at("elapsed_ms", value=0.5), "view: 'elapsed_ms' must be a whole number, got 0.5"),
    (at("bounds", value=[0, 0, 31]), "'bounds' must be 4 whole numbers"),
    (at("bounds", value=[5, 0, 4, 31]), "'bounds' must be [min x, min y, max x, max y]"),
    (at("bounds", value=[0, 0, math.nan, 31]), "'bounds' must be 4 whole numbers"),
    (at("blocked", value=["." * 32] * 31), "'blocked' must be a list of 32 rows"),
    (
        at("blocked", value="." * 32),
        "'blocked' must be a list of 32 rows, one per y of the bounds from below, got str",
    ),
    (at("blocked", value=["." * 31] * 32), "'blocked': row 0 must be a string of 32 letters, got 31 letters"),
    (
        at("blocked", value=["." * 32] * 31 + [None]),
        "'blocked': row 31 must be a string of 32 letters, got NoneType",
    ),
    (at("blocked", value=["x" * 32] * 32), "'blocked': row 0 has 'x'; '#' is a blocked cell, '.' a free one"),
    (at("origin", value=[math.nan, 0]), "'origin' must be two numbers (cells)"),
    (at("origin", value="middle"), "'origin' must be two numbers (cells)"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_views(change: Callable[[dict[str, Any]], None], message: str) -> None:
    data = copy.deepcopy(example())
    data["units"][0]["stats"] = {"atk": 10}
    change(data)
    with pytest.raises(ContractError) as raised:
        WorldView.from_json(data)
    text = str(raised.value)
    assert message in text and "\n" not in text and text.startswith("view: ")


@pytest.mark.parametrize("data", [None, [], "view", 3])
def test_what_is_no_object_at_all(data: Any) -> None:
    with pytest.raises(ContractError, match=r"^view: expected an object, got"):
        WorldView.from_json(data)


def test_an_unknown_unit_is_named_in_one_line() -> None:
    data = example()
    data["units"][1]["id"] = "two\nlines"
    with pytest.raises(ContractError) as raised:
        WorldView.from_json(data).unit_index("ghost")
    assert "no unit 'ghost'" in str(raised.value) and "\n" not in str(raised.value)
