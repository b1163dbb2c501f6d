"""Tensors over HTTP as the Open Inference Protocol (version 2) writes them, in JSON and in binary.

A body is a JSON object, or one followed by the bytes of tensors; a header says where the JSON ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.contracts import MODEL_TYPES, ContractError, check_masks
from serve.heads import ID_LIMITS
from serve.protocol import RequestError, read_json
from serve.signature import Port, Signature

HEADER_LENGTH = b"inference-header-content-length"
"""HTTP header with the length of the JSON before binary tensors, in bytes."""
DATATYPES = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64", np.dtype(np.uint8): "UINT8"}
_MODEL = re.compile(r"([a-z][a-z0-9_]{0,62})-([a-z][a-z0-9_]{0,62})", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True)
class TensorRequest:
    """A checked request.

    Attributes:
        inputs: every input of the model, `(row, ...)`; carried state that was left out is zeros.
        rows: their length.
        id: the caller's own name of the request, given back.
        outputs: name -> whether it is answered in binary, in the order asked for.
    """

    inputs: dict[str, np.ndarray]
    rows: int
    id: str | None
    outputs: dict[str, bool]


def model_name(archetype: str, model_type: str) -> str:
    """Name of a model in paths, such as `tank-skill_dqn`."""
    return f"{archetype}-{model_type}"


def read_model_path(name: str, version: str | None) -> tuple[str, str, int | None]:
    """Return archetype, model type and version number of a path.

    Args:
        name: such as `tank-skill_dqn`.
        version: digits, None for the deployed one.

    Raises:
        RequestError: status 404: no such name can be.
    """
    found = _MODEL.fullmatch(name)
    if found is None or found[2] not in MODEL_TYPES:
        raise RequestError(
            f"no model {name[:80]!r}; names are ARCHETYPE-MODEL_TYPE, model types {', '.join(MODEL_TYPES)}",
            404,
        )
    if version is None:
        return found[1], found[2], None
    if _VERSION.fullmatch(version) is None:
        raise RequestError(f"version {version[:40]!r}: expected a version number from 1", 404)
    return found[1], found[2], int(version)


def describe(name: str, versions: list[int], signature: Signature) -> dict[str, Any]:
    """Metadata of a model in plain JSON types.

    Args:
        name: as in paths.
        versions: that are in memory.
        signature: of the version that was asked for.

    Returns:
        name, versions, platform, inputs and outputs as the protocol names them, and under `parameters` what
        it has no names for: state pairs (input, output), choice, masked pair (input, output).
    """

    def tensors(ports: Mapping[str, Port]) -> list[dict[str, Any]]:
        return [
            {"name": p.name, "datatype": DATATYPES[p.dtype], "shape": [-1, *p.shape]} for p in ports.values()
        ]

    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": "onnxruntime_onnx",
        "inputs": tensors(signature.inputs),
        "outputs": tensors(signature.outputs),
        "parameters": {
            "state": [list(pair) for pair in signature.state.items()],
            "choice": signature.choice,
            "mask": None if signature.mask is None else list(signature.mask),
        },
    }


def read_request(
    body: bytes, header_length: bytes | None, signature: Signature, max_rows: int
) -> TensorRequest:
    """Read and check the body of an inference request.

    Args:
        body: JSON, or JSON and the bytes of tensors behind it.
        header_length: value of the header `Inference-Header-Content-Length`, None without one.
        signature: of the model.
        max_rows: most rows in one request.

    Raises:
        RequestError: naming the input that is missing, unknown, of a wrong type, shape or value.
    """
    head, tail = _split(body, header_length)
    data = read_json(head)
    name = data.get("id")
    if name is not None and not isinstance(name, str):
        raise RequestError("id: expected a text")
    given = data.get("inputs")
    if not isinstance(given, list) or not all(isinstance(tensor, dict) for tensor in given):
        raise RequestError("inputs: expected a list of objects with name, datatype, shape and data")
    inputs: dict[str, np.ndarray] = {}
    at = 0
    for tensor in given:
        port = signature.inputs.get(tensor.get("name")) if isinstance(tensor.get("name"), str) else None
        if port is None:
            raise RequestError(
                f"inputs: no input {_shown(tensor.get('name'))}; this model has {', '.join(signature.inputs)}"
            )
        if port.name in inputs:
            raise RequestError(f"inputs: '{port.name}' comes twice")
        shape = _shape(tensor, port, max_rows)
        size = _parameters(tensor, port.name).get("binary_data_size")
        if size is None:
            inputs[port.name] = _from_json(tensor.get("data"), port, shape)
        else:
            if "data" in tensor:
                raise RequestError(f"{port.name}: has both data and binary_data_size; send one of them")
            inputs[port.name] = _from_bytes(tail, at, size, port, shape)
            at += size
        _check_values(inputs[port.name], port, signature)
    if at != len(tail):
        raise RequestError(
            f"body: {len(tail)} bytes follow the JSON, the inputs' binary_data_size add up to {at}"
        )
    rows = _complete(inputs, signature)
    return TensorRequest(inputs, rows, name, _wanted(data, signature))


def write_answer(
    name: str, version: int, request: TensorRequest, signature: Signature, values: Mapping[str, np.ndarray]
) -> tuple[bytes, int | None]:
    """Return the body of an answer, and the length of its JSON if binary tensors follow.

    Args:
        name: of the model, as in paths.
        version: that answered.
        request: what was asked.
        signature: of the model.
        values: outputs by name, `(row, ...)`.

    Raises:
        RequestError: an output is not finite; the inputs were out of all bounds.
    """
    outputs, tail = [], []
    for output, binary in request.outputs.items():
        array = np.ascontiguousarray(values[output])
        if not np.isfinite(array).all():
            raise RequestError(
                f"{output}: the model's answer is not finite for these inputs; they must be scaled as its "
                "contract says"
            )
        tensor: dict[str, Any] = {
            "name": output,
            "datatype": DATATYPES[signature.outputs[output].dtype],
            "shape": list(array.shape),
        }
        if binary:
            tensor["parameters"] = {"binary_data_size": array.nbytes}
            tail.append(array.tobytes())
        else:
            tensor["data"] = array.ravel().tolist()
        outputs.append(tensor)
    answer = {"model_name": name, "model_version": str(version), "outputs": outputs}
    if request.id is not None:
        answer["id"] = request.id
    head = json.dumps(answer, separators=(",", ":"), allow_nan=False).encode()
    return b"".join([head, *tail]), len(head) if tail else None


def _split(body: bytes, header_length: bytes | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    text = header_length.decode("latin-1").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= len(body)):
        raise RequestError(
            f"Inference-Header-Content-Length: {text[:40]!r} is no length within a body of {len(body)} bytes"
        )
    return body[: int(text)], body[int(text) :]


def _parameters(data: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    found = data.get("parameters", {})
    if not isinstance(found, dict):
        raise RequestError(f"{where}: parameters: expected an object")
    size = found.get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise RequestError(f"{where}: binary_data_size: expected a number of bytes, got {_shown(size)}")
    for flag in ("binary_data", "binary_data_output"):
        if not isinstance(found.get(flag, False), bool):
            raise RequestError(f"{where}: {flag}: expected true or false")
    return found


def _shape(tensor: Mapping[str, Any], port: Port, max_rows: int) -> tuple[int, ...]:
    """The stated shape, which must be that of the model with at least one row; and the datatype, likewise."""
    datatype, wanted = tensor.get("datatype"), DATATYPES[port.dtype]
    if datatype != wanted:
        raise RequestError(f"{port.name}: expected datatype {wanted}, got {_shown(datatype)}")
    shape = tensor.get("shape")
    expected = ", ".join(["rows", *map(str, port.shape)])
    if not isinstance(shape, list) or any(type(size) is not int for size in shape):
        raise RequestError(f"{port.name}: expected shape [{expected}], got {_shown(shape)}")
    if tuple(shape[1:]) != port.shape or not shape or shape[0] < 1:
        raise RequestError(f"{port.name}: expected shape [{expected}], got {_shown(shape)}")
    if shape[0] > max_rows:
        raise RequestError(
            f"{port.name}: {shape[0]} rows are too many for one request, at most {max_rows}; split them"
        )
    return tuple(shape)


def _from_bytes(tail: bytes, at: int, size: int, port: Port, shape: tuple[int, ...]) -> np.ndarray:
    needed = int(np.prod(shape)) * port.dtype.itemsize
    if size != needed or at + size > len(tail):
        raise RequestError(
            f"{port.name}: {DATATYPES[port.dtype]} {list(shape)} takes {needed} bytes; binary_data_size is "
            f"{size} and {max(0, len(tail) - at)} are left in the body"
        )
    flat = np.frombuffer(tail, port.dtype.newbyteorder("<"), size // port.dtype.itemsize, at)
    return flat.reshape(shape).astype(port.dtype, copy=False)


def _from_json(data: Any, port: Port, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of a tensor, flat in row-major order or nested as the shape says."""
    if not isinstance(data, list):
        raise RequestError(f"{port.name}: data: expected a list of numbers")
    numbers: list[Any] = [data]
    nested = bool(data) and isinstance(data[0], list)
    for size in shape if nested else (int(np.prod(shape)),):
        if any(type(part) is not list or len(part) != size for part in numbers):
            raise RequestError(
                f"{port.name}: data: expected {int(np.prod(shape))} numbers, flat or nested as {list(shape)}"
            )
        numbers = [number for part in numbers for number in part]
    whole = port.dtype.kind in "iu"
    allowed = {int} if whole else {int, float}
    if not set(map(type, numbers)) <= allowed:
        kind = "whole numbers" if whole else "numbers"
        raise RequestError(f"{port.name}: data: expected {kind} only")
    low, high = (0, 255) if port.dtype == np.uint8 else (_INT64.min, _INT64.max)
    if whole and not all(low <= number <= high for number in numbers):
        raise RequestError(f"{port.name}: data: a number is outside {DATATYPES[port.dtype]}")
    try:
        with np.errstate(over="ignore"):  # 1e300 becomes infinity and is refused as such
            return np.array(numbers, port.dtype).reshape(shape)
    except OverflowError:  # an integer beyond all floats
        raise RequestError(f"{port.name}: data: a number is outside {DATATYPES[port.dtype]}") from None


def _check_values(values: np.ndarray, port: Port, signature: Signature) -> None:
    if port.dtype == np.float32 and not np.isfinite(values).all():
        place = np.argwhere(~np.isfinite(values))[0].tolist()
        raise RequestError(
            f"{port.name}: value at {place} is {values[tuple(place)]}; every one must be finite"
        )
    limit = ID_LIMITS.get(port.name)
    if limit is not None and ((values < 0) | (values >= limit)).any():
        raise RequestError(f"{port.name}: every value must be from 0 to {limit - 1}")
    if signature.mask is not None and signature.mask[0] == port.name:
        try:
            check_masks(values, len(values), port.shape[0])
        except ContractError as error:
            raise RequestError(str(error)) from None


def _complete(inputs: dict[str, np.ndarray], signature: Signature) -> int:
    """Fill in the first state where all of it was left out; return the number of rows."""
    missing = [name for name in signature.asked if name not in inputs]
    if missing:
        raise RequestError(
            f"inputs: '{missing[0]}' is missing; this model takes {', '.join(signature.asked)}"
        )
    lengths = {name: len(values) for name, values in inputs.items()}
    rows = next(iter(lengths.values()))
    if any(length != rows for length in lengths.values()):
        raise RequestError(f"inputs: different numbers of rows: {lengths}")
    carried = [name for name in signature.state if name in inputs]
    if carried and len(carried) != len(signature.state):
        raise RequestError(
            f"inputs: carried state is {', '.join(signature.state)}: send all of it, "
            "or none for the first decision"
        )
    if not carried:
        inputs.update(signature.first_state(rows))
    return rows


def _wanted(data: Mapping[str, Any], signature: Signature) -> dict[str, bool]:
    usual = bool(_parameters(data, "request").get("binary_data_output", False))
    asked = data.get("outputs")
    if asked is None:
        return dict.fromkeys(signature.outputs, usual)
    if not isinstance(asked, list) or not asked or not all(isinstance(one, dict) for one in asked):
        raise RequestError("outputs: expected a list of at least one object with a name")
    found = {}
    for one in asked:
        name = one.get("name")
        if not isinstance(name, str) or name not in signature.outputs:
            raise RequestError(
                f"outputs: no output {_shown(name)}; this model has {', '.join(signature.outputs)}"
            )
        found[name] = bool(_parameters(one, name).get("binary_data", usual))
    return found


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
