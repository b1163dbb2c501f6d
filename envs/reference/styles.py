"""Opponents that play like people: a style chooses one of the ten combat actions per decision window.

Skills are used as often in every style as the unit's tier says, so style shows in behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from envs.contracts.layout import O_ATTACK, O_SKILL
from envs.contracts.orders import combat_orders
from envs.reference.dice import Purpose
from envs.reference.script import ANYWHERE, nearest_foe
from envs.reference.unit import Unit

if TYPE_CHECKING:
    from envs.reference.fight import Fight

WINDOW_MS = 200
KITE_CELLS = 4
PREY = ("support", "mage", "ranged", "aggressive", "defensive", "tank")
"""Whom a hunter of healers takes first."""
(HOLD, NEAREST, WEAKEST, DANGEROUS, RETREAT, OFFENSIVE, GUARD_SELF, HELP_ALLY, PROTECT, CONTROL) = range(10)

Order = tuple[int, ...]


def choose_all(fight: Fight) -> None:
    """Give every living unit with a style its order for this window; all choose from the same state."""
    choosers = []
    for me in fight.units:
        if me.obeys or not me.alive:
            continue
        if 0 <= me.switch_tick <= fight.tick:
            me.style, me.switch_tick = me.next_style, -1
        if me.style != "script":
            choosers.append(me)
    if not choosers:
        return
    orders, legal = combat_orders([fight.view()] * len(choosers), [me.index for me in choosers])
    for me, its_orders, its_legal in zip(choosers, orders.tolist(), legal.tolist(), strict=True):
        action, order = choose(fight, me, its_orders, its_legal)
        me.last_action, me.order = action, tuple(order)


def choose(fight: Fight, me: Unit, orders: list[Order], legal: list[bool]) -> tuple[int, Order]:
    """Action and order of one unit for this window."""
    # Choices are drawn for the first tick of the window.
    roll = fight.draw(me, Purpose.STYLE, tick=fight.tick + 1)
    if me.style == "random":
        options = [action for action in range(10) if legal[action]]
        action = options[roll % len(options)]
        return action, orders[action]
    chance = min(me.skill_chance // 2, 100)
    eager = roll % 100 < chance
    needed = _by_need(fight, me, orders, legal, eager=eager, chance=chance)
    if needed is not None:
        return needed, orders[needed]
    if me.style == "healer_first":
        return _hunt(fight, me, orders)
    action = {"rusher": NEAREST, "kiter": NEAREST, "focus_fire": WEAKEST, "turtle": HOLD}[me.style]
    action = action if legal[action] else HOLD
    return action, orders[action]


def _by_need(
    fight: Fight, me: Unit, orders: list[Order], legal: list[bool], *, eager: bool, chance: int
) -> int | None:
    """What comes before fighting in the style's own way: help, shelter, distance, skills."""
    helpful = fight.draw(me, Purpose.HELP, tick=fight.tick + 1) % 100 < chance
    if legal[HELP_ALLY] and orders[HELP_ALLY][0] == O_SKILL and helpful:
        return HELP_ALLY
    if me.style == "turtle" and legal[GUARD_SELF] and eager:
        return GUARD_SELF
    if me.style == "kiter" and legal[RETREAT] and not _clock_in_window(me):
        foe = nearest_foe(fight, me, ANYWHERE)
        if foe is not None and me.distance(foe) < max(me.range, KITE_CELLS):
            return RETREAT
    if eager:
        for action in (OFFENSIVE, CONTROL, GUARD_SELF):
            if legal[action]:
                return action
    return None


def _hunt(fight: Fight, me: Unit, orders: list[Order]) -> tuple[int, Order]:
    """Attack the most wanted enemy, wherever it stands; remembered as the combat action nearest to that."""
    foes: Sequence[Unit] = fight.living_foes(me)
    if not foes or not free_in_window(me):
        return HOLD, orders[HOLD]
    prey = min(foes, key=lambda foe: PREY.index(foe.base))
    order = (O_ATTACK, -1, prey.index, 0, 0)
    if prey is nearest_foe(fight, me, ANYWHERE):
        return NEAREST, order
    return (WEAKEST if prey is min(foes, key=lambda foe: foe.hp) else DANGEROUS), order


def _clock_in_window(me: Unit) -> bool:
    return me.action_clock <= WINDOW_MS and me.act_lock <= WINDOW_MS


def free_in_window(me: Unit) -> bool:
    """Alive, and not stunned, casting or bound by a taunt until the window ends."""
    if me.cast is not None and (me.cast.left > WINDOW_MS // 2 or me.stun > WINDOW_MS // 2):
        return False
    bound = me.taunt > WINDOW_MS and me.taunted_by is not None and me.taunted_by.alive
    return me.alive and me.stun <= WINDOW_MS and not bound
