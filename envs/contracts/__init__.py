"""The wire contract: what a game and a mind exchange.

A game sends a `WorldView`; `observe` turns it into the 64 floats of `obs_v1`, `combat_orders`
into the legal actions and the concrete `Order` behind each. The simulation computes the same
numbers bit for bit (tests hold it to that), so a mind sees in service what it saw in training.

This package imports numpy only.
"""

from __future__ import annotations

from envs.contracts.checks import check_masks, check_observations
from envs.contracts.features import FEATURES, describe_features, observe
from envs.contracts.orders import Order, combat_orders, order_row
from envs.contracts.view import WorldView
from envs.contracts.vocabulary import (
    ACTION_VERSION,
    ARCHETYPES,
    COMBAT_ACTIONS,
    DECISION_MS,
    MAX_TEAM_SIZE,
    MODEL_TYPES,
    NUM_COMBAT_ACTIONS,
    NUM_SKILL_SLOTS,
    OBS_SIZE,
    OBS_VERSION,
    VIEW_VERSION,
    ContractError,
)

__all__ = [
    "ACTION_VERSION",
    "ARCHETYPES",
    "COMBAT_ACTIONS",
    "DECISION_MS",
    "FEATURES",
    "MAX_TEAM_SIZE",
    "MODEL_TYPES",
    "NUM_COMBAT_ACTIONS",
    "NUM_SKILL_SLOTS",
    "OBS_SIZE",
    "OBS_VERSION",
    "VIEW_VERSION",
    "ContractError",
    "Order",
    "WorldView",
    "check_masks",
    "check_observations",
    "combat_orders",
    "describe_features",
    "observe",
    "order_row",
]
