"""What each combat action orders, and when it is legal, in positions small enough to check by eye."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.contracts import COMBAT_ACTIONS, ContractError, Order, WorldView, combat_orders, order_row

HOLD, NEAREST, WEAKEST, DANGEROUS, RETREAT, OFFENSIVE, GUARD, HELP, PROTECT, CONTROL = range(10)


def unit(unit_id: str, team: int, x: int, y: int, **more: Any) -> dict[str, Any]:
    return {"id": unit_id, "team": team, "x": x, "y": y, "hp": 1000, "max_hp": 1000, **more}


def decide(*units: dict[str, Any], me: str = "me") -> tuple[list[Order], list[bool]]:
    view = WorldView.from_json({"elapsed_ms": 0, "units": list(units)})
    orders, mask = combat_orders([view], [view.unit_index(me)])
    return [Order.from_row(view, row) for row in orders[0]], mask[0].tolist()


def skill(kind: str, reach: int = 9, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "range": reach, "effect": 100, **more}


def test_targets_by_distance_health_and_danger() -> None:
    orders, mask = decide(
        unit("me", 0, 10, 10),
        unit("near", 1, 11, 10),
        unit("weak", 1, 15, 10, hp=100),
        unit("strong", 1, 10, 16, stats={"atk": 5000}),
    )
    assert [orders[a].target for a in (HOLD, NEAREST, WEAKEST, DANGEROUS)] == [
        "near",
        "near",
        "weak",
        "strong",
    ]
    assert [orders[a].kind for a in (HOLD, NEAREST)] == ["hold", "attack"]
    assert mask[:4] == [True] * 4
    # Nobody to heal, guard, protect; no skills.
    assert mask[OFFENSIVE:] == [False] * 5


def test_an_attack_in_reach_waits_for_the_clock_and_one_out_of_reach_for_the_legs() -> None:
    def attack(distance: int, **clocks: int) -> bool:
        _, mask = decide(unit("me", 0, 5, 5, clocks=clocks), unit("foe", 1, 5 + distance, 5))
        return mask[NEAREST]

    assert attack(1, action_ms=200) and not attack(1, action_ms=201) and not attack(1, act_ms=201)
    assert attack(1, move_ms=5000)
    assert attack(4, move_ms=200) and not attack(4, move_ms=201)
    assert attack(4, action_ms=5000)


def test_retreat_leads_away_and_off_the_walls() -> None:
    orders, mask = decide(unit("me", 0, 10, 10), unit("foe", 1, 8, 10))
    assert orders[RETREAT] == Order("move", direction=(1, 0)) and mask[RETREAT]
    orders, mask = decide(unit("me", 0, 0, 0), unit("foe", 1, 20, 20))
    assert orders[RETREAT].direction == (1, 1) and mask[RETREAT]  # nobody within 12 cells: off the corner
    orders, mask = decide(unit("me", 0, 10, 10), unit("foe", 1, 30, 30))
    assert orders[RETREAT] == Order("fumble") and not mask[RETREAT]  # nobody to flee from


def test_the_offensive_skill_of_most_effect_counts_everyone_it_catches() -> None:
    foes = [unit("a", 1, 12, 10), unit("b", 1, 13, 10)]
    blow, burst = skill("strike", effect=150), skill("area", effect=100, radius=2)
    orders, mask = decide(unit("me", 0, 10, 10, skills=[blow, burst]), *foes)
    assert orders[OFFENSIVE] == Order("skill", skill=1, target="a") and mask[OFFENSIVE]  # 2 x 100 > 150
    orders, _ = decide(unit("me", 0, 10, 10, skills=[blow, burst]), foes[0])
    assert orders[OFFENSIVE].skill == 0  # 150 > 100
    # The current target is preferred to the nearest, if a skill reaches it.
    orders, _ = decide(unit("me", 0, 10, 10, target="b", skills=[blow]), *foes)
    assert orders[OFFENSIVE].target == "b"
    orders, mask = decide(unit("me", 0, 10, 10, target="b", skills=[skill("strike", 2)]), *foes)
    assert orders[OFFENSIVE].target == "a" and mask[OFFENSIVE]


@pytest.mark.parametrize(
    ("more", "mine", "legal"),
    [
        ({}, {}, True),
        ({"cooldown_left_ms": 200}, {}, True),
        ({"cooldown_left_ms": 201}, {}, False),
        ({"cost": 5}, {"sp": 4, "max_sp": 9}, False),
        ({}, {"clocks": {"action_ms": 201}}, False),
        ({}, {"status": {"stun_ms": 200}}, True),
        ({}, {"status": {"stun_ms": 201}}, False),
        ({}, {"cast": {"skill": 0, "left_ms": 100}}, True),
        ({}, {"cast": {"skill": 0, "left_ms": 101}}, False),
        ({}, {"cast": {"skill": 0, "left_ms": 100}, "status": {"stun_ms": 101}}, False),
        ({}, {"status": {"taunt_ms": 201, "taunted_by": "foe"}}, False),
        ({}, {"status": {"taunt_ms": 201, "taunted_by": "gone"}}, True),
    ],
)
def test_a_skill_is_legal_if_it_can_start_within_the_window(
    more: dict[str, Any], mine: dict[str, Any], legal: bool
) -> None:
    _, mask = decide(unit("me", 0, 10, 10, skills=[skill("strike", **more)], **mine), unit("foe", 1, 12, 10))
    assert mask[OFFENSIVE] is legal and mask[HOLD]


def test_guards_are_not_renewed() -> None:
    foe = unit("foe", 1, 12, 10)
    skills = [skill("guard", 0), skill("power", 0)]
    orders, mask = decide(unit("me", 0, 10, 10, skills=skills), foe)
    assert orders[GUARD] == Order("skill", skill=0, target="me") and mask[GUARD]
    orders, mask = decide(unit("me", 0, 10, 10, skills=skills, status={"guard_ms": 50}), foe)
    assert orders[GUARD].skill == 1
    both = {"guard_ms": 50, "power_ms": 50}
    assert not decide(unit("me", 0, 10, 10, skills=skills, status=both), foe)[1][GUARD]


def test_help_goes_to_the_most_hurt() -> None:
    foe = unit("foe", 1, 30, 30)
    heal = [skill("heal", 5)]
    team = [unit("me", 0, 10, 10, skills=heal), unit("pal", 0, 12, 10, hp=940), unit("buddy", 0, 13, 10)]
    orders, mask = decide(*team, foe)
    assert orders[HELP] == Order("skill", skill=0, target="pal") and mask[HELP]
    team[1]["hp"] = 950  # 95 % and more needs no healing
    assert not decide(*team, foe)[1][HELP]
    # Out of reach it walks there first; without a remedy there is no help.
    team[1].update(hp=500, x=20)
    assert decide(*team, foe)[1][HELP]
    team[0]["skills"] = []
    orders, mask = decide(*team, foe)
    assert orders[HELP] == Order("fumble") and not mask[HELP]


def test_protect_hits_who_hits_the_most_hurt_ally() -> None:
    team = [unit("me", 0, 10, 10), unit("pal", 0, 12, 10, hp=500), unit("buddy", 0, 13, 10)]
    foes = [unit("a", 1, 13, 12, target="buddy"), unit("b", 1, 20, 20, target="pal")]
    orders, mask = decide(*team, *foes)
    assert orders[PROTECT] == Order("attack", target="b") and mask[PROTECT]
    foes[1]["target"] = None
    assert decide(*team, *foes)[0][PROTECT].target == "a"  # nearest to the ward
    assert not decide(team[0], *foes)[1][PROTECT]  # nobody to protect


def test_control_prefers_what_would_take() -> None:
    skills = [skill("stun"), skill("slow"), skill("taunt", 0, radius=5)]
    me = unit("me", 0, 10, 10, skills=skills)
    foe = unit("foe", 1, 12, 10)
    assert decide(me, foe)[0][CONTROL] == Order("skill", skill=0, target="foe")
    foe["status"] = {"stun_immune_ms": 1}
    assert decide(me, foe)[0][CONTROL] == Order("skill", skill=1, target="foe")
    foe["status"] = {"stun_immune_ms": 1, "slow_ms": 1}
    assert decide(me, foe)[0][CONTROL] == Order("skill", skill=2, target="me")
    foe["status"] = {"stun_immune_ms": 1, "slow_ms": 1, "taunt_ms": 1, "taunted_by": "me"}
    assert not decide(me, foe)[1][CONTROL]


def test_the_dead_may_only_hold_and_so_may_the_last_one_standing() -> None:
    orders, mask = decide(unit("me", 0, 10, 10, hp=0), unit("foe", 1, 12, 10))
    assert orders == [Order("hold")] + [Order("fumble")] * 9 and mask == [True] + [False] * 9
    orders, mask = decide(unit("me", 0, 16, 16), unit("foe", 1, 12, 10, hp=0))
    assert mask == [True] + [False] * 9 and orders[NEAREST] == Order("fumble")


def test_orders_as_rows_and_as_json() -> None:
    view = WorldView.from_json({"elapsed_ms": 0, "units": [unit("me", 0, 1, 1), unit("foe", 1, 2, 2)]})
    order = Order("skill", skill=3, target="foe")
    assert order_row(view, order).tolist() == [3, 3, 1, 0, 0]
    assert order.to_json() == {"kind": "skill", "skill": 3, "target": "foe"}
    move = Order("move", direction=(-1, 0))
    assert order_row(view, move).tolist() == [1, -1, -1, -1, 0]
    assert move.to_json() == {"kind": "move", "direction": [-1, 0]}
    assert Order.from_row(view, np.array([0, -1, -1, 0, 0])) == Order("hold")
    with pytest.raises(ContractError, match="no unit 'ghost'"):
        order_row(view, Order("attack", target="ghost"))
    with pytest.raises(
        ContractError, match="unknown kind 'dance'; one of hold, move, attack, skill, steer, script, fumble"
    ):
        Order.from_json({"kind": "dance"})


def test_the_kinds_of_other_heads_as_rows_and_as_json() -> None:
    view = WorldView.from_json({"elapsed_ms": 0, "units": [unit("me", 0, 1, 1), unit("foe", 1, 2, 2)]})
    cases = [
        (Order("steer", direction=(0, 1)), [4, -1, -1, 0, 1], {"kind": "steer", "direction": [0, 1]}),
        (
            Order("steer", skill=2, target="foe", direction=(0, 0)),
            [4, 2, 1, 0, 0],
            {"kind": "steer", "skill": 2, "target": "foe", "direction": [0, 0]},
        ),
        (Order("fumble"), [6, -1, -1, 0, 0], {"kind": "fumble"}),
        (
            Order("fumble", direction=(1, 0)),
            [6, -1, -1, 1, 0],
            {"kind": "fumble", "direction": [1, 0]},
        ),
        (Order("script"), [5, -1, -1, 0, 0], {"kind": "script"}),
        (Order("script", target="foe"), [5, -1, 1, 0, 0], {"kind": "script", "target": "foe"}),
    ]
    for order, row, data in cases:
        assert order_row(view, order).tolist() == row and order.to_json() == data
        assert Order.from_row(view, np.array(row)) == order and Order.from_json(data) == order


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "skill", "target": "a"}, "'skill' is missing"),
        ({"kind": "skill", "skill": 6}, "'skill' must be a slot from 0 to 5, got 6"),
        (
            {"kind": "steer", "skill": True, "direction": [0, 0]},
            "'skill' must be a slot from 0 to 5, got True",
        ),
        ({"kind": "attack", "target": 1.5}, "'target' must be a unit id or null, got 1.5"),
        ({"kind": "move"}, r"'direction' is missing; 'move' needs \[dx, dy\]"),
        ({"kind": "steer", "direction": [0, 2]}, r"'direction' must be .* got \[0, 2\]"),
        ({"kind": "steer", "direction": 1}, "'direction' must be .* got 1"),
    ],
)
def test_orders_that_cannot_be_read(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match="^order: " + message):
        Order.from_json(data)


def test_no_retreat_onto_a_blocked_cell() -> None:
    # The foe to the west drives me east.
    for cell, legal in ((11, False), (12, True)):
        rows = ["." * 32] * 10 + ["." * cell + "#" + "." * (31 - cell)] + ["." * 32] * 21
        data = {"elapsed_ms": 0, "units": [unit("me", 0, 10, 10), unit("foe", 1, 8, 10)], "blocked": rows}
        orders, mask = combat_orders([WorldView.from_json(data)], [0])
        assert mask[0, RETREAT] == legal
        assert orders[0, RETREAT].tolist() == ([1, -1, -1, 1, 0] if legal else [6, -1, -1, 0, 0])


def test_what_is_illegal_is_a_fumble() -> None:
    kit = [skill("strike"), skill("guard", 0), skill("heal")]
    busy = {"action_ms": 900, "move_ms": 900}
    team = [unit("me", 0, 10, 10, skills=kit, clocks=busy), unit("pal", 0, 12, 10, hp=100)]
    orders, mask = decide(*team, unit("foe", 1, 11, 10))
    assert mask == [True] + [False] * 9
    assert orders == [Order("hold", target="foe")] + [Order("fumble")] * 9


def test_ten_actions() -> None:
    assert len(COMBAT_ACTIONS) == 10 == len(set(COMBAT_ACTIONS))
