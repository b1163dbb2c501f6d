"""Who plays a fight that is to be watched, and playing it while every decision is written down."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from envs.recorder import Recorder
from envs.replay import Notes, Replay, finite
from experiments.errors import ExperimentError, UsageError
from experiments.seeds import Purpose, seed_for

HEADS = {
    "combat_dqn": "combat",
    "movement_ppo": "movement",
    "skill_dqn": "skill",
    "soft_actor_critic": "control",
}
"""What the actions of a model type mean; the other types do not act alone."""
# Far beyond the 300 decisions of a fight; a kernel that never ends a fight must not hang the command.
_STEP_LIMIT = 2_000


@dataclass(frozen=True)
class Thought:
    """What a mind gave for one observation.

    Attributes:
        action: as the environment takes it.
        legal: bool (action,), the mask it saw; empty for a continuous head.
        scores: float (action,), its Q-values, or None.
        probabilities: float (action,), or None.
        value: what it expects to earn, in its own units, or None.
    """

    action: Any
    legal: np.ndarray
    scores: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    value: float | None = None


class OnnxMind:
    """An exported model that also tells what it thought.

    Args:
        path: The file.
        sha256: Expected digest of its bytes; None trusts the file.
        value_factor: Reward points per unit of its values; None where that is not known.

    Raises:
        ExperimentError: The file is missing, was changed, or is no model.
    """

    def __init__(self, path: Path, sha256: str | None = None, value_factor: float | None = None) -> None:
        import onnxruntime

        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ExperimentError(
                f"{path} cannot be read ({error.strerror}); give an exported .onnx"
            ) from None
        seen = hashlib.sha256(data).hexdigest()
        if sha256 is not None and seen != sha256:
            raise ExperimentError(f"{path} was changed since its export; run monster export again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            reason = " ".join(str(error).split())[:120]
            raise ExperimentError(f"{path} is no ONNX model ({reason}); give an exported .onnx") from None
        self.value_factor = value_factor
        self.tags = dict(self._session.get_modelmeta().custom_metadata_map)
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._outputs = [entry.name for entry in self._session.get_outputs()]
        if "action" not in self._outputs:
            raise ExperimentError(
                f"{path} gives no action (its outputs: {', '.join(self._outputs)}): it cannot play"
            )

    def __call__(self, obs: Mapping[str, np.ndarray], mask: np.ndarray) -> Thought:
        """Decide for one observation: parts by name with a leading axis of 1, and the mask bool (action,)."""
        feed = {**obs, "action_mask": mask[None].astype(np.float32)}
        unknown = self._inputs - set(feed)
        if unknown:
            raise ExperimentError(
                f"the model wants {', '.join(sorted(unknown))}, which this head does not observe (it has "
                f"{', '.join(feed)}); give a model of this head"
            )
        try:
            answers = self._session.run(None, {name: feed[name] for name in self._inputs})
        except Exception as error:
            reason = " ".join(str(error).split())[:120]
            raise ExperimentError(f"the model does not take these observations ({reason})") from None
        out = {name: np.asarray(value)[0] for name, value in zip(self._outputs, answers, strict=True)}
        scores = out.get("q_values")
        value = float(out["value"].reshape(-1)[0]) if "value" in out else None
        if scores is not None and value is None and mask.any():
            value = float(scores[mask].max())
        return Thought(out["action"], mask, scores, out.get("probabilities"), value)


@dataclass(frozen=True)
class Subject:
    """Who is watched, and against whom.

    Attributes:
        archetype: of the learner.
        mind: plays it; None lets the traditional AI play both sides.
        head: what the mind's actions mean.
        scenario: None takes the archetype's own for this head.
        opponent: tier or style of the other side; None is classic.
        level: of the curriculum, in place of scenario and opponent.
        about: further words for the page, such as which model plays.
    """

    archetype: str
    mind: OnnxMind | None = None
    head: str = "combat"
    scenario: str | None = None
    opponent: str | None = None
    level: int | None = None
    about: Mapping[str, str] = field(default_factory=dict)


def head_of(model_type: str) -> str:
    """Head of a model type. Raises UsageError for a type that does not act alone."""
    if model_type not in HEADS:
        raise UsageError(f"{model_type} chooses no actions of its own; one of {', '.join(HEADS)}")
    return HEADS[model_type]


def record_fight(subject: Subject, seed: int) -> Replay:
    """Play one fight and write it down.

    Args:
        subject: Who plays.
        seed: The user's base seed; the fight's own comes from the seed plan.

    Raises:
        ConfigError: Unknown archetype, scenario or opponent.
        ExperimentError: The model does not fit the head.
    """
    env_class = getattr(importlib.import_module(f"envs.{subject.head}"), f"{subject.head.title()}VectorEnv")
    choice: dict[str, Any] = {
        "scenario": subject.scenario,
        "opponent": subject.opponent,
        "level": subject.level,
    }
    env = env_class(1, subject.archetype, learner="policy" if subject.mind else "script", **choice)
    try:
        about = {
            "archetype": subject.archetype,
            "scenario": env.scenario,
            "opponent": env.opponent,
            **subject.about,
        }
        obs, info = env.reset(seed=seed_for(Purpose.PLAY, seed, subject.archetype))
        recorder = Recorder(env.world, weights=env.ledger.weights, about=about)
        thoughts: list[Thought] = []
        for _ in range(_STEP_LIMIT):
            actions = np.zeros((1, *env.single_action_space.shape), env.single_action_space.dtype)
            if subject.mind is not None:
                mask = info["action_mask"][0] if "action_mask" in info else np.zeros(0, bool)
                thoughts.append(subject.mind(_parts(obs), mask))
                actions[0] = thoughts[-1].action
            recorder.decide(actions[0] if subject.mind else None)
            obs, _, terminated, truncated, info = env.step(actions)
            if terminated[0] or truncated[0]:
                replay = recorder.finish()
                break
        else:
            raise RuntimeError(f"the fight did not end in {_STEP_LIMIT} decisions: simulation fault")
    finally:
        env.close()
    if subject.mind is None:
        return replay
    note, words = notes_of(thoughts, subject.mind.value_factor)
    replay = replace(replay, notes=(note,), about={**replay.about, **words})
    replay.validate()
    return replay


def _parts(obs: Any) -> dict[str, np.ndarray]:
    """An observation's parts by the names of an exported model's inputs."""
    parts = dict(obs) if isinstance(obs, dict) else {"observation": obs}
    return {"obs": np.asarray(parts.pop("observation"), np.float32), **parts}


def notes_of(thoughts: list[Thought], value_factor: float | None) -> tuple[Notes, dict[str, str]]:
    """Gather thoughts into notes.

    Q-values are no probabilities: a greedy mind takes the largest. They are shown as a softmax whose
    temperature is the usual lead of the best legal one over the second (the median over the decisions that
    had a choice), so that a choice clearer than most looks clear and a close call looks close.

    Returns:
        The notes, and words for the page about how they were made.
    """
    words: dict[str, str] = {}
    probabilities: list[np.ndarray] = []
    if thoughts and all(t.probabilities is not None for t in thoughts):
        probabilities = [np.asarray(t.probabilities, np.float64) for t in thoughts]
    elif thoughts and all(t.scores is not None for t in thoughts):
        rows = [np.where(t.legal, np.asarray(t.scores, np.float64), -np.inf) for t in thoughts]
        leads = [
            np.diff(np.sort(row)[-2:])[0] for row, t in zip(rows, thoughts, strict=True) if t.legal.sum() > 1
        ]
        temperature = max(float(np.median(leads)) if leads else 1.0, 1e-6)
        weights = [np.exp((row - row.max()) / temperature) for row in rows]
        probabilities = [w / w.sum() for w in weights]
        words["probabilities"] = "softmax of its Q-values"
    values: list[float] = [t.value for t in thoughts if t.value is not None]
    if len(values) != len(thoughts):
        values = []
    if values:
        words["value"] = "reward" if value_factor is not None else "own units"
        values = [finite(value * (value_factor or 1.0), "value") for value in values]
    return (
        Notes(
            probabilities=tuple(tuple(round(float(p), 4) for p in row) for row in probabilities),
            values=tuple(values),
        ),
        words,
    )
