"""Profiles: the settings of each model type at the sizes demo, small and full, and the run made of them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs.configuration import ConfigError, load_dataclass, load_yaml, merge, nearest, to_plain
from policies.settings import OWN_RUNS, RUNS, Run

CONFIG_FOLDER = Path(__file__).parent / "configs"
PROFILES = ("demo", "small", "full")
ALGORITHM_OF = {
    "combat_dqn": "dqn",
    "movement_ppo": "ppo",
    "skill_dqn": "dqn",
    "soft_actor_critic": "sac",
    "team_coordination": "team_ppo",
}
"""The algorithm by which a model type learns; the types that have a profile."""


def load_profile(model_type: str, profile: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read a profile's settings.

    Args:
        model_type: A model type that has a profile file.
        profile: demo, small or full.
        overrides: Values laid over the file's, nested as there: {"training": {"batch_size": 512}}.

    Returns:
        {"model": the network's configuration, "training": the algorithm's}, checked dataclasses.

    Raises:
        ConfigError: Unknown profile, model type or key, a wrong type, or settings that contradict each other.
    """
    if model_type not in ALGORITHM_OF:
        raise ConfigError(f"no profile for model type '{model_type}'{nearest(model_type, ALGORITHM_OF)}")
    values, source = profile_values(model_type, profile, overrides)
    run_class = OWN_RUNS.get(model_type) or RUNS[ALGORITHM_OF[model_type]]
    hints = typing.get_type_hints(run_class, include_extras=True)
    # The two parts as one dataclass, so that an error names the key's whole path.
    parts = dataclasses.make_dataclass(
        "Profile", [(name, hints[name]) for name in ("model", "training")], frozen=True
    )
    profile_of_type: Any = load_dataclass(parts, values, source)
    return {"model": profile_of_type.model, "training": profile_of_type.training}


def profile_values(
    model_type: str, profile: str, overrides: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], str]:
    """One block of a profile file, unchecked, and what error messages call it.

    Args:
        model_type: A model type that has a profile file.
        profile: demo, small or full.
        overrides: Values laid over the file's.

    Raises:
        ConfigError: Unknown profile.
    """
    path = CONFIG_FOLDER / f"{model_type}.yaml"
    blocks = load_yaml(path)
    if profile not in blocks:
        raise ConfigError(f"{path.name}: unknown profile '{profile}'{nearest(profile, blocks)}")
    return merge(blocks[profile], overrides or {}), f"{path.name} [{profile}]"


def resolve_run(
    model_type: str,
    env: Mapping[str, Any],
    *,
    profile: str = "demo",
    learning_rate: float | None = None,
    learning_rate_factor: float = 1.0,
    overrides: Mapping[str, Any] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Compose one run from a profile and what its archetype asks for.

    Args:
        model_type: combat_dqn, movement_ppo, skill_dqn, soft_actor_critic or team_coordination.
        env: {"id": "MLMonster/Combat-v0", "archetype": "tank", ...}; see `policies.columnar.vector_env`.
        profile: demo, small or full.
        learning_rate: Taken as it stands; without it the profile's rate x `learning_rate_factor`.
        learning_rate_factor: The archetype's rate / 3e-4.
        overrides: Values laid over the profile's, nested as there.
        **settings: Further fields of `policies.settings.Run`: seed, env_seed, noise, reward_scale, device,
            precision, compiled, env_runners, learners, sampler, checkpoint_replay.

    Returns:
        The run in plain JSON types, the form that `policies.training.build_trainer` takes.

    Raises:
        ConfigError: A setting that cannot be used.
    """
    parts = load_profile(model_type, profile, overrides)
    training = to_plain(parts["training"])
    if learning_rate is None:
        learning_rate = training["learning_rate"] * learning_rate_factor
    values = {
        "algorithm": ALGORITHM_OF[model_type],
        "env": dict(env),
        "model": to_plain(parts["model"]),
        "training": {**training, "learning_rate": learning_rate},
        **settings,
    }
    if model_type in OWN_RUNS:
        values["model_type"] = model_type
    return dict(to_plain(load_run(values)))


def load_run(run: Mapping[str, Any] | Run) -> Run:
    """Check a resolved run.

    Args:
        run: The plain form, or an already checked one.

    Raises:
        ConfigError: A setting that cannot be used.
    """
    if isinstance(run, Run):
        return run
    algorithm = run.get("algorithm", "dqn")
    if algorithm not in RUNS:
        raise ConfigError(f"run: unknown algorithm '{algorithm}'{nearest(str(algorithm), RUNS)}")
    model_type = run.get("model_type")
    if model_type is None:
        return load_dataclass(RUNS[algorithm], run, "run")
    if model_type not in OWN_RUNS:
        raise ConfigError(f"run: unknown model_type '{model_type}'{nearest(str(model_type), OWN_RUNS)}")
    return load_dataclass(OWN_RUNS[model_type], run, "run")
