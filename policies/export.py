"""Export to ONNX that refuses what does not match: float32 for CPUs, float16 (float32 outside) for GPUs.

Nothing is left in the folder unless the written files, run by ONNX Runtime, agree with torch on recorded
decisions: at batches of 1, 3 and 64, with masks, and with the state that a model carries from decision to
decision.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from policies.graphs import GraphError, fp16_graph, fp32_graph
from policies.inference import Signature, served_parameters

STARTS = "starts"
"""Among recorded arrays: with which rows a fight begins."""
BATCHES = (1, 3, 64)
MIN_ROWS = 200
# Largest error as a share of max(1, largest value of that output): float32 differs by the order of summation
# only; float16 rounds weights and activations to 11 bits.
FP32_TOLERANCE = 1e-5
FP16_TOLERANCE = 1e-2
MIN_ACTION_AGREEMENT = 0.995

Arrays = Mapping[str, NDArray[Any]]
Step = Callable[[Arrays], list[NDArray[Any]]]


class ExportRefusedError(RuntimeError):
    """A written file does not do what its torch model does; its text gives the figures."""


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well a file agrees with torch.

    Attributes:
        max_abs_error: largest difference over all recorded rows, outputs and batch sizes, illegal choices
            left out.
        relative_error: largest share of an output's scale, max(1, its largest value).
        action_agreement: share of recorded rows with torch's choice, the worst over the batch sizes; 1
            where nothing is chosen.
        output: where the largest relative error is.
    """

    max_abs_error: float
    relative_error: float
    action_agreement: float
    output: str


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """One verified ONNX file."""

    path: Path
    sha256: str
    bytes: int
    agreement: Agreement


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What an export wrote and how well it agrees with torch."""

    fp32: ExportedFile
    fp16: ExportedFile
    batches: tuple[int, ...]
    rows: int


def export_onnx(
    network: Any, folder: str | os.PathLike[str], metadata: Mapping[str, str], recorded: Arrays
) -> ExportReport:
    """Write a network as `<model type>.fp32.onnx` and `<model type>.fp16.onnx`, or refuse.

    Args:
        network: Of any model type; left untouched.
        folder: Made if missing; files of the same names are replaced.
        metadata: Written into both files beside what the network knows of itself.
        recorded: By input name, at least 200 decisions `(row, ...)`, without the carried state. Rows of a
            model with a state follow one another in time; `STARTS` among the names says, bool `(row,)`, with
            which of them a fight begins, and the state is zero there.

    Returns:
        Paths, hashes, sizes and agreement.

    Raises:
        ExportRefusedError: Too few recorded rows, or a written file disagrees with torch; no file is left.
        ValueError: Recorded arrays of the wrong shape.
    """
    signature: Signature = network.signature()
    inputs = _check_recorded(signature, recorded)
    manifest = network.manifest()
    name = manifest["model_type"]
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    unique = uuid.uuid4().hex[:8]
    reports: dict[str, ExportedFile] = {}
    beside: dict[Path, Path] = {}
    try:
        fp32 = fp32_graph(network)
        for precision, proto, tolerance in (
            ("fp32", fp32, FP32_TOLERANCE),
            ("fp16", fp16_graph(fp32, signature.whole), FP16_TOLERANCE),
        ):
            own = _own_metadata(network, manifest)
            _set_metadata(proto, {**own, **metadata, "precision": precision})
            path = target / f"{name}.{precision}.onnx"
            written = path.with_name(f"{path.name}.writing-{unique}")
            beside[written] = path
            content = proto.SerializeToString(deterministic=True)
            written.write_bytes(content)
            agreement = verify(written, network, inputs)
            _refuse_unless(precision, agreement, tolerance)
            reports[precision] = ExportedFile(
                path, hashlib.sha256(content).hexdigest(), len(content), agreement
            )
        for written, path in beside.items():
            os.replace(written, path)
    except GraphError as error:
        raise ExportRefusedError(f"{name}: {error}") from error
    finally:
        for written in beside:
            written.unlink(missing_ok=True)
    return ExportReport(reports["fp32"], reports["fp16"], BATCHES, len(next(iter(inputs.values()))))


def verify(path: Path, network: Any, recorded: Arrays, batches: Sequence[int] = BATCHES) -> Agreement:
    """Run a written file and compare it with torch.

    A model with a state walks through the recorded rows: each place of a batch has a stretch of them. Twice:
    with torch's state handed to the file at every step, which holds all outputs, the new state too, to one
    step's rounding; and with the state that the file carries itself through whole fights, as it is served,
    which holds its answers to the same. A state of its own is not compared after many steps: an LSTM cell
    that has counted up to 80 carries the rounding of 80, and its gates may spread that at will.

    Args:
        path: The ONNX file.
        network: What it should equal.
        recorded: By input name, `(row, ...)`, in the types of the signature, and `STARTS` if there is a state
            that fights begin without.
        batches: Rows per call.

    Returns:
        The agreement; a value that is not finite, or an illegal choice without its fixed value, gives an
        infinite error.
    """
    signature = network.signature()
    form = network.inference_form()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, torch.get_num_threads())
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def by_torch(inputs: Arrays) -> list[NDArray[Any]]:
        with torch.no_grad():
            outputs = form(*(torch.from_numpy(inputs[name]) for name in signature.input_names))
        return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]

    def by_file(inputs: Arrays) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = session.run(list(signature.output_names), dict(inputs))
        return outputs

    worst = Agreement(0.0, 0.0, 1.0, signature.output_names[0])
    # Without a state torch's answers do not depend on the batch: they are computed once.
    expected = None if signature.state else _walk(signature, by_torch, recorded, max(batches))
    carried = frozenset(after for _, after in signature.state)
    for batch in batches:
        wanted = expected or _walk(signature, by_torch, recorded, batch)
        seen = _walk(signature, by_file, recorded, batch)
        worst = _worse(worst, _agreement(signature, recorded, seen, wanted, but=carried))
        if carried:
            seen = _walk(signature, by_file, recorded, batch, states=wanted)
            worst = _worse(worst, _agreement(signature, recorded, seen, wanted))
    return worst


def _walk(
    signature: Signature, step: Step, recorded: Arrays, batch: int, states: Arrays | None = None
) -> dict[str, NDArray[Any]]:
    """All outputs for the recorded rows in their order, `(row, ...)`; the last rows that fill no stretch of
    a carried state are left out. The state is that of `states`, outputs of another walk, if given."""
    starts = recorded.get(STARTS)
    recorded = {name: values for name, values in recorded.items() if name != STARTS}
    rows = len(next(iter(recorded.values())))
    if not signature.state:
        pieces = [
            step({name: values[start : start + batch] for name, values in recorded.items()})
            for start in range(0, rows, batch)
        ]
        return {
            name: np.concatenate([piece[k] for piece in pieces])
            for k, name in enumerate(signature.output_names)
        }
    stretch = rows // batch
    state = {
        port.name: np.zeros((batch, *port.shape), port.dtype)
        for port in signature.inputs
        if port.name in dict(signature.state)
    }
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in signature.output_names}
    for time in range(stretch):
        at = np.arange(batch) * stretch + time
        if time and states is not None:
            state = {own: states[after][at - 1] for own, after in signature.state}
        if starts is not None:
            state = {own: _zeroed(values, starts[at]) for own, values in state.items()}
        outputs = step({**{name: values[at] for name, values in recorded.items()}, **state})
        for name, values in zip(signature.output_names, outputs, strict=True):
            found[name].append(values)
        state = {own: found[after][-1] for own, after in signature.state}
    # (time, place, ...) -> rows in their recorded order
    return {
        name: np.stack(values, axis=1).reshape(batch * stretch, *values[0].shape[1:])
        for name, values in found.items()
    }


def _zeroed(values: NDArray[Any], where: NDArray[Any]) -> NDArray[Any]:
    return np.where(where.reshape(-1, *[1] * (values.ndim - 1)), values.dtype.type(0), values)


def _agreement(
    signature: Signature, recorded: Arrays, seen: Arrays, wanted: Arrays, but: Collection[str] = ()
) -> Agreement:
    """How well outputs agree, those of the names in `but` left out."""
    error, relative, share, where = 0.0, 0.0, 1.0, signature.output_names[0]
    for port in signature.outputs:
        if port.name in but:
            continue
        got, expected = seen[port.name], wanted[port.name]
        if port.name == signature.choice:
            share = float((got == expected).mean())
        if port.dtype != "float32":
            continue
        counted = np.ones(expected.shape, bool)
        if signature.mask is not None and signature.mask[1] == port.name:
            counted = recorded[signature.mask[0]][: len(expected)] > 0.5
            if not (got[~counted] == np.float32(signature.illegal)).all():
                return Agreement(float("inf"), float("inf"), 0.0, port.name)
        if not np.isfinite(got).all():
            return Agreement(float("inf"), float("inf"), 0.0, port.name)
        apart = float(np.abs(got - expected)[counted].max(initial=0.0))
        scale = max(1.0, float(np.abs(expected[counted]).max(initial=0.0)))
        error = max(error, apart)
        if apart / scale > relative:
            relative, where = apart / scale, port.name
    return Agreement(error, relative, share, where)


def _worse(one: Agreement, other: Agreement) -> Agreement:
    return Agreement(
        max(one.max_abs_error, other.max_abs_error),
        max(one.relative_error, other.relative_error),
        min(one.action_agreement, other.action_agreement),
        (one if one.relative_error >= other.relative_error else other).output,
    )


def _check_recorded(signature: Signature, recorded: Arrays) -> dict[str, NDArray[Any]]:
    carried = dict(signature.state)
    wanted = [port for port in signature.inputs if port.name not in carried]
    found: dict[str, NDArray[Any]] = {}
    for port in wanted:
        if port.name not in recorded:
            raise ValueError(f"recorded decisions lack '{port.name}'; give {[one.name for one in wanted]}")
        values = np.ascontiguousarray(recorded[port.name], dtype=port.dtype)
        if values.ndim == 0 or values.shape[1:] != port.shape:
            raise ValueError(
                f"recorded {port.name} {values.shape} does not fit the network; give "
                f"({', '.join(['row', *map(str, port.shape)])})"
            )
        found[port.name] = values
    if carried and STARTS in recorded:
        found[STARTS] = np.asarray(recorded[STARTS], bool)
    rows = {len(values) for values in found.values()}
    if len(rows) != 1:
        raise ValueError(f"recorded arrays have {sorted(rows)} rows; give equally many of each")
    if min(rows) < MIN_ROWS:
        raise ExportRefusedError(
            f"{min(rows)} recorded decisions are too few to verify an export; record at least {MIN_ROWS}"
        )
    return found


def _refuse_unless(precision: str, agreement: Agreement, tolerance: float) -> None:
    if not agreement.relative_error <= tolerance:
        raise ExportRefusedError(
            f"{precision}: the written file differs from torch by {agreement.relative_error:.2e} of the "
            f"scale of '{agreement.output}', allowed is {tolerance:.2e}; the export is wrong or the values "
            "are too large for the precision"
        )
    if agreement.action_agreement < MIN_ACTION_AGREEMENT:
        raise ExportRefusedError(
            f"{precision}: the written file takes torch's action in {agreement.action_agreement:.1%} of the "
            f"recorded rows, required are {MIN_ACTION_AGREEMENT:.1%}; the best two values are too close: "
            "train longer"
        )


def _own_metadata(network: Any, manifest: Mapping[str, Any]) -> dict[str, str]:
    weights = hashlib.sha256()
    for name, tensor in sorted(served_parameters(network).items()):
        weights.update(name.encode())
        weights.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    versions = {name: str(value) for name, value in manifest.items() if name.endswith("_version")}
    return {
        "model_type": manifest["model_type"],
        **versions,
        "manifest": json.dumps(manifest, sort_keys=True),
        "weights_sha256": weights.hexdigest(),
    }


def _set_metadata(proto: ModelProto, metadata: Mapping[str, str]) -> None:
    del proto.metadata_props[:]
    for key in sorted(metadata):
        proto.metadata_props.add(key=key, value=str(metadata[key]))
