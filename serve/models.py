"""A deployed model in memory: verified bytes, one ONNX Runtime session, checked before it serves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.contracts import ACTION_VERSION, NUM_COMBAT_ACTIONS, OBS_SIZE, OBS_VERSION
from storage import ArtifactError, ArtifactStore

if TYPE_CHECKING:
    from storage import ModelVersion

INPUTS = {"obs": (OBS_SIZE,), "action_mask": (NUM_COMBAT_ACTIONS,)}
OUTPUTS = ("q_values", "action")
CPU_PROVIDER = "CPUExecutionProvider"
_CHECK_BATCHES = (1, 3, 64)
_CONTRACTS = {"observation": OBS_VERSION, "action": ACTION_VERSION}


class ModelError(RuntimeError):
    """A model version cannot be served; the message is one line that says why."""


@dataclass(frozen=True)
class ServedVersion:
    """The part of a registry row that loading needs; it survives in the last-good manifest as JSON.

    Attributes:
        model_id: key of the registry row, as text.
        archetype: one of the six archetypes, or a user's own.
        model_type: one of the nine model types.
        version: number of the version within archetype and model type, from 1.
        uri: address of the FP32 ONNX file in the artifact store.
        sha256: digest that the file must have.
        contracts: contract versions that the model was trained for.
    """

    model_id: str
    archetype: str
    model_type: str
    version: int
    uri: str
    sha256: str
    contracts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For messages: `tank/combat_dqn v3`."""
        return f"{self.archetype}/{self.model_type} v{self.version}"

    @classmethod
    def from_registry(cls, row: ModelVersion) -> ServedVersion:
        """Take what the service needs from a registry row.

        Raises:
            ModelError: the row has no FP32 ONNX artifact (it was never exported).
        """
        artifact = (row.artifacts or {}).get("onnx_fp32")
        if not artifact or not artifact.get("uri") or not artifact.get("sha256"):
            raise ModelError(
                f"{row.archetype}/{row.model_type} v{row.version} has no FP32 ONNX file in the registry; "
                "run: monster export"
            )
        return cls(
            model_id=str(row.model_id),
            archetype=row.archetype,
            model_type=row.model_type,
            version=int(row.version),
            uri=artifact["uri"],
            sha256=artifact["sha256"],
            contracts=dict(row.contracts or {}),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ServedVersion:
        """Read what `to_json` wrote."""
        return cls(**data)


class LoadedModel:
    """One version, ready to decide. Equal only to itself, so that it can key the engine's queues.

    Args:
        version: what was loaded.
        session: ONNX Runtime session over the verified bytes.
    """

    def __init__(self, version: ServedVersion, session: Any) -> None:
        self.version = version
        self.provider: str = session.get_providers()[0]
        self._run = session.run

    def run(self, observations: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decide for a batch.

        Args:
            observations: float32 (row, 64), `obs_v1`.
            masks: float32 (row, 10), 1 where an action is legal.

        Returns:
            q values float32 (row, 10), -1e4 where illegal, and greedy actions int64 (row,).
        """
        q_values, actions = self._run(OUTPUTS, {"obs": observations, "action_mask": masks})
        return q_values, actions


def load_model(store: ArtifactStore, version: ServedVersion) -> LoadedModel:
    """Read, verify, load and check one version; nothing is served that did not pass.

    Args:
        store: the artifact store; it refuses content of another sha256.
        version: what to load.

    Raises:
        ModelError: contract mismatch, missing or altered file, not an ONNX file of ours, or wrong answers.
    """
    for key, ours in _CONTRACTS.items():
        theirs = version.contracts.get(key)
        if theirs is not None and theirs != ours:
            raise ModelError(
                f"{version.name} was trained for {key} contract {theirs!r}, this service speaks {ours!r}; "
                "serve it with the release that trained it, or train anew"
            )
    try:
        content = store.read(version.uri, version.sha256)
    except ArtifactError as error:
        raise ModelError(f"{version.name}: {error}") from error
    model = LoadedModel(version, _session(version, content))
    check_model(model)
    return model


def _session(version: ServedVersion, content: bytes) -> Any:
    # From 1.29 on it reports what models a program loads, and keeps a device id under the user's home,
    # unless told otherwise before it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    options = ort.SessionOptions()
    # One thread: the models are small, and a replica shares its cores with the web server around it.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(content, options, providers=[CPU_PROVIDER])
    except Exception as error:  # onnxruntime raises its own classes, one per status code
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"{version.name}: not a loadable ONNX file ({reason}); export it again") from error
    inputs = {node.name: tuple(node.shape[1:]) for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]
    if inputs != INPUTS or not set(OUTPUTS) <= set(outputs):
        raise ModelError(
            f"{version.name}: the ONNX file has inputs {inputs} and outputs {outputs}, "
            f"expected {INPUTS} and {list(OUTPUTS)}; export it with this release"
        )
    return session


def check_model(model: LoadedModel) -> None:
    """Run golden batches and refuse answers that no sound policy gives.

    Raises:
        ModelError: an exception, a wrong shape, a value that is not finite, or an action that is not the
            best legal one.
    """
    name = model.version.name
    generator = np.random.default_rng(64)
    for rows in _CHECK_BATCHES:
        observations = generator.uniform(-1, 1, (rows, OBS_SIZE)).astype(np.float32)
        masks = (generator.random((rows, NUM_COMBAT_ACTIONS)) < 0.5).astype(np.float32)
        masks[:, 0] = 1.0  # hold is always legal
        try:
            q_values, actions = model.run(observations, masks)
        except Exception as error:  # see _session
            reason = str(error).splitlines()[0][:200]
            raise ModelError(f"{name} fails on a batch of {rows} ({reason}); export it again") from error
        if q_values.shape != (rows, NUM_COMBAT_ACTIONS) or actions.shape != (rows,):
            raise ModelError(
                f"{name} answers {rows} rows with shapes {q_values.shape} and {actions.shape}, expected "
                f"{(rows, NUM_COMBAT_ACTIONS)} and {(rows,)}; export it again"
            )
        if not np.isfinite(q_values).all():
            raise ModelError(f"{name} gives q values that are not finite; its training diverged: train anew")
        best = np.where(masks > 0, q_values, -np.inf).argmax(axis=1)
        if (best != actions).any():
            raise ModelError(f"{name} chooses actions that are not the best legal ones; export it again")
