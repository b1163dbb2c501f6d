"""Dense chains: forward and backward by hand and beside autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from policies.columnar.flat import FlatParameters
from policies.columnar.fused.dense import NONE, RELU, TANH, DenseChain, linear_layers


def test_one_layer_by_hand() -> None:
    linear = nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[2.0, -1.0]]))
        linear.bias.fill_(0.5)
    flat = FlatParameters(linear.parameters())
    chain = DenseChain(linear_layers([linear], RELU))
    with torch.no_grad():
        out = chain.forward(torch.tensor([[1.0, 3.0], [2.0, 1.0]]))
        # 2 x 1 - 3 + 0.5 = -0.5 and 2 x 2 - 1 + 0.5 = 3.5; no activation after the last layer
        assert out.tolist() == [[-0.5], [3.5]]
        at_input = chain.backward(torch.tensor([[1.0], [10.0]]), need_input=True)
    # dW = sum of g x: (1 + 20, 3 + 10); db = 11; dx = g W
    assert flat.gradient.tolist() == [21.0, 13.0, 11.0]
    assert at_input is not None and at_input.tolist() == [[2.0, -1.0], [20.0, -10.0]]


@pytest.mark.parametrize("activation", [RELU, TANH])
@pytest.mark.parametrize("last", [NONE, TANH])
@pytest.mark.parametrize("sizes", [(5, 3), (7, 16, 8, 4)])
def test_gradients_equal_autograd(activation: str, last: str, sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    linears = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    FlatParameters([p for linear in linears for p in linear.parameters()])
    functions = {RELU: torch.relu, TANH: torch.tanh, NONE: lambda value: value}
    x = torch.randn(33, sizes[0], requires_grad=True)
    hidden: torch.Tensor = x
    for k, linear in enumerate(linears):
        hidden = functions[last if k == len(linears) - 1 else activation](linear(hidden))
    weights = torch.randn_like(hidden)
    expected = torch.autograd.grad(
        (hidden * weights).sum(), [x, *(p for linear in linears for p in linear.parameters())]
    )
    chain = DenseChain(linear_layers(linears, activation, last))
    with torch.no_grad():
        out = chain.forward(x.detach())
        torch.testing.assert_close(out, hidden.detach())
        at_input = chain.backward(weights.clone(), need_input=True)
    found = [at_input, *(p.grad for linear in linears for p in linear.parameters())]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_other_batch_sizes_keep_their_own_buffers() -> None:
    linear = nn.Linear(3, 2)
    FlatParameters(linear.parameters())
    chain = DenseChain(linear_layers([linear], RELU))
    with torch.no_grad():
        large = chain.forward(torch.ones(8, 3))
        small = chain.forward(torch.zeros(2, 3))
    assert large.shape == (8, 2) and small.shape == (2, 2)
    torch.testing.assert_close(large[0], linear(torch.ones(3)).detach())
    torch.testing.assert_close(small[0], linear.bias.detach())
