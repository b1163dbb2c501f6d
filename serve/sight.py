"""From world views to the inputs of an acting mind, and from its answers to names and orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from envs.contracts import (
    COMBAT_ACTIONS,
    MOVEMENT_ACTIONS,
    PACK_ORDERS,
    Order,
    WorldView,
    combat_orders,
    control_orders,
    local_observation,
    movement_orders,
    observe,
    pack_orders,
    skill_action_name,
    skill_features,
    skill_ids,
    skill_orders,
)
from envs.contracts import layout as f
from serve.heads import HEADS

Orders = Callable[[Sequence[WorldView], Sequence[int]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Sight:
    """What units see, as a mind is asked it; one row for each unit.

    Attributes:
        views: the fight of each row.
        units: index of the acting unit in its view.
        inputs: of the mind by name, `(row, ...)`.
        orders: int32 (row, action, 5), the order behind each action; None where actions are no choice
            among a few.
    """

    views: list[WorldView]
    units: list[int]
    inputs: Mapping[str, np.ndarray]
    orders: np.ndarray | None


def see(model_type: str, views: list[WorldView], units: list[int]) -> Sight:
    """Compute what a mind of a type is asked.

    Args:
        model_type: one that acts.
        views: one fight per row; the same object may stand in several rows.
        units: index of the acting unit in each.
    """
    head = HEADS[model_type].name
    inputs: dict[str, np.ndarray] = {}
    if head == "skill":
        inputs["observation"] = observe(views, units)
        inputs["skills"], inputs["skill_ids"] = skill_features(views, units), skill_ids(views, units)
    elif head == "pack":
        local = local_observation(views, units)
        # In the world a dead member sees nothing at all, not even the clock.
        local[[view.units[unit, f.HP] <= 0 for view, unit in zip(views, units, strict=True)]] = 0.0
        inputs["local"] = local
    else:
        inputs["obs"] = observe(views, units)
    if head == "control":
        return Sight(views, units, inputs, None)
    orders, legal = _ORDERS[head](views, units)
    inputs["action_mask"] = legal.astype(np.float32)
    return Sight(views, units, inputs, orders)


def acts(
    model_type: str, sight: Sight, rows: Sequence[int], outputs: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Return action, its name and the order behind it in plain JSON types, for each answered row.

    Args:
        model_type: one that acts.
        sight: what was asked.
        rows: rows of the sight that were answered, in the order of the outputs.
        outputs: of the mind by name.
    """
    head = HEADS[model_type]
    chosen = outputs[head.choice]
    if sight.orders is None:
        views, units = [sight.views[row] for row in rows], [sight.units[row] for row in rows]
        found = control_orders(views, units, chosen)
    else:
        found = sight.orders[list(rows), chosen]
    answers = []
    for row, action, order in zip(rows, chosen.tolist(), found, strict=True):
        plain = Order.from_row(sight.views[row], order).to_json()
        name = plain["kind"] if sight.orders is None else action_name(model_type, action)
        answers.append({"action": action, "action_name": name, "order": plain})
    return answers


def action_name(model_type: str, action: int) -> str:
    """Return the contract's name of an action.

    Args:
        model_type: one that chooses among a few actions.
        action: its number.
    """
    return _NAMES[HEADS[model_type].name](action)


_ORDERS: Mapping[str, Orders] = MappingProxyType(
    {"combat": combat_orders, "movement": movement_orders, "skill": skill_orders, "pack": pack_orders}
)
_NAMES: Mapping[str, Callable[[int], str]] = MappingProxyType(
    {
        "combat": COMBAT_ACTIONS.__getitem__,
        "movement": MOVEMENT_ACTIONS.__getitem__,
        "skill": skill_action_name,
        "pack": PACK_ORDERS.__getitem__,
    }
)
