"""What movement, skill, pack and control actions order, and when they are legal, checked by eye."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.contracts import (
    ACTION_VERSIONS,
    ARCHETYPES,
    HEADS,
    MOVEMENT_ACTIONS,
    PACK_ORDERS,
    Order,
    WorldView,
    control_orders,
    local_observation,
    movement_orders,
    observe,
    pack_orders,
    skill_action,
    skill_action_name,
    skill_orders,
)
from envs.contracts.vocabulary import DIRECTIONS

HEAD_ORDERS = {"movement": movement_orders, "skill": skill_orders, "pack": pack_orders}
ALWAYS = {"movement": 0, "skill": 5, "pack": 0}
FREE, FOCUS_0, FOCUS_1, FOCUS_2, PROTECT, REGROUP, SPREAD, RETREAT = range(8)
WAIT, FUMBLE = Order("hold"), Order("fumble")


def unit(unit_id: str, team: int, x: int, y: int, **more: Any) -> dict[str, Any]:
    return {"id": unit_id, "team": team, "x": x, "y": y, "hp": 1000, "max_hp": 1000, **more}


def skill(kind: str, reach: int = 9, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "range": reach, "effect": 100, **more}


def see(*units: dict[str, Any], blocked: list[tuple[int, int]] | None = None) -> WorldView:
    data: dict[str, Any] = {"elapsed_ms": 0, "units": list(units)}
    if blocked is not None:
        cells = [["#" if (x, y) in blocked else "." for x in range(32)] for y in range(32)]
        data["blocked"] = ["".join(row) for row in cells]
    return WorldView.from_json(data)


def decide(
    head: str, *units: dict[str, Any], me: str = "me", blocked: list[tuple[int, int]] | None = None
) -> tuple[list[Order], list[bool]]:
    view = see(*units, blocked=blocked)
    orders, mask = HEAD_ORDERS[head]([view], [view.unit_index(me)])
    assert orders.dtype == np.int32 and mask.dtype == bool
    return [Order.from_row(view, row) for row in orders[0]], mask[0].tolist()


def steer(*numbers: float, units: list[dict[str, Any]]) -> Order:
    view = see(*units)
    row = control_orders([view], [view.unit_index("me")], np.array([numbers], np.float32))
    assert row.dtype == np.int32 and row.shape == (1, 5)
    return Order.from_row(view, row[0])


def test_every_head_has_a_version_and_names() -> None:
    assert tuple(ACTION_VERSIONS) == HEADS
    assert sorted(ACTION_VERSIONS.values()) == [
        "combat_v1", "control_v2", "movement_v1", "pack_v1", "skill_v1",
    ]  # fmt: skip
    assert len(MOVEMENT_ACTIONS) == len(DIRECTIONS) == 9 and len(PACK_ORDERS) == 8
    assert DIRECTIONS[MOVEMENT_ACTIONS.index("N")] == (0, 1)
    assert DIRECTIONS[MOVEMENT_ACTIONS.index("SE")] == (1, -1)
    names = [skill_action_name(action) for action in range(70)]
    assert len(set(names)) == 70 and (names[0], names[5], names[25]) == (
        "attack:enemy_0", "wait", "skill_1:self",
    )  # fmt: skip
    assert skill_action(2, 5) == 25


@pytest.mark.parametrize("head", HEAD_ORDERS)
@pytest.mark.parametrize(
    "state",
    [
        {"hp": 0},
        {"status": {"stun_ms": 201}},
        {"cast": {"skill": 0, "left_ms": 101}},
        {"status": {"taunt_ms": 201, "taunted_by": "foe"}},
    ],
    ids=["dead", "stunned", "casting", "taunted"],
)
def test_who_cannot_act_may_only_wait(head: str, state: dict[str, Any]) -> None:
    others = [unit("pal", 0, 20, 10, hp=400), unit("foe", 1, 11, 10)]
    kit = [skill("strike"), skill("guard", 0)]
    orders, mask = decide(head, unit("me", 0, 10, 10, skills=kit, **state), *others)
    assert [a for a, legal in enumerate(mask) if legal] == [ALWAYS[head]]
    assert all(order == FUMBLE for a, order in enumerate(orders) if a != ALWAYS[head])
    # The same unit when it may act again.
    assert sum(decide(head, unit("me", 0, 10, 10, skills=kit), *others)[1]) > 3


def test_steps_stay_in_the_arena_and_off_blocked_cells() -> None:
    foe = unit("foe", 1, 20, 20)
    orders, mask = decide("movement", unit("me", 0, 0, 31), foe, blocked=[(1, 31)])
    names = [MOVEMENT_ACTIONS[a] for a in range(9) if mask[a]]
    assert names == ["stay", "SE", "S"]  # the corner bars N, NW, W, NE and SW, the blocked cell E
    assert orders[4] == Order("steer", direction=(1, -1)) and orders[0] == Order("steer", direction=(0, 0))
    assert orders[3] == FUMBLE
    assert sum(decide("movement", unit("me", 0, 10, 10), foe)[1]) == 9
    # A step is due in the window's second tick, or not at all.
    assert sum(decide("movement", unit("me", 0, 10, 10, clocks={"move_ms": 200}), foe)[1]) == 9
    assert sum(decide("movement", unit("me", 0, 10, 10, clocks={"move_ms": 201}), foe)[1]) == 1


def test_bounds_need_not_begin_at_zero() -> None:
    data = {
        "elapsed_ms": 0,
        "bounds": [100, 50, 102, 51],
        "blocked": [".#.", "..."],
        "units": [unit("me", 0, 100, 50), unit("foe", 1, 102, 50)],
    }
    view = WorldView.from_json(data)
    _, mask = movement_orders([view], [0])
    assert [MOVEMENT_ACTIONS[a] for a in np.flatnonzero(mask[0])] == ["stay", "N", "NE"]


def test_pointers_keep_the_places_of_the_dead() -> None:
    units = [
        unit("me", 0, 10, 10),
        unit("pal", 0, 10, 11),
        unit("a", 1, 11, 10, hp=0),
        unit("b", 1, 11, 11),
    ]
    orders, mask = decide("skill", *units)
    assert [a for a in range(70) if mask[a]] == [1, 5]  # the basic attack at enemy 1, and waiting
    assert orders[1] == Order("attack", target="b") and orders[5] == WAIT and orders[6] == FUMBLE


def test_a_basic_attack_in_range_needs_the_clock_and_out_of_range_the_legs() -> None:
    def attack(distance: int, **clocks: int) -> bool:
        return decide("skill", unit("me", 0, 5, 5, clocks=clocks), unit("foe", 1, 5 + distance, 5))[1][0]

    assert attack(1, action_ms=200, move_ms=5000) and not attack(1, action_ms=201)
    assert attack(2, action_ms=5000, move_ms=200) and not attack(2, move_ms=201)


def test_skills_find_their_targets() -> None:
    kit = [skill("strike", 3), skill("heal", 4), skill("taunt", 0, radius=2), skill("guard", 0)]
    me = unit("me", 0, 10, 10, skills=kit)
    pal, foe = unit("pal", 0, 10, 14, hp=949), unit("foe", 1, 13, 10)

    def legal(*units: dict[str, Any]) -> set[str]:
        _, mask = decide("skill", *units)
        return {skill_action_name(a) for a in range(10, 70) if mask[a]}

    assert legal(me, pal, foe) == {"skill_0:enemy_0", "skill_1:ally_0", "skill_3:self"}
    # 95 % needs no healing; four cells are no longer in reach of a strike; two are in a taunt's radius.
    assert legal(me, pal | {"hp": 950}, unit("foe", 1, 14, 10)) == {"skill_3:self"}
    assert "skill_2:self" in legal(me, pal, unit("foe", 1, 12, 10))
    taunted = unit("foe", 1, 12, 10, status={"taunt_ms": 1, "taunted_by": "me"})
    assert "skill_2:self" not in legal(me, pal, taunted)
    # Out of reach a helper walks first, if it can.
    far = unit("pal", 0, 10, 20, hp=100)
    assert "skill_1:ally_0" in legal(me, far, foe)
    assert "skill_1:ally_0" not in legal(me | {"clocks": {"move_ms": 201}}, far, foe)
    # A guard that lasts is not renewed; a hurt healer heals itself.
    assert legal(me | {"hp": 500, "status": {"guard_ms": 9}}, pal, foe) == {
        "skill_0:enemy_0", "skill_1:ally_0", "skill_1:self",
    }  # fmt: skip
    assert not legal(me | {"clocks": {"action_ms": 201}}, pal, foe)
    orders, _ = decide("skill", me, pal, foe)
    assert orders[skill_action(2, 6)] == Order("skill", skill=1, target="pal")
    assert orders[skill_action(1, 1)] == FUMBLE


def test_pack_orders_by_hand() -> None:
    me = unit("me", 0, 10, 10)
    team = [me, unit("pal", 0, 13, 10, hp=500), unit("buddy", 0, 14, 13)]
    foes = [unit("a", 1, 25, 10, hp=0), unit("b", 1, 23, 20), unit("c", 1, 25, 25, target="pal")]
    orders, mask = decide("pack", *team, *foes)
    assert mask == [True, False, True, True, True, True, True, False]
    assert orders[FREE] == Order("script")
    assert orders[FOCUS_0] == FUMBLE and orders[FOCUS_1] == Order("script", target="b")
    assert orders[PROTECT] == Order("script", target="c")  # it has the most hurt member for its target
    # The others' centroid is (13.5, 11.5): 3.5 east and 1.5 north; 2 x 3 < 7, so due east.
    assert orders[REGROUP] == Order("steer", direction=(1, 0))
    assert orders[SPREAD] == Order("steer", direction=(-1, 0))  # away from pal, three cells to the east
    assert orders[RETREAT] == FUMBLE  # nobody within 12 cells, no wall near
    # Two cells from the centroid are near enough; five cells from everybody are spread enough.
    assert not decide("pack", me, unit("pal", 0, 12, 10), *foes)[1][REGROUP]
    assert not decide("pack", me, unit("pal", 0, 15, 10), *foes)[1][SPREAD]
    assert decide("pack", me, unit("pal", 0, 14, 10), *foes)[1][SPREAD]
    # Alone there is nobody to protect, to join or to keep away from.
    assert decide("pack", me, *foes)[1] == [True, False, True, True] + [False] * 4


def test_members_on_one_cell_leave_in_different_directions() -> None:
    team = [unit(name, 0, 10, 10) for name in ("me", "pal", "buddy")]
    foe = unit("foe", 1, 30, 30)
    ways = [decide("pack", *team, foe, me=name)[0][SPREAD].direction for name in ("me", "pal", "buddy")]
    assert ways == [(0, 1), (1, 1), (1, 0)]


def test_pack_steps_keep_off_blocked_cells() -> None:
    units = [unit("me", 0, 10, 10), unit("pal", 0, 20, 10), unit("foe", 1, 8, 10)]
    assert decide("pack", *units)[1][REGROUP] and decide("pack", *units)[1][RETREAT]
    _, mask = decide("pack", *units, blocked=[(11, 10)])
    assert not mask[REGROUP] and not mask[RETREAT]


FOES = [
    unit("near", 1, 11, 10),
    unit("weak", 1, 15, 10, hp=100),
    unit("strong", 1, 10, 16, stats={"atk": 5000}),
]


def test_control_chooses_a_target_by_preference() -> None:
    units = [unit("me", 0, 10, 10), *FOES]
    assert steer(0, 0, 0, 0, 0, units=units) == Order("steer", target="near", direction=(0, 0))
    assert steer(0, 0, 0, 0, -0.34, units=units).target == "weak"
    assert steer(0, 0, 0, 0, 0.34, units=units).target == "strong"
    assert steer(0, 0, 0, 0, np.nan, units=units).target == "near"
    # The float32 nearest to a third is above a third.
    assert steer(0, 0, 0, 0, 1 / 3, units=units).target == "strong"
    assert steer(0, 0, 0, 0, np.nextafter(np.float32(1 / 3), 0), units=units).target == "near"


@pytest.mark.parametrize(
    ("vector", "direction"),
    [
        ((1.0, 0.0), (1, 0)),
        ((1.0, 0.41), (1, 0)),  # 2.4142 x 0.41 = 0.99 < 1
        ((1.0, 0.42), (1, 1)),
        ((-0.42, 1.0), (-1, 1)),
        ((-0.41, 1.0), (0, 1)),
        ((0.0, -1.0), (0, -1)),
        ((0.21, -0.21), (0, 0)),  # 0.297 long: the dead zone
        ((0.22, -0.22), (1, -1)),
        ((np.nan, -1.0), (0, -1)),
        ((np.inf, 0.41), (1, 0)),  # clipped to 1
        ((5.0, 0.5), (1, 1)),  # (1, 0.5) after clipping
    ],
)
def test_the_move_vector_leads_in_octants(vector: tuple[float, float], direction: tuple[int, int]) -> None:
    units = [unit("me", 0, 10, 10), *FOES]
    assert steer(*vector, 0, 0, 0, units=units).direction == direction


def test_stance_leads_the_feet_where_the_move_vector_does_not() -> None:
    units = [unit("me", 0, 10, 10), unit("foe", 1, 13, 9)]
    assert steer(0, 0, 1, 0, 0, units=units).direction == (1, -1)  # press
    assert steer(0, 0, -1, 0, 0, units=units).direction == (-1, 0)  # retreat: 1 of 3 is left out
    assert steer(0, 0, 0.3, 0, 0, units=units).direction == (0, 0)
    assert steer(0, 1, 1, 0, 0, units=units).direction == (0, 1)
    assert steer(0, 0, 1, 0, 0, units=[unit("me", 0, 10, 10), unit("foe", 1, 11, 9)]).direction == (0, 0)


def test_the_skill_urge_attacks_or_helps_or_fumbles() -> None:
    kit = [skill("strike", 5), skill("guard", 0), skill("heal", 5)]
    me, foe = unit("me", 0, 10, 10, skills=kit), unit("foe", 1, 13, 10)
    assert steer(0, 0, 0, 0.5, 0, units=[me, foe]) == Order("steer", skill=0, target="foe", direction=(0, 0))
    assert steer(0, 0, 0, 0.5, 0, units=[me, unit("foe", 1, 16, 10)]) == FUMBLE
    assert steer(0, 0, 0, -0.5, 0, units=[me, foe]) == Order(
        "steer", skill=1, target="me", direction=(0, 0)
    )  # nobody is hurt: guard
    pal = unit("pal", 0, 10, 13, hp=500)
    assert steer(0, 0, 0, -0.5, 0, units=[me, pal, foe]) == Order(
        "steer", skill=2, target="pal", direction=(0, 0)
    )
    bare = unit("me", 0, 10, 10)
    assert steer(0, 0, 0, -0.5, 0, units=[bare, foe]) == FUMBLE
    assert steer(1, 0, 0, -0.5, 0, units=[bare, foe]) == Order("fumble", direction=(1, 0))
    # The last one standing has nobody to swing at.
    wait = Order("steer", target="me", direction=(0, 0))
    assert steer(0, 0, 0, 0, 0, units=[bare, unit("foe", 1, 13, 10, hp=0)]) == wait


def test_an_urge_without_a_ready_attack_taunts_whom_it_can() -> None:
    kit = [skill("taunt", 6, radius=6), skill("strike", 5)]
    ready, spent = unit("me", 0, 10, 10, skills=kit), unit("me", 0, 10, 10, skills=[kit[0]])
    near, far = unit("foe", 1, 13, 10), unit("foe", 1, 18, 10)
    assert steer(0, 0, 0, 0.5, 0, units=[ready, near]).skill == 1
    taunt = Order("steer", skill=0, target="me", direction=(0, 0))
    assert steer(0, 0, 0, 0.5, 0, units=[spent, near]) == taunt
    assert steer(0, 1, 0, 0.5, 0, units=[spent, near]) == Order(
        "steer", skill=0, target="me", direction=(0, 1)
    )
    assert steer(0, 0, 0, 0.5, 0, units=[spent, far]) == FUMBLE
    bound = {"taunt_ms": 2000, "taunted_by": "me"}
    assert steer(0, 0, 0, 0.5, 0, units=[spent, unit("foe", 1, 13, 10, status=bound)]) == FUMBLE
    assert steer(0, 0, 0, 0, 0, units=[spent, near]) == Order("steer", target="foe", direction=(0, 0))


def test_control_wants_five_numbers_per_row() -> None:
    view = see(unit("me", 0, 10, 10), unit("foe", 1, 13, 10))
    with pytest.raises(ValueError, match=r"control actions of shape \(1, 4\); expected \(1, 5\)"):
        control_orders([view], [0], np.zeros((1, 4), np.float32))


def test_a_pack_member_sees_its_archetype_too() -> None:
    view = see(unit("me", 0, 10, 10, archetype="mage"), unit("pal", 0, 12, 10), unit("foe", 1, 13, 10))
    local = local_observation([view, view], [0, 1])
    assert local.shape == (2, 70) and local.dtype == np.float32
    assert np.array_equal(local[:, :64], observe([view, view], [0, 1]))
    assert local[0, 64:].tolist() == [float(name == "mage") for name in ARCHETYPES]
    assert local[1, 64:].tolist() == [0.0] * 6  # unknown
