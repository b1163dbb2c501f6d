"""How a body carries out an order for one tick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envs.contracts.layout import O_ATTACK, O_FUMBLE, O_HOLD, O_MOVE, O_SCRIPT, O_STEER
from envs.reference.rules import swing, use_skill, walk, walk_toward
from envs.reference.script import act_by_script, choose_target, fight_by_script
from envs.reference.unit import Unit

if TYPE_CHECKING:
    from envs.reference.fight import Fight


def obey(fight: Fight, me: Unit) -> None:
    """Carry out the order of this window; an aim that is dead (or none) leaves the hands idle."""
    kind, slot, aim, dx, dy = me.order
    target = fight.units[aim] if aim >= 0 and fight.units[aim].alive else None
    if kind == O_MOVE:
        walk(fight, me, dx, dy)
    elif kind == O_FUMBLE:  # what cannot be done costs time
        me.action_clock = max(me.action_clock, min(me.action_clock + 150, 2000))
        walk(fight, me, dx, dy)
    elif kind == O_STEER:
        _steer(fight, me, slot, target, has_aim=aim >= 0)
        if me.cast is None:
            walk(fight, me, dx, dy)
    elif kind == O_SCRIPT:
        _by_script(fight, me, target)
    elif target is None:
        return
    elif kind in (O_HOLD, O_ATTACK):
        me.target = target
        if me.distance(target) <= me.range:
            if me.ready:
                swing(fight, me, target)
        elif kind == O_ATTACK:
            walk_toward(fight, me, target)
    else:
        _use(fight, me, slot, target)


def _use(fight: Fight, me: Unit, slot: int, target: Unit) -> None:
    """Use a skill, or walk until it reaches."""
    if me.hostile(target):
        me.target = target
    used = use_skill(fight, me, slot, target)
    reach = me.skills[slot].range if slot < len(me.skills) else 0
    if not used and target is not me and me.distance(target) > reach:
        walk_toward(fight, me, target)


def _steer(fight: Fight, me: Unit, slot: int, target: Unit | None, *, has_aim: bool) -> None:
    """The hands while the feet are led: by script without an aim, else a skill or a swing at the aim."""
    if not has_aim:
        foe = choose_target(fight, me)
        if foe is not None:
            fight_by_script(fight, me, foe, skills=True)
        return
    if target is None:
        return
    if me.hostile(target):
        me.target = target
    if slot >= 0:
        use_skill(fight, me, slot, target)  # the hands wait for it: no swing in its place
    elif me.hostile(target) and me.distance(target) <= me.range and me.ready:
        swing(fight, me, target)


def _by_script(fight: Fight, me: Unit, target: Unit | None) -> None:
    """The traditional AI, told whom to fight."""
    if target is None or not me.hostile(target):
        act_by_script(fight, me, skills=True)
        return
    me.target, me.last_attacker = target, None
    if not fight_by_script(fight, me, target, skills=True):
        walk_toward(fight, me, target)
