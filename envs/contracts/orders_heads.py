"""From actions of the movement, skill and pack heads to concrete orders, and which are legal.

An action that is not legal is a fumble: the hands lose time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from envs.contracts import layout as f
from envs.contracts.features import Scene, slots
from envs.contracts.situation import (
    ATTACKS,
    HEAL_BELOW_PERCENT,
    Plan,
    Situation,
    first_min,
    main_direction,
    near_key,
)
from envs.contracts.vocabulary import (
    DIRECTIONS,
    MAX_TEAM_SIZE,
    NUM_ACTION_SLOTS,
    NUM_MOVEMENT_ACTIONS,
    NUM_PACK_ORDERS,
    NUM_POINTERS,
    NUM_SKILL_ACTIONS,
    POINTER_SELF,
)

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

SPREAD_CELLS = 4
REGROUP_CELLS = 2
FOCUS_SLOTS = 3


def movement_orders(views: Sequence[WorldView], units: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the order behind each of the nine directions and whether it is legal.

    Returns:
        orders int32 `(row, 9, 5)`, `steer` without a target: the script fights while the feet obey; and
        mask bool `(row, 9)`; action 0 (stay) is always legal.
    """
    return movement_orders_scene(Scene(views, units))


def movement_orders_scene(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """As `movement_orders`, for a scene that is already stacked."""
    s = Situation(scene)
    plan = Plan(len(scene.rows), NUM_MOVEMENT_ACTIONS)
    here, low, high = scene.own[:, :2], scene.bounds[:, :2], scene.bounds[:, 2:]
    for action, direction in enumerate(DIRECTIONS):
        step = np.broadcast_to(direction, here.shape)
        inside = ((here + step >= low) & (here + step <= high)).all(axis=1)
        legal = s.free & inside & s.can_step(step) if action else np.ones_like(s.free)
        plan.put(action, f.O_STEER, legal, step=step)
    return plan.result()


def skill_orders(views: Sequence[WorldView], units: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the order behind each action of the skill head and whether it is legal.

    An action is 10 x slot + pointer, see `envs.contracts.vocabulary.skill_action`.

    Returns:
        orders int32 `(row, 70, 5)` and mask bool `(row, 70)`; action 5 (wait) is always legal.
    """
    return skill_orders_scene(Scene(views, units))


def skill_orders_scene(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """As `skill_orders`, for a scene that is already stacked."""
    s = Situation(scene)
    rows = len(scene.rows)
    unit, exists = _pointed(s)
    legal = np.zeros((rows, NUM_ACTION_SLOTS, NUM_POINTERS), bool)
    near = np.take_along_axis(scene.distance, unit, axis=1) <= scene.own[:, None, f.RANGE]
    legal[:, 0] = exists & np.where(near, s.clock[:, None], s.can_walk[:, None])
    legal[:, 0, MAX_TEAM_SIZE:] = False
    legal[:, 1:] = exists[:, None] & s.ready[..., None] & _applies(s, unit)
    legal &= s.free[:, None, None]

    orders = np.zeros((*legal.shape, f.NUM_ORDER_FIELDS), np.int32)
    orders[..., f.ORDER_KIND] = np.where(np.arange(NUM_ACTION_SLOTS) == 0, f.O_ATTACK, f.O_SKILL)[
        None, :, None
    ]
    orders[..., f.ORDER_SKILL] = np.arange(-1, NUM_ACTION_SLOTS - 1)[None, :, None]
    orders[..., f.ORDER_TARGET] = unit[:, None]
    orders[~legal] = (f.O_FUMBLE, -1, -1, 0, 0)
    legal[:, 0, POINTER_SELF] = True  # wait
    orders[:, 0, POINTER_SELF] = (f.O_HOLD, -1, -1, 0, 0)
    return orders.reshape(rows, NUM_SKILL_ACTIONS, -1), legal.reshape(rows, NUM_SKILL_ACTIONS)


def _pointed(s: Situation) -> tuple[np.ndarray, np.ndarray]:
    """Unit behind each target pointer `(row, 10)`, and whether there is one that lives."""
    scene = s.scene
    mates = scene.friendly.copy()
    mates[scene.rows, scene.me] = False
    enemy, has_enemy = slots(scene.hostile, MAX_TEAM_SIZE)
    mate, has_mate = slots(mates, MAX_TEAM_SIZE - 1)
    unit = np.concatenate([enemy, scene.me[:, None], mate], axis=1)
    exists = np.concatenate([has_enemy, np.ones((len(unit), 1), bool), has_mate], axis=1)
    return unit, exists & np.take_along_axis(scene.alive, unit, axis=1)


def _applies(s: Situation, unit: np.ndarray) -> np.ndarray:
    """Whether each skill slot would do something to each pointed unit, readiness aside; `(row, 6, 10)`."""
    scene = s.scene
    kind = s.kind[..., None]
    target = np.take_along_axis(scene.units, unit[..., None], axis=1)[:, None]  # (row, 1, 10, field)
    enemy = np.take_along_axis(scene.hostile, unit, axis=1)[:, None]
    mine = (unit == scene.me[:, None])[:, None]
    reach = scene.skills[..., f.REACH, None]
    near = np.take_along_axis(scene.distance, unit, axis=1)[:, None] <= reach
    attack = np.isin(kind, ATTACKS) & enemy & near
    taunt = (kind == f.K_TAUNT) & mine & s.crowded[..., None]
    lacks = (
        ((kind == f.K_HEAL) & (target[..., f.HP] * 100 < target[..., f.MAX_HP] * HEAL_BELOW_PERCENT))
        | ((kind == f.K_GUARD) & (target[..., f.GUARD] <= 0))
        | ((kind == f.K_POWER) & (target[..., f.POWER] <= 0))
        | ((kind == f.K_SHIELD) & (target[..., f.SHIELD] <= 0))
    )
    reachable = mine | ((reach > 0) & (near | s.can_walk[:, None, None]))
    return attack | taunt | (lacks & ~enemy & reachable)


def pack_orders(views: Sequence[WorldView], units: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the order behind each of a pack member's eight actions and whether it is legal.

    Returns:
        orders int32 `(row, 8, 5)` (`script` or `steer`) and mask bool `(row, 8)`; action 0 (free) is always
        legal.
    """
    return pack_orders_scene(Scene(views, units))


def pack_orders_scene(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """As `pack_orders`, for a scene that is already stacked."""
    s = Situation(scene)
    plan = Plan(len(scene.rows), NUM_PACK_ORDERS)
    plan.put(0, f.O_SCRIPT, np.ones_like(s.free))
    enemy, exists = slots(scene.hostile, FOCUS_SLOTS)
    for place in range(FOCUS_SLOTS):
        legal = s.free & exists[:, place] & s.of(scene.alive, enemy[:, place])
        plan.put(1 + place, f.O_SCRIPT, legal, target=enemy[:, place])
    target, ward = s.protect_target()
    plan.put(4, f.O_SCRIPT, s.free & ward & (target >= 0), target=target)
    step, wanted = _regroup(s)
    plan.put(5, f.O_STEER, s.free & wanted & s.can_step(step), step=step)
    step, wanted = _spread(s)
    plan.put(6, f.O_STEER, s.free & wanted & s.can_step(step), step=step)
    step = s.retreat_step()
    plan.put(7, f.O_STEER, s.free & s.can_step(step), step=step)
    return plan.result()


def _regroup(s: Situation) -> tuple[np.ndarray, np.ndarray]:
    """Direction to the centroid of the other living members, and whether it is more than 2 cells off."""
    count = s.others.sum(axis=1)
    offset = (s.scene.delta * s.others[..., None]).sum(axis=1)  # count x (centroid - me)
    far = np.abs(offset).max(axis=1) > REGROUP_CELLS * count
    return main_direction(offset), far & (count > 0)


def _spread(s: Situation) -> tuple[np.ndarray, np.ndarray]:
    """Direction away from the nearest other living member, and whether one is within 4 cells."""
    scene = s.scene
    mate = first_min(near_key(scene.delta), s.others)
    close = (mate >= 0) & (s.of(scene.distance, mate) <= SPREAD_CELLS)
    away = -np.sign(s.of(scene.delta, mate))
    # On one cell everybody leaves another way, by its place in the team.
    before = np.arange(scene.friendly.shape[1]) < scene.me[:, None]
    place = (scene.friendly & before).sum(axis=1)
    apart = np.array(DIRECTIONS)[1 + place % 8]
    return np.where((away == 0).all(axis=1)[:, None], apart, away), close
