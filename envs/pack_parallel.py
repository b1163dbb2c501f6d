"""One fight of a pack as a PettingZoo environment; PettingZoo is an optional library."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from gymnasium import spaces

from envs.contracts.view import WorldView
from envs.contracts.vocabulary import NUM_PACK_ORDERS
from envs.pack import PackVectorEnv, member_info

try:
    from pettingzoo import ParallelEnv
except ImportError as error:
    raise ImportError(
        "PackParallelEnv needs PettingZoo, which is not installed: pip install 'ml-monster[pettingzoo]' "
        "(PackVectorEnv needs nothing more)"
    ) from error


class PackParallelEnv(ParallelEnv[str, Any, int]):
    """One pack against the traditional AI, as PettingZoo's parallel interface has it.

    Agents are `monster_0` to `monster_{k-1}`. An agent that dies is terminated and leaves `agents`; what its
    team earns afterwards is not paid to it (`PackVectorEnv` and the RLlib form pay it). The fight's end
    terminates all who are left. `infos[agent]` holds `action_mask` int8 `(8,)`, `outcome`, and after a
    step `reward_terms` and `statistics` by name.
    """

    metadata = {"name": "mlmonster_pack_v0", "render_modes": []}  # noqa: RUF012  (PettingZoo's form)

    def __init__(
        self,
        archetype: str = "aggressive",
        scenario: str | None = None,
        opponent: str | None = None,
        *,
        mask_in_observation: bool = False,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        """Set up the fight.

        Args:
            archetype: of the first member; see `PackVectorEnv`, which takes all further arguments too.
            scenario: `3v3` to `5v5` or a named one.
            opponent: a tier or a style.
            mask_in_observation: observations become a Dict with `observation` and `action_mask`.
            render_mode: none is offered yet.
            arguments: further arguments of `PackVectorEnv`.

        Raises:
            ConfigError: as `PackVectorEnv`.
        """
        self.vector = PackVectorEnv(1, archetype, scenario, opponent, **arguments)
        self.mask_in_observation, self.render_mode = mask_in_observation, render_mode
        self.possible_agents = [f"monster_{member}" for member in range(self.vector.num_members)]
        self.archetypes = dict(zip(self.possible_agents, self.vector.members, strict=True))
        self.agents: list[str] = []
        self.state_space = self.vector.single_state_space
        # One object per agent, as PettingZoo asks: each is seeded for itself.
        self.observation_spaces = {agent: self._space() for agent in self.possible_agents}
        self.action_spaces: dict[str, spaces.Space[int]] = {
            agent: cast(spaces.Space[int], spaces.Discrete(NUM_PACK_ORDERS)) for agent in self.possible_agents
        }

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Space of one agent's observations."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Space of one agent's actions, Discrete(8)."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Begin the next fight: episode 0 under `seed`."""
        obs, info = self.vector.reset(seed=seed)
        self.agents = list(self.possible_agents)
        return self._observations(obs, info), self._infos(info)

    def step(
        self, actions: dict[str, int]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Play one decision window (200 ms); what comes back is of the agents that lived before it.

        Raises:
            ValueError: an agent without action, an unknown agent, or an action outside the space.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        obs, rewards, ended, _, info = self.vector.step(self._checked(actions)[None])
        alive = info["alive"][0]
        terminated = {agent: bool(ended[0]) or not alive[self._member(agent)] for agent in self.agents}
        truncated = dict.fromkeys(self.agents, False)
        paid = {agent: float(rewards[0, self._member(agent)]) for agent in self.agents}
        observations, infos = self._observations(obs, info), self._infos(info)
        self.agents = [agent for agent in self.agents if not terminated[agent]]
        return observations, paid, terminated, truncated, infos

    def state(self) -> np.ndarray:
        """Return the central state, float32 `(256,)`; for training only."""
        return self.vector.state()[0]

    def world_view(self) -> WorldView:
        """Return what a game server would send."""
        return self.vector.world_view(0)

    def close(self) -> None:
        """Release the simulation."""
        self.vector.close()

    def _space(self) -> spaces.Space[Any]:
        box = spaces.Box(
            self.vector.single_local_space.low, self.vector.single_local_space.high, dtype=np.float32
        )
        if not self.mask_in_observation:
            return box
        return spaces.Dict({"observation": box, "action_mask": spaces.MultiBinary(NUM_PACK_ORDERS)})

    def _member(self, agent: str) -> int:
        return self.possible_agents.index(agent)

    def _checked(self, actions: dict[str, int]) -> np.ndarray:
        """Actions by member, int32 `(member,)`; those of the dead are not looked at."""
        for agent in actions:
            if agent not in self.archetypes:
                raise ValueError(f"action for unknown agent {agent!r}; agents are {self.possible_agents}")
        row = np.zeros(len(self.possible_agents), np.int32)
        for agent in self.agents:
            if agent not in actions:
                raise ValueError(f"no action for {agent}; every agent in `agents` needs one")
            if not self.action_spaces[agent].contains(actions[agent]):
                raise ValueError(
                    f"action {actions[agent]!r} of {agent} is not a whole number from 0 to "
                    f"{NUM_PACK_ORDERS - 1}"
                )
            row[self._member(agent)] = actions[agent]
        return row

    def _observations(self, obs: dict[str, np.ndarray], info: dict[str, Any]) -> dict[str, Any]:
        local, masks = obs["local"][0], info["action_mask"][0]
        seen: dict[str, Any] = {}
        for agent in self.agents:
            member = self._member(agent)
            seen[agent] = local[member]
            if self.mask_in_observation:
                seen[agent] = {"observation": local[member], "action_mask": masks[member].astype(np.int8)}
        return seen

    def _infos(self, info: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Infos by agent; the mask is int8, the only type that spaces sample with."""
        return {
            agent: member_info(info, self._member(agent), info["action_mask"][0].astype(np.int8))
            for agent in self.agents
        }
