"""Chains of dense layers with their backward pass, into buffers that every update reuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

RELU, TANH, NONE = "relu", "tanh", "none"
_relu_backward = torch.ops.aten.threshold_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_ACTIVATE: dict[str, Callable[[Tensor], Tensor]] = {RELU: torch.relu_, TANH: torch.tanh_}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A dense layer and what follows it."""

    weight: nn.Parameter
    """(output, input), as in `nn.Linear`."""
    bias: nn.Parameter
    """(output,)"""
    activation: str


class DenseChain:
    """Layers applied one after the other: y = f_n(W_n ... f_1(W_1 x + b_1) ... + b_n).

    Args:
        layers: Input side first, on the CPU. Backward writes into `parameter.grad`, which must be there.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)
        self._outputs: dict[int, list[Tensor]] = {}
        self._gradients: dict[int, list[Tensor]] = {}
        self._seen: tuple[Tensor, list[Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers.

        Args:
            x: float32 (row, input).

        Returns:
            (row, output), in a buffer that the next call with as many rows overwrites.
        """
        outputs = self._buffers(self._outputs, x.shape[0])
        hidden = x
        for layer, output in zip(self.layers, outputs, strict=True):
            torch.addmm(layer.bias, hidden, layer.weight.t(), out=output)
            if layer.activation != NONE:
                _ACTIVATE[layer.activation](output)
            hidden = output
        self._seen = (x, outputs)
        return hidden

    def backward(self, gradient: Tensor, *, need_input: bool = False) -> Tensor | None:
        """Write the gradient of every parameter, for the inputs of the last `forward`.

        dW = g^T x, db = sum over rows of g, dx = g W   (g: gradient at the layer's output, before activation)

        Args:
            gradient: (row, output); of the last layer's output after its activation. Overwritten.
            need_input: Whether the gradient of the input is wanted.

        Returns:
            (row, input) in a reused buffer, or None if it was not wanted.
        """
        assert self._seen is not None, "forward comes first"
        x, outputs = self._seen
        buffers = self._buffers(self._gradients, x.shape[0], inputs=True)
        for k in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[k]
            if layer.activation == RELU:
                _relu_backward(gradient, outputs[k], 0, grad_input=gradient)
            elif layer.activation == TANH:
                _tanh_backward(gradient, outputs[k], grad_input=gradient)
            below = outputs[k - 1] if k else x
            assert layer.weight.grad is not None and layer.bias.grad is not None
            torch.mm(gradient.t(), below, out=layer.weight.grad)
            torch.sum(gradient, 0, out=layer.bias.grad)
            if k or need_input:
                torch.mm(gradient, layer.weight, out=buffers[k])
                gradient = buffers[k]
        return gradient if need_input else None

    def _buffers(self, kept: dict[int, list[Tensor]], rows: int, inputs: bool = False) -> list[Tensor]:
        found = kept.get(rows)
        if found is None:
            found = kept[rows] = [torch.empty(rows, layer.weight.shape[int(inputs)]) for layer in self.layers]
        return found


def linear_layers(linears: Sequence[nn.Module], activation: str, last: str = NONE) -> list[Layer]:
    """Layers of `nn.Linear` modules with one activation between them and `last` at the end."""
    found = []
    for k, linear in enumerate(linears):
        assert isinstance(linear, nn.Linear) and isinstance(linear.weight, nn.Parameter)
        assert isinstance(linear.bias, nn.Parameter)
        found.append(Layer(linear.weight, linear.bias, last if k == len(linears) - 1 else activation))
    return found
