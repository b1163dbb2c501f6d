"""Packs as RLlib's own multi-agent env runner takes them: rewards as learning sees them, episodes counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.rllib.utils.typing import MultiAgentDict

from policies.columnar.episodes import EpisodeLog
from policies.pack_env import PackMultiAgentEnv
from policies.settings import Run
from policies.stock_env import EPISODES_WINDOW

PACK_NAME = "ml_monster_stock_pack"
PACK_MODULE = "members"
"""Name of the one module; under its default name RLlib would take the run for a single agent's."""


class StockPackEnv(PackMultiAgentEnv):
    """One pack whose members are paid their mean, scaled, as on the columnar lane (`team_rewards` there).

    Episodes are counted here with each member's own unscaled reward; infos go no further.

    Args:
        config: Of `PackMultiAgentEnv`.
        reward_factor: What rewards are multiplied with.
        seed_offset: Added to the seed that RLlib resets with.
    """

    def __init__(self, config: dict[str, Any], reward_factor: float = 1.0, seed_offset: int = 0) -> None:
        super().__init__({**config, "mask_in_observation": True})
        self.reward_factor, self.seed_offset = reward_factor, seed_offset
        self.episodes = EpisodeLog(len(self.agents), EPISODES_WINDOW)

    def reset(  # type: ignore[override]
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        """Begin the next fight."""
        obs, _ = super().reset(seed=None if seed is None else seed + self.seed_offset, options=options)
        return obs, {}

    def step(  # type: ignore[override]
        self, action_dict: MultiAgentDict
    ) -> tuple[MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict]:
        """Play one decision window (200 ms)."""
        obs, rewards, terminated, truncated, infos = super().step(action_dict)
        own = np.array([rewards[agent] for agent in self.agents])
        told = [infos[agent] for agent in self.agents]
        terms = {name for info in told for name in info.get("reward_terms", {})}
        info = {
            "outcome": np.array([info["outcome"] for info in told]),
            "reward_terms": {
                name: np.array([info["reward_terms"].get(name, 0.0) for info in told]) for name in terms
            },
        }
        members = len(own)
        done = np.full(members, bool(terminated["__all__"] or truncated["__all__"]))
        self.episodes.record(own, done, np.ones(members, np.bool_), info)
        paid = float(own.mean()) * self.reward_factor
        return obs, dict.fromkeys(self.agents, paid), terminated, truncated, {}


def pack_config(run: Run) -> dict[str, Any]:
    """RLlib's `env_config` of a run, plain types; `make_stock_pack` reads it."""
    return {
        "spec": {name: value for name, value in run.env.items() if name not in ("id", "factory")},
        "reward_factor": run.reward_factor,
        "seed_offset": 0 if run.env_seed is None else run.env_seed - run.seed,
    }


def make_stock_pack(context: Mapping[str, Any]) -> StockPackEnv:
    """What RLlib's registry calls.

    Args:
        context: `pack_config` of a run.

    Raises:
        ConfigError: As `PackMultiAgentEnv`.
    """
    return StockPackEnv(dict(context["spec"]), float(context["reward_factor"]), int(context["seed_offset"]))


def stock_packs_of(runner: Any) -> list[StockPackEnv]:
    """The packs of a multi-agent env runner; none of a single-agent one."""
    inner = [env.unwrapped for env in getattr(runner.env, "envs", [])]
    return [env for env in inner if isinstance(env, StockPackEnv)]
