"""From an action of the combat head to a concrete order, and which actions are legal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from envs.contracts import layout as f
from envs.contracts.features import Scene
from envs.contracts.situation import HEAL_BELOW_PERCENT, Plan, Situation, first_min
from envs.contracts.vocabulary import NUM_COMBAT_ACTIONS

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

_CONTROL = np.array([f.K_AREA, f.K_GROUND, f.K_STUN, f.K_SLOW])


def combat_orders(views: Sequence[WorldView], units: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the order behind each combat action and whether it is legal.

    Returns:
        orders int32 `(row, 10, 5)` and mask bool `(row, 10)`; action 0 (hold) is always legal. An action
        that is not legal is a fumble: the hands lose time.
    """
    return combat_orders_scene(Scene(views, units))


def combat_orders_scene(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """As `combat_orders`, for a scene that is already stacked."""
    return plan_combat(Situation(scene)).result()


def plan_combat(situation: Situation) -> Plan:
    """Work out all ten orders of every row."""
    s = situation
    plan = Plan(len(s.scene.rows), NUM_COMBAT_ACTIONS)
    plan.put(
        0, f.O_HOLD, np.ones_like(s.free), target=np.where(s.alive & s.in_range(s.nearest), s.nearest, -1)
    )
    for action, target in ((1, s.nearest), (2, s.weakest), (3, s.dangerous)):
        plan.put(action, f.O_ATTACK, s.attackable(target), target=target)
    step = s.retreat_step()
    plan.put(4, f.O_MOVE, s.free & s.can_step(step), step=step)
    _offensive(s, plan)
    _guard_self(s, plan)
    _help_ally(s, plan)
    target, exists = s.protect_target()
    plan.put(8, f.O_ATTACK, s.attackable(target) & exists, target=target)
    _control(s, plan)
    return plan


def _foe_candidates(s: Situation) -> tuple[np.ndarray, np.ndarray]:
    """Current target while it lives, else the nearest; and the nearest as second choice."""
    current = s.scene.own[:, f.TARGET]
    valid = (current >= 0) & s.of(s.foes, current)
    return np.where(valid, current, s.nearest), s.nearest


def _offensive(s: Situation, plan: Plan) -> None:
    """The strongest attacking skill at the current target, else at the nearest."""
    pending = s.free.copy()
    for target in _foe_candidates(s):
        slot = s.offensive_slot(target)
        found = pending & (slot >= 0)
        plan.put(5, f.O_SKILL, found, skill=slot, target=target)
        pending &= ~found


def _guard_self(s: Situation, plan: Plan) -> None:
    """The first ready buff that I do not have yet."""
    own = s.scene.own
    absent = (
        ((s.kind == f.K_GUARD) & (own[:, None, f.GUARD] <= 0))
        | ((s.kind == f.K_POWER) & (own[:, None, f.POWER] <= 0))
        | ((s.kind == f.K_SHIELD) & (own[:, None, f.SHIELD] <= 0))
    )
    usable = s.ready & absent & s.free[:, None]
    plan.put(6, f.O_SKILL, usable.any(axis=1), skill=usable.argmax(axis=1), target=s.scene.me)


def _help_ally(s: Situation, plan: Plan) -> None:
    """Heal, else shield or guard, the most hurt team member."""
    scene = s.scene
    patient = np.where(s.team.any(axis=1), first_min(s.health, s.team), scene.me)
    hurt = s.of(scene.units[..., f.HP] * 100 < scene.units[..., f.MAX_HP] * HEAL_BELOW_PERCENT, patient)
    useful = (
        ((s.kind == f.K_HEAL) & hurt[:, None])
        | ((s.kind == f.K_SHIELD) & (s.of(scene.units[..., f.SHIELD], patient) <= 0)[:, None])
        | ((s.kind == f.K_GUARD) & (s.of(scene.units[..., f.GUARD], patient) <= 0)[:, None])
    )
    reach, mine = scene.skills[..., f.REACH], (patient == scene.me)[:, None]
    near = s.of(scene.distance, patient)[:, None] <= reach
    usable = s.ready & useful & (mine | ((reach > 0) & (near | s.can_walk[:, None]))) & s.free[:, None]
    plan.put(7, f.O_SKILL, usable.any(axis=1), skill=usable.argmax(axis=1), target=patient)


def _control(s: Situation, plan: Plan) -> None:
    """The first ready skill that hampers enemies and would take."""
    scene = s.scene
    pending = s.free.copy()
    for target in _foe_candidates(s):
        steady = s.of((scene.units[..., f.STUN] <= 0) & (scene.units[..., f.STUN_IMMUNE] <= 0), target)
        swift = s.of(scene.units[..., f.SLOW] <= 0, target)
        apt = np.isin(s.kind, _CONTROL)
        apt &= (s.kind != f.K_STUN) | steady[:, None]
        apt &= (s.kind != f.K_SLOW) | swift[:, None]
        usable = (s.reaches(target) & apt) | s.taunting
        slot = usable.argmax(axis=1)
        found = pending & usable.any(axis=1)
        is_taunt = s.kind[scene.rows, slot] == f.K_TAUNT
        plan.put(9, f.O_SKILL, found, skill=slot, target=np.where(is_taunt, scene.me, target))
        pending &= ~found
