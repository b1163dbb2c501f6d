"""Observations with their action mask, in the two forms that they come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from torch import Tensor

ACTION_MASK = "action_mask"
NEW_ACTION_MASK = "new_action_mask"
OBSERVATION = "observation"


def split_mask(batch: Mapping[str, Any], column: str = Columns.OBS) -> tuple[Tensor, Tensor | None]:
    """Observation and mask of a batch.

    The columnar lane keeps masks in a column of their own. RLlib's connectors know observations only, so on
    its own lane an environment puts the mask into a Dict beside the observation.

    Args:
        batch: As a forward pass gets it.
        column: obs or new_obs.

    Returns:
        observation (row, observation), and mask bool (row, action) or None where all actions are legal.
    """
    obs = batch[column]
    if isinstance(obs, Mapping):
        mask = obs.get(ACTION_MASK)
        return obs[
            OBSERVATION
        ], None if mask is None else mask > 0.5 if mask.is_floating_point() else mask != 0
    return obs, batch.get(ACTION_MASK if column == Columns.OBS else NEW_ACTION_MASK)


def observation_size(space: Any) -> int:
    """Numbers per observation, of a Box or of a Dict with a mask."""
    box = space[OBSERVATION] if isinstance(space, spaces.Dict) else space
    shape: Any = box.shape
    return int(shape[0])


def new_generator() -> torch.Generator:
    """Random numbers for acting; not torch's global ones: what else runs must not change what is explored."""
    return torch.Generator(device="cpu")
