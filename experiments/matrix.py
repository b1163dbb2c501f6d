"""The experiment matrix as data: archetypes x model types, each cell resolved to plain JSON with a hash.

A run is decided completely by its resolved settings: a trial gets this JSON, never a path, and two
requests with the same hash are the same run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.errors import UsageError
from experiments.machine import code_version
from experiments.seeds import Purpose, seed_for

STAGES: dict[str, tuple[str, ...]] = {
    "core": ("combat_dqn", "movement_ppo", "threat_assessment"),
    "advanced": ("spatial_vit", "temporal_transformer", "pattern_recognition"),
    "coordination": ("team_coordination", "soft_actor_critic", "skill_dqn"),
}
"""Model types by stage: what a game needs first, what sees further, what acts together and finer."""
PROFILES = ("demo", "small", "full")
OPPONENT = "classic"
SELECTION_FIGHTS = 256
"""Fights per epoch on the selection seeds, by which the best epoch is chosen."""
# Archetype rates scale the type's rate relative to this one (an archetype's factor is rate / 3e-4).
_REFERENCE_RATE = 3e-4
_DEFAULT_NOISE = 0.1
_SUPERVISED_LANE = ("precision",)
"""Of how a run is carried out, what concerns a mind that learns from recorded fights."""


@dataclass(frozen=True)
class Request:
    """What a user asked to train.

    Attributes:
        archetypes: Names, checked and without repetition.
        model_types: Names, checked and without repetition.
        profile: ``demo``, ``small`` or ``full``.
        seed: Base seed of everything random.
        epochs: Reports to Tune; the profile's number when None.
        batch_size: Rows per gradient step; the profile's when None.
        lr: Learning rate as it stands; the type's rate x (archetype's rate / 3e-4) when None.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        lane: How each run is carried out: ``precision``, ``compiled``, ``env_runners``, ``learners``,
            ``sampler`` and ``checkpoint_replay`` of `policies.settings.Run`.
        overrides: By model type, further settings laid over the profile's, ``{"combat_dqn": {"training":
            {...}, "model": {...}}}``.
        curriculum: ``num_levels`` and ``level_thresholds`` of `envs.curriculum.CurriculumSettings`, for minds
            that act on their own; None trains against the traditional AI from the start. Packs have none.
        from_scratch: Whether every run starts from fresh weights, also where a profile says otherwise.
    """

    archetypes: tuple[str, ...]
    model_types: tuple[str, ...]
    profile: str = "demo"
    seed: int = 0
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    device: str = "cpu"
    lane: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    curriculum: Mapping[str, Any] | None = None
    from_scratch: bool = False


@dataclass(frozen=True)
class Run:
    """One resolved cell of the matrix.

    Attributes:
        settings: Plain JSON types, everything the run depends on.
    """

    settings: Mapping[str, Any]

    @property
    def archetype(self) -> str:
        """Name of the archetype."""
        return str(self.settings["archetype"])

    @property
    def model_type(self) -> str:
        """Name of the model type."""
        return str(self.settings["model_type"])

    @property
    def json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps(self.settings, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, 64 hex digits."""
        return hashlib.sha256(self.json.encode()).hexdigest()

    @property
    def run_id(self) -> str:
        """A name for people and folders that ends in the start of the hash."""
        s = self.settings
        return f"{self.archetype}-{self.model_type}-{s['profile']}-s{s['seed']}-{self.hash[:10]}"

    @property
    def source_id(self) -> str | None:
        """Id of the run of the same experiment whose weights it starts from; None if it needs no other."""
        start = self.settings.get("start_from") or {}
        return None if "weights_sha256" in start else start.get("run_id")

    @property
    def helpers(self) -> int:
        """Processes beside the trial's own: env runners and learners."""
        trial = self.settings["trial"]
        return int(trial.get("env_runners", 0)) + int(trial.get("learners", 0))

    @property
    def epochs(self) -> int:
        """Reports to Tune."""
        return int(self.settings["trial"]["training"]["epochs"])

    @property
    def env_steps(self) -> int | None:
        """Decisions of the environment in the whole run; None where a mind learns from recorded fights."""
        t = self.settings["trial"]["training"]
        if self.settings["kind"] == "supervised":
            return None
        return int(t["epochs"] * t["rounds_per_epoch"] * t["num_envs"] * t["rollout_length"])


def check_names(
    archetypes: Sequence[str] | None, model_types: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Checks the names of a selection of cells before any work.

    Args:
        archetypes: Names, of the user's own archetypes too; None for all six.
        model_types: Names, or None for all nine.

    Returns:
        Both selections in the order of the contracts, without repetition.

    Raises:
        UsageError: An unknown archetype or model type (the nearest valid name is given).
    """
    from envs.archetypes import known, suggestion
    from envs.configuration import nearest
    from envs.contracts import ARCHETYPES, MODEL_TYPES

    names = known()
    for name in archetypes or ():
        if name not in names:
            own = "" if len(names) > len(ARCHETYPES) else "; monsters of your own need --archetypes-file"
            raise UsageError(f"unknown archetype '{name}'{suggestion(name)}{own}")
    for name in model_types or ():
        if name not in MODEL_TYPES:
            raise UsageError(f"unknown model type '{name}'{nearest(name, MODEL_TYPES)}")
    chosen = archetypes or ARCHETYPES
    types = model_types or MODEL_TYPES
    return tuple(a for a in names if a in chosen), tuple(m for m in MODEL_TYPES if m in types)


def resolve(request: Request) -> list[Run]:
    """Resolves every requested cell, and those that it starts from.

    Args:
        request: What the user asked for; its names are checked here too.

    Returns:
        Type by type in the order of the contracts; a run that another one starts from stands before it.

    Raises:
        UsageError: A name or setting that cannot be used, as one line.
    """
    from envs.configuration import ConfigError

    archetypes, model_types = check_names(request.archetypes, request.model_types)
    try:
        found: dict[str, Run] = {}
        for name in model_types:
            for archetype in archetypes:
                for run in _with_sources(request, archetype, name):
                    found.setdefault(run.run_id, run)
        return list(found.values())
    except ConfigError as error:
        raise UsageError(str(error)) from error


def _with_sources(request: Request, archetype: str, model_type: str) -> list[Run]:
    """A cell, and before it those that it starts from, the first one first."""
    from policies.profiles import starts_from

    before = None if request.from_scratch else starts_from(model_type, request.profile, archetype)
    if before is None:
        return [_resolve_cell(request, archetype, model_type, None)]
    sources = _with_sources(request, before, model_type)
    return [*sources, _resolve_cell(request, archetype, model_type, sources[-1])]


def _resolve_cell(request: Request, archetype: str, model_type: str, source: Run | None) -> Run:
    from envs import archetypes
    from envs.contracts import OBS_VERSION, VIEW_VERSION
    from policies.model_types import MODEL_TYPES

    kind = MODEL_TYPES[model_type]
    supervised = kind.algorithm == "supervised"
    settings: dict[str, Any] = {
        "format": 2,
        "kind": "supervised" if supervised else "rl",
        "archetype": archetype,
        "model_type": model_type,
        "profile": request.profile,
        "seed": request.seed,
        "trial": (_supervised_trial if supervised else _acting_trial)(request, archetype, model_type),
        "contracts": {
            "observation": OBS_VERSION,
            "action": _action_version(kind.head),
            "view": VIEW_VERSION,
        },
        "code": code_version(),
    }
    if not supervised:
        settings["selection"] = {"fights": SELECTION_FIGHTS, "seed": request.seed, "opponent": OPPONENT}
    if source is not None:
        settings["start_from"] = {
            "archetype": source.archetype, "model_type": model_type, "run_id": source.run_id,
        }  # fmt: skip
    own = archetypes.definitions([archetype])
    if own:  # the six stand in the code, which has its hash already
        settings["archetypes"] = own
    return Run(json.loads(json.dumps(settings)))


def _acting_trial(request: Request, archetype: str, model_type: str) -> dict[str, Any]:
    from envs import archetypes
    from policies.profiles import resolve_run

    config = archetypes.load(archetype).training
    return resolve_run(
        model_type,
        environment(model_type, archetype),
        profile=request.profile,
        archetype=archetype,
        seed=seed_for(Purpose.TRAINING, request.seed, archetype, model_type),
        noise=_given(config.exploration_noise, _DEFAULT_NOISE),
        reward_scale=_given(config.reward_scale, 1.0),
        device=request.device,
        curriculum=request.curriculum if has_curriculum(model_type) else None,
        **_common(request, archetype, model_type),
        **request.lane,
    )


def has_curriculum(model_type: str) -> bool:
    """Whether minds of a type can climb the curriculum's levels: those that act, but for packs.

    Args:
        model_type: Name.
    """
    from policies.model_types import MODEL_TYPES

    # Levels differ in team size, and a pack keeps its own.
    return MODEL_TYPES[model_type].head not in (None, "pack")


def _supervised_trial(request: Request, archetype: str, model_type: str) -> dict[str, Any]:
    from policies.perception.profiles import resolve_perception_run

    lane = {name: value for name, value in request.lane.items() if name in _SUPERVISED_LANE}
    return resolve_perception_run(
        model_type,
        archetype,
        profile=request.profile,
        seed=seed_for(Purpose.TRAINING, request.seed, archetype, model_type),
        device=request.device,
        **_common(request, archetype, model_type),
        **lane,
    )


def _common(request: Request, archetype: str, model_type: str) -> dict[str, Any]:
    """Learning rate and what is laid over the profile, alike for every kind of run."""
    from envs import archetypes
    from policies.model_types import MODEL_TYPES

    rounds = MODEL_TYPES[model_type].algorithm in ("ppo", "team_ppo")
    given = {
        "epochs": request.epochs,
        "minibatch_size" if rounds else "batch_size": request.batch_size,
    }
    laid = request.overrides.get(model_type, {})
    overrides = {name: dict(values) for name, values in laid.items()}
    overrides["training"] = {
        **overrides.get("training", {}),
        **{name: value for name, value in given.items() if value is not None},
    }
    rate = archetypes.load(archetype).training.learning_rate
    return {
        "learning_rate": request.lr,
        "learning_rate_factor": (rate or _REFERENCE_RATE) / _REFERENCE_RATE,
        "overrides": overrides,
    }


def environment(model_type: str, archetype: str) -> dict[str, Any]:
    """Where a mind with actions learns: the environment of its head, against the traditional AI.

    Args:
        model_type: Of a mind with actions.
        archetype: Name.
    """
    from policies.model_types import MODEL_TYPES

    head = MODEL_TYPES[model_type].head
    who = {"archetype": archetype, "opponent": OPPONENT}
    if head == "pack":
        return {"factory": "policies.columnar.pack_rows:make", **who}
    return {"id": f"MLMonster/{str(head).capitalize()}-v0", **who}


def _action_version(head: str | None) -> str:
    from envs.contracts.vocabulary import ACTION_VERSIONS

    return "none" if head is None else ACTION_VERSIONS[head]


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def plan_rows(runs: Sequence[Run], reused: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Lists what would be run, one row per cell, for the dry run and ``--json``.

    Args:
        runs: The resolved cells.
        reused: Per run id what is already there, such as ``done``.
    """
    rows = []
    for run in runs:
        trial, training = run.settings["trial"], run.settings["trial"]["training"]
        rows.append(
            {
                "run_id": run.run_id,
                "archetype": run.archetype,
                "model_type": run.model_type,
                "profile": run.settings["profile"],
                "epochs": run.epochs,
                "env_steps": run.env_steps,
                "updates": _updates(training),
                "batch_size": training.get("batch_size") or training["minibatch_size"],
                "learning_rate": training["learning_rate"],
                "noise": trial.get("noise"),
                "scenario": trial.get("env", {}).get("scenario"),
                "reward": trial.get("env", {}).get("reward"),
                "reward_scale": trial.get("reward_scale"),
                "device": trial["device"],
                "precision": trial["precision"],
                "sampler": trial.get("sampler"),
                "curriculum_levels": _levels(trial.get("curriculum")),
                "starts_from": (run.settings.get("start_from") or {}).get("run_id"),
                "cpus": 1 + run.helpers,
                "state": (reused or {}).get(run.run_id, "new"),
            }
        )
    return rows


def _levels(curriculum: Mapping[str, Any] | None) -> int | None:
    from envs.configuration import load_dataclass
    from envs.curriculum import CurriculumSettings

    if curriculum is None:
        return None
    return len(load_dataclass(CurriculumSettings, curriculum, "curriculum").thresholds)


def _updates(training: Mapping[str, Any]) -> int | None:
    """Gradient steps of a run; None where they depend on what is recorded."""
    if "rounds_per_epoch" not in training:
        return None
    per_round = training.get("updates_per_round")
    if per_round is None:
        rows = training["num_envs"] * training["rollout_length"]
        per_round = training["passes"] * max(1, round(rows / training["minibatch_size"]))
    return int(training["epochs"] * training["rounds_per_epoch"] * per_round)
