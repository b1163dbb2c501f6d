"""Profiles: the settings of each model type at the sizes demo, small and full, and the run made of them.

The values stand in `configs/<model type>.yaml` with a comment each; the frozen dataclasses here are the
schema. A run is one resolved dictionary of plain JSON types, so that it can be hashed, stored and handed to
a worker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from envs.configuration import ConfigError, Range, load_dataclass, load_yaml, merge, nearest, to_plain
from policies.combat_dqn import CombatDQNConfig

CONFIG_FOLDER = Path(__file__).parent / "configs"
PROFILES = ("demo", "small", "full")
MODEL_TYPES_WITH_PROFILE = ("combat_dqn",)

Share = Annotated[float, Range(minimum=0.0, maximum=1.0)]
Count = Annotated[int, Range(minimum=1)]


@dataclasses.dataclass(frozen=True)
class DQNTrainingConfig:
    """How a DQN learns; see `configs/combat_dqn.yaml` for the values of each profile."""

    epochs: Count
    """Reports to Tune."""
    learning_rate: Annotated[float, Range(above=0.0, maximum=1.0)]
    """Step size of Adam at the start."""
    learning_rate_final_share: Share
    """Share of the learning rate that is left at the last epoch; the way there is linear."""
    gamma: Share
    """Discount per decision."""
    batch_size: Count
    """Transitions per gradient step."""
    grad_clip: Annotated[float, Range(above=0.0)]
    """Largest global norm of the gradient."""
    double_q: bool
    """Choose the next action by the online network and value it by the target network."""
    n_step: Count
    """Rewards summed before bootstrapping; a window ends with its episode."""
    target_period: Count
    """Gradient steps between two copies into the target network."""
    target_tau: Annotated[float, Range(above=0.0, maximum=1.0)]
    """Share of the online weights in such a copy."""
    num_envs: Count
    """Fights side by side."""
    rollout_length: Count
    """Decisions per fight and round."""
    rounds_per_epoch: Count
    """Rounds of sample, store and learn in an epoch."""
    updates_per_round: Annotated[int, Range(minimum=0)]
    """Gradient steps per round."""
    learning_starts: Annotated[int, Range(minimum=0)]
    """Decisions stored before the first gradient step."""
    buffer_capacity: Count
    """Transitions kept for replay."""
    priority_alpha: Share
    """How strongly large TD errors are preferred."""
    priority_beta: Share
    """Importance correction at the start."""
    priority_beta_final: Share
    """Importance correction at the last epoch."""
    priority_floor: Annotated[float, Range(above=0.0)]
    """Added to each TD error before it becomes a priority."""
    epsilon_initial: Share
    """Share of random legal actions at the start."""
    epsilon_decay_share: Share
    """Share of the run after which the final share of random actions is reached."""
    reward_unit: Annotated[float, Range(above=0.0)]
    """Value learning sees reward / reward_unit x reward scale."""

    def validate(self) -> None:
        """Cross-check the settings that depend on each other.

        Raises:
            ValueError: The buffer cannot hold two rounds, or a batch is asked for before it can exist.
        """
        per_round = self.num_envs * (self.rollout_length + self.n_step)
        if self.buffer_capacity < 2 * per_round:
            raise ValueError(
                f"buffer_capacity {self.buffer_capacity} holds less than two rounds of {per_round} rows "
                "(num_envs x (rollout_length + n_step)); raise buffer_capacity or lower num_envs"
            )
        if self.learning_starts > self.buffer_capacity:
            raise ValueError(
                f"learning_starts {self.learning_starts} is more than buffer_capacity "
                f"{self.buffer_capacity}; lower learning_starts"
            )


@dataclasses.dataclass(frozen=True)
class CombatDQNProfile:
    """Settings of combat_dqn at one size."""

    model: CombatDQNConfig
    training: DQNTrainingConfig


@dataclasses.dataclass(frozen=True)
class CombatDQNRun:
    """One training run of combat_dqn, fully resolved; `build_combat_dqn` takes it or its plain form."""

    env: dict[str, Any]
    """What to make: id and keyword arguments of a Gymnasium vector environment, or factory and its
    arguments."""
    model: CombatDQNConfig
    training: DQNTrainingConfig
    seed: Annotated[int, Range(minimum=0, below=2**31)] = 0
    """Decides weights, exploration and replay, and the environment unless `env_seed` is given."""
    env_seed: Annotated[int, Range(minimum=0)] | None = None
    """Seed of the environment."""
    final_epsilon: Share = 0.1
    """Share of random actions in the end: the archetype's noise."""
    reward_scale: Annotated[float, Range(above=0.0)] = 1.0
    """The archetype's reward scale; value learning only, never the published reward."""
    device: str = "cpu"
    """Where torch works: cpu, cuda or cuda:N."""


def load_profile(
    profile: str, model_type: str = "combat_dqn", overrides: Mapping[str, Any] | None = None
) -> CombatDQNProfile:
    """Read a profile's settings.

    Args:
        profile: demo, small or full.
        model_type: A model type that has a profile file.
        overrides: Values laid over the file's, nested as there: {"training": {"batch_size": 512}}.

    Returns:
        The checked settings.

    Raises:
        ConfigError: Unknown profile, model type or key, a wrong type, or settings that contradict each other.
    """
    if model_type not in MODEL_TYPES_WITH_PROFILE:
        raise ConfigError(
            f"no profile for model type '{model_type}'{nearest(model_type, MODEL_TYPES_WITH_PROFILE)}"
        )
    path = CONFIG_FOLDER / f"{model_type}.yaml"
    blocks = load_yaml(path)
    if profile not in blocks:
        raise ConfigError(f"{path.name}: unknown profile '{profile}'{nearest(profile, blocks)}")
    values = merge(blocks[profile], overrides or {})
    return load_dataclass(CombatDQNProfile, values, f"{path.name} [{profile}]")


def combat_dqn_run(
    env: Mapping[str, Any],
    *,
    profile: str = "demo",
    seed: int = 0,
    env_seed: int | None = None,
    learning_rate: float | None = None,
    learning_rate_factor: float = 1.0,
    final_epsilon: float = 0.1,
    reward_scale: float = 1.0,
    device: str = "cpu",
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compose one run from a profile and what its archetype asks for.

    Args:
        env: {"id": "MLMonster/Combat-v0", "archetype": "tank", ...}; see `policies.columnar.vector_env`.
        profile: demo, small or full.
        seed: Decides weights, exploration and replay.
        env_seed: Seed of the environment; `seed` if not given.
        learning_rate: Taken as it stands; without it the profile's rate x `learning_rate_factor`.
        learning_rate_factor: The archetype's rate / 3e-4.
        final_epsilon: The archetype's noise.
        reward_scale: The archetype's reward scale.
        device: cpu, cuda or cuda:N.
        overrides: Values laid over the profile's, nested as there.

    Returns:
        The run in plain JSON types, the form that `build_combat_dqn` takes.

    Raises:
        ConfigError: A setting that cannot be used.
    """
    settings = load_profile(profile, overrides=overrides)
    rate = settings.training.learning_rate * learning_rate_factor if learning_rate is None else learning_rate
    values = {
        "env": dict(env),
        "model": to_plain(settings.model),
        "training": {**to_plain(settings.training), "learning_rate": rate},
        "seed": seed,
        "env_seed": env_seed,
        "final_epsilon": final_epsilon,
        "reward_scale": reward_scale,
        "device": device,
    }
    return dict(to_plain(load_run(values)))


def load_run(run: Mapping[str, Any] | CombatDQNRun) -> CombatDQNRun:
    """Check a resolved run.

    Args:
        run: The plain form, or an already checked one.

    Raises:
        ConfigError: A setting that cannot be used.
    """
    if isinstance(run, CombatDQNRun):
        return run
    return load_dataclass(CombatDQNRun, run, "run")
