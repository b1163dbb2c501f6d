"""Dict observations as one row of numbers each, as the columns of the lane want them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from policies.rl_modules.masks import ACTION_MASK


class FlatRows(gymnasium.vector.VectorWrapper):
    """A vector environment whose Dict observation becomes one float32 row, part after part in their order.

    Whole numbers such as skill ids stay whole, and float32 holds them exactly up to 2^24. A mask beside the
    observation is left out: it comes in `info`.

    Args:
        env: With a Dict observation of Boxes and MultiDiscretes.
    """

    def __init__(self, env: gymnasium.vector.VectorEnv) -> None:
        super().__init__(env)
        whole: Any = env.single_observation_space
        self.layout: dict[str, slice] = {}
        """Where each part lies in a row."""
        start = 0
        for name, part in whole.spaces.items():
            if name == ACTION_MASK:
                continue
            size = int(np.prod(part.shape))
            self.layout[name] = slice(start, start + size)
            start += size
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (start,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._rows = np.zeros((env.num_envs, start), np.float32)

    def reset(self, **arguments: Any) -> tuple[NDArray[np.float32], dict[str, Any]]:  # type: ignore[override]
        """Begin every episode anew."""
        obs, info = self.env.reset(**arguments)
        return self._flat(obs), info

    def step(self, actions: Any) -> Any:
        """Step; the row is overwritten by the next call."""
        obs, *rest = self.env.step(actions)
        return (self._flat(obs), *rest)

    def _flat(self, obs: Any) -> NDArray[np.float32]:
        for name, place in self.layout.items():
            self._rows[:, place] = obs[name].reshape(len(self._rows), -1)
        return self._rows
