"""Parameters and gradients as one vector each, so that clipping, stepping and copying cost one kernel.

A small network has a dozen tensors, and at a batch of 256 the calls over them cost as much as the arithmetic.
Here every parameter is a view into one vector and its gradient a view into another; autograd adds into the
views in place.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from policies.columnar.fused.adam import lerp


class FlatParameters:
    """The vector behind a group of parameters.

    Args:
        parameters: What is trained together, already on its device. Their storage is replaced by views, so
            nobody else may hold on to the old storage.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError("no parameters to train: the module is empty or was frozen")
        parts = [parameter.detach().reshape(-1) for parameter in self.parameters]
        self.vector = nn.Parameter(torch.cat(parts))
        self.gradient = torch.zeros_like(self.vector, requires_grad=False)
        self.vector.grad = self.gradient
        self._views: list[Tensor] = []
        start = 0
        for parameter in self.parameters:
            stop = start + parameter.numel()
            parameter.data = self.vector.data[start:stop].view_as(parameter)
            self._views.append(self.gradient[start:stop].view_as(parameter))
            start = stop
        self.zero_gradient()

    def zero_gradient(self) -> None:
        """Make the gradient zero and every parameter's gradient its view again."""
        self.gradient.zero_()
        for parameter, view in zip(self.parameters, self._views, strict=True):
            # Somebody may have set it to None, as optimizers do; identity costs nothing to check.
            if parameter.grad is not view:
                parameter.grad = view

    def follow(self, source: FlatParameters, share: float) -> None:
        """Move towards other parameters, as a target network does: w <- w + share (source - w)."""
        if share == 1.0:
            # t + (s - t) is not always s in floating point.
            self.vector.data.copy_(source.vector.data)
        elif self.vector.device.type == "cpu":
            lerp(self.vector.detach().numpy(), source.vector.detach().numpy(), np.float32(share))
        else:
            self.vector.data.lerp_(source.vector.data, share)


def flat_copy(parameters: Iterable[Tensor]) -> Tensor:
    """Copy parameters into one new vector on the CPU."""
    return torch.cat([parameter.detach().reshape(-1).cpu() for parameter in parameters])


def load_flat(parameters: Iterable[Tensor], vector: Tensor) -> None:
    """Copy a vector from `flat_copy` into parameters of the same shapes.

    Raises:
        ValueError: The vector has another length.
    """
    targets = list(parameters)
    expected = sum(target.numel() for target in targets)
    if expected != vector.numel():
        raise ValueError(f"{vector.numel()} weights for a network of {expected}; the networks differ")
    start = 0
    with torch.no_grad():
        for target in targets:
            stop = start + target.numel()
            target.copy_(vector[start:stop].view_as(target))
            start = stop
