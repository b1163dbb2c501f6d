"""Blocked cells, start cells and their symmetries, worked out by hand on the reference."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from envs.reference import Fight, Unit, rules
from envs.reference.dice import Dice, Purpose
from envs.reference.starts import free_cell, turned

TEAMS = (("mage", "tank", "ranged"), ("support", "aggressive", "defensive"))


def ground(cells: Iterable[tuple[int, int]]) -> np.ndarray:
    """Blocked cells (x, y) of a 32 x 32 arena, without their reflections."""
    terrain = np.zeros((32, 32), bool)
    for x, y in cells:
        terrain[y, x] = True
    return terrain


def walker(*blocked: tuple[int, int]) -> tuple[Fight, Unit]:
    fight = Fight((("aggressive",), ("tank",)), terrain=ground(blocked))
    me = fight.units[0]
    me.x, me.y, me.speed = 10, 10, 100
    return fight, me


def step(fight: Fight, me: Unit, dx: int, dy: int) -> tuple[int, int]:
    me.x, me.y, me.move_lock = 10, 10, 0
    rules.walk(fight, me, dx, dy)
    return me.x - 10, me.y - 10


def test_a_barred_step_turns_left_then_right() -> None:
    # Of every direction: its left neighbour by 45 degrees, then its right one.
    compass = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]  # clockwise from N
    for k, (dx, dy) in enumerate(compass):
        left, right = compass[k - 1], compass[(k + 1) % 8]
        ahead = (10 + dx, 10 + dy)
        assert step(*walker(), dx, dy) == (dx, dy)
        assert step(*walker(ahead), dx, dy) == left
        assert step(*walker(ahead, (10 + left[0], 10 + left[1])), dx, dy) == right
        both = [(10 + x, 10 + y) for x, y in (left, right)]
        assert step(*walker(ahead, *both), dx, dy) == (0, 0)
        assert step(*walker(*both), dx, dy) == (dx, dy)  # no wall ahead: corners are cut


def test_a_turned_step_costs_what_it_is() -> None:
    fight, me = walker((11, 10))
    assert step(fight, me, 1, 0) == (1, 1) and me.move_lock == 140
    assert me.stats["steps"] == 1
    fight, me = walker((11, 11))
    assert step(fight, me, 1, 1) == (0, 1) and me.move_lock == 100
    fight, me = walker((11, 10), (11, 11), (11, 9))
    assert step(fight, me, 1, 0) == (0, 0) and me.move_lock == 0 and me.stats["steps"] == 0


def test_turning_goes_by_the_ordered_direction_at_the_edge() -> None:
    # At the left edge a step north-west is a step north; where that is blocked, left of the order is west
    # (my own cell after clipping, so no step), right of it north (blocked as well).
    fight = Fight((("aggressive",), ("tank",)), terrain=ground([(0, 11)]))
    me = fight.units[0]
    me.x, me.y, me.move_lock = 0, 10, 0
    rules.walk(fight, me, -1, 1)
    assert (me.x, me.y) == (0, 10)
    # A step north turns left to north-west, which is north again; right to north-east, which is free.
    rules.walk(fight, me, 0, 1)
    assert (me.x, me.y) == (1, 11)


def test_a_dash_lands_before_its_target_or_on_it() -> None:
    for blocked, x in (((), 13), (((13, 10),), 14)):
        fight, me = walker(*blocked)
        foe = fight.units[1]
        foe.x, foe.y = 14, 10
        dash = next(skill for skill in me.skills if skill.kind == "dash")
        rules.apply_skill(fight, me, dash, foe, foe.x, foe.y)
        assert (me.x, me.y) == (x, 10)


def test_terrain_bars_steps_but_not_sight() -> None:
    wall = [(12, y) for y in range(32)]
    fight = Fight((("ranged",), ("tank",)), terrain=ground(wall))
    me, foe = fight.units
    (me.x, me.y), (foe.x, foe.y) = (10, 10), (14, 10)
    me.action_clock, foe.stun = 0, 60_000
    for _ in range(40):
        fight.step()
    assert me.target is foe and foe.hp < foe.max_hp and me.x < 12


def test_eight_symmetries_keep_the_middle() -> None:
    cells = {turned(13, 18, turn, 31) for turn in range(8)}
    # (13, 18) is (-5, 5) in half cells from the middle: on a diagonal, so four cells of eight turns.
    assert cells == {(13, 18), (18, 13), (18, 18), (13, 13)}
    assert turned(10, 18, 1, 31) == (18, 10) and turned(10, 18, 2, 31) == (21, 18)
    assert turned(10, 18, 4, 31) == (10, 13) and turned(10, 18, 7, 31) == (13, 21)
    assert len({turned(10, 18, turn, 31) for turn in range(8)}) == 8


@pytest.mark.parametrize("starts", ["near", "around", "random"])
def test_starts_by_hand(starts: str) -> None:
    turns = set()
    for episode in range(60):
        fight = Fight(TEAMS, starts=starts, seed=9, number=2, episode=episode)
        dice = Dice(9, 2, episode)
        turn = 0 if starts == "near" else dice.draw(0, 15, Purpose.START) % 8
        turns.add(turn)
        for slot in range(3):
            roll = dice.draw(0, slot, Purpose.START)
            dx = 2 + roll % 12 if starts == "random" else 3 + roll % 3
            dy = roll // 16 % 27 - 13 if starts == "random" else roll // 16 % 9 - 4
            left, right = fight.units[slot], fight.units[3 + slot]
            assert (left.x, left.y) == turned(16 - dx, 16 + dy, turn, 31)
            assert (right.x, right.y) == (31 - left.x, 31 - left.y)
            assert left.action_clock == right.action_clock == roll // 512 % 600
    assert turns == ({0} if starts == "near" else set(range(8)))


def test_a_blocked_start_moves_toward_the_middle() -> None:
    wall = [(x, 20) for x in range(12)] + [(12, 18), (13, 18), (14, 18)]
    fight = Fight((("mage",), ("mage",)), terrain=ground(wall))
    assert free_cell(fight, 5, 20) == (12, 20)
    assert free_cell(fight, 12, 18) == (15, 18)
    assert free_cell(fight, 20, 20) == (20, 20)
    # From the right the middle lies to the left; in the middle column the way leads along y.
    fight = Fight((("mage",), ("mage",)), terrain=ground([(x, 20) for x in range(16, 32)] + [(16, 19)]))
    assert free_cell(fight, 31, 20) == (16, 18)


def test_nobody_starts_or_ends_on_blocked_ground() -> None:
    rng = np.random.default_rng(2)
    terrain = rng.random((32, 32)) < 0.25
    terrain |= terrain[::-1, ::-1]
    terrain[15:17, 15:17] = False
    for episode in range(6):
        fight = Fight(TEAMS, terrain=terrain, starts="random", seed=1, episode=episode)
        assert not any(terrain[unit.y, unit.x] for unit in fight.units)
        for _ in range(60):
            fight.step()
            assert not any(terrain[unit.y, unit.x] for unit in fight.units)
