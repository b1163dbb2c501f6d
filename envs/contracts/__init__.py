"""The wire contract: what a game and a mind exchange.

A game sends a `WorldView`; `observe` turns it into the 64 floats of `obs_v1`; `combat_orders` and
its siblings for the other heads turn it into the legal actions and the concrete `Order` behind
each. The simulation computes the same numbers bit for bit (tests hold it to that), so a mind sees
in service what it saw in training.

This package imports numpy only.
"""

from __future__ import annotations

from envs.contracts.central import (
    CENTRAL_FEATURES,
    CENTRAL_SIZE,
    CENTRAL_STYLES,
    CENTRAL_TIERS,
    central_state,
    describe_central,
)
from envs.contracts.checks import check_masks, check_observations
from envs.contracts.features import (
    FEATURES,
    describe_features,
    local_observation,
    observe,
    with_archetype,
)
from envs.contracts.grid import (
    GRID_CHANNELS,
    GRID_SIZE,
    NUM_GRID_CHANNELS,
    describe_grid,
    spatial_grid,
)
from envs.contracts.orders import (
    Order,
    combat_orders,
    control_orders,
    movement_orders,
    order_row,
    pack_orders,
    skill_orders,
)
from envs.contracts.past import PAST_LENGTH
from envs.contracts.slot_features import (
    NUM_SKILL_FEATURES,
    NUM_SKILL_IDS,
    describe_skill_features,
    skill_feature_rows,
    skill_features,
    skill_id_rows,
    skill_ids,
)
from envs.contracts.token import TOKEN_SIZE, describe_token, sequence_token
from envs.contracts.view import WorldView
from envs.contracts.vocabulary import (
    ACTION_VERSION,
    ACTION_VERSIONS,
    ARCHETYPES,
    COMBAT_ACTIONS,
    CONTROL_PARTS,
    DECISION_MS,
    HEADS,
    LOCAL_SIZE,
    MAX_TEAM_SIZE,
    MODEL_TYPES,
    MOVEMENT_ACTIONS,
    NUM_COMBAT_ACTIONS,
    NUM_CONTROL_PARTS,
    NUM_MOVEMENT_ACTIONS,
    NUM_PACK_ORDERS,
    NUM_SKILL_ACTIONS,
    NUM_SKILL_SLOTS,
    OBS_SIZE,
    OBS_VERSION,
    PACK_ORDERS,
    POINTERS,
    VIEW_VERSION,
    ContractError,
    skill_action,
    skill_action_name,
)
from envs.contracts.window import (
    NUM_WINDOW_FEATURES,
    WINDOW_FEATURES,
    WINDOW_LENGTH,
    describe_window,
    opponent_features,
    opponent_windows,
)

__all__ = [
    "ACTION_VERSION",
    "ACTION_VERSIONS",
    "ARCHETYPES",
    "CENTRAL_FEATURES",
    "CENTRAL_SIZE",
    "CENTRAL_STYLES",
    "CENTRAL_TIERS",
    "COMBAT_ACTIONS",
    "CONTROL_PARTS",
    "DECISION_MS",
    "FEATURES",
    "GRID_CHANNELS",
    "GRID_SIZE",
    "HEADS",
    "LOCAL_SIZE",
    "MAX_TEAM_SIZE",
    "MODEL_TYPES",
    "MOVEMENT_ACTIONS",
    "NUM_COMBAT_ACTIONS",
    "NUM_CONTROL_PARTS",
    "NUM_GRID_CHANNELS",
    "NUM_MOVEMENT_ACTIONS",
    "NUM_PACK_ORDERS",
    "NUM_SKILL_ACTIONS",
    "NUM_SKILL_FEATURES",
    "NUM_SKILL_IDS",
    "NUM_SKILL_SLOTS",
    "NUM_WINDOW_FEATURES",
    "OBS_SIZE",
    "OBS_VERSION",
    "PACK_ORDERS",
    "PAST_LENGTH",
    "POINTERS",
    "TOKEN_SIZE",
    "VIEW_VERSION",
    "WINDOW_FEATURES",
    "WINDOW_LENGTH",
    "ContractError",
    "Order",
    "WorldView",
    "central_state",
    "check_masks",
    "check_observations",
    "combat_orders",
    "control_orders",
    "describe_central",
    "describe_features",
    "describe_grid",
    "describe_skill_features",
    "describe_token",
    "describe_window",
    "local_observation",
    "movement_orders",
    "observe",
    "opponent_features",
    "opponent_windows",
    "order_row",
    "pack_orders",
    "sequence_token",
    "skill_action",
    "skill_action_name",
    "skill_feature_rows",
    "skill_features",
    "skill_id_rows",
    "skill_ids",
    "skill_orders",
    "spatial_grid",
    "with_archetype",
]
