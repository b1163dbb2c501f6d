"""What an inference form takes and gives: names, shapes, types, masks, carried state; and what it costs.

Every network owns `inference_form()`, `example_inputs(batch)` and `signature()`. Export, serving and the
table of costs read these, and none of them knows a model type by name.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

DType = Literal["float32", "int64", "uint8"]
TORCH_TYPES: dict[str, torch.dtype] = {"float32": torch.float32, "int64": torch.int64, "uint8": torch.uint8}


@dataclasses.dataclass(frozen=True)
class Port:
    """One input or output of an inference form.

    Attributes:
        name: as in the ONNX file.
        shape: sizes behind the batch axis; () is one number per row.
        dtype: of the numbers.
        meaning: one line for a person: axes, units, how to read a value.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType = "float32"
    meaning: str = ""


@dataclasses.dataclass(frozen=True)
class Signature:
    """The doors of an inference form; the batch axis comes first in each.

    Attributes:
        inputs: in the order of `forward`'s arguments.
        outputs: in the order of its results.
        mask: (input, output): where the input is at most 0.5, the output holds exactly `illegal`.
        illegal: the value of what may not be chosen.
        choice: the whole-numbered output that decides what happens; it must agree between formats.
        state: (input, output) pairs that the caller carries from decision to decision, zeros at first.
        whole: parameters of the network, by the beginnings of their names, that stay float32 in a
            float16 file.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    mask: tuple[str, str] | None = None
    illegal: float = -1e4
    choice: str | None = None
    state: tuple[tuple[str, str], ...] = ()
    whole: tuple[str, ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(port.name for port in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(port.name for port in self.outputs)


class Mind(Protocol):
    """A network that can be exported, served and accounted for."""

    config: Any

    def inference_form(self) -> nn.Module:
        """The network as it is served: a module in evaluation mode with attribute `network`, which shares
        this network's weights."""

    def example_inputs(self, batch: int = 2) -> tuple[Tensor, ...]:
        """Inputs of the right shapes, the same on every call."""

    def signature(self) -> Signature:
        """The doors of the inference form."""

    def state_dict(self) -> dict[str, Tensor]:
        """The weights."""


def random_inputs(signature: Signature, batch: int, *, seed: int = 0) -> tuple[Tensor, ...]:
    """Inputs that fit a signature: float32 in [-1, 1], whole numbers 0 to 255 (uint8) or 0 and 1 (int64).

    A mask has about 0.7 legal entries and its first entry legal.

    Args:
        signature: What to fit.
        batch: Rows.
        seed: Of the numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for port in signature.inputs:
        shape = (batch, *port.shape)
        if port.dtype == "float32":
            values = torch.rand(shape, generator=generator) * 2.0 - 1.0
        else:
            high = 256 if port.dtype == "uint8" else 2
            values = torch.randint(0, high, shape, generator=generator).to(TORCH_TYPES[port.dtype])
        if port.name.endswith("mask"):
            values = (torch.rand(shape, generator=generator) < 0.7).to(values.dtype)
            values[..., 0] = 1
        found.append(values)
    return tuple(found)


def flops_per_decision(network: Any) -> int:
    """Operations of one decision at batch 1: a multiply and an add count as two; products of matrices and
    attention only (what is linear in the number of activations is not counted)."""
    form = network.inference_form()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        form(*network.example_inputs(1))
    return int(counter.get_total_flops())


def served_parameters(network: Any) -> dict[str, Tensor]:
    """The parameters that the inference form needs, by their names in the network.

    A critic or the head of a training loss is not served, so it is not exported.
    """
    used = getattr(network, "served_prefixes", None)
    weights = network.state_dict()
    if used is None:
        return dict(weights)
    return {name: value for name, value in weights.items() if name.startswith(tuple(used))}


def manifest(model_type: str, network: Any, versions: dict[str, str], **more: Any) -> dict[str, Any]:
    """What a network is and what a decision costs, in plain JSON types.

    Args:
        model_type: Name of the type.
        network: A `Mind`.
        versions: Contract versions, such as observation_version and action_version.
        **more: Further entries.

    Returns:
        model_type, parameters (served ones), parameters_trained (all), bytes (float32, served),
        flops_per_decision, the versions, inputs and outputs with their shapes, state pairs, the output that
        chooses, the masked pair with the value of what is illegal, and config.
    """
    signature = network.signature()
    served = sum(value.numel() for value in served_parameters(network).values())
    return {
        "model_type": model_type,
        "parameters": served,
        "parameters_trained": sum(parameter.numel() for parameter in network.parameters()),
        "bytes": served * 4,
        "flops_per_decision": flops_per_decision(network),
        **versions,
        "inputs": {port.name: ["batch", *port.shape] for port in signature.inputs},
        "outputs": {port.name: ["batch", *port.shape] for port in signature.outputs},
        "state": [list(pair) for pair in signature.state],
        "choice": signature.choice,
        "mask": None if signature.mask is None else list(signature.mask),
        "illegal": signature.illegal,
        "config": _plain(dataclasses.asdict(network.config)),
        **more,
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
