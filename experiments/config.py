"""The settings file of ``monster train --config``: its schema and what it means for a request.

Sections of later releases are checked as strictly as the others and then named as having no effect yet,
so that a file written for the whole product loads unchanged and nobody believes a setting that is idle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from envs.configuration import ConfigError, Range, load_dataclass, load_yaml, nearest
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
    """Largest GPU memory to use."""
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
    """Per model type its shape and learning rate."""

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


def overrides(settings: SettingsFile, source: str) -> dict[str, dict[str, Any]]:
    """Turns a settings file into values that are laid over a profile of combat_dqn.

    Args:
        settings: The checked file.
        source: The file's name for error messages.

    Returns:
        ``{"training": {...}, "model": {...}}`` with what the file sets.

    Raises:
        ConfigError: An unknown key of ``models.combat_dqn``.
    """
    from dataclasses import fields

    from policies.combat_dqn import CombatDQNConfig

    laid: dict[str, dict[str, Any]] = {"training": {}, "model": {}}
    if settings.training.gamma is not None:
        laid["training"]["gamma"] = settings.training.gamma
    shape = [f.name for f in fields(CombatDQNConfig) if f.name not in ("observation_size", "num_actions")]
    for name, value in settings.models.get("combat_dqn", {}).items():
        if name == "learning_rate":
            laid["training"]["learning_rate"] = value
        elif name in shape:
            laid["model"][name] = value
        else:
            valid = [*shape, "learning_rate"]
            raise ConfigError(f"{source}: unknown key 'models.combat_dqn.{name}'{nearest(name, valid)}")
    return laid


def without_effect(settings: SettingsFile) -> list[str]:
    """Lists the keys a file sets that this release does not act on yet."""
    idle: Mapping[str, Any] = {
        "hardware.max_vram_gb": settings.hardware.max_vram_gb,
        "checkpoints.save_frequency": settings.checkpoints.save_frequency,
        "checkpoints.keep_last_n": settings.checkpoints.keep_last_n,
        "curriculum.enabled": settings.curriculum.enabled or None,
        "strategies.continuous.enabled": settings.strategies.continuous.enabled or None,
        **{
            f"models.{name}": values or None
            for name, values in settings.models.items()
            if name != "combat_dqn"
        },
    }
    return [name for name, value in idle.items() if value is not None]
