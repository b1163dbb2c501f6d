"""What an ONNX file of ours takes and gives, read from the manifest that it carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_TYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(uint8)": np.dtype(np.uint8),
}


class SignatureError(ValueError):
    """The file does not say what it takes, or says something else than its graph; one line."""


@dataclass(frozen=True)
class Port:
    """One input or output.

    Attributes:
        name: as in the file.
        shape: sizes behind the batch axis; () is one number per row.
        dtype: float32, int64 or uint8.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Signature:
    """The doors of a model; the batch axis comes first in each.

    Attributes:
        inputs: by name, in the file's order.
        outputs: by name, in the file's order.
        state: input -> output that the caller carries to the next decision, zeros at first.
        choice: the whole-numbered output that decides what happens; None where nothing is chosen.
        mask: (input, output): where the input is at most 0.5, the output holds exactly `illegal`.
        illegal: that value; None if the file does not say (before 0.5.0): then any one value will do.
        flops: operations of one decision, 0 if the file does not say.
    """

    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    state: Mapping[str, str]
    choice: str | None = None
    mask: tuple[str, str] | None = None
    illegal: float | None = None
    flops: int = 0

    @property
    def asked(self) -> dict[str, Port]:
        """The inputs that a caller has to give: all but the carried state."""
        return {name: port for name, port in self.inputs.items() if name not in self.state}

    def first_state(self, rows: int) -> dict[str, np.ndarray]:
        """The state before the first decision: zeros, `(rows, ...)`.

        Args:
            rows: how many.
        """
        return {
            name: np.zeros((rows, *self.inputs[name].shape), self.inputs[name].dtype) for name in self.state
        }


def read_signature(session: Any, model_type: str) -> Signature:
    """Read the manifest of a file and hold it against the graph.

    Args:
        session: ONNX Runtime session over the file.
        model_type: what the file should be.

    Raises:
        SignatureError: no manifest, one of another model type, or names, shapes and types that differ.
    """
    text = session.get_modelmeta().custom_metadata_map.get("manifest")
    if text is None:
        raise SignatureError("the ONNX file carries no manifest")
    try:
        manifest = json.loads(text)
        inputs, outputs = _ports(session.get_inputs()), _ports(session.get_outputs())
        if manifest["model_type"] != model_type:
            raise SignatureError(f"the ONNX file is a {manifest['model_type']}, not a {model_type}")
        for kind, ports in (("inputs", inputs), ("outputs", outputs)):
            said = {name: tuple(shape[1:]) for name, shape in manifest[kind].items()}
            seen = {name: port.shape for name, port in ports.items()}
            if said != seen:
                raise SignatureError(f"the ONNX file has {kind} {seen}, its manifest says {said}")
        state = {str(own): str(after) for own, after in manifest["state"]}
        mask = manifest["mask"] if "mask" in manifest else _guessed_mask(inputs, outputs)
        found = Signature(
            inputs=inputs,
            outputs=outputs,
            state=state,
            choice=manifest["choice"],
            mask=None if mask is None else (mask[0], mask[1]),
            illegal=manifest.get("illegal"),
            flops=int(manifest.get("flops_per_decision", 0)),
        )
    except SignatureError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise SignatureError(f"the manifest in the ONNX file cannot be read ({error!r})") from error
    _check(found)
    return found


def _ports(nodes: Any) -> dict[str, Port]:
    found = {}
    for node in nodes:
        shape = tuple(node.shape[1:])
        if node.type not in _TYPES or not all(isinstance(size, int) for size in shape):
            raise SignatureError(f"'{node.name}' of the ONNX file is a {node.type} of shape {node.shape}")
        found[node.name] = Port(node.name, shape, _TYPES[node.type])
    return found


def _guessed_mask(inputs: Mapping[str, Port], outputs: Mapping[str, Port]) -> tuple[str, str] | None:
    """The masked output of a file from before 0.5.0, whose manifest does not name it."""
    if "action_mask" not in inputs:
        return None
    shape = inputs["action_mask"].shape
    masked = [p.name for p in outputs.values() if p.shape == shape and p.dtype == np.float32]
    return ("action_mask", masked[0]) if len(masked) == 1 else None


def _check(found: Signature) -> None:
    """Names in the manifest must be those of doors, and pairs must fit each other."""
    inputs, outputs = found.inputs, found.outputs
    if found.choice is not None and found.choice not in outputs:
        raise SignatureError(f"the manifest names '{found.choice}' as choice, which is no output")
    for own, after in [*found.state.items(), *([found.mask] if found.mask else [])]:
        fits = own in inputs and after in outputs and inputs[own].shape == outputs[after].shape
        if not fits:
            raise SignatureError(f"the manifest pairs '{own}' and '{after}', which do not fit each other")
