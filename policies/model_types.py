"""The nine model types: what each learns by, its network, and its weights in a file.

Nothing heavy is imported before a network is built.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import nn

from envs.configuration import ConfigError, load_dataclass, nearest, to_plain
from envs.contracts.vocabulary import MODEL_TYPES as NAMES

WEIGHTS_FILE = "model.safetensors"
Algorithm = Literal["dqn", "ppo", "sac", "team_ppo", "supervised"]


class WeightsError(ValueError):
    """A file that holds no weights of a model type; its text says what it holds."""


@dataclasses.dataclass(frozen=True)
class ModelType:
    """One kind of mind.

    Attributes:
        name: as in the registry.
        algorithm: what it learns by.
        network: module and class of the network; its configuration is called the same with Config behind.
        head: what its actions mean; None for a perception mind.
        task: module and class of what a perception mind learns; None for the others.
        config_name: module and class of the configuration, where it is called otherwise.
        fresh: parts of the network, by the beginnings of their parameters' names, that start anew when it
            takes up another archetype's weights: values, because archetypes are paid differently. What
            perceives and what chooses moves.
    """

    name: str
    algorithm: Algorithm
    network: str
    head: str | None = None
    task: str | None = None
    config_name: str | None = None
    fresh: tuple[str, ...] = ()

    def network_class(self) -> type[nn.Module]:
        """The class of its network."""
        found: type[nn.Module] = _named(self.network)
        return found

    def config_class(self) -> type[Any]:
        """The class of its network's configuration."""
        found: type[Any] = _named(self.config_name or f"{self.network}Config")
        return found

    def task_class(self) -> type[Any]:
        """The class of its task.

        Raises:
            ConfigError: it learns by reinforcement.
        """
        if self.task is None:
            raise ConfigError(f"{self.name} learns by reinforcement and has no supervised task")
        found: type[Any] = _named(self.task)
        return found


MODEL_TYPES: dict[str, ModelType] = {
    kind.name: kind
    for kind in (
        ModelType("combat_dqn", "dqn", "policies.combat_dqn:CombatDQN", "combat", fresh=("head.",)),
        ModelType(
            "movement_ppo",
            "ppo",
            "policies.actor_critic:ActorCritic",
            "movement",
            fresh=("critic.", "value_head."),
        ),
        ModelType("skill_dqn", "dqn", "policies.skill_dqn:SkillDQN", "skill", fresh=("base.", "value.")),
        ModelType(
            "threat_assessment",
            "supervised",
            "policies.threat_assessment:ThreatAssessment",
            task="policies.perception.threat:ThreatTask",
        ),
        ModelType(
            "team_coordination",
            "team_ppo",
            "policies.team:TeamActorCritic",
            "pack",
            config_name="policies.team:TeamConfig",
            fresh=("critic.",),
        ),
        ModelType(
            "spatial_vit",
            "supervised",
            "policies.spatial_vit:SpatialViT",
            task="policies.perception.spatial:SpatialTask",
        ),
        ModelType(
            "temporal_transformer",
            "supervised",
            "policies.temporal_transformer:TemporalTransformer",
            task="policies.perception.temporal:TemporalTask",
        ),
        ModelType(
            "pattern_recognition",
            "supervised",
            "policies.pattern_recognition:PatternRecognition",
            task="policies.perception.pattern:PatternTask",
        ),
        ModelType(
            "soft_actor_critic",
            "sac",
            "policies.soft_actor_critic:SoftActorCritic",
            "control",
            fresh=("critics.",),
        ),
    )
}
"""By name, in the order of the matrix."""
assert tuple(MODEL_TYPES) == NAMES


def model_type(name: str) -> ModelType:
    """Look a model type up.

    Raises:
        ConfigError: no such type.
    """
    if name not in MODEL_TYPES:
        raise ConfigError(f"unknown model type '{name}'{nearest(name, MODEL_TYPES)}")
    return MODEL_TYPES[name]


def build_network(name: str, config: Mapping[str, Any] | Any) -> Any:
    """Make a network with fresh weights, drawn from torch's global generator.

    Args:
        name: of the model type.
        config: its configuration, or the plain form of it.

    Raises:
        ConfigError: no such type, or a configuration that it cannot use.
    """
    kind = model_type(name)
    return kind.network_class()(load_dataclass(kind.config_class(), config, f"{name}: model"))


def type_of(network: nn.Module) -> str:
    """Name of the model type of a network.

    Raises:
        ConfigError: not a network of any type.
    """
    for kind in MODEL_TYPES.values():
        module, _, name = kind.network.partition(":")
        if (type(network).__module__, type(network).__name__) == (module, name):
            return kind.name
    raise ConfigError(f"{type(network).__name__} is not the network of a model type")


def save_weights(network: Any, folder: Path) -> Path:
    """Write `model.safetensors` with type and shape in its header, beside and renamed.

    Args:
        network: of any model type, with a frozen `config`.
        folder: receives the file; made if missing.

    Returns:
        The file.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / ".model.writing"
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    header = {"model": type_of(network), "config": json.dumps(to_plain(network.config))}
    save_file(weights, str(beside), metadata=header)
    return beside.replace(folder / WEIGHTS_FILE)


def load_weights(path: Path, expected: str | None = None) -> Any:
    """Build a network from a file that `save_weights` wrote, in evaluation mode; no code is executed.

    Args:
        path: The safetensors file.
        expected: Name of the model type that it should be; None takes any.

    Raises:
        WeightsError: The file has no header of a model type, or of another one.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            header = file.metadata() or {}
            name = header.get("model", "")
            if name not in MODEL_TYPES or (expected is not None and name != expected):
                raise WeightsError(f"{path} holds no {expected or 'model type'} weights; train the run again")
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as weights ({error}); train the run again") from error
    network = build_network(name, json.loads(header["config"]))
    network.load_state_dict(weights)
    return network.eval()


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
