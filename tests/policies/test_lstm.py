"""The LSTM layer: hand-derived gradients against numeric ones, and torch's own LSTM."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from policies.lstm import LSTMLayer, _Sequence


def random_case(
    inputs: int, units: int, time: int, rows: int, dtype: torch.dtype
) -> tuple[LSTMLayer, Tensor, Tensor, Tensor]:
    torch.manual_seed(3)
    layer = LSTMLayer(inputs, units).to(dtype)
    x = torch.randn(time, inputs, rows, dtype=dtype)
    return layer, x, torch.randn(units, rows, dtype=dtype), torch.randn(units, rows, dtype=dtype)


def test_step_by_hand() -> None:
    # One unit, all weights 0 but g's input weight 2; biases: i 0, f ln 3, o 0, g 0.
    # i = o = 1/2, f = 1 / (1 + 1/3) = 3/4, g = tanh(2 x 0.5) = tanh 1
    # c' = 3/4 x 4 + 1/2 tanh 1, h' = 1/2 tanh c'
    layer = LSTMLayer(1, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[3, 0] = 2.0
        layer.bias.copy_(torch.tensor([0.0, math.log(3.0), 0.0, 0.0]))
    h, c = layer.step(torch.tensor([[0.5]]), torch.tensor([[0.9]]), torch.tensor([[4.0]]))
    expected = 3.0 + 0.5 * math.tanh(1.0)
    assert c.item() == pytest.approx(expected) and h.item() == pytest.approx(0.5 * math.tanh(expected))


@pytest.mark.parametrize("data_has_gradient", [True, False])
def test_gradients_are_the_numeric_ones(data_has_gradient: bool) -> None:
    layer, x, h, c = random_case(inputs=3, units=2, time=4, rows=3, dtype=torch.float64)
    keep = torch.tensor([[1.0, 0, 1], [1, 1, 1], [0, 1, 1], [1, 1, 0]], dtype=torch.float64)[:, None]
    x.requires_grad_(data_has_gradient)
    parts = [part.requires_grad_() for part in (h, c)]

    def function(h: Tensor, c: Tensor, weight: Tensor, bias: Tensor, x: Tensor = x) -> tuple[Tensor, ...]:
        result: tuple[Tensor, ...] = _Sequence.apply(x, h, c, keep, weight, bias)
        return result

    inputs = [*parts, layer.weight, layer.bias, *([x] if data_has_gradient else [])]
    assert torch.autograd.gradcheck(function, inputs)


def test_equals_torchs_lstm_without_resets() -> None:
    layer, x, h, c = random_case(inputs=5, units=8, time=7, rows=6, dtype=torch.float32)
    theirs: Any = nn.LSTM(5, 8)
    i, f, o, g = layer.weight.detach().split(8)
    with torch.no_grad():  # torch's order is i, f, g, o
        weight = torch.cat((i, f, g, o))
        theirs.weight_ih_l0.copy_(weight[:, :5])
        theirs.weight_hh_l0.copy_(weight[:, 5:])
        b_i, b_f, b_o, b_g = layer.bias.split(8)
        theirs.bias_ih_l0.copy_(torch.cat((b_i, b_f, b_g, b_o)))
        theirs.bias_hh_l0.zero_()
    hidden, last_h, last_c = layer.sequence(x, h, c, torch.ones(7, 1, 6))
    expected, (their_h, their_c) = theirs(x.permute(0, 2, 1), (h.t()[None], c.t()[None]))
    torch.testing.assert_close(hidden.permute(0, 2, 1), expected)
    torch.testing.assert_close(last_h.t(), their_h[0])
    torch.testing.assert_close(last_c.t(), their_c[0])
    (hidden.square().sum() + last_c.sum()).backward()
    (expected.square().sum() + their_c.sum()).backward()
    their_i, their_f, their_g, their_o = torch.cat(
        (theirs.weight_ih_l0.grad, theirs.weight_hh_l0.grad), dim=1
    ).split(8)
    torch.testing.assert_close(layer.weight.grad, torch.cat((their_i, their_f, their_o, their_g)))


def test_bf16_autocast_leaves_it_in_float32() -> None:
    layer, x, h, c = random_case(inputs=5, units=8, time=4, rows=3, dtype=torch.float32)
    keep = torch.ones(4, 1, 3)
    plain = layer.sequence(x, h, c, keep)[0]
    plain.sum().backward()
    gradient = layer.weight.grad
    layer.weight.grad = None
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer.sequence(x, h, c, keep)[0]
        mixed.sum().backward()
    assert torch.equal(plain, mixed) and torch.equal(gradient, layer.weight.grad)  # type: ignore[arg-type]
