"""`MLMonster/Control-v0`: feet and hands by five continuous numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from envs.arena import ArenaEnv, ArenaVectorEnv
from envs.configuration import ConfigError
from envs.contracts.vocabulary import NUM_CONTROL_PARTS


class ControlVectorEnv(ArenaVectorEnv):
    """Box(-1, 1, (5,)): move x, move y, stance, skill urge, target preference.

    A move vector of at least 0.3 leads the feet; else the stance does (press above 1/3, retreat below -1/3).
    An urge above 1/3 keeps the hands for the best attacking skill, below -1/3 for a helping one; between,
    they swing. The preference chooses the weakest (below -1/3), nearest or most dangerous enemy.
    """

    head = "control"

    def build_action_space(self) -> spaces.Space[Any]:
        """Return the Box of five numbers."""
        return spaces.Box(-1.0, 1.0, (NUM_CONTROL_PARTS,), np.float32)

    def build_observation_space(self) -> spaces.Space[Any]:
        """Return the space of one observation. Raises ConfigError if a mask is asked for."""
        if self.mask_in_observation:
            raise ConfigError("mask_in_observation: continuous actions have no mask; leave it out")
        return super().build_observation_space()

    def carry_out(self, actions: Any) -> None:
        """Play one window with numbers `(fight, 5)`; they are not looked at where the script plays."""
        if not self.world.learners:
            self.world.step(self._actions)
            return
        self.world.step(np.asarray(actions, np.float32).reshape(self.num_envs, 1, NUM_CONTROL_PARTS))


class ControlEnv(ArenaEnv):
    """One fight; see `ControlVectorEnv`."""

    vector_class = ControlVectorEnv
