"""How each style chooses, with the dice held in hand."""

from __future__ import annotations

from typing import Any

import pytest

from envs.contracts.layout import O_ATTACK, O_SKILL
from envs.reference import Fight, Unit
from envs.reference.dice import Dice, Purpose
from envs.reference.styles import choose
from envs.simulation.state import STYLES

HOLD, NEAREST, WEAKEST, DANGEROUS, RETREAT, OFFENSIVE, GUARD, HELP, PROTECT, CONTROL = range(10)
IDLE = [0, -1, -1, 0, 0]
ORDERS = [[O_ATTACK, -1, 3 + action % 3, 0, 0] for action in range(10)]


def choice(
    style: str, *legal: int, roll: int = 99, help_roll: int = 99, **more: Any
) -> tuple[int, list[int]]:
    """What a unit of a style does when these actions (and hold) are legal; rolls below 50 succeed."""
    fight = Fight((("mage", "tank", "tank"), ("tank", "support", "ranged")))
    me, foes = fight.units[0], fight.units[3:]
    me.x, me.y, me.action_clock = 10, 10, 0
    for foe, x in zip(foes, (13, 20, 16), strict=True):
        foe.x, foe.y = x, 10
    me.style = style
    for name, value in more.items():
        if name == "foe_at":
            foes[0].x = value
        elif name == "weakest":
            foes[value].hp = 1
        elif name == "dead":
            foes[value].hp = 0
        else:
            setattr(me, name, value)
    rolls = {Purpose.STYLE: roll, Purpose.HELP: help_roll}

    def draw(unit: Unit, purpose: int, *, tick: int | None = None) -> int:
        assert unit is me and tick == fight.tick + 1
        return rolls[Purpose(purpose)]

    fight.draw = draw  # type: ignore[method-assign, assignment]
    orders = [list(order) for order in ORDERS]
    for action in (OFFENSIVE, GUARD, HELP, CONTROL):
        orders[action] = [O_SKILL, 0, 3, 0, 0]
    allowed = [action == HOLD or action in legal for action in range(10)]
    action, order = choose(fight, me, orders, allowed)  # type: ignore[arg-type]
    return action, list(order)


ALL = tuple(range(10))


@pytest.mark.parametrize(
    ("style", "action"),
    [("rusher", NEAREST), ("kiter", NEAREST), ("focus_fire", WEAKEST), ("turtle", HOLD)],
)
def test_what_a_style_does_when_no_skill_comes_up(style: str, action: int) -> None:
    assert choice(style, *ALL) == (action, ORDERS[action])
    assert choice(style)[0] == HOLD  # illegal: hold


@pytest.mark.parametrize("style", ["rusher", "kiter", "focus_fire", "healer_first", "turtle"])
def test_skills_come_by_chance_in_one_order_for_all(style: str) -> None:
    rest = [CONTROL, GUARD] if style != "turtle" else [GUARD, CONTROL]
    # Classic: skill chance 100, so a roll below 50 tries the skills.
    assert choice(style, *ALL, roll=49)[0] == (GUARD if style == "turtle" else OFFENSIVE)
    assert choice(style, NEAREST, WEAKEST, OFFENSIVE, CONTROL, roll=149)[0] == OFFENSIVE
    assert choice(style, NEAREST, WEAKEST, CONTROL, GUARD, roll=0)[0] == rest[0]
    assert choice(style, NEAREST, WEAKEST, GUARD, roll=0)[0] == GUARD
    assert choice(style, *ALL, roll=50)[0] not in (OFFENSIVE, CONTROL, GUARD)
    assert choice(style, OFFENSIVE, roll=99, skill_chance=500)[0] == OFFENSIVE  # veteran: always
    assert choice(style, OFFENSIVE, roll=25, skill_chance=50)[0] != OFFENSIVE  # passive: one in four


@pytest.mark.parametrize("style", ["rusher", "kiter", "focus_fire", "healer_first", "turtle"])
def test_help_comes_first_and_rolls_for_itself(style: str) -> None:
    assert choice(style, *ALL, roll=0, help_roll=49)[0] == HELP
    assert choice(style, *ALL, roll=0, help_roll=50)[0] != HELP
    assert choice(style, OFFENSIVE, roll=0, help_roll=0)[0] == OFFENSIVE


def test_a_kiter_steps_back_while_its_clock_runs() -> None:
    busy = {"action_clock": 201}
    assert choice("kiter", *ALL, roll=0, **busy)[0] == RETREAT  # 3 cells away, range 6
    assert choice("kiter", *ALL, roll=0, foe_at=15, **busy)[0] == RETREAT
    assert choice("kiter", *ALL, foe_at=16, **busy)[0] == NEAREST  # six cells are far enough
    assert choice("kiter", *ALL, action_clock=200)[0] == NEAREST  # it may strike within the window
    assert choice("kiter", *ALL, act_lock=201)[0] == RETREAT
    assert choice("kiter", NEAREST, **busy)[0] == NEAREST  # cornered
    # A short arm keeps four cells off.
    assert choice("kiter", *ALL, foe_at=13, range=1, **busy)[0] == RETREAT
    assert choice("kiter", *ALL, foe_at=14, range=1, **busy)[0] == NEAREST
    assert choice("rusher", *ALL, **busy)[0] == NEAREST


def test_a_hunter_of_healers() -> None:
    # Enemies: 3 tank (nearest), 4 support, 5 ranged.
    assert choice("healer_first") == (DANGEROUS, [O_ATTACK, -1, 4, 0, 0])  # asks for no legality
    assert choice("healer_first", weakest=1) == (WEAKEST, [O_ATTACK, -1, 4, 0, 0])
    assert choice("healer_first", dead=1, weakest=0) == (DANGEROUS, [O_ATTACK, -1, 5, 0, 0])
    assert choice("healer_first", foe_at=25, dead=1) == (NEAREST, [O_ATTACK, -1, 5, 0, 0])
    assert choice("healer_first", stun=201)[0] == HOLD
    assert choice("healer_first", stun=200)[0] == DANGEROUS


def test_random_draws_evenly_among_legal_actions() -> None:
    drawn = [choice("random", RETREAT, CONTROL, roll=roll)[0] for roll in range(6)]
    assert drawn == [HOLD, RETREAT, CONTROL] * 2


def test_a_style_obeys_its_own_orders_and_remembers_them() -> None:
    fight = Fight((("tank",), ("aggressive",)), styles=((), ("rusher",)), tiers=("passive", "passive"))
    me, foe = fight.units
    foe.skill_chance = me.skill_chance = 0
    assert (me.style, foe.style) == ("script", "rusher")
    before = me.distance(foe)
    for _ in range(4):
        fight.step()
    # A passive script would wait until it is hit.
    assert me.distance(foe) < before and foe.target is me
    assert foe.last_action == NEAREST and me.last_action == -1
    assert foe.order == (O_ATTACK, -1, 0, 0, 0)


def test_a_mind_keeps_its_orders_in_a_styled_team() -> None:
    fight = Fight((("tank", "mage"), ("tank", "mage")), learners=1, styles=(("rusher",), ()))
    fight.step([(1, -1, -1, 0, 1)], [4])
    learner, mate = fight.units[:2]
    assert learner.order == (1, -1, -1, 0, 1) and learner.last_action == 4
    assert mate.last_action >= 0


def test_which_style_a_team_gets_and_when_it_switches() -> None:
    names = ("kiter", "turtle", "rusher")
    seen, nexts = set(), set()
    for episode in range(40):
        dice = Dice(7, 0, episode)
        for swapped in (False, True):
            fight = Fight(
                (("tank",) * 2, ("mage",) * 2), styles=(names, names[:1]), switching=True, seed=7,
                episode=episode, swap_sides=swapped,
            )  # fmt: skip
            stream = 14 + swapped
            pick = dice.draw(0, stream, 7) % 3
            later = (pick + 1 + dice.draw(1, stream, 7) % 2) % 3
            at = 100 + dice.draw(2, stream, 7) % 200
            for unit in fight.units[:2]:
                assert (unit.style, unit.next_style, unit.switch_tick) == (names[pick], names[later], at)
            for unit in fight.units[2:]:  # one style: nothing to switch to
                assert (unit.style, unit.switch_tick) == ("kiter", -1)
            seen.add(names[pick])
            nexts.add((names[pick], names[later]))
    assert seen == set(names) and len(nexts) == 6


def test_a_switch_takes_place_at_its_tick() -> None:
    fight = Fight((("tank",), ("tank",)), styles=((), ("turtle", "rusher")), switching=True)
    foe = fight.units[1]
    foe.style, foe.next_style, foe.switch_tick = "turtle", "rusher", 5
    styles = []
    for _ in range(5):
        fight.step()
        styles.append(foe.style)
    # Windows begin at ticks 0, 2, 4, 6: the first one at or after tick 5 begins at tick 6.
    assert styles == ["turtle"] * 3 + ["rusher"] * 2 and foe.switch_tick == -1


def test_unknown_styles_are_named() -> None:
    with pytest.raises(ValueError, match="unknown style 'dancer'; one of script, rusher, "):
        Fight((("tank",), ("tank",)), styles=((), ("dancer",)))
    assert STYLES[0] == "script"
