"""Several dense networks of one shape side by side, with their backward passes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_relu_backward = torch.ops.aten.threshold_backward.grad_input


class StackedChain:
    """Networks with ReLU between their layers; weights (network, input, output), biases (network, 1, output).

    Args:
        weights: Input side first, on the CPU. `backward` writes into `parameter.grad`, which must be there.
        biases: One per layer.
    """

    def __init__(self, weights: Sequence[nn.Parameter], biases: Sequence[nn.Parameter]) -> None:
        self.weights, self.biases = list(weights), list(biases)
        self.networks = self.weights[0].shape[0]
        self._outputs: dict[int, list[Tensor]] = {}
        self._inputs: dict[int, list[Tensor]] = {}
        self._seen: tuple[Tensor, list[Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Apply every network to the same input.

        Args:
            x: float32 (row, input).

        Returns:
            (network, row, output), in a buffer that the next call with as many rows overwrites.
        """
        outputs = self._outputs.get(x.shape[0])
        if outputs is None:
            outputs = [torch.empty(self.networks, x.shape[0], weight.shape[2]) for weight in self.weights]
            self._outputs[x.shape[0]] = outputs
        hidden = x.expand(self.networks, -1, -1)
        last = len(outputs) - 1
        for k, (weight, bias, output) in enumerate(zip(self.weights, self.biases, outputs, strict=True)):
            torch.baddbmm(bias, hidden, weight, out=output)
            if k < last:
                torch.relu_(output)
            hidden = output
        self._seen = (x, outputs)
        return hidden

    def backward(self, gradient: Tensor) -> None:
        """Write the gradient of every parameter, for the inputs of the last `forward`.

        Args:
            gradient: (network, row, output) of the last layer's output. Overwritten.
        """
        self._run_back(gradient, parameters=True)

    def backward_to_input(self, gradient: Tensor) -> Tensor:
        """Gradient of the input alone, as if the parameters were constants.

        Args:
            gradient: (network, row, output) of the last layer's output. Overwritten.

        Returns:
            (network, row, input) in a reused buffer; their sum over networks is the input's gradient.
        """
        return self._run_back(gradient, parameters=False)

    def _run_back(self, gradient: Tensor, *, parameters: bool) -> Tensor:
        assert self._seen is not None, "forward comes first"
        x, outputs = self._seen
        inputs = self._inputs.get(x.shape[0])
        if inputs is None:
            inputs = [torch.empty(self.networks, x.shape[0], weight.shape[1]) for weight in self.weights]
            self._inputs[x.shape[0]] = inputs
        last = len(outputs) - 1
        for k in range(last, -1, -1):
            if k < last:
                _relu_backward(gradient, outputs[k], 0, grad_input=gradient)
            if parameters:
                weight, bias = self.weights[k].grad, self.biases[k].grad
                assert weight is not None and bias is not None
                below = outputs[k - 1] if k else x.expand(self.networks, -1, -1)
                torch.bmm(below.transpose(1, 2), gradient, out=weight)
                torch.sum(gradient, 1, keepdim=True, out=bias)
            if k or not parameters:
                torch.bmm(gradient, self.weights[k].transpose(1, 2), out=inputs[k])
                gradient = inputs[k]
        return gradient
