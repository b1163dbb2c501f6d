"""The compiled kernel equals the plain-Python rules, and the rules give the numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.contracts import layout as f
from envs.reference import Fight, ReferenceWorld, rules
from envs.reference.dice import Dice, Purpose, mix
from envs.reference.script import act_by_script, choose_target, hurt_friend, nearest_foe
from envs.simulation import state as s
from envs.simulation.world import World
from tests.envs.play import TEAMS, assert_equal_worlds, some_actions, symmetric_terrain

TERRAIN = symmetric_terrain(np.random.default_rng(1), 0.2)

# What each case varies; every case plays 8 fights x 130 windows = 1,040 steps with autoreset.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("1v1", {"tiers": ("classic", "veteran"), "learners": 1}),
    ("1v1", {"tiers": ("passive", "classic"), "learners": 0, "observed": 1, "rules": "prerenewal"}),
    ("1v1", {"tiers": ("classic", "passive"), "learners": 1, "time_limit_ticks": 40, "swap_sides": True}),
    ("2v2", {"tiers": ("veteran", "classic"), "learners": 1, "observed": 2, "rules": "prerenewal"}),
    ("3v3", {"tiers": ("classic", "veteran"), "learners": 1, "observed": 3}),
    ("3v3", {"tiers": ("veteran", "veteran"), "learners": 3, "size": 48, "rules": "prerenewal"}),
    ("5v5", {"tiers": ("veteran", "classic"), "learners": 1, "observed": 5, "swap_sides": True}),
    ("5v5", {"tiers": ("classic", "veteran"), "learners": 5, "size": 48}),
    ("1v1", {"head": "movement", "learners": 1, "terrain": TERRAIN, "starts": "around", "log_damage": True}),
    ("3v3", {"head": "skill", "learners": 3, "hp_percent": (100, 60), "starts": "random"}),
    ("5v5", {"head": "pack", "learners": 5, "terrain": TERRAIN, "starts": "random", "log_damage": True}),
    ("2v2", {"head": "control", "learners": 2, "terrain": TERRAIN, "hp_percent": (250, 130)}),
    ("3v3", {"styles": (s.STYLES[1:4], s.STYLES[4:]), "switching": True, "observed": 3}),
    ("5v5", {"styles": ((), s.STYLES), "switching": True, "learners": 2, "terrain": TERRAIN}),
]


@pytest.mark.parametrize(
    ("teams", "arguments"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)]
)
def test_kernel_equals_reference_step_by_step(teams: str, arguments: dict[str, Any]) -> None:
    rng = np.random.default_rng(17)
    ours = World(8, TEAMS[teams], seed=2**40 + 7, first_fight=11, **arguments)
    theirs = ReferenceWorld(8, TEAMS[teams], seed=2**40 + 7, first_fight=11, **arguments)
    assert_equal_worlds(ours, theirs, "start")
    seen = np.zeros(s.NUM_STATISTICS, np.int64)
    for window in range(130):
        # 10 % illegal actions: their orders must be carried out alike too.
        actions = some_actions(ours, rng, illegal=0.1)
        ours.step(actions)
        theirs.step(actions)
        assert_equal_worlds(ours, theirs, f"window {window}")
        seen += ours.stats.astype(np.int64).sum(axis=(0, 1))
    assert seen[s.S_DEALT] > 0 and seen[s.S_TAKEN] > 0


def test_the_comparison_covers_every_statistic_skill_kind_and_status() -> None:
    # The cases above would prove nothing about a rule that never fires in them.
    seen = np.zeros(s.NUM_STATISTICS, np.int64)
    statuses = np.zeros(f.NUM_UNIT_FIELDS, np.int64)
    styles, switched = set(), False
    for teams, arguments in CASES:
        rng = np.random.default_rng(17)
        world = World(8, TEAMS[teams], seed=2**40 + 7, first_fight=11, **arguments)
        for _ in range(130):
            world.step(some_actions(world, rng, illegal=0.1))
            seen += np.abs(world.stats.astype(np.int64)).sum(axis=(0, 1))
            statuses += (world.units[..., : f.NUM_UNIT_FIELDS] > 0).sum(axis=(0, 1))
            styles |= set(np.unique(world.units[..., s.STYLE]).tolist())
            switched |= bool(
                ((world.units[..., s.NEXT_STYLE] > 0) & (world.units[..., s.SWITCH_TICK] < 0)).any()
            )
    assert [s.STATISTICS[k] for k in np.flatnonzero(seen == 0)] == []
    columns = (f.GUARD, f.POWER, f.STUN, f.STUN_IMMUNE, f.SLOW, f.TAUNT, f.SHIELD, f.CAST_LEFT, f.ACT_LOCK)
    assert [column for column in columns if statuses[column] == 0] == []
    assert styles == set(range(len(s.STYLES))) and switched


@pytest.mark.parametrize("seed", [0, 2**63 - 1, 2**64 - 1])
def test_extreme_seeds_and_fight_numbers(seed: int) -> None:
    ours = World(3, TEAMS["2v2"], seed=seed, first_fight=2**40, learners=1)
    theirs = ReferenceWorld(3, TEAMS["2v2"], seed=seed, first_fight=2**40, learners=1)
    for window in range(5):
        assert_equal_worlds(ours, theirs, window)
        actions = np.full((3, 1), 1, np.int32)
        ours.step(actions)
        theirs.step(actions)


def test_concrete_orders_equal_too() -> None:
    # Random orders of every kind, senseless ones too: the wrong side, empty slots, dead targets.
    rng = np.random.default_rng(5)
    ours = World(6, TEAMS["3v3"], tiers=("veteran", "classic"), seed=9, learners=3)
    theirs = ReferenceWorld(6, TEAMS["3v3"], tiers=("veteran", "classic"), seed=9, learners=3)
    for window in range(120):
        kind = rng.integers(0, len(f.ORDER_KINDS), (6, 3))
        bare = (kind == f.O_STEER) & (rng.random((6, 3)) < 0.5)  # a steer may come without a skill
        orders = np.stack(
            [
                kind,
                np.where(bare, -1, rng.integers(0, 6, (6, 3))),
                rng.integers(-1, 6, (6, 3)),
                rng.integers(-1, 2, (6, 3)),
                rng.integers(-1, 2, (6, 3)),
            ],
            axis=-1,
        ).astype(np.int32)
        actions = np.zeros((6, 3), np.int32)
        ours.step_orders(orders, actions)
        theirs.step_orders(orders, actions)
        assert_equal_worlds(ours, theirs, f"window {window}")


@pytest.mark.parametrize(("cells", "counts"), [(12, 2), (14, 2), (15, 0), (31, 0)])
def test_far_apart_equal_too(cells: int, counts: int) -> None:
    # Distances that play seldom reaches: kiting counts within 14 cells, a leash is at most 30.
    teams = (("ranged",), ("tank",))
    ours = World(1, teams, seed=9, learners=1, size=48)
    theirs = ReferenceWorld(1, teams, seed=9, learners=1, size=48)
    me, foe = theirs.fights[0].units
    for unit, row, x in zip((me, foe), ours.units[0], (5, 5 + cells), strict=True):
        unit.x = row[f.X] = x
        unit.y = row[f.Y] = 20
    # Stunned, so that it stays: the tank has me for its target, or is hit and turns to me.
    foe.stun = ours.units[0, 1, f.STUN] = 300
    foe.target, ours.units[0, 1, f.TARGET] = me, 0
    hold = np.zeros((1, 1), np.int32)
    ours.step(hold)
    theirs.step(hold)
    assert_equal_worlds(ours, theirs, cells)
    assert ours.stats[0, 0, s.S_KITING] == counts
    me.target, ours.units[0, 0, f.TARGET] = None, -1
    foe.target, ours.units[0, 1, f.TARGET] = None, -1
    foe.last_attacker, ours.units[0, 1, s.LAST_ATTACKER] = me, 0
    for window in range(3):
        ours.step(hold)
        theirs.step(hold)
        assert_equal_worlds(ours, theirs, (cells, window))


def test_splitmix64_gives_its_published_stream() -> None:
    # Seed 0 of the reference implementation: mix(golden), mix(2 golden).
    golden = 0x9E3779B97F4A7C15
    assert mix(golden) == 0xE220A8397B1DCDAF
    assert mix(2 * golden) == 0x6E789E6AA1B965F4


def test_draws_depend_on_every_part_of_their_key() -> None:
    base = Dice(1, 2, 3).draw(4, 5, Purpose.HIT)
    others = [
        Dice(0, 2, 3).draw(4, 5, Purpose.HIT),
        Dice(1, 0, 3).draw(4, 5, Purpose.HIT),
        Dice(1, 2, 0).draw(4, 5, Purpose.HIT),
        Dice(1, 2, 3).draw(0, 5, Purpose.HIT),
        Dice(1, 2, 3).draw(4, 0, Purpose.HIT),
        Dice(1, 2, 3).draw(4, 5, Purpose.SWING),
    ]
    assert len({base, *others}) == 7
    assert 0 <= base < 2**31


def duel(mine: str = "aggressive", its: str = "aggressive", **arguments: Any) -> Fight:
    """A 1v1 with the two side by side in the middle, clocks ready."""
    fight = Fight(((mine,), (its,)), **arguments)
    for unit, x in zip(fight.units, (15, 16), strict=True):
        unit.x, unit.y, unit.action_clock = x, 15, 0
    return fight


def test_renewal_and_prerenewal_damage_by_hand() -> None:
    fight = duel()
    foe = fight.units[1]
    foe.defence, foe.mdef = 100, 50
    # 1000 (4000 + 100) / (4000 + 1000) = 820;  1000 (1000 + 50) / (1000 + 500) = 700
    assert rules.mitigated("renewal", foe, 1000, magic=False) == 820
    assert rules.mitigated("renewal", foe, 1000, magic=True) == 700
    # d = 100 // 3 = 33 -> 670;  50 // 3 = 16 -> 840
    assert rules.mitigated("prerenewal", foe, 1000, magic=False) == 670
    assert rules.mitigated("prerenewal", foe, 1000, magic=True) == 840
    foe.defence = 600
    assert rules.mitigated("prerenewal", foe, 1000, magic=False) == 100  # 200 % is capped at 90 %


def test_guard_then_shield_by_hand() -> None:
    fight = duel()
    me, foe = fight.units
    foe.defence, foe.max_hp, foe.hp = 0, 1000, 1000
    foe.guard, foe.shield, foe.shield_left = 500, 30, 500
    rules.hurt(fight, me, foe, 100, magic=False)
    # 100 -> guard 55 -> shield takes 30 -> 25 points = 2.5 % of 1000 HP; 75 kept off = 7.5 %
    assert fight.damage[foe] == 25 and foe.shield == 0
    assert foe.stats["blocked_mp"] == 7500 and foe.stats["absorbed_mp"] == 10_000
    assert me.stats["dealt_mp"] == 2500 and me.stats["spell_mp"] == 0
    assert me.stats["sustained_mp"] == 0  # nothing was hit in the 3 s before
    me.last_hit_tick = fight.tick - 30
    rules.hurt(fight, me, foe, 100, magic=False)
    assert me.stats["sustained_mp"] == 5500  # 55 points within 3 s of the hit before


def test_a_blow_always_does_one_point() -> None:
    fight = duel()
    me, foe = fight.units
    foe.guard = 100
    rules.hurt(fight, me, foe, 0, magic=False)
    assert fight.damage[foe] == 1


@pytest.mark.parametrize(
    ("ticks", "cells", "hits"), [(1, 5, False), (2, 3, False), (3, 5, True), (1, 2, True), (1, 0, True)]
)
def test_a_hasty_shot_misses_more(
    monkeypatch: pytest.MonkeyPatch, ticks: int, cells: int, hits: bool
) -> None:
    fight = duel()
    me, foe = fight.units
    fight.tick = 50
    me.move_lock = 0
    rules.walk(fight, me, 0, 1)
    fight.tick += ticks
    me.hit, foe.flee = 100, 15
    foe.x, foe.y = me.x + cells, me.y
    # 80 % at rest or at arm's length; a shot within three ticks of a step 80 less, at least 5.
    # A roll of 50 tells them apart.
    monkeypatch.setattr(fight, "draw", lambda unit, purpose: 50)
    rules.swing(fight, me, foe)
    assert (fight.damage[foe] > 0) is hits and me.stats["swings"] == 1


def test_hit_chance_and_swing_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    fight = duel()
    me, foe = fight.units
    me.hit, foe.flee, me.atk, foe.defence = 100, 15, 340, 0
    rolls = {Purpose.HIT: 79, Purpose.SWING: 40}
    monkeypatch.setattr(fight, "draw", lambda unit, purpose: rolls[purpose])
    rules.swing(fight, me, foe)  # 95 + 100 - 100 - 15 = 80 %: 79 hits; 340 x (80 + 40) % = 408
    assert fight.damage[foe] == 408
    assert me.action_clock == me.attack_delay and me.move_lock == me.attack_motion
    rolls[Purpose.HIT] = 80
    rules.swing(fight, me, foe)
    assert fight.damage[foe] == 408  # missed
    foe.flee, rolls[Purpose.HIT] = 500, 4
    rules.swing(fight, me, foe)
    assert fight.damage[foe] == 816  # never below 5 %
    me.power, rolls[Purpose.SWING] = 1000, 20
    rules.swing(fight, me, foe)
    assert fight.damage[foe] == 816 + 442  # 340 x 100 % x 1.3


def test_steps_by_hand() -> None:
    fight = duel()
    me = fight.units[0]
    me.speed, me.leash = 150, 13
    rules.walk(fight, me, 1, -1)
    assert (me.x, me.y, me.move_lock, me.leash) == (16, 14, 210, 12)  # 150 x 1.4
    rules.walk(fight, me, 1, 0)
    assert me.x == 16  # still on the way
    me.move_lock, me.slow = -50, 100
    rules.walk(fight, me, 1, 0)
    assert (me.x, me.move_lock, me.leash) == (17, 250, 12)  # 2 x 150, less 50 carried over
    me.x, me.y, me.move_lock, me.slow = 0, 0, 0, 0
    rules.walk(fight, me, -1, 0)
    assert (me.x, me.y, me.move_lock) == (0, 0, 0)  # a wall costs nothing
    rules.walk(fight, me, -1, 1)
    assert (me.x, me.y, me.move_lock) == (0, 1, 150)  # along the wall it is a straight step


def test_heals_count_missing_points_only() -> None:
    fight = duel("support")
    me = fight.units[0]
    heal = next(skill for skill in me.skills if skill.kind == "heal")
    me.matk, me.max_hp, me.hp = 100, 1000, 900
    rules.apply_skill(fight, me, heal, me, me.x, me.y)
    amount = heal.effect  # MATK 100: the per cent are the points
    assert fight.healing[me] == amount
    assert me.stats["healed_mp"] == amount * 100 and me.stats["effective_healed_mp"] == min(amount, 100) * 100
    rules.apply_skill(fight, me, heal, me, me.x, me.y)
    assert me.stats["effective_healed_mp"] == min(amount, 100) * 100  # the bar is full already


def test_stun_grants_three_seconds_of_immunity() -> None:
    fight = duel()
    me, foe = fight.units
    stun = next(skill for skill in me.skills if skill.kind == "stun")
    rules.apply_skill(fight, me, stun, foe, foe.x, foe.y)
    assert (foe.stun, foe.stun_immune) == (stun.duration_ms, stun.duration_ms + 3000)
    foe.stun = 0
    rules.apply_skill(fight, me, stun, foe, foe.x, foe.y)
    assert foe.stun == 0


def test_stepping_out_avoids_a_ground_skill_but_not_a_bolt() -> None:
    fight = duel("mage")
    me, foe = fight.units
    for kind, avoided in (("ground", True), ("strike", False)):
        slot = next(k for k, skill in enumerate(me.skills) if skill.kind == kind)
        me.action_clock = me.act_lock = 0
        foe.x = 16
        assert rules.use_skill(fight, me, slot, foe) and me.cast is not None
        foe.x = 16 + me.skills[slot].radius + 1
        before = fight.damage[foe]
        rules.finish_cast(fight, me, me.cast)
        assert (fight.damage[foe] == before) is avoided


def test_a_hit_above_five_per_cent_interrupts_a_cast() -> None:
    for damage, goes_on in ((50, True), (51, False)):
        fight = duel("mage")
        me, foe = fight.units
        me.max_hp = me.hp = 1000
        assert rules.use_skill(fight, me, 0, foe)
        fight.damage[me] = damage
        fight._settle()
        assert (me.cast is not None) is goes_on


def test_both_may_die_in_one_tick() -> None:
    fight = duel()
    one, two = fight.units
    one.hp = two.hp = 10
    rules.hurt(fight, one, two, 500, magic=False)
    rules.hurt(fight, two, one, 500, magic=False)
    fight._settle()
    assert not one.alive and not two.alive
    assert one.stats["kills"] == two.stats["kills"] == 1
    assert fight._judge() == s.DRAW


@pytest.mark.parametrize(
    ("hp", "outcome"),
    # 1000 HP each: shares in thousandths; the dead band is 20 of them.
    [((1000, 979), s.WON_ON_TIME), ((1000, 980), s.DRAW), ((979, 1000), s.LOST_ON_TIME)],
)
def test_the_time_limit_judges_by_hp_share(hp: tuple[int, int], outcome: int) -> None:
    fight = duel(time_limit_ticks=600)
    for unit, points in zip(fight.units, hp, strict=True):
        unit.max_hp, unit.hp = 1000, points
    fight.tick = 599
    assert fight._judge() == s.RUNNING
    fight.tick = 600
    assert fight._judge() == outcome


def test_scripts_see_ten_cells_and_prefer_the_straight_way() -> None:
    fight = Fight((("tank", "tank", "tank"), ("mage", "mage", "mage")))
    me, (one, two, three) = fight.units[0], fight.units[3:]
    me.x, me.y = 5, 5
    (one.x, one.y), (two.x, two.y), (three.x, three.y) = (15, 15), (15, 5), (16, 5)
    assert nearest_foe(fight, me, 10) is two  # as near as `one`, fewer steps
    assert nearest_foe(fight, me, 9) is None
    two.hp = 0
    assert nearest_foe(fight, me, 10) is one
    assert choose_target(fight, me) is one and me.leash == 22  # 10 + 12


def test_a_passive_script_fights_back_only() -> None:
    fight = duel(tiers=("classic", "passive"))
    me, foe = fight.units
    assert choose_target(fight, foe) is None
    foe.last_attacker = me
    assert choose_target(fight, foe) is me


def test_a_taunt_binds_and_protection_is_credited_once_in_three_seconds() -> None:
    fight = Fight((("tank", "mage"), ("aggressive", "aggressive")))
    tank, mage, foe, _ = fight.units
    fight.tick = 100
    foe.x, foe.y = tank.x, tank.y
    foe.last_victim, foe.last_hit_tick, foe.target = mage, 90, mage
    taunt = next(skill for skill in tank.skills if skill.kind == "taunt")
    rules.apply_skill(fight, tank, taunt, tank, tank.x, tank.y)
    assert tank.stats["protected"] == 1 and choose_target(fight, foe) is tank
    rules.held_off(fight, tank, foe)
    assert tank.stats["protected"] == 1
    fight.tick = 130
    foe.last_hit_tick = 130
    rules.held_off(fight, tank, foe)
    assert tank.stats["protected"] == 2


def test_healers_choose_the_most_hurt_within_eight_cells() -> None:
    fight = Fight((("support", "tank", "mage"), ("tank", "tank", "tank")))
    me, tank, mage = fight.units[:3]
    (me.x, me.y), (tank.x, tank.y), (mage.x, mage.y) = (5, 5), (13, 5), (5, 14)
    tank.hp, mage.hp = tank.max_hp * 59 // 100, 1
    assert hurt_friend(fight, me, 60) is tank  # the mage is nine cells away
    assert hurt_friend(fight, me, 50) is None


def test_a_script_without_foes_goes_home() -> None:
    fight = duel(tiers=("passive", "passive"))
    me = fight.units[0]
    me.x, me.y = 3, 15
    act_by_script(fight, me, skills=True)
    assert (me.x, me.y) == (4, 16)  # the middle is 15.5; half cells are kept whole, so both axes step
