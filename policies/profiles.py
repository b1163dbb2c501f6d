"""Profiles: the settings of each model type at the sizes demo, small and full, and the run made of them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs import archetypes, scenarios
from envs.configuration import ConfigError, load_dataclass, load_yaml, merge, nearest, to_plain
from envs.contracts import ARCHETYPES
from envs.rewards import weighed
from policies.model_types import MODEL_TYPES
from policies.settings import OWN_RUNS, RUNS, Run, Share

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
START = "starts_from"
"""Key of an archetype's part: whose run comes first and gives its weights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a mind learns, if not where it is judged."""

    scenario: str | None = None
    """`1v1` to `5v5` or a named one; None is the head's own."""


def load_profile(
    model_type: str,
    profile: str,
    overrides: Mapping[str, Any] | None = None,
    archetype: str | None = None,
) -> dict[str, Any]:
    """Read a profile's settings.

    Args:
        model_type: A model type that has a profile file.
        profile: demo, small or full.
        overrides: Values laid over the file's, nested as there: {"training": {"batch_size": 512}}.
        archetype: Whose own settings are laid over the profile's; None takes those for all.

    Returns:
        {"model": the network's configuration, "training": the algorithm's, "env": `Place`, "noise": share or
        None, "reward": weights to learn by}, checked dataclasses and plain values.

    Raises:
        ConfigError: Unknown profile, model type or key, a wrong type, or settings that contradict each other.
    """
    if model_type not in ALGORITHM_OF:
        raise ConfigError(f"no profile for model type '{model_type}'{nearest(model_type, ALGORITHM_OF)}")
    values, source = profile_values(model_type, profile, overrides, archetype)
    run_class = OWN_RUNS.get(model_type) or RUNS[ALGORITHM_OF[model_type]]
    hints = typing.get_type_hints(run_class, include_extras=True)
    # The parts as one dataclass, so that an error names the key's whole path.
    parts = dataclasses.make_dataclass(
        "Profile",
        [
            ("model", hints["model"]),
            ("training", hints["training"]),
            ("env", Place, Place()),
            ("noise", Share | None, None),
            ("reward", dict[str, Any], dataclasses.field(default_factory=dict)),
        ],
        frozen=True,
    )
    found: Any = load_dataclass(parts, values, source)
    return {field.name: getattr(found, field.name) for field in dataclasses.fields(parts)}


def profile_values(
    model_type: str,
    profile: str,
    overrides: Mapping[str, Any] | None = None,
    archetype: str | None = None,
) -> tuple[dict[str, Any], str]:
    """One block of a profile file, unchecked but for names, and what error messages call it.

    Args:
        model_type: A model type that has a profile file.
        profile: demo, small or full.
        overrides: Values laid over the file's.
        archetype: Whose part of the block's `archetypes` is laid over the rest of it; a user's own archetype
            has none, and None takes none.

    Raises:
        ConfigError: Unknown profile, or a part for somebody who is none of the six.
    """
    block, own, source = _block(model_type, profile)
    if archetype in own:
        part = {key: value for key, value in own[archetype].items() if key != START}
        block, source = merge(block, part), f"{source} with archetypes.{archetype}"
    return merge(block, overrides or {}), source


def starts_from(model_type: str, profile: str, archetype: str) -> str | None:
    """Whose finished mind of the same type and profile an archetype's run starts from; None starts anew.

    Args:
        model_type: A model type that has a profile file.
        profile: demo, small or full.
        archetype: Whose run; a user's own archetype starts anew.

    Raises:
        ConfigError: Unknown profile or archetype, or a chain of starts that comes back to where it began.
    """
    _, own, source = _block(model_type, profile)
    chain = [archetype]
    while (before := _start(own, chain[-1], source)) is not None:
        if before in chain:
            raise ConfigError(f"{source}: {' from '.join([*chain, before])}: no run could be the first")
        chain.append(before)
    return chain[1] if len(chain) > 1 else None


def _start(own: Mapping[str, Mapping[str, Any]], archetype: str, source: str) -> str | None:
    start = own.get(archetype, {}).get(START)
    if start is not None and start not in ARCHETYPES:
        key = f"archetypes.{archetype}.{START}"
        raise ConfigError(f"{source}: key '{key}': unknown archetype '{start}'{nearest(start, ARCHETYPES)}")
    return start


def _block(model_type: str, profile: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]], str]:
    """A block without its archetypes' parts, those parts, and what error messages call it."""
    path = CONFIG_FOLDER / f"{model_type}.yaml"
    blocks = load_yaml(path)
    if profile not in blocks:
        raise ConfigError(f"{path.name}: unknown profile '{profile}'{nearest(profile, blocks)}")
    source = f"{path.name} [{profile}]"
    block = dict(blocks[profile])
    own = block.pop("archetypes", None) or {}
    if not isinstance(own, Mapping):
        raise ConfigError(f"{source}: key 'archetypes' must be a mapping of archetypes to settings")
    for name, part in own.items():
        if name not in ARCHETYPES:
            raise ConfigError(f"{source}: unknown key 'archetypes.{name}'{nearest(name, ARCHETYPES)}")
        if not isinstance(part, Mapping):
            raise ConfigError(f"{source}: key 'archetypes.{name}' must be a mapping of settings")
    return block, {name: dict(part) for name, part in own.items()}, source


def resolve_run(
    model_type: str,
    env: Mapping[str, Any],
    *,
    profile: str = "demo",
    archetype: str | None = None,
    learning_rate: float | None = None,
    learning_rate_factor: float = 1.0,
    overrides: Mapping[str, Any] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Compose one run from a profile and what its archetype asks for.

    What a profile says of noise, reward and scenario holds for runs of an archetype only; the rest of a
    profile can be learned with anywhere.

    Args:
        model_type: combat_dqn, movement_ppo, skill_dqn, soft_actor_critic or team_coordination.
        env: {"id": "MLMonster/Combat-v0", "archetype": "tank", ...}; see `policies.columnar.vector_env`.
        profile: demo, small or full.
        archetype: Whose own settings the profile may have; None takes model and training for all.
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
    parts = load_profile(model_type, profile, overrides, archetype)
    training = to_plain(parts["training"])
    if archetype is not None:
        env = {**env, **_place(parts, model_type, profile, archetype)}
        if parts["noise"] is not None:
            settings["noise"] = parts["noise"]
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


def _place(parts: Mapping[str, Any], model_type: str, profile: str, archetype: str) -> dict[str, Any]:
    """What the environment of an archetype's run has beside who fights: scenario and weights, if any."""
    source = profile_values(model_type, profile, archetype=archetype)[1]
    found: dict[str, Any] = {}
    if (scenario := parts["env"].scenario) is not None:
        try:
            scenarios.resolve(archetype, scenario, MODEL_TYPES[model_type].head or "combat")
        except ConfigError as error:
            raise ConfigError(f"{source}: key 'env.scenario': {error}") from None
        found["scenario"] = scenario
    if parts["reward"]:
        weighed(archetypes.load(archetype), parts["reward"], f"{source}: reward")
        found["reward"] = dict(parts["reward"])
    return found


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
