"""An order: what a body is told for one decision window, with names and as five whole numbers.

Each head has a module of its own for the way from an action to an order and for what is legal;
their functions are offered here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.contracts import layout as f
from envs.contracts.orders_combat import combat_orders, combat_orders_scene
from envs.contracts.orders_control import control_orders, control_orders_scene
from envs.contracts.orders_heads import (
    movement_orders,
    movement_orders_scene,
    pack_orders,
    pack_orders_scene,
    skill_orders,
    skill_orders_scene,
)
from envs.contracts.situation import FLEE_RADIUS, HEAL_BELOW_PERCENT, TICK_MS, WALL_CELLS, WALL_PUSH
from envs.contracts.vocabulary import NUM_SKILL_SLOTS, ContractError

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

__all__ = [
    "FLEE_RADIUS",
    "HEAL_BELOW_PERCENT",
    "TICK_MS",
    "WALL_CELLS",
    "WALL_PUSH",
    "Order",
    "combat_orders",
    "combat_orders_scene",
    "control_orders",
    "control_orders_scene",
    "movement_orders",
    "movement_orders_scene",
    "order_row",
    "pack_orders",
    "pack_orders_scene",
    "skill_orders",
    "skill_orders_scene",
]

_DIRECTED = ("move", "steer")


@dataclass(frozen=True)
class Order:
    """What a game carries out for one decision window (200 ms).

    Attributes:
        kind: `hold` (hit `target` if it is in reach, stay), `move` (one step in `direction`), `attack`
            (walk to `target`, hit it), `skill` (walk into reach of `target`, use skill slot `skill`), `steer`
            (a step in `direction`, and at once skill `skill` at `target`, a swing at `target`, or without a
            target whatever the body's own script fights), `script` (fight `target`, else whom it likes, as
            the body's own script does) or `fumble` (what was chosen cannot be done: the action clock gains
            150 ms in each tick of 100 ms, up to 2 s; the feet may step in `direction`).
        skill: slot 0-5 of the acting unit, with `skill` and perhaps with `steer`.
        target: id of the unit aimed at; a ground-aimed skill takes its cell when the cast starts. A `steer`
            aimed at oneself without a skill keeps the hands still.
        direction: (dx, dy) in cells, each -1, 0 or 1, with `move` and `steer`, perhaps with `fumble`.
    """

    kind: str
    skill: int | None = None
    target: Any = None
    direction: tuple[int, int] | None = None

    @classmethod
    def from_row(cls, view: WorldView, row: np.ndarray) -> Order:
        """Name the units of an order row, int32 `(5,)`."""
        kind, skill, target, dx, dy = (int(value) for value in row)
        return cls(
            kind=f.ORDER_KINDS[kind],
            skill=skill if kind in (f.O_SKILL, f.O_STEER) and skill >= 0 else None,
            target=view.ids[target] if target >= 0 else None,
            direction=(dx, dy) if kind in (f.O_MOVE, f.O_STEER) or dx or dy else None,
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        """Read what `to_json` wrote. Raises ContractError on an unknown kind or a part of a wrong type."""
        kind = data.get("kind")
        if kind not in f.ORDER_KINDS:
            raise ContractError(f"order: unknown kind {kind!r}; one of {', '.join(f.ORDER_KINDS)}")
        skill, target, direction = data.get("skill"), data.get("target"), data.get("direction")
        if skill is None and kind == "skill":
            raise ContractError("order: 'skill' is missing")
        if skill is not None and (type(skill) is not int or not 0 <= skill < NUM_SKILL_SLOTS):
            raise ContractError(
                f"order: 'skill' must be a slot from 0 to {NUM_SKILL_SLOTS - 1}, got {skill!r}"
            )
        if target is not None and (isinstance(target, bool) or not isinstance(target, str | int)):
            raise ContractError(f"order: 'target' must be a unit id or null, got {target!r}")
        if direction is None and kind in _DIRECTED:
            raise ContractError(f"order: 'direction' is missing; {kind!r} needs [dx, dy]")
        if direction is not None and not _is_direction(direction):
            raise ContractError(f"order: 'direction' must be [dx, dy], each -1, 0 or 1, got {direction!r}")
        return cls(kind, skill, target, tuple(direction) if direction is not None else None)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; absent parts are left out."""
        out: dict[str, Any] = {"kind": self.kind}
        if self.skill is not None:
            out["skill"] = self.skill
        if self.target is not None:
            out["target"] = self.target
        if self.direction is not None:
            out["direction"] = list(self.direction)
        return out


def _is_direction(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2
    return pair and all(type(part) is int and -1 <= part <= 1 for part in value)


def order_row(view: WorldView, order: Order) -> np.ndarray:
    """Return an order as int32 `(5,)`: kind, skill, target index, dx, dy (-1 and 0 where absent)."""
    dx, dy = order.direction or (0, 0)
    target = -1 if order.target is None else view.unit_index(order.target)
    skill = -1 if order.skill is None else order.skill
    return np.array([f.ORDER_KINDS.index(order.kind), skill, target, dx, dy], np.int32)
