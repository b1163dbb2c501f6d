"""Vector environments as RLlib's own env runner takes them: scaled rewards, masks in the observation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from policies.columnar.episodes import EpisodeLog
from policies.columnar.vector_env import OWN_ID_PREFIX, make_vector_env
from policies.rl_modules.masks import ACTION_MASK, OBSERVATION
from policies.settings import Run

EPISODES_WINDOW = 400
ENV_NAME = "ml_monster_stock"


class StockVectorEnv(VectorWrapper):
    """What the columnar runner does with an environment's output, done before RLlib sees it.

    Rewards are scaled for value learning. A discrete environment's `info["action_mask"]` goes into the
    observation, a Dict of "observation" and "action_mask" int8, because RLlib's connectors know observations
    only. Episodes are counted here with the unscaled reward, as on the columnar lane; infos go no further:
    RLlib would make a list of dicts of them.

    Args:
        env: NEXT_STEP autoreset.
        reward_factor: What rewards are multiplied with.
        seed_offset: Added to the seed that RLlib resets with.
    """

    def __init__(self, env: VectorEnv, reward_factor: float = 1.0, seed_offset: int = 0) -> None:
        super().__init__(env)
        self.reward_factor, self.seed_offset = reward_factor, seed_offset
        self.episodes = EpisodeLog(env.num_envs, EPISODES_WINDOW)
        self._after_done = np.zeros(env.num_envs, np.bool_)
        # Only the environment's first answer tells whether it has masks; RLlib resets it again.
        _, info = env.reset(seed=0)
        actions: Any = env.single_action_space
        self.masked = isinstance(actions, spaces.Discrete) and ACTION_MASK in info
        if self.masked:
            self.single_observation_space = spaces.Dict(
                {
                    OBSERVATION: env.single_observation_space,
                    ACTION_MASK: spaces.MultiBinary(int(actions.n)),
                }
            )
            self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin every fight anew."""
        obs, info = self.env.reset(
            seed=None if seed is None else int(seed) + self.seed_offset, options=options
        )
        self._after_done[:] = False
        return self._seen(obs, info), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One decision of all fights."""
        chosen = np.asarray(actions, self.env.action_space.dtype)
        obs, reward, terminated, truncated, info = self.env.step(chosen)
        valid = ~self._after_done
        self._after_done = np.logical_or(terminated, truncated)
        self.episodes.record(reward, self._after_done, valid, info)
        scaled = np.asarray(np.asarray(reward) * self.reward_factor, np.float32)
        return self._seen(obs, info), scaled, np.array(terminated), np.array(truncated), {}

    def _seen(self, obs: NDArray[np.float32], info: Mapping[str, Any]) -> Any:
        # RLlib keeps what it gets, and environments reuse their buffers.
        obs = np.array(obs, np.float32)
        if not self.masked:
            return obs
        return {OBSERVATION: obs, ACTION_MASK: np.array(info[ACTION_MASK], np.int8)}


def env_config(run: Run) -> dict[str, Any]:
    """RLlib's `env_config` of a run, plain types; `make_stock_env` reads it."""
    spec = dict(run.env)
    if str(spec.get("id", "")).startswith(OWN_ID_PREFIX):
        spec["copy"] = True
    return {
        "spec": spec,
        "reward_factor": run.reward_factor,
        "seed_offset": 0 if run.env_seed is None else run.env_seed - run.seed,
    }


def make_stock_env(context: Mapping[str, Any]) -> StockVectorEnv:
    """What RLlib's registry calls.

    Args:
        context: `env_config` of a run, and num_envs.

    Raises:
        ValueError: As `make_vector_env`.
    """
    env = make_vector_env(context["spec"], int(context.get("num_envs", 1)))
    return StockVectorEnv(env, float(context["reward_factor"]), int(context["seed_offset"]))


def stock_env_of(runner: Any) -> StockVectorEnv:
    """Find the environment inside of what an env runner has wrapped around it."""
    env = runner.env
    while not isinstance(env, StockVectorEnv):
        env = env.env
    return env
