"""A deployed model in memory: verified bytes, one ONNX Runtime session, checked before it serves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from serve.heads import HEADS, contracts_of
from serve.signature import Port, Signature, SignatureError, read_signature
from storage import ArtifactError, ArtifactStore

if TYPE_CHECKING:
    from storage import ModelVersion

CPU_PROVIDER = "CPUExecutionProvider"
CALL_FLOPS = 2_000_000_000
"""A call holds the event loop: its rows are cut so that it takes about a tenth of a second at most."""
_CHECK_BATCHES = (1, 3, 64)


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
        signature: what the model takes and gives.

    Attributes:
        batch_rows: most rows that one call should have, by what a decision costs.
    """

    def __init__(self, version: ServedVersion, session: Any, signature: Signature) -> None:
        self.version = version
        self.signature = signature
        self.provider: str = session.get_providers()[0]
        self.batch_rows = max(1, CALL_FLOPS // max(1, signature.flops))
        self._run = session.run
        self._outputs = list(signature.outputs)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer a batch.

        Args:
            inputs: every input of the signature by name, `(row, ...)` in its type.

        Returns:
            Every output by name, `(row, ...)`.
        """
        return dict(zip(self._outputs, self._run(self._outputs, inputs), strict=True))


def load_model(store: ArtifactStore, version: ServedVersion) -> LoadedModel:
    """Read, verify, load and check one version; nothing is served that did not pass.

    Args:
        store: the artifact store; it refuses content of another sha256.
        version: what to load.

    Raises:
        ModelError: contract mismatch, missing or altered file, not an ONNX file of ours, or wrong answers.
    """
    for key, ours in contracts_of(version.model_type).items():
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
    session = _session(version, content)
    try:
        signature = read_signature(session, version.model_type)
    except SignatureError as error:
        raise ModelError(f"{version.name}: {error}; export it with this release") from error
    _check_head(version, signature)
    model = LoadedModel(version, session, signature)
    check_model(model)
    return model


def _check_head(version: ServedVersion, signature: Signature) -> None:
    """An acting mind must take what the service can make of a world view."""
    head = HEADS.get(version.model_type)
    if head is None:
        return
    seen = {name: port.shape for name, port in signature.asked.items()}
    needed = {head.choice, *([head.scores] if head.scores else [])}
    if seen != head.inputs or not needed <= signature.outputs.keys():
        raise ModelError(
            f"{version.name}: the ONNX file has inputs {seen} and outputs {list(signature.outputs)}, "
            f"expected {dict(head.inputs)} and {sorted(needed)}; export it with this release"
        )


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
    return session


def check_model(model: LoadedModel) -> None:
    """Run golden batches, two decisions each, and refuse answers that no sound mind gives.

    Raises:
        ModelError: an exception, a wrong shape or type, a value that is not finite, a masked value other than
            the fixed one, or a choice that is not the best legal one.
    """
    signature, name = model.signature, model.version.name
    generator = np.random.default_rng(64)
    for rows in _CHECK_BATCHES:
        state = signature.first_state(rows)
        for _ in range(2 if state else 1):
            drawn = {p.name: _drawn(p, rows, generator) for p in signature.asked.values()}
            inputs = {**drawn, **state}
            try:
                outputs = model.run(inputs)
            except Exception as error:  # see _session
                reason = str(error).splitlines()[0][:200]
                raise ModelError(f"{name} fails on a batch of {rows} ({reason}); export it again") from error
            _check_outputs(name, signature, rows, inputs, outputs)
            state = {own: outputs[after] for own, after in signature.state.items()}


def _drawn(port: Port, rows: int, generator: np.random.Generator) -> np.ndarray:
    """Values as `policies.inference.random_inputs` has them; at least the first choice is legal."""
    shape = (rows, *port.shape)
    if port.name.endswith("mask"):
        values = (generator.random(shape) < 0.5).astype(port.dtype)
        values[..., 0] = 1
        return values
    if port.dtype == np.float32:
        return generator.uniform(-1, 1, shape).astype(np.float32)
    return generator.integers(0, 256 if port.dtype == np.uint8 else 2, shape).astype(port.dtype)


def _check_outputs(
    name: str,
    signature: Signature,
    rows: int,
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
) -> None:
    for port in signature.outputs.values():
        values = outputs[port.name]
        if values.shape != (rows, *port.shape) or values.dtype != port.dtype:
            raise ModelError(
                f"{name} answers {rows} rows with '{port.name}' of shape {values.shape}, expected "
                f"{(rows, *port.shape)}; export it again"
            )
        if not np.isfinite(values).all():
            raise ModelError(
                f"{name} gives {port.name} that are not finite; its training diverged: train anew"
            )
    if signature.choice is not None and (outputs[signature.choice] < 0).any():
        raise ModelError(f"{name} chooses a negative '{signature.choice}'; export it again")
    if signature.mask is None:
        return
    legal, values = inputs[signature.mask[0]] > 0.5, outputs[signature.mask[1]]
    hidden = values[~legal]
    fixed = signature.illegal if signature.illegal is not None else hidden.min(initial=np.inf)
    if (hidden != np.float32(fixed)).any():
        raise ModelError(f"{name} gives illegal {signature.mask[1]} other than {fixed:g}; export it again")
    if signature.choice is not None:
        # By value, not by place: of equal values either is the best.
        chosen = outputs[signature.choice][:, None]
        sound = (chosen < legal.shape[1]).all() and np.take_along_axis(legal, chosen, axis=1).all()
        best = np.where(legal, values, -np.inf).max(axis=1, keepdims=True)
        if not sound or (np.take_along_axis(values, chosen, axis=1) != best).any():
            raise ModelError(f"{name} chooses actions that are not the best legal ones; export it again")
