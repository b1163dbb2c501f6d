"""SkillDQN as an RLModule of RLlib: everything but the network is as for `CombatDQN`."""

from __future__ import annotations

from typing import Any

from envs.configuration import ConfigError, load_dataclass
from envs.contracts.vocabulary import NUM_SKILL_ACTIONS
from policies.rl_modules.combat_dqn import CombatDQNModule
from policies.skill_dqn import ROW_SIZE, SkillDQN, SkillDQNConfig


class SkillDQNModule(CombatDQNModule):
    """A `SkillDQN` that RLlib can act with and train; "network" is the plain form of a `SkillDQNConfig`."""

    def build_net(self, network: dict[str, Any], observation_size: int, num_actions: int) -> SkillDQN:
        """Make the network; it reads the flat rows of the skill head only.

        Raises:
            ConfigError: A configuration that cannot be used, or an environment with another head.
        """
        if (observation_size, num_actions) != (ROW_SIZE, NUM_SKILL_ACTIONS):
            raise ConfigError(
                f"skill_dqn chooses one of {NUM_SKILL_ACTIONS} actions from {ROW_SIZE} numbers, and this "
                f"environment has {num_actions} and {observation_size}; train it in MLMonster/Skill-v0"
            )
        return SkillDQN(load_dataclass(SkillDQNConfig, network, "model_config.network"))
