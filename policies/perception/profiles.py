"""Profiles of the perception minds: a supervised run from a profile and an archetype."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envs.configuration import load_dataclass, to_plain
from policies.model_types import model_type as find
from policies.perception.settings import SupervisedRun
from policies.profiles import profile_values


def resolve_perception_run(
    model_type: str,
    archetype: str,
    *,
    profile: str = "demo",
    learning_rate: float | None = None,
    learning_rate_factor: float = 1.0,
    overrides: Mapping[str, Any] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Compose one supervised run.

    Args:
        model_type: threat_assessment, spatial_vit, temporal_transformer or pattern_recognition.
        archetype: Whose eyes.
        profile: demo, small or full.
        learning_rate: Taken as it stands; without it the profile's rate x `learning_rate_factor`.
        learning_rate_factor: The archetype's rate / 3e-4.
        overrides: Values laid over the profile's, nested as there.
        **settings: Further fields of `policies.perception.settings.SupervisedRun`: seed, device, precision,
            data_folder.

    Returns:
        The run in plain JSON types, the form that `policies.perception.trainer.SupervisedTrainer` takes.

    Raises:
        ConfigError: A setting that cannot be used.
    """
    kind = find(model_type)
    kind.task_class()
    values, source = profile_values(model_type, profile, overrides, archetype)
    run = load_dataclass(
        SupervisedRun, {"model_type": model_type, "archetype": archetype, **values, **settings}, source
    )
    plain = dict(to_plain(run))
    model = load_dataclass(kind.config_class(), plain["model"], f"{source}: model")
    training = plain["training"]
    if learning_rate is None:
        learning_rate = training["learning_rate"] * learning_rate_factor
    return {
        **plain,
        "model": to_plain(model),
        "training": {**training, "learning_rate": learning_rate},
    }
