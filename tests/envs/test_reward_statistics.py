"""The statistics behind the reward terms, read from the compiled world in hand-made situations."""

from __future__ import annotations

import numpy as np

from envs.contracts import layout as f
from envs.simulation import state as s
from envs.simulation.world import World

HOLD = (f.O_HOLD, -1, -1, 0, 0)
FROZEN = 600_000  # ms of stun: a unit that does nothing, whatever its script says


def scene(left: tuple[str, ...], right: tuple[str, ...], cells: list[tuple[int, int]]) -> World:
    """A fight with ready clocks, sure hits, no script skills and frozen enemies, all obeying on the left."""
    world = World(1, (left, right), learners=len(left))
    u = world.units[0]
    u[:, f.X], u[:, f.Y] = zip(*cells, strict=True)
    u[:, f.ACTION_CLOCK], u[:, f.HIT], u[:, s.SKILL_CHANCE] = 0, 1000, 0
    u[len(left) :, f.STUN] = FROZEN
    return world


def play(world: World, *orders: tuple[int, ...]) -> np.ndarray:
    """One window; a copy of the statistics, `(unit, statistic)`."""
    rows = np.array([[*orders, *[HOLD] * (world.learners - len(orders))]], np.int32)
    world.step_orders(rows, np.full(rows.shape[:2], -1, np.int32))
    return world.stats[0].copy()


def skill(slot: int, target: int) -> tuple[int, ...]:
    return (f.O_SKILL, slot, target, 0, 0)


def attack(target: int) -> tuple[int, ...]:
    return (f.O_ATTACK, -1, target, 0, 0)


def make_ready(world: World, unit: int) -> None:
    u = world.units[0, unit]
    u[f.ACTION_CLOCK] = u[f.ACT_LOCK] = 0
    u[f.COOLDOWN : f.COOLDOWN + 6] = 0
    u[f.SP] = u[f.MAX_SP]


def guarded_pair() -> World:
    """A defensive (0) and its ranged mate (1) before two enemies; the first of these was hitting the mate."""
    world = scene(
        ("defensive", "ranged"), ("aggressive", "aggressive"), [(10, 10), (12, 10), (11, 10), (14, 10)]
    )
    world.units[0, 2, [s.LAST_VICTIM, s.LAST_HIT_TICK]] = 1, 0
    world.units[0, 3, [s.LAST_VICTIM, s.LAST_HIT_TICK]] = 0, 0  # this one hits the defensive itself
    return world


def test_a_taunt_protects_once_per_enemy_in_three_seconds() -> None:
    world, taunt = guarded_pair(), skill(4, 0)
    assert play(world, taunt)[0, s.S_PROTECTED] == 1  # both are in reach, one was hitting the mate
    make_ready(world, 0)
    world.fights[0, s.G_TICK] = 29  # the next tick is 30, 29 ticks after the first taunt in tick 1
    world.units[0, 2, s.LAST_HIT_TICK] = 29
    assert play(world, taunt)[0, s.S_PROTECTED] == 0
    make_ready(world, 0)
    assert play(world, taunt)[0, s.S_PROTECTED] == 1  # ticks 32: 3 s have passed
    make_ready(world, 0)
    world.fights[0, s.G_TICK] = 100  # the enemy's last hit on the mate was tick 29: long ago
    assert play(world, taunt)[0, s.S_PROTECTED] == 0


def test_a_stun_or_a_kill_protects_a_mate_that_was_being_hit() -> None:
    world = guarded_pair()
    world.units[0, 2, [f.STUN, f.ACTION_CLOCK]] = 0, 5000  # awake, but it cannot strike before the stun
    assert play(world, skill(3, 2))[0, s.S_PROTECTED] == 1
    assert play(world)[0, s.S_PROTECTED] == 0
    world = guarded_pair()
    world.units[0, 2, f.HP] = 1
    stats = play(world, attack(2))
    assert stats[0, [s.S_KILLS, s.S_PROTECTED, s.S_SPELL_KILLS]].tolist() == [1, 1, 0]
    world = guarded_pair()
    world.units[0, 2, [s.LAST_VICTIM, f.HP]] = 0, 1  # it was hitting its killer: nobody was protected
    assert play(world, attack(2))[0, s.S_PROTECTED] == 0


def test_a_shield_protects_if_it_absorbs_a_twentieth() -> None:
    # The mate has 3300 HP: 165 points count. A blow does at least 340 x 0.8 x 4040 / 4400 = 249.
    for left, protected in ((600, 1), (165, 1), (164, 0)):
        world = guarded_pair()
        u = world.units[0]
        u[1, [f.SHIELD, f.SHIELD_LEFT, s.SHIELD_BY]] = left, 5000, 0
        u[2, [f.X, f.STUN, f.TARGET]] = 13, 0, 1
        stats = play(world)
        assert stats[0, s.S_PROTECTED] == protected
        assert stats[1, s.S_PROTECTED] == 0
        taken = stats[2, s.S_DEALT]
        assert stats[1, s.S_TAKEN] == taken and stats[1, s.S_BLOCKED] > 0
        assert abs(stats[1, s.S_ABSORBED] - taken - stats[1, s.S_BLOCKED]) <= 1  # each share is rounded down


def test_guard_blocks_and_a_second_guard_is_no_new_buff() -> None:
    world = scene(("defensive",), ("aggressive",), [(10, 10), (11, 10)])
    assert play(world, skill(1, 0))[0, s.S_BUFFS] == 1
    make_ready(world, 0)
    assert play(world, skill(1, 0))[0, s.S_BUFFS] == 0
    world.units[0, 1, [f.STUN, f.TARGET]] = 0, 0
    stats = play(world)
    share = stats[0, s.S_BLOCKED] / stats[0, s.S_ABSORBED]
    assert 0.44 < share < 0.46  # 55 % of a blow comes through


def test_spell_damage_counts_per_ten_sp_and_a_spell_kill_is_one() -> None:
    world = scene(("mage",), ("tank",), [(10, 10), (17, 10)])
    sums = play(world, skill(0, 1))[0].astype(np.int64)  # fire bolt: 14 SP, 700 ms
    for _ in range(4):
        sums += play(world)[0]
    assert sums[s.S_SP] == 14 and sums[s.S_SPELL] == sums[s.S_DEALT] > 0
    assert sums[s.S_MANA] == sums[s.S_SPELL] * 10 // 14
    make_ready(world, 0)
    world.units[0, 1, f.HP] = 1
    sums = play(world, skill(0, 1))[0].astype(np.int64)
    for _ in range(3):
        sums += play(world)[0]
    assert sums[[s.S_SPELL_KILLS, s.S_KILLS, s.S_WON, s.S_LOST, s.S_ALIVE_AT_END]].tolist() == [1, 1, 1, 0, 1]
    assert world.stats[0, 1, [s.S_WON, s.S_LOST, s.S_ALIVE_AT_END, s.S_DEATHS]].tolist() == [0, 1, 0, 1]


def test_a_mages_swing_is_no_spell() -> None:
    stats = play(scene(("mage",), ("tank",), [(10, 10), (15, 10)]), attack(1))
    assert stats[0, s.S_DEALT] > 0 and stats[0, s.S_SPELL] == stats[0, s.S_MANA] == 0


def test_damage_is_sustained_within_three_seconds_of_the_hit_before() -> None:
    world = scene(("ranged",), ("tank",), [(10, 10), (18, 10)])
    assert play(world, attack(1))[0, s.S_SUSTAINED] == 0  # tick 1: the first hit
    for last, tick, counts in ((1, 31, True), (31, 62, False)):
        make_ready(world, 0)
        world.fights[0, s.G_TICK], world.units[0, 0, s.LAST_HIT_TICK] = tick - 1, last
        stats = play(world, attack(1))
        assert stats[0, s.S_DEALT] > 0 and stats[0, s.S_SUSTAINED] == (stats[0, s.S_DEALT] if counts else 0)


def test_distance_aggro_and_kiting_by_the_cell() -> None:
    # A ranged (preferred 7-12 cells) before an enemy of range 1 that targets it; a window has two ticks.
    expected = {1: (0, 0), 2: (0, 2), 6: (0, 2), 7: (2, 2), 12: (2, 2), 13: (0, 2), 14: (0, 2), 15: (0, 0)}
    for cells, (optimal, kiting) in expected.items():
        world = scene(("ranged",), ("tank",), [(5, 10), (5 + cells, 10)])
        world.units[0, 1, f.TARGET] = 0
        stats = play(world)
        assert stats[0, [s.S_OPTIMAL, s.S_KITING, s.S_AGGRO]].tolist() == [optimal, kiting, 2], cells


def test_the_dead_draw_no_aggro_and_gain_no_time() -> None:
    world = scene(("tank", "mage"), ("tank", "mage"), [(5, 10), (9, 9), (6, 10), (20, 20)])
    world.units[0, 0, f.HP] = 0
    world.units[0, 2, f.TARGET] = 0
    stats = play(world)
    assert stats[0, [s.S_AGGRO, s.S_ALIVE, s.S_OPTIMAL]].tolist() == [0, 0, 0] and stats[1, s.S_ALIVE] == 2


def test_effective_healing_is_what_was_missing() -> None:
    # heal: 260 % of MATK 230 = 598 points; the mate misses 100 of 4200.
    world = scene(("support", "aggressive"), ("tank", "tank"), [(5, 5), (6, 5), (20, 20), (21, 20)])
    world.units[0, 1, f.HP] = 4100
    sums = play(world, skill(0, 1))[0].astype(np.int64)
    for _ in range(2):
        sums += play(world)[0]
    assert sums[s.S_HEALED] == 598 * 100_000 // 4200 and sums[s.S_EFFECTIVE] == 100 * 100_000 // 4200


def test_a_lost_mate_and_the_teams_gain() -> None:
    world = scene(("aggressive", "mage"), ("aggressive", "mage"), [(5, 10), (9, 9), (6, 10), (20, 20)])
    world.units[0, 2, f.HP] = 42  # one per cent of 4200
    world.fights[0, s.G_LEAD] = 99_000  # what the team leads by from then on
    stats = play(world, attack(2))
    assert stats[:, s.S_TEAM_GAIN].tolist() == [1000, 1000, -1000, -1000]  # 1 % of one unit's bar
    assert stats[:, s.S_ALLY_DEATHS].tolist() == [0, 0, 0, 1]
    assert stats[0, s.S_WON] == stats[2, s.S_LOST] == 0  # the fight goes on
