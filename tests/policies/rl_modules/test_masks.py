"""Observations with masks in both lanes' forms."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces

from policies.rl_modules.masks import new_generator, observation_size, split_mask

OBS, NEXT = torch.ones(2, 3), torch.zeros(2, 3)
MASK = torch.tensor([[True, False], [True, True]])


def test_columns_of_their_own() -> None:
    batch = {"obs": OBS, "action_mask": MASK, "new_obs": NEXT, "new_action_mask": ~MASK}
    obs, mask = split_mask(batch)
    assert obs is OBS and mask is MASK
    obs, mask = split_mask(batch, "new_obs")
    assert obs is NEXT and mask is not None and torch.equal(mask, ~MASK)
    assert split_mask({"obs": OBS}) == (OBS, None)


def test_mask_beside_the_observation() -> None:
    for stored in (MASK, MASK.to(torch.int8), MASK.float()):
        obs, mask = split_mask({"obs": {"observation": OBS, "action_mask": stored}})
        assert obs is OBS and mask is not None and mask.dtype == torch.bool and torch.equal(mask, MASK)
    assert split_mask({"obs": {"observation": OBS}}) == (OBS, None)


def test_size_of_a_box_and_of_a_dict() -> None:
    box = spaces.Box(-1, 1, (7,), np.float32)
    assert observation_size(box) == 7
    assert observation_size(spaces.Dict({"observation": box, "action_mask": spaces.MultiBinary(3)})) == 7


def test_generator_is_none_of_torchs_own() -> None:
    state = torch.get_rng_state()
    torch.rand(3, generator=new_generator())
    assert torch.equal(torch.get_rng_state(), state)
