"""Checks of bare observations and masks that arrive from outside."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.contracts.vocabulary import NUM_COMBAT_ACTIONS, OBS_SIZE, OBS_VERSION, ContractError

OBS_LIMIT = 2.0
"""Every feature of obs_v1 lies in [-2, 2]."""


def check_observations(values: Any) -> np.ndarray:
    """Return `values` as float32 observations `(n, 64)`.

    Args:
        values: one observation of 64 numbers, or a list of them.

    Raises:
        ContractError: wrong shape, not numbers, NaN or infinity, or a value outside [-2, 2].
    """
    try:
        with np.errstate(over="ignore"):  # 1e300 becomes infinity and is refused below
            array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        raise ContractError(
            f"observation: expected {OBS_SIZE} numbers ({OBS_VERSION}), "
            "got something that is not a list of numbers"
        ) from None
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != OBS_SIZE:
        seen = "x".join(map(str, np.shape(values))) or "a single number"
        raise ContractError(
            f"observation: expected {OBS_SIZE} numbers ({OBS_VERSION}), got shape {seen}; "
            "send the 64 features in order, or a WorldView under 'view'"
        )
    finite = np.isfinite(array)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ContractError(
            f"observation: value {column} of row {row} is {array[row, column]}; "
            "every value must be a finite number"
        )
    beyond = np.abs(array) > OBS_LIMIT
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        raise ContractError(
            f"observation: value {column} of row {row} is {array[row, column]:g}, outside [-2, 2]; "
            f"features must be scaled as {OBS_VERSION} says"
        )
    return array


def check_masks(values: Any, rows: int, actions: int = NUM_COMBAT_ACTIONS) -> np.ndarray:
    """Return `values` as a boolean action mask `(rows, actions)`, each row with a legal action.

    Raises:
        ContractError: wrong shape, entries other than 0 and 1, or a row without a legal action.
    """
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        raise ContractError(f"action_mask: expected {actions} values of 0 or 1") from None
    if array.ndim == 1:
        array = array[None]
    if array.shape != (rows, actions):
        seen = "x".join(map(str, np.shape(values))) or "a single value"
        raise ContractError(f"action_mask: expected {actions} values of 0 or 1, got shape {seen}")
    if not np.isin(array, (0.0, 1.0)).all():
        raise ContractError("action_mask: every value must be 0 (illegal) or 1 (legal)")
    mask = array.astype(bool)
    if not mask.any(axis=1).all():
        raise ContractError("action_mask: at least one action must be legal; waiting always is")
    return mask
