"""Runs so small that a test can train several of them, one for each algorithm of the lane."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from envs.configuration import merge
from policies.columnar.env_runner import ColumnarEnvRunner
from policies.columnar.vector_env import make_vector_env
from policies.profiles import load_run, resolve_run
from policies.training import CONFIGS

REPLAY: dict[str, Any] = {
    "epochs": 6,
    "batch_size": 32,
    "num_envs": 4,
    "rollout_length": 5,
    "rounds_per_epoch": 4,
    "updates_per_round": 3,
    "learning_starts": 40,
    "buffer_capacity": 160,
    "n_step": 3,
}
ROUNDS: dict[str, Any] = {
    "epochs": 6,
    "num_envs": 4,
    "rollout_length": 15,
    "rounds_per_epoch": 2,
    "minibatch_size": 30,
    "passes": 2,
}
TINY: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dqn": (
        "combat_dqn",
        "counting",
        {"model": {"hidden_dims": [16, 8], "dropout": 0.1}, "training": {**REPLAY, "target_period": 5}},
    ),
    "ppo": (
        "movement_ppo",
        "counting",
        {"model": {"shared_dims": [16], "actor_dims": [8], "critic_dims": [8]}, "training": ROUNDS},
    ),
    "sac": (
        "soft_actor_critic",
        "continuous_counting",
        {"model": {"hidden_dims": [16, 8]}, "training": {**REPLAY, "priority_alpha": 0.6}},
    ),
    "team_ppo": (
        "team_coordination",
        "policies.columnar.pack_rows:make",
        {
            "model": {"layers": 2, "units": 8, "critic_dims": [8]},
            "training": {
                **ROUNDS,
                "rounds_per_epoch": 6,
                "rollout_length": 32,
                "sequence_length": 8,
                "minibatch_size": 96,
            },
        },
    ),
}
"""Model type, environment and settings by the name of the algorithm."""
ALGORITHMS = [
    name
    for name, path in CONFIGS.items()
    if name in TINY and importlib.util.find_spec(path.partition(":")[0])
]


def tiny_run(algorithm: str, *, seed: int = 0, env: str | None = None, **settings: Any) -> dict[str, Any]:
    """A resolved run.

    Args:
        algorithm: dqn, ppo, sac or team_ppo.
        seed: Decides weights and exploration.
        env: Factory, whole or in `tests.policies.fake_env`; the algorithm's own if not given.
        **settings: "model" and "training" are laid over the tiny ones, everything else is of the run.
    """
    model_type, own_env, tiny = TINY[algorithm]
    laid_over: tuple[str, ...] = ("model", "training")
    factory = env or own_env
    overrides = {name: settings.pop(name) for name in laid_over if name in settings}
    return resolve_run(
        model_type,
        {"factory": factory if ":" in factory else f"tests.policies.fake_env:{factory}"},
        seed=seed,
        overrides=merge(tiny, overrides),
        **settings,
    )


def weights(trainer: Any) -> list[torch.Tensor]:
    """A copy of everything that is trained, in one order."""
    return [tensor.clone() for tensor in trainer.model().state_dict().values()]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    """Whether two sets of weights are the same bits."""
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def steady(metrics: dict[str, float]) -> dict[str, float]:
    """Metrics without clocks; NaN as a number, so that they compare."""
    clocks = ("seconds_", "epoch_s", "env_steps_per_s")
    return {
        name: value if value == value else -1.0
        for name, value in metrics.items()
        if not name.startswith(clocks)
    }


def learner_of(run: dict[str, Any]) -> Any:
    """The learner of a run by itself, without Ray."""
    checked: Any = load_run(run)
    module, _, name = CONFIGS[checked.algorithm].partition(":")
    config = getattr(importlib.import_module(module), name).of_run(checked)
    env = make_vector_env(run["env"], 1)
    spaces = {DEFAULT_MODULE_ID: (env.single_observation_space, env.single_action_space)}
    spec = config.get_multi_rl_module_spec(spaces=spaces, inference_only=False)
    torch.manual_seed(0)
    learner = config.learner_class(config=config, module_spec=spec)
    learner.build()
    learner.net_module.train()
    return learner


def runner_of(run: dict[str, Any]) -> ColumnarEnvRunner:
    """The env runner of a run by itself, without Ray."""
    checked: Any = load_run(run)
    module, _, name = CONFIGS[checked.algorithm].partition(":")
    config = getattr(importlib.import_module(module), name).of_run(checked)
    made: ColumnarEnvRunner = config.env_runner_cls(config=config)
    return made


def batch_of(algorithm: str, rows: int = 32, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random columns for one update in the tiny environments."""
    random = torch.Generator().manual_seed(seed)
    obs = torch.randn((rows, 4), generator=random)
    mask = torch.rand((rows, 4), generator=random) < 0.7
    mask[:, 0] = True
    if algorithm == "ppo":
        return {
            "obs": obs,
            "actions": torch.zeros(rows, dtype=torch.int64),
            "action_logp": -torch.rand(rows, generator=random) - 0.7,
            "advantages": torch.randn(rows, generator=random),
            "value_targets": torch.randn(rows, generator=random),
            "action_mask": mask,
        }
    columns = {
        "obs": obs,
        "new_obs": torch.randn((rows, 4), generator=random),
        "actions": torch.zeros(rows, dtype=torch.int64),
        "rewards": torch.randn(rows, generator=random),
        "terminateds": torch.rand(rows, generator=random) < 0.2,
        "n_step": torch.ones(rows),
        "weights": torch.rand(rows, generator=random),
    }
    if algorithm == "sac":
        return columns | {"actions": torch.rand((rows, 2), generator=random) * 2.0 - 1.0}
    return columns | {"action_mask": mask, "new_action_mask": mask}
