"""RLlib's own learners, built from the same run as ours, and batches in the form that they take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from policies.columnar.vector_env import make_vector_env
from policies.profiles import load_run
from policies.stock_config import stock_config
from policies.stock_sac import load_soft_actor_critic

MASKS = {"obs": "action_mask", "new_obs": "new_action_mask"}


def stock_spaces(run: dict[str, Any], masked: bool) -> tuple[Any, Any]:
    """Spaces of a run's environment, masks inside of the observation as the stock lane has them."""
    env = make_vector_env(run["env"], 1)
    seen: Any = env.single_observation_space
    acts: Any = env.single_action_space
    if masked:
        seen = spaces.Dict({"observation": seen, "action_mask": spaces.MultiBinary(int(acts.n))})
    return seen, acts


def stock_learner_of(run: dict[str, Any], ours: Any = None, *, masked: bool = False, **changes: Any) -> Any:
    """RLlib's own learner of a run, without Ray.

    Args:
        run: Resolved.
        ours: A columnar learner whose weights it starts with.
        masked: Whether observations hold masks.
        **changes: Attributes to set on RLlib's configuration.
    """
    config: Any = stock_config(load_run(run))
    for name, value in changes.items():
        setattr(config, name, value)
    spec = config.get_multi_rl_module_spec(
        spaces={DEFAULT_MODULE_ID: stock_spaces(run, masked)}, inference_only=False
    )
    made = config.get_default_learner_class()(config=config, module_spec=spec)
    made.build()
    made.module[DEFAULT_MODULE_ID].train()
    if ours is not None:
        module = made.module[DEFAULT_MODULE_ID].unwrapped()
        if run["algorithm"] == "sac":
            load_soft_actor_critic(module, ours.net_module.net, ours.net_module.target_critics)
        else:
            module.load_state_dict(ours.net_module.state_dict())
    return made


def stock_batch(columns: dict[str, torch.Tensor]) -> MultiAgentBatch:
    """The same rows for RLlib's own update."""
    batch: dict[str, Any] = {name: value.clone() for name, value in columns.items()}
    for name, mask in MASKS.items():
        if mask in batch:
            batch[name] = {"observation": batch[name], "action_mask": batch.pop(mask).to(torch.int8)}
    rows = len(columns["actions"])
    return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=rows)


def stock_update(made: Any, columns: dict[str, torch.Tensor], env_steps: int = 0) -> dict[str, Any]:
    """One update by RLlib's own way; gives its results of the module."""
    results = made.update(batch=stock_batch(columns), timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: env_steps})
    return dict(results.get(DEFAULT_MODULE_ID, {}))


def largest_difference(ours: Any, theirs: Any) -> float:
    """Over all numbers of two state dictionaries with the same names."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def episodes_of(rollout: Any) -> list[Any]:
    """A round as RLlib's episodes, environment by environment; what runs on at the end is cut."""
    from ray.rllib.env.single_agent_episode import SingleAgentEpisode

    made = []
    for env in range(rollout.num_envs):
        episode = None
        for t in range(rollout.time):
            if not rollout.valid[env, t]:
                episode = None
                continue
            if episode is None:
                episode = SingleAgentEpisode()
                episode.add_env_reset(_seen(rollout, env, t))
                made.append(episode)
            episode.add_env_step(
                _seen(rollout, env, t + 1),
                rollout.actions[env, t],
                float(rollout.rewards[env, t]),
                terminated=bool(rollout.terminated[env, t]),
                truncated=bool(rollout.truncated[env, t]),
                extra_model_outputs={name: column[env, t] for name, column in rollout.extra.items()},
            )
    return [episode.to_numpy() for episode in made]


def _seen(rollout: Any, env: int, t: int) -> Any:
    obs = rollout.obs[env, t].copy()
    if rollout.action_mask is None:
        return obs
    return {"observation": obs, "action_mask": rollout.action_mask[env, t].astype(np.int8)}
