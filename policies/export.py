"""Export to ONNX that refuses what does not match: float32 for CPUs, float16 (float32 outside) for GPUs.

One graph per network shape is traced and kept; a network's weights are put into it, so the six archetypes
cost one trace and equal weights give equal bytes. Nothing is left in the folder unless the written files,
run by ONNX Runtime, agree with torch on recorded decisions.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import logging
import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from onnxconverter_common import float16
from torch import nn

from policies.combat_dqn import ILLEGAL_Q, INPUT_NAMES, OUTPUT_NAMES, CombatDQN, CombatDQNConfig

OPSET = 20
BATCHES = (1, 3, 64)
MIN_ROWS = 200
# Largest error of a legal action's value, as a share of max(1, largest value): float32 differs by the order
# of summation only; float16 rounds weights and activations to 11 bits.
FP32_TOLERANCE = 1e-5
FP16_TOLERANCE = 1e-2
MIN_ACTION_AGREEMENT = 0.995
# The prefix of the network's parameters inside the inference form.
WEIGHT_PREFIX = "network."


class ExportRefusedError(RuntimeError):
    """A written file does not do what its torch model does; its text gives the figures."""


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """One verified ONNX file."""

    path: Path
    sha256: str
    bytes: int
    max_abs_error: float
    """Largest difference from torch over the legal actions' values of all recorded rows and batch sizes."""
    action_agreement: float
    """Share of recorded rows with torch's action, the worst over the batch sizes."""


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What an export wrote and how well it agrees with torch."""

    fp32: ExportedFile
    fp16: ExportedFile
    batches: tuple[int, ...]
    rows: int
    q_scale: float
    """max(1, largest legal value): what the tolerances are a share of."""


def export_onnx(
    model: CombatDQN,
    folder: str | os.PathLike[str],
    metadata: Mapping[str, str],
    recorded: Mapping[str, NDArray[np.generic]],
) -> ExportReport:
    """Write a network as `combat_dqn.fp32.onnx` and `combat_dqn.fp16.onnx`, or refuse.

    Args:
        model: The network; left untouched.
        folder: Made if missing; files of the same names are replaced.
        metadata: Written into both files beside what the network knows of itself.
        recorded: "obs" float32 (row, observation) and "action_mask" (row, action) of at least 200 decisions.

    Returns:
        Paths, hashes, sizes and agreement.

    Raises:
        ExportRefusedError: Too few recorded rows, or a written file disagrees with torch; no file is left.
        ValueError: Recorded arrays of the wrong shape.
    """
    obs, mask = _check_recorded(model.config, recorded)
    fp32 = _with_weights(_graph(model.config), model)
    fp16 = _to_fp16(fp32)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    unique = uuid.uuid4().hex[:8]
    reports: dict[str, ExportedFile] = {}
    beside: dict[Path, Path] = {}
    try:
        for precision, proto, tolerance in (("fp32", fp32, FP32_TOLERANCE), ("fp16", fp16, FP16_TOLERANCE)):
            _set_metadata(proto, {**_own_metadata(model), **metadata, "precision": precision})
            path = target / f"combat_dqn.{precision}.onnx"
            written = path.with_name(f"{path.name}.writing-{unique}")
            beside[written] = path
            written.write_bytes(proto.SerializeToString(deterministic=True))
            error, agreement, scale = verify(written, model, obs, mask)
            _refuse_unless(precision, error, tolerance * scale, agreement)
            content = written.read_bytes()
            sha256 = hashlib.sha256(content).hexdigest()
            reports[precision] = ExportedFile(path, sha256, len(content), error, agreement)
        for written, path in beside.items():
            os.replace(written, path)
    finally:
        for written in beside:
            written.unlink(missing_ok=True)
    return ExportReport(reports["fp32"], reports["fp16"], BATCHES, len(obs), scale)


def verify(
    path: Path, model: CombatDQN, obs: NDArray[np.float32], action_mask: NDArray[np.float32]
) -> tuple[float, float, float]:
    """Run a written file and compare it with torch, in batches of 1, 3 and 64 rows.

    Args:
        path: The ONNX file.
        model: What it should equal.
        obs: float32 (row, observation).
        action_mask: float32 (row, action).

    Returns:
        Largest error over the values of legal actions, the worst share of equal actions, and the scale of the
        values: max(1, largest legal value). An illegal action whose value is not exactly `ILLEGAL_Q`, or a
            value that is not finite, gives an infinite error.
    """
    with torch.no_grad():
        outputs = model.inference_form()(torch.from_numpy(obs), torch.from_numpy(action_mask))
    q_torch, action_torch = (output.numpy() for output in outputs)
    legal = action_mask > 0.5
    scale = max(1.0, float(np.abs(q_torch[legal]).max(initial=0.0)))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    error, agreement = 0.0, 1.0
    for batch in BATCHES:
        pieces = [
            session.run(
                list(OUTPUT_NAMES), {"obs": obs[i : i + batch], "action_mask": action_mask[i : i + batch]}
            )
            for i in range(0, len(obs), batch)
        ]
        q_values = np.concatenate([piece[0] for piece in pieces])
        actions = np.concatenate([piece[1] for piece in pieces])
        if not np.isfinite(q_values).all() or not (q_values[~legal] == ILLEGAL_Q).all():
            return float("inf"), 0.0, scale
        error = max(error, float(np.abs(q_values - q_torch)[legal].max(initial=0.0)))
        agreement = min(agreement, float((actions == action_torch).mean()))
    return error, agreement, scale


def _check_recorded(
    config: CombatDQNConfig, recorded: Mapping[str, NDArray[np.generic]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    obs = np.ascontiguousarray(recorded["obs"], dtype=np.float32)
    mask = np.ascontiguousarray(recorded["action_mask"], dtype=np.float32)
    rows = len(obs)
    if obs.shape != (rows, config.observation_size) or mask.shape != (rows, config.num_actions):
        raise ValueError(
            f"recorded obs {obs.shape} and action_mask {mask.shape} do not fit the network; "
            f"give (row, {config.observation_size}) and (row, {config.num_actions})"
        )
    if rows < MIN_ROWS:
        raise ExportRefusedError(
            f"{rows} recorded decisions are too few to verify an export; record at least {MIN_ROWS}"
        )
    return obs, mask


def _refuse_unless(precision: str, error: float, tolerance: float, agreement: float) -> None:
    if not error <= tolerance:
        raise ExportRefusedError(
            f"{precision}: the written file differs from torch by {error:.2e}, allowed is {tolerance:.2e}; "
            "the export is wrong or the values are too large for the precision"
        )
    if agreement < MIN_ACTION_AGREEMENT:
        raise ExportRefusedError(
            f"{precision}: the written file takes torch's action in {agreement:.1%} of the recorded rows, "
            f"required are {MIN_ACTION_AGREEMENT:.1%}; the best two values are too close: train longer"
        )


@functools.lru_cache(maxsize=8)
def _graph(config: CombatDQNConfig) -> bytes:
    """Trace a network of this shape; the weights inside are placeholders. Serialized, so that no one
    changes it."""
    with torch.random.fork_rng(devices=[]):
        model = CombatDQN(config)
    # All different and none zero: the exporter folds zero biases away and merges equal tensors, and with
    # them goes the place for the real ones.
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=generator)
    batch = torch.export.Dim("batch")
    with _quiet(), _private_compiler_cache():
        program = torch.onnx.export(
            model.inference_form(),
            model.example_inputs(3),
            dynamo=True,
            input_names=list(INPUT_NAMES),
            output_names=list(OUTPUT_NAMES),
            dynamic_shapes=({0: batch}, {0: batch}),
            external_data=False,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    proto = ModelProto()
    proto.CopyFrom(program.model_proto)
    _strip(proto)
    return proto.SerializeToString(deterministic=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter about optional packages and axis names away from people."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)


@contextlib.contextmanager
def _private_compiler_cache() -> Iterator[None]:
    """Let torch's compiler, which tracing loads, make its cache where it is removed at once.

    It would otherwise leave a folder of its own in the temporary folder, although nothing is compiled.
    """
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    with tempfile.TemporaryDirectory(prefix="trace-") as folder:
        os.environ[name] = before or folder
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(name, None)


def _strip(proto: ModelProto) -> None:
    """Drop the tracer's notes: stack traces hold this machine's paths and make equal weights unequal
    files."""
    graph = proto.graph
    del proto.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    proto.doc_string = graph.doc_string = ""
    graph.name = "combat_dqn"


def _with_weights(graph: bytes, model: CombatDQN) -> ModelProto:
    proto = onnx.load_model_from_string(graph)
    weights = {
        WEIGHT_PREFIX + name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()
    }
    filled = set()
    for initializer in proto.graph.initializer:
        if initializer.name in weights:
            # Cleared first: a tensor may hold its numbers in another field than the one that from_array
            # fills.
            initializer.CopyFrom(numpy_helper.from_array(weights[initializer.name], initializer.name))
            filled.add(initializer.name)
    missing = sorted(weights.keys() - filled)
    if missing:
        raise ExportRefusedError(
            f"the traced graph has no place for the weights {missing}; the exporter folded them away, so "
            "this version of torch needs another placeholder"
        )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _to_fp16(proto: ModelProto) -> ModelProto:
    """Halve the hidden layers; the head and the choice of the action stay float32.

    The head is a hundredth of the weights, but the best two values often differ by less than float16 can
    tell.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    hidden_weights = WEIGHT_PREFIX + "hidden."
    keep = [
        node.name
        for node in copy.graph.node
        if node.op_type != "Relu" and not any(name.startswith(hidden_weights) for name in node.input)
    ]
    with _quiet():
        halved: ModelProto = float16.convert_float_to_float16(copy, keep_io_types=True, node_block_list=keep)
    _drop_round_trips(halved)
    kinds = {
        value.name: value.type.tensor_type.elem_type for value in (*halved.graph.input, *halved.graph.output)
    }
    assert kinds["obs"] == kinds["action_mask"] == kinds["q_values"] == TensorProto.FLOAT, kinds
    onnx.checker.check_model(halved, full_check=True)
    return halved


def _drop_round_trips(proto: ModelProto) -> None:
    """Join float32 nodes directly: the converter casts to float16 and back between any two of them."""
    graph = proto.graph
    outputs = {output.name: output for output in graph.output}
    for last in [
        node for node in graph.node if _casts_to(node, TensorProto.FLOAT16) and node.output[0] in outputs
    ]:
        # A float32 node gives this output; the converter halves it at the door all the same.
        outputs[last.output[0]].type.tensor_type.elem_type = TensorProto.FLOAT
        for node in graph.node:
            node.output[:] = [last.output[0] if name == last.input[0] else name for name in node.output]
        graph.node.remove(last)
    consumers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    dropped: list[NodeProto] = []
    for down in graph.node:
        if not _casts_to(down, TensorProto.FLOAT16):
            continue
        ups = consumers.get(down.output[0], [])
        if ups and all(_casts_to(up, TensorProto.FLOAT) and up.output[0] not in outputs for up in ups):
            for up in ups:
                for node in consumers.get(up.output[0], []):
                    renamed = [down.input[0] if name == up.output[0] else name for name in node.input]
                    node.input[:] = renamed
            dropped += [down, *ups]
    for node in dropped:
        graph.node.remove(node)


def _casts_to(node: NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and any(
        attribute.name == "to" and attribute.i == kind for attribute in node.attribute
    )


def _own_metadata(model: CombatDQN) -> dict[str, str]:
    manifest = model.manifest()
    weights = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        weights.update(name.encode())
        weights.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return {
        "model_type": manifest["model_type"],
        "observation_version": manifest["observation_version"],
        "action_version": manifest["action_version"],
        "manifest": json.dumps(manifest, sort_keys=True),
        "weights_sha256": weights.hexdigest(),
    }


def _set_metadata(proto: ModelProto, metadata: Mapping[str, str]) -> None:
    del proto.metadata_props[:]
    for key in sorted(metadata):
        proto.metadata_props.add(key=key, value=str(metadata[key]))
