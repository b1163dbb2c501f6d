"""The settings file of ``monster train --config``: its schema and what it means for a request.

Sections of later releases are checked as strictly as the others and then named as having no effect yet,
so that a file written for the whole product loads unchanged and nobody believes a setting that is idle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from envs.configuration import ConfigError, Range, load_dataclass, load_yaml, nearest, to_plain
from envs.contracts import MODEL_TYPES
from envs.curriculum import CurriculumSettings

Positive = Annotated[float, Range(above=0.0)]
Count = Annotated[int, Range(minimum=1)]
Share = Annotated[float, Range(minimum=0.0, maximum=1.0)]
Rate = Annotated[float, Range(above=0.0, maximum=1.0)]


@dataclass(frozen=True)
class TrainingSection:
    """``training``: what holds for every run."""

    batch_size: Count | None = None
    """Transitions per gradient step."""
    learning_rate: Rate | None = None
    """Learning rate as it stands, for every archetype; like --lr."""
    epochs: Count | None = None
    """Reports to Tune."""
    gamma: Share | None = None
    """Discount per decision."""


@dataclass(frozen=True)
class HardwareSection:
    """``hardware``: where torch works."""

    device: str | None = None
    """cpu, cuda or cuda:N."""
    max_vram_gb: Positive | None = None
    """Memory of one GPU that runs may use together; packing shares it out."""
    use_amp: bool | None = None
    """Automatic mixed precision: bf16 unless --precision says otherwise."""


@dataclass(frozen=True)
class CheckpointSection:
    """``checkpoints``: how often and how many."""

    save_frequency: Count | None = None
    """Steps between checkpoints."""
    keep_last_n: Count | None = None
    """Checkpoints kept."""


@dataclass(frozen=True)
class ContinuousSection:
    """``strategies.continuous``: learning from live play."""

    enabled: bool | None = None
    """Whether to use it."""
    update_frequency: str | None = None
    """How often."""
    min_new_experiences: Count | None = None
    """Experiences before an update."""


@dataclass(frozen=True)
class StrategiesSection:
    """``strategies``: how models go on learning."""

    continuous: ContinuousSection = ContinuousSection()
    """Learning from live play."""


@dataclass(frozen=True)
class SettingsFile:
    """A whole settings file."""

    training: TrainingSection = TrainingSection()
    """What holds for every run."""
    hardware: HardwareSection = HardwareSection()
    """Where torch works."""
    checkpoints: CheckpointSection = CheckpointSection()
    """How often and how many."""
    curriculum: CurriculumSettings = field(default_factory=CurriculumSettings)
    """Levels of growing difficulty."""
    strategies: StrategiesSection = StrategiesSection()
    """How models go on learning."""
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per model type its shape, its learning rate and, under ``training``, anything of its learning."""

    def validate(self) -> None:
        """Checks the names of the model types.

        Raises:
            ValueError: A name that is no model type.
        """
        for name in self.models:
            if name not in MODEL_TYPES:
                raise ValueError(f"unknown key 'models.{name}'{nearest(name, MODEL_TYPES)}")


def load_settings(path: Path) -> SettingsFile:
    """Reads and checks a settings file.

    Args:
        path: A YAML file.

    Raises:
        ConfigError: It cannot be read, or a key or value is wrong; the line names file and key.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; give the path of a YAML file to --config")
    return load_dataclass(SettingsFile, load_yaml(path), path.name)


def overrides(
    settings: SettingsFile, source: str, model_types: Sequence[str] = ("combat_dqn",)
) -> dict[str, dict[str, dict[str, Any]]]:
    """Turns a settings file into values that are laid over the profiles of model types.

    Args:
        settings: The checked file.
        source: The file's name for error messages.
        model_types: Which are to be trained; the file may name others.

    Returns:
        By model type ``{"training": {...}, "model": {...}}`` with what the file sets.

    Raises:
        ConfigError: An unknown key of ``models.<model type>``.
    """
    return {name: _overrides(settings, source, name) for name in model_types}


def _overrides(settings: SettingsFile, source: str, name: str) -> dict[str, dict[str, Any]]:
    from dataclasses import fields

    from policies.model_types import model_type

    kind = model_type(name)
    laid: dict[str, dict[str, Any]] = {"training": {}, "model": {}}
    supervised = kind.algorithm == "supervised"
    if settings.training.gamma is not None and not supervised:
        laid["training"]["gamma"] = settings.training.gamma
    if supervised:
        steps = {
            "checkpoint_steps": settings.checkpoints.save_frequency,
            "keep_checkpoints": settings.checkpoints.keep_last_n,
        }
        laid["training"] |= {key: value for key, value in steps.items() if value is not None}
    # Sizes of observations and actions are the environment's.
    fixed = ("observation_size", "num_actions", "action_size", "local_size", "state_size")
    shape = [f.name for f in fields(kind.config_class()) if f.name not in fixed]
    for key, value in settings.models.get(name, {}).items():
        if key == "learning_rate":
            laid["training"]["learning_rate"] = value
        elif key in shape:
            laid["model"][key] = value
        elif key == "training":
            laid["training"] |= _training(value, kind, f"{source}: key 'models.{name}.training'")
        else:
            valid = [*shape, "learning_rate", "training"]
            raise ConfigError(f"{source}: unknown key 'models.{name}.{key}'{nearest(key, valid)}")
    return laid


def _training(values: Any, kind: Any, key: str) -> dict[str, Any]:
    """Checks the names of a type's training block; its values are checked with the profile below it."""
    from dataclasses import fields
    from typing import get_type_hints

    from policies.perception.settings import SupervisedRun
    from policies.settings import OWN_RUNS, RUNS

    supervised = kind.algorithm == "supervised"
    run_class = SupervisedRun if supervised else OWN_RUNS.get(kind.name) or RUNS[kind.algorithm]
    valid = [f.name for f in fields(get_type_hints(run_class)["training"])]
    if not isinstance(values, Mapping):
        raise ConfigError(f"{key} must be a mapping such as {{learning_rate: 0.0003}}")
    for name in values:
        if name not in valid:
            raise ConfigError(f"{key}: unknown key '{name}'{nearest(name, valid)}")
    return dict(values)


def curriculum_of(settings: SettingsFile, asked: bool | None = None) -> dict[str, Any] | None:
    """The curriculum that runs are given.

    Args:
        settings: The checked file.
        asked: Whether the user wants one, whatever the file says; None leaves it to the file.

    Returns:
        ``num_levels`` and ``level_thresholds``, or None for none.
    """
    wanted = settings.curriculum.enabled if asked is None else asked
    if not wanted:
        return None
    return dict(to_plain(replace(settings.curriculum, enabled=True)))


def without_effect(settings: SettingsFile, model_types: Sequence[str] = ("combat_dqn",)) -> list[str]:
    """Lists the keys a file sets that this release does not act on yet, or not for these model types.

    Args:
        settings: The checked file.
        model_types: Which are to be trained.
    """
    from experiments.matrix import has_curriculum
    from policies.model_types import MODEL_TYPES as KINDS

    steps = any(KINDS[name].algorithm == "supervised" for name in model_types)
    levels = any(has_curriculum(name) for name in model_types)
    idle: Mapping[str, Any] = {
        "checkpoints.save_frequency": None if steps else settings.checkpoints.save_frequency,
        "checkpoints.keep_last_n": None if steps else settings.checkpoints.keep_last_n,
        "curriculum.enabled": (settings.curriculum.enabled and not levels) or None,
        "strategies.continuous.enabled": settings.strategies.continuous.enabled or None,
        **{
            f"models.{name}": values or None
            for name, values in settings.models.items()
            if name not in model_types
        },
    }
    return [name for name, value in idle.items() if value is not None]
