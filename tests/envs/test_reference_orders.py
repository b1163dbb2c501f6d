"""Steering, scripted orders and the log of damage, worked out by hand on the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.contracts.layout import O_FUMBLE, O_SCRIPT, O_STEER
from envs.reference import Fight, ReferenceWorld, Unit, rules
from envs.reference.script import choose_target

SCRIPT = (O_SCRIPT, -1, -1, 0, 0)


def duel(mine: str, its: str, apart: int, **arguments: Any) -> tuple[Fight, Unit, Unit]:
    """One learner against an enemy that stays stunned, `apart` cells to the east; clocks ready."""
    fight = Fight(((mine,), (its,)), learners=1, **arguments)
    me, foe = fight.units
    for unit, x in ((me, 10), (foe, 10 + apart)):
        unit.x, unit.y, unit.action_clock = x, 15, 0
    foe.stun = 60_000
    return fight, me, foe


def steer(dx: int = 0, dy: int = 0, *, skill: int = -1, aim: int = -1) -> tuple[int, ...]:
    return (O_STEER, skill, aim, dx, dy)


def slot_of(unit: Unit, kind: str) -> int:
    return next(k for k, skill in enumerate(unit.skills) if skill.kind == kind)


def test_a_steered_archer_kites() -> None:
    # Range 9, seen from 5 cells: it swings in the first tick, waits out the motion, then walks on.
    fight, me, foe = duel("ranged", "tank", 5)
    me.skill_chance = 0
    swings = steps = 0
    for _ in range(10):
        fight.step([steer(-1)], [-1])
        swings, steps = swings + me.stats["swings"], steps + me.stats["steps"]
    assert me.target is foe and foe.hp < foe.max_hp
    assert me.x == 10 - steps and steps >= 3 and me.y == 15
    assert swings == 1 + (2000 - 100) // me.attack_delay  # as often as its clock lets it


def test_steered_hands_without_an_aim_do_not_walk() -> None:
    fight, me, _ = duel("aggressive", "tank", 5)
    for _ in range(5):
        fight.step([steer()], [-1])
    assert (me.x, me.y) == (10, 15) and me.stats["swings"] == 0


def test_a_steered_skill_lets_no_swing_take_its_place() -> None:
    fight, me, foe = duel("aggressive", "tank", 1)
    slot = slot_of(me, "strike")
    fight.step([steer(skill=slot, aim=1)], [-1])
    assert (me.stats["skills"], me.stats["swings"]) == (1, 0)
    while me.action_clock > 0:
        fight.step([steer(skill=slot, aim=1)], [-1])
        assert me.stats["swings"] == 0  # the skill cools down: the hands wait for it
    assert me.cooldowns[slot] > 0 and me.target is foe
    fight.step([steer(aim=1)], [-1])
    assert me.stats["swings"] == 1


def test_a_steer_aimed_at_oneself_or_at_the_dead_keeps_the_hands_still() -> None:
    for dead in (False, True):
        fight, me, _ = duel("aggressive", "tank", 1)
        pal = Unit("mage", 2, 1, 1, "classic", obeys=False)
        fight.units.append(pal)
        aim = 2 if dead else 0
        pal.hp = 0 if dead else pal.hp
        pal.x = pal.y = 0
        fight.step([steer(1, 0, aim=aim)], [-1])
        assert me.stats["swings"] == 0 and me.stats["steps"] > 0 and me.target is None


def test_feet_stand_while_a_cast_runs() -> None:
    fight, me, _ = duel("mage", "tank", 8)
    me.attack_motion = 0  # no pause after a skill that would hold the feet too
    slot = slot_of(me, "strike")
    fight.step([steer(-1, skill=slot, aim=1)], [-1])
    assert me.cast is not None and me.x == 10
    while me.cast is not None:
        fight.step([steer(-1)], [-1])
    # It ends within its window's second tick at the earliest; then the feet obey again.
    fight.step([steer(-1)], [-1])
    assert me.x < 10


def test_a_steered_skill_out_of_reach_does_not_walk() -> None:
    fight, me, foe = duel("mage", "tank", 12)
    fight.step([steer(skill=slot_of(me, "strike"), aim=1)], [-1])
    assert me.cast is None and (me.x, me.stats["skills"]) == (10, 0) and me.target is foe


def test_a_taunt_binds_a_steered_unit() -> None:
    fight, me, foe = duel("aggressive", "tank", 3)
    me.taunt, me.taunted_by = 1000, foe
    fight.step([steer(-1)], [-1])
    assert me.target is foe and me.x > 10


def test_a_script_order_says_whom_to_fight() -> None:
    fight = Fight((("aggressive",), ("tank",)), learners=1)
    me, near = fight.units
    far = Unit("mage", 2, 1, 1, "classic", obeys=False)
    fight.units.append(far)
    for unit, x in ((me, 10), (near, 12), (far, 25)):
        unit.x, unit.y, unit.action_clock, unit.stun = x, 15, 0, 0 if unit is me else 60_000
    me.last_attacker, me.leash = near, 17
    fight.step([(O_SCRIPT, -1, 2, 0, 0)], [-1])
    # Out of sight and out of leash, and though another one hit it.
    assert me.target is far and me.last_attacker is None
    assert me.x > 10 and me.leash == 17 - me.stats["steps"]
    far.hp = 0
    fight.step([(O_SCRIPT, -1, 2, 0, 0)], [-1])
    assert me.target is near  # a dead target leaves the plain script
    me.target = None
    fight.step([(O_SCRIPT, -1, 0, 0, 0)], [-1])
    assert me.target is near  # as does one of the own side


def test_a_script_order_plays_as_a_script_does() -> None:
    teams = (("mage", "tank"), ("ranged", "support"))
    told, free = Fight(teams, learners=2, seed=4), Fight(teams, seed=4)
    for _ in range(120):
        told.step([SCRIPT, SCRIPT], [-1, -1])
        free.step()
        assert [u.hp for u in told.units] == [u.hp for u in free.units]
        assert [(u.x, u.y) for u in told.units] == [(u.x, u.y) for u in free.units]
    assert told.units[0].hp < told.units[0].max_hp


def test_a_scripts_own_skills_fire_under_both_orders() -> None:
    # Tier veteran on a 100 % skill: a trial always succeeds.
    for order in (SCRIPT, steer(), (O_SCRIPT, -1, 1, 0, 0)):
        fight, me, foe = duel("aggressive", "tank", 1, tiers=("veteran", "classic"))
        me.skill_chance = 10_000
        fight.step([order], [-1])
        assert me.stats["skills"] == 1 and me.target is foe, order


def test_stepping_out_of_a_ground_skill_avoids_it() -> None:
    """The mage's storm takes 1.2 s: time enough to leave its radius of 2 cells by steering."""
    for flee in (True, False):
        fight = Fight((("aggressive",), ("mage",)), learners=1)
        me, mage = fight.units
        (me.x, me.y), (mage.x, mage.y) = (10, 15), (17, 15)
        me.action_clock = mage.action_clock = 0
        assert rules.use_skill(fight, mage, slot_of(mage, "ground"), me)
        mage.skill_chance = 0
        hit = 0
        while mage.cast is not None:
            fight.step([steer(0, 1, aim=0) if flee else steer(aim=0)], [-1])
            hit += me.stats["taken_mp"]
        assert (hit == 0) is flee and (me.y > 17) is flee


def test_a_fumble_costs_the_hands_time_but_not_the_feet() -> None:
    fight, me, foe = duel("aggressive", "tank", 1)
    me.action_clock, me.speed = 500, 200
    fight.step([(O_FUMBLE, -1, -1, 0, 1)], [-1])
    # Two ticks: 100 ms run down, 150 ms are lost in each.
    assert me.action_clock == 600 and me.y == 16 and me.stats["swings"] == 0 and me.target is None
    me.action_clock = 1990
    fight.step([(O_FUMBLE, -1, -1, 0, 0)], [-1])
    assert me.action_clock == 2000
    me.action_clock, me.stun = 500, 60_000
    fight.step([(O_FUMBLE, -1, -1, 0, 1)], [-1])
    assert me.action_clock == 300  # the stunned do not even fumble
    assert foe.hp == foe.max_hp


def test_window_statistics_count_swings_skills_and_steps() -> None:
    fight, me, foe = duel("aggressive", "tank", 1)
    me.speed = 100
    fight.step([steer(0, 1, aim=0)], [-1])
    assert (me.stats["steps"], me.stats["swings"], me.stats["skills"]) == (2, 0, 0)
    dash = next((k for k, skill in enumerate(me.skills) if skill.kind == "dash"), None)
    assert dash is not None
    me.x, me.y, foe.x, foe.y = 10, 15, 14, 15
    fight.step([steer(skill=dash, aim=1)], [-1])
    assert me.x == 13 and (me.stats["steps"], me.stats["skills"]) == (0, 1)


def test_positions_are_counted_at_the_windows_end_for_its_ticks() -> None:
    fight, me, foe = duel("ranged", "tank", 8)
    low, high = me.preferred_distance
    assert low <= 8 <= high
    foe.target = me
    fight.step([steer(aim=0)], [-1])
    assert me.stats["optimal_ticks"] == me.stats["kiting_ticks"] == me.stats["aggro_ticks"] == 2
    me.move_lock, me.speed = 0, 1000
    me.x = foe.x - low
    fight.step([steer(1, aim=0)], [-1])  # one step nearer in the first tick: the end of the window counts
    assert me.stats["steps"] == 1 and me.stats["optimal_ticks"] == 0
    # A fight that ends in its window's first tick has one tick to count.
    fight.time_limit = fight.tick + 1
    fight.step([steer(aim=0)], [-1])
    assert me.stats["aggro_ticks"] == me.stats["alive_ticks"] == 1


def test_extreme_damage_and_heals_are_cut_at_a_million() -> None:
    fight, me, foe = duel("aggressive", "tank", 1)
    foe.defence, foe.max_hp, foe.hp = 0, 50_000, 50_000
    rules.hurt(fight, me, foe, 10**12, magic=False)
    assert fight.damage[foe] == 1_000_000
    # 1,000,000 points of 50,000 are 2,000 %: ten bars count.
    assert me.stats["dealt_mp"] == foe.stats["absorbed_mp"] == 1_000_000
    support = Fight((("support",), ("tank",))).units[0]
    heal = support.skills[slot_of(support, "heal")]
    support.matk, support.max_hp, support.hp = 10**9, 100, 1
    fight.healing[support] = 0
    rules.apply_skill(fight, support, heal, support, 0, 0)
    assert fight.healing[support] == 1_000_000
    assert support.stats["healed_mp"] == 1_000_000  # 10,000 bars, ten count
    assert support.stats["effective_healed_mp"] == 99_000


def test_the_log_adds_up_to_the_hit_points_lost() -> None:
    # No healers: what a bar loses is what the log says, but for blows beyond the last point.
    teams = (("mage", "tank", "ranged"), ("aggressive", "defensive", "mage"))
    world = ReferenceWorld(3, teams, learners=0, observed=1, log_damage=True, seed=3, tiers=("veteran",) * 2)
    deaths = 0
    before = np.array([[unit.hp for unit in fight.units] for fight in world.fights])
    for _ in range(300):
        running = [fight.outcome == 0 for fight in world.fights]
        world.step(np.zeros((3, 1), int))
        after = np.array([[unit.hp for unit in fight.units] for fight in world.fights])
        for k, fight in enumerate(world.fights):
            if not running[k]:
                assert not world.damage[k].any() and (world.killer[k] == -1).all()
                continue
            lost, logged = before[k] - after[k], world.damage[k].sum(axis=0)
            died = (before[k] > 0) & (after[k] == 0)
            assert (logged[~died] == lost[~died]).all() and (logged[died] >= lost[died]).all()
            assert ((world.killer[k] >= 0) == died).all()
            for victim in np.flatnonzero(died):
                killer = world.killer[k, victim]
                assert world.damage[k, killer, victim] > 0 and fight.units[killer].stats["kills"] > 0
            deaths += died.sum()
        before = after
    assert deaths > 5


def test_only_the_combat_head_leaves_a_remembered_action() -> None:
    for head, remembered in (("combat", 1), ("movement", -1), ("skill", -1), ("pack", -1)):
        world = ReferenceWorld(1, (("tank",), ("mage",)), learners=1, head=head)
        world.step(np.ones((1, 1), int))
        assert world.fights[0].units[0].last_action == remembered


@pytest.mark.parametrize("percent", [60, 250])
def test_hit_points_by_per_cent(percent: int) -> None:
    world = ReferenceWorld(1, (("tank",), ("tank",)), observed=1, hp_percent=(100, percent))
    me, foe = world.fights[0].units
    assert foe.hp == foe.max_hp == me.max_hp * percent // 100


def test_choose_target_is_not_used_with_an_aim() -> None:
    fight, me, foe = duel("aggressive", "tank", 1)
    assert choose_target(fight, me) is foe
    me.target, me.last_attacker = None, foe
    fight.step([steer(1, 0, aim=0)], [-1])
    assert me.target is None and me.last_attacker is foe
