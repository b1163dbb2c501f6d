"""From the five numbers of the control head to one order: feet and hands at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from envs.contracts import layout as f
from envs.contracts.features import Scene
from envs.contracts.orders_combat import plan_combat
from envs.contracts.situation import Situation
from envs.contracts.vocabulary import NUM_CONTROL_PARTS

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

THIRD = 1 / 3
DEAD_ZONE = 0.09
"""Squared length below which the move vector leaves the feet to the stance (0.3 squared)."""
OCTANT = 2.414213562373095
"""tan 67.5 degrees: a direction this far from an axis is diagonal."""


def control_orders(views: Sequence[WorldView], units: Sequence[int], actions: np.ndarray) -> np.ndarray:
    """Return what five numbers order, int32 `(row, 5)`: `steer`, or `fumble` for a skill urged in vain.

    Args:
        views: one view per row.
        units: index of the acting unit in its view.
        actions: float32 `(row, 5)`: move vector, stance, skill urge, target preference, each in [-1, 1];
            what lies outside is clipped, NaN counts as 0.

    Raises:
        ValueError: actions of another shape.
    """
    return control_orders_scene(Scene(views, units), actions)


def control_orders_scene(scene: Scene, actions: np.ndarray) -> np.ndarray:
    """As `control_orders`, for a scene that is already stacked."""
    numbers = np.asarray(actions, np.float32)
    if numbers.shape != (len(scene.rows), NUM_CONTROL_PARTS):
        raise ValueError(
            f"control actions of shape {numbers.shape}; expected ({len(scene.rows)}, {NUM_CONTROL_PARTS})"
        )
    numbers = np.clip(np.nan_to_num(numbers, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    # In double precision, so that thresholds are the same here and in the compiled simulation.
    values = numbers.astype(np.float64)
    s = Situation(scene)
    taste = values[:, 4]
    target = np.where(taste < -THIRD, s.weakest, np.where(taste > THIRD, s.dangerous, s.nearest))
    out = np.zeros((len(scene.rows), f.NUM_ORDER_FIELDS), np.int32)
    slot, aim, fumbled = _hands(s, values[:, 3], target)
    out[:, f.ORDER_KIND] = np.where(fumbled, f.O_FUMBLE, f.O_STEER)
    out[:, f.ORDER_SKILL], out[:, f.ORDER_TARGET] = slot, np.where(fumbled, -1, aim)
    out[:, f.ORDER_DX :] = _feet(s, values, target)
    return out


def _hands(s: Situation, urge: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Skill slot, aim (oneself if there is nobody to swing at), and whether an urge is in vain."""
    me = s.scene.me
    orders, legal = plan_combat(s).result()
    # A strong negative urge: help an ally (combat action 7), else buff oneself (6).
    kind = np.where(legal[:, 7], 7, 6)
    helping = (urge < -THIRD) & legal[s.scene.rows, kind]
    help_order = orders[s.scene.rows, kind]
    slot = s.offensive_slot(target)
    attacking = (urge > THIRD) & (slot >= 0)
    # A strong positive urge without an attack that is ready draws the enemies to oneself.
    taunting = (urge > THIRD) & ~attacking & s.taunting.any(axis=1)
    swinging = (np.abs(urge) <= THIRD) & (target >= 0)
    skill = np.where(helping, help_order[:, f.ORDER_SKILL], -1)
    skill = np.where(attacking, slot, np.where(taunting, s.taunting.argmax(axis=1), skill))
    aim = np.where(attacking | swinging, target, np.where(helping, help_order[:, f.ORDER_TARGET], me))
    return skill, aim, (np.abs(urge) > THIRD) & (skill < 0)


def _feet(s: Situation, values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Direction `(row, 2)`: the move vector beyond its dead zone, else by stance."""
    vector, stance = values[:, :2], values[:, 2]
    size = np.abs(vector)
    led = vector[:, 0] * vector[:, 0] + vector[:, 1] * vector[:, 1] >= DEAD_ZONE
    wanted = np.where(OCTANT * size > size[:, ::-1], np.sign(vector), 0)
    press = (stance > THIRD) & (target >= 0) & ~s.in_range(target)
    toward = np.sign(s.of(s.scene.delta, target))
    by_stance = np.where(press[:, None], toward, 0)
    by_stance = np.where((stance < -THIRD)[:, None], s.retreat_step(), by_stance)
    return np.where(led[:, None], wanted, by_stance).astype(np.int32)
