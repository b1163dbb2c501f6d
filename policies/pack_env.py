"""One fight of a pack behind RLlib's multi-agent interface, for RLlib's own env runners.

Our sampling steps `envs.pack.PackVectorEnv` itself; this class is for `--sampler stock`, for comparison, and
for anybody who brings an RLlib algorithm of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.utils.typing import MultiAgentDict

from envs.configuration import ConfigError, nearest
from envs.contracts.vocabulary import NUM_PACK_ORDERS
from envs.pack import PackVectorEnv, member_info

CONFIG_KEYS = (
    "archetype", "scenario", "opponent", "team", "enemies", "level", "learner", "first_fight", "rules",
    "size", "terrain_name", "reward", "mask_in_observation",
)  # fmt: skip


class PackMultiAgentEnv(MultiAgentEnv):
    """One pack against the traditional AI; every member acts in every step until the fight ends.

    Agents are `monster_0` to `monster_{k-1}`. An observation is a dict: `local` float32 `(70,)` for the
    actor, `global` float32 `(256,)` for the critic in training, and on request `action_mask` int8 `(8,)`. A
    dead member sees zeros in `local` and has one legal action, which does nothing; the episode goes on and
    so do its rewards.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        """Set up the fight.

        Args:
            config: RLlib's `env_config`, all keys optional: `mask_in_observation` (bool), and the arguments
                `archetype`, `scenario`, `opponent`, `team`, `enemies`, `level`, `learner`, `first_fight`,
                `rules`, `size`, `terrain_name` and `reward` of `PackVectorEnv`.

        Raises:
            ConfigError: an unknown key, and as `PackVectorEnv`.
        """
        arguments = dict(config or {})
        for key in arguments:
            if key not in CONFIG_KEYS:
                raise ConfigError(f"env_config: unknown key {key!r}{nearest(key, CONFIG_KEYS)}")
        self.mask_in_observation = bool(arguments.pop("mask_in_observation", False))
        self.vector = PackVectorEnv(1, **arguments)
        self.possible_agents = [f"monster_{member}" for member in range(self.vector.num_members)]
        self.agents = list(self.possible_agents)
        self.archetypes = dict(zip(self.possible_agents, self.vector.members, strict=True))
        self.observation_spaces = {agent: self._space() for agent in self.agents}
        self.action_spaces = {agent: spaces.Discrete(NUM_PACK_ORDERS) for agent in self.agents}
        super().__init__()

    def reset(  # type: ignore[override]
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        """Begin the next fight: episode 0 under `seed`."""
        obs, info = self.vector.reset(seed=seed)
        return self._observations(obs, info), self._infos(info)

    def step(  # type: ignore[override]  # as RLlib's own class, against gymnasium.Env
        self, action_dict: MultiAgentDict
    ) -> tuple[MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict]:
        """Play one decision window (200 ms).

        Raises:
            ValueError: an action for an unknown agent, or none for one of them.
        """
        if action_dict.keys() != self.archetypes.keys():
            raise ValueError(
                f"actions for {[*action_dict]}; every step needs one for each of {self.agents}, "
                "dead members included"
            )
        row = np.array([[int(action_dict[agent]) for agent in self.agents]], np.int32)
        obs, rewards, ended, _, info = self.vector.step(row)
        paid = dict(zip(self.agents, rewards[0].tolist(), strict=True))
        terminated = dict.fromkeys([*self.agents, "__all__"], bool(ended[0]))
        truncated = dict.fromkeys([*self.agents, "__all__"], False)
        return self._observations(obs, info), paid, terminated, truncated, self._infos(info)

    def close(self) -> None:
        """Release the simulation."""
        self.vector.close()

    def _space(self) -> spaces.Dict:
        parts: dict[str, spaces.Space[Any]] = {
            "local": self.vector.single_local_space,
            "global": self.vector.single_state_space,
        }
        if self.mask_in_observation:
            parts["action_mask"] = spaces.MultiBinary(NUM_PACK_ORDERS)
        return spaces.Dict(parts)

    def _observations(self, obs: dict[str, np.ndarray], info: dict[str, Any]) -> MultiAgentDict:
        seen: MultiAgentDict = {
            agent: {"local": obs["local"][0, member], "global": obs["global"][0]}
            for member, agent in enumerate(self.agents)
        }
        if self.mask_in_observation:
            for member, agent in enumerate(self.agents):
                seen[agent]["action_mask"] = info["action_mask"][0, member].astype(np.int8)
        return seen

    def _infos(self, info: dict[str, Any]) -> MultiAgentDict:
        masks = info["action_mask"][0].astype(np.int8)
        return {
            agent: member_info(info, member, masks) | {"alive": bool(info["alive"][0, member])}
            for member, agent in enumerate(self.agents)
        }


def module_for(team: Sequence[str]) -> Callable[..., str]:
    """Return RLlib's `policy_mapping_fn` for a pack: one module per archetype, shared by its members.

    Args:
        team: archetypes of the members in their order, as `PackMultiAgentEnv.vector.members`.
    """
    names = tuple(team)

    def mapping(agent_id: str, *args: Any, **kwargs: Any) -> str:
        return names[int(agent_id.rpartition("_")[2])]

    return mapping
