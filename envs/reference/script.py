"""The traditional AI: fight the nearest enemy in sight, chase it on a leash, try skills by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envs.reference.dice import Purpose
from envs.reference.rules import BUFFS, held_off, sign, swing, usable, use_skill, walk, walk_toward
from envs.reference.unit import Unit

if TYPE_CHECKING:
    from envs.reference.fight import Fight

SIGHT = 10
CHASE = 12
LONGEST_LEASH = 30
ALLY_SKILL_CELLS = 8
ANYWHERE = 1000  # cells, farther than any arena


def nearest_foe(fight: Fight, me: Unit, reach: int) -> Unit | None:
    """Nearest living enemy within `reach` cells; of equally near ones the one of fewer steps, lower slot."""
    near = [foe for foe in fight.living_foes(me) if me.distance(foe) <= reach]
    return min(near, key=lambda foe: (me.distance(foe), abs(foe.x - me.x) + abs(foe.y - me.y)), default=None)


def hurt_friend(fight: Fight, me: Unit, percent: int) -> Unit | None:
    """The team member (or self) within 8 cells with the lowest HP share of at most `percent`."""
    friends = [
        friend
        for friend in fight.living_team(me)
        if me.distance(friend) <= ALLY_SKILL_CELLS and friend.hp * 100 // friend.max_hp <= percent
    ]
    return min(friends, key=lambda friend: friend.hp * 100 // friend.max_hp, default=None)


def _draws_off(me: Unit, hitter: Unit, target: Unit | None) -> bool:
    """Whether an attacker is nearer than the target, or the target does not mind me."""
    return target is None or me.distance(hitter) < me.distance(target) or target.target is not me


def choose_target(fight: Fight, me: Unit) -> Unit | None:
    """A taunt binds; else keep a target within the leash, unless an attacker draws me off; else look."""
    target = me.target
    if target is not None and (not target.alive or me.distance(target) > me.leash):
        target = None
    if me.bound:
        target = me.taunted_by
    else:
        hitter = me.last_attacker
        if hitter is not None and hitter is not target and hitter.alive and _draws_off(me, hitter, target):
            target = hitter
            held_off(fight, hitter, me)
        if target is None and me.aggressive:
            target = nearest_foe(fight, me, SIGHT)
    me.last_attacker = None
    if target is not None and target is not me.target:
        me.leash = min(me.distance(target) + CHASE, LONGEST_LEASH)
    me.target = target
    return target


def skill_target(fight: Fight, me: Unit, slot: int, foe: Unit) -> Unit | None:
    """Whom the skill is aimed at; None if its condition does not hold."""
    skill = me.skills[slot]
    if skill.kind == "heal":
        return hurt_friend(fight, me, 60)
    if skill.kind in BUFFS:
        friend = (hurt_friend(fight, me, 95) if skill.range > 0 else None) or me
        return friend if getattr(friend, skill.kind) <= 0 else None
    if skill.kind == "taunt":
        return me if nearest_foe(fight, me, skill.radius) else None
    return foe


def try_skills(fight: Fight, me: Unit, foe: Unit) -> bool:
    """Go down the list: chance (in 1/10,000), condition, reach; the first success wins."""
    for slot, skill in enumerate(me.skills):
        if not usable(me, slot):
            continue
        if fight.draw(me, Purpose.TRIAL + slot) % 10_000 >= skill.chance * me.skill_chance // 100:
            continue
        target = skill_target(fight, me, slot, foe)
        if target is not None and use_skill(fight, me, slot, target):
            return True
    return False


def act_by_script(fight: Fight, me: Unit, *, skills: bool) -> None:
    """One tick of the traditional AI; `skills` is False for a unit bound by a taunt."""
    foe = choose_target(fight, me)
    if foe is None:  # nobody to fight: back to within two cells of the middle
        dx, dy = fight.size - 1 - 2 * me.x, fight.size - 1 - 2 * me.y
        if max(abs(dx), abs(dy)) > 4:
            walk(fight, me, sign(dx), sign(dy))
        return
    if not fight_by_script(fight, me, foe, skills=skills):
        walk_toward(fight, me, foe)


def fight_by_script(fight: Fight, me: Unit, foe: Unit, *, skills: bool) -> bool:
    """The hands of the traditional AI for one tick; False if they found nothing and the feet may go."""
    if me.distance(foe) <= me.range:
        if me.ready and not (skills and try_skills(fight, me, foe)):
            swing(fight, me, foe)
        return True
    # While chasing, skills are tried once a second, each slot in a tick of its own.
    return skills and me.ready and (fight.tick + me.slot) % 10 == 0 and try_skills(fight, me, foe)
