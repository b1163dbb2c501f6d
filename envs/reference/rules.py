"""What a unit can do to another: steps, swings, skills, damage and the credit for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envs.reference.dice import Purpose
from envs.reference.unit import Cast, Unit

if TYPE_CHECKING:
    from envs.archetypes import Skill
    from envs.reference.fight import Fight

FULL_BAR = 100_000  # 100 %, in thousandths of a per cent
MOST = 1_000_000  # points of one hit or heal, and thousandths of a per cent that one of them counts for
MEMORY_TICKS = 30  # 3 s
AIM_TICKS = 3
HASTE_POINTS = 80
ARMS_LENGTH = 2  # cells
BUFFS = ("heal", "guard", "power", "shield")


def sign(value: int) -> int:
    """-1, 0 or 1."""
    return (value > 0) - (value < 0)


def share(points: int, unit: Unit) -> int:
    """Points in thousandths of a per cent of a unit's bar; nothing counts for more than ten bars."""
    return min(points * FULL_BAR // unit.max_hp, MOST)


def next_cell(fight: Fight, me: Unit, dx: int, dy: int) -> tuple[int, int]:
    """The cell that a step leads to: ahead; where that is blocked 45 degrees to the left, else right."""
    here = me.x, me.y
    ahead = fight.within(me.x + dx, me.y + dy)
    if not fight.is_blocked(*ahead):
        return ahead
    for turn_x, turn_y in ((dx - dy, dx + dy), (dx + dy, dy - dx)):
        beside = fight.within(me.x + sign(turn_x), me.y + sign(turn_y))
        if beside != here and not fight.is_blocked(*beside):
            return beside
    return here


def walk(fight: Fight, me: Unit, dx: int, dy: int) -> None:
    """One step. A diagonal costs x1.4, a slowed unit needs twice the time; nobody leaves the arena."""
    if me.move_lock > 0:
        return
    x, y = next_cell(fight, me, dx, dy)
    if (x, y) == (me.x, me.y):
        return
    cost = me.speed * 14 // 10 if x != me.x and y != me.y else me.speed
    me.x, me.y = x, y
    me.stats["steps"] += 1
    me.last_step_tick = fight.tick
    me.move_lock += 2 * cost if me.slow > 0 else cost
    me.leash = min(me.leash, max(me.leash - 1, 12))  # a long chase loses patience, down to 12 cells


def walk_toward(fight: Fight, me: Unit, other: Unit) -> None:
    """One step in the direction of another unit."""
    walk(fight, me, sign(other.x - me.x), sign(other.y - me.y))


def swing(fight: Fight, me: Unit, foe: Unit) -> None:
    """A basic attack: 95 % to hit, plus HIT - 100 - FLEE, within 5-100 %; damage spreads over 80-120 %.

    A shot, at more than 2 cells, within 3 ticks of a step hits less often by 80 points. Skills need no aim.
    """
    me.stats["swings"] += 1
    me.action_clock = me.attack_delay
    me.move_lock = max(me.move_lock, me.attack_motion)
    aim = 95 + (me.hit - 100) - foe.flee
    if fight.tick - me.last_step_tick < AIM_TICKS and me.distance(foe) > ARMS_LENGTH:
        aim -= HASTE_POINTS
    to_hit = min(max(aim, 5), 100)
    if fight.draw(me, Purpose.HIT) % 100 >= to_hit:
        foe.last_attacker = me
        return
    magic = me.basic_magic > 0
    base = me.matk * me.basic_magic // 100 if magic else me.atk
    hurt(fight, me, foe, _spread(fight, me, base, Purpose.SWING), magic=magic)


def _spread(fight: Fight, me: Unit, base: int, purpose: Purpose) -> int:
    """80 to 120 % of `base`, x1.3 under the power buff."""
    raw = base * (80 + fight.draw(me, purpose) % 41) // 100
    return raw * 130 // 100 if me.power > 0 else raw


def mitigated(rules: str, foe: Unit, raw: int, *, magic: bool) -> int:
    """What defence D leaves of `raw` damage.

    Renewal: raw (4000 + D) / (4000 + 10 D), for magic 1000 in place of 4000.
    Pre-renewal: raw less D / 3 per cent, at most 90 per cent.
    """
    defence = foe.mdef if magic else foe.defence
    if rules == "prerenewal":
        return raw * (100 - min(defence // 3, 90)) // 100
    scale = 1000 if magic else 4000
    return raw * (scale + defence) // (scale + 10 * defence)


def hurt(fight: Fight, me: Unit, foe: Unit, raw: int, *, magic: bool, spell: Skill | None = None) -> None:
    """Deal damage: defence, then guard (55 % passes), then shield; what is left counts when the tick ends."""
    full = max(mitigated(fight.rules, foe, min(raw, MOST), magic=magic), 1)
    damage = max(full * 55 // 100, 1) if foe.guard > 0 else full
    soaked = min(damage, foe.shield)
    foe.shield -= soaked
    damage -= soaked
    giver = foe.shield_by
    if soaked > 0 and giver is not None and giver is not foe and soaked * 20 >= foe.max_hp:
        credit_protection(fight, giver, me)

    dealt = share(damage, foe)
    foe.stats["blocked_mp"] += share(full - damage, foe)
    foe.stats["absorbed_mp"] += share(full, foe)
    me.stats["dealt_mp"] += dealt
    if spell is not None:
        me.stats["spell_mp"] += dealt
        if spell.cost > 0:
            me.stats["mana_mp"] += dealt * 10 // spell.cost
    if fight.tick - me.last_hit_tick <= MEMORY_TICKS:
        me.stats["sustained_mp"] += dealt
    fight.damage[foe] += damage
    fight.damage_log[me, foe] = fight.damage_log.get((me, foe), 0) + damage
    fight.hitters.add(me)
    me.last_victim, foe.last_attacker = foe, me
    if damage > 0:
        foe.killer, foe.killer_spell = me, spell is not None


def held_off(fight: Fight, me: Unit, foe: Unit) -> None:
    """Credit me for stopping an enemy that hit a team mate of mine within the last 3 s."""
    victim = foe.last_victim
    if victim is None or victim is me or me.hostile(victim):
        return
    if fight.tick - foe.last_hit_tick <= MEMORY_TICKS:
        credit_protection(fight, me, foe)


def credit_protection(fight: Fight, me: Unit, foe: Unit) -> None:
    """Count the enemy as held off by me, at most once in 3 s."""
    if fight.tick - me.held_off_at[foe.slot] >= MEMORY_TICKS:
        me.held_off_at[foe.slot] = fight.tick
        me.stats["protected"] += 1


def usable(me: Unit, slot: int) -> bool:
    """Whether a skill can be used this instant, somewhere."""
    return me.ready and me.cooldowns[slot] <= 0 and me.sp >= me.skills[slot].cost


def use_skill(fight: Fight, me: Unit, slot: int, target: Unit) -> bool:
    """Start or fire a skill; False if it is not usable or out of reach. It runs on the swing's clock."""
    if slot >= len(me.skills) or not usable(me, slot):
        return False
    skill = me.skills[slot]
    if skill.kind == "taunt" or (skill.kind in BUFFS and skill.range == 0):
        target = me
    elif me.distance(target) > skill.range:
        return False
    me.sp -= skill.cost
    me.stats["sp_spent"] += skill.cost
    me.stats["skills"] += 1
    me.cooldowns[slot] = skill.cooldown_ms
    me.act_lock, me.action_clock = me.attack_motion, me.attack_delay
    me.move_lock = max(me.move_lock, me.attack_motion // 2)
    if me.hostile(target):
        me.target = target
    if skill.cast_ms > 0:
        me.cast = Cast(slot, skill.cast_ms, target, target.x, target.y)
    else:
        apply_skill(fight, me, skill, target, target.x, target.y)
    return True


def finish_cast(fight: Fight, me: Unit, cast: Cast) -> None:
    """A ground-aimed skill strikes the cell fixed at its start, any other its target, if it still lives."""
    me.cast = None
    skill = me.skills[cast.slot]
    if skill.kind == "ground":
        apply_skill(fight, me, skill, cast.target, cast.x, cast.y)
    elif cast.target.alive:
        apply_skill(fight, me, skill, cast.target, cast.target.x, cast.target.y)


def apply_skill(fight: Fight, me: Unit, skill: Skill, target: Unit, x: int, y: int) -> None:
    """The effect of a skill on a unit, or around cell (x, y)."""
    if skill.kind in BUFFS:
        _help(fight, me, skill, target)
    elif skill.kind == "taunt":
        for foe in fight.living_foes(me):
            if me.distance(foe) <= skill.radius:
                held_off(fight, me, foe)
                foe.taunt, foe.taunted_by = skill.duration_ms, me
    else:
        _attack(fight, me, skill, target, x, y)


def _help(fight: Fight, me: Unit, skill: Skill, friend: Unit) -> None:
    if skill.kind == "heal":
        amount = min(me.matk * skill.effect // 100, MOST)
        missing = max(friend.max_hp - friend.hp - fight.healing[friend], 0)
        me.stats["healed_mp"] += share(amount, friend)
        me.stats["effective_healed_mp"] += share(min(amount, missing), friend)
        fight.healing[friend] += amount
        return
    if getattr(friend, skill.kind) <= 0:  # `guard`, `power` and `shield` are named alike
        me.stats["new_buffs"] += 1
    if skill.kind == "guard":
        friend.guard = skill.duration_ms
    elif skill.kind == "power":
        friend.power = skill.duration_ms
    else:
        friend.shield, friend.shield_left, friend.shield_by = skill.effect, skill.duration_ms, me


def _attack(fight: Fight, me: Unit, skill: Skill, target: Unit, x: int, y: int) -> None:
    base = (me.matk if skill.magic else me.atk) * skill.effect // 100
    raw = _spread(fight, me, base, Purpose.SKILL)
    spell = skill if skill.magic else None
    if skill.kind in ("area", "ground"):
        for foe in fight.living_foes(me):
            if max(abs(foe.x - x), abs(foe.y - y)) <= skill.radius:
                hurt(fight, me, foe, raw, magic=skill.magic, spell=spell)
        return
    if skill.kind == "dash":  # to the cell before the target, or where that is blocked to the target's own
        before = target.x - sign(target.x - me.x), target.y - sign(target.y - me.y)
        me.x, me.y = (target.x, target.y) if fight.is_blocked(*before) else before
    hurt(fight, me, target, raw, magic=skill.magic, spell=spell)
    if skill.kind == "stun" and target.stun <= 0 and target.stun_immune <= 0:
        held_off(fight, me, target)
        target.stun, target.stun_immune = skill.duration_ms, skill.duration_ms + 3000
    elif skill.kind == "slow":
        target.slow = skill.duration_ms
