"""Relative attention: the shift against a double loop, and a block against the paper's formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from policies.relative_attention import UNSEEN, RelativeBlock, place_by_distance, sinusoids


def looped(scores: Tensor) -> Tensor:
    """`place_by_distance`, one number at a time."""
    rows, queries, distances = scores.shape
    memory = distances - 1
    out = torch.full((rows, queries, memory + queries), UNSEEN, dtype=scores.dtype)
    for i in range(queries):
        for j in range(memory + queries):
            distance = memory + i - j
            if 0 <= distance <= memory:
                out[:, i, j] = scores[:, i, memory - distance]
    return out


@pytest.mark.parametrize(("queries", "memory"), [(1, 0), (1, 5), (4, 0), (4, 2), (3, 7), (5, 5)])
def test_shift_equals_a_double_loop_values_and_gradients(queries: int, memory: int) -> None:
    generator = torch.Generator().manual_seed(0)
    fast = torch.randn((2, queries, memory + 1), generator=generator, dtype=torch.float64, requires_grad=True)
    slow = fast.detach().clone().requires_grad_()
    shifted, expected = place_by_distance(fast), looped(slow)
    assert torch.equal(shifted, expected)
    weights = torch.randn(shifted.shape, generator=generator, dtype=torch.float64)
    (shifted * weights).sum().backward()
    (expected * weights).sum().backward()
    assert fast.grad is not None and slow.grad is not None
    assert torch.equal(fast.grad, slow.grad)


def test_sinusoids_by_hand() -> None:
    # width 4: rates 1 and 10000^(-1/2) = 0.01; the farthest of 3 distances, 2, comes first
    expected = [
        [math.sin(2.0), math.sin(0.02), math.cos(2.0), math.cos(0.02)],
        [math.sin(1.0), math.sin(0.01), math.cos(1.0), math.cos(0.01)],
        [0.0, 0.0, 1.0, 1.0],
    ]
    assert torch.allclose(sinusoids(3, 4), torch.tensor(expected), atol=1e-7)


def block(width: int = 8, heads: int = 2) -> RelativeBlock:
    torch.manual_seed(1)
    made = RelativeBlock(width, heads, 16).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def test_block_attends_as_the_paper_says() -> None:
    width, heads, queries, memory = 8, 2, 3, 4
    layer = block(width, heads)
    x, before = torch.randn(1, queries, width).double(), torch.randn(1, memory, width).double()
    sinusoid = sinusoids(memory + 1, width).double()
    out = layer.segment(x, before, sinusoid)

    norm = layer.norm_attention(torch.cat([before, x], dim=1))[0]
    keys, values = layer.key_value(norm).chunk(2, dim=-1)
    q = layer.query(norm[memory:])
    size = width // heads
    seen = torch.zeros(queries, width, dtype=torch.float64)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        u, v = layer.content_bias[part], layer.distance_bias[part]
        for i in range(queries):
            scores = []
            for j in range(i, i + memory + 1):
                r = layer.distance(sinusoid[j - i])[part]
                scores.append(((q[i, part] + u) @ keys[j, part] + (q[i, part] + v) @ r) / math.sqrt(size))
            weights = torch.stack(scores).softmax(dim=0)
            seen[i, part] = weights @ values[i : i + memory + 1, part]
    half = x[0] + layer.project(seen)
    expected = half + layer.down(torch.nn.functional.gelu(layer.up(layer.norm_mlp(half))))
    assert torch.allclose(out[0], expected, atol=1e-12)


def test_memory_gets_no_gradient_and_the_segment_does() -> None:
    layer = block()
    x = torch.randn(2, 3, 8).double().requires_grad_()
    before = torch.randn(2, 4, 8).double().requires_grad_()
    layer.segment(x, before, sinusoids(5, 8).double()).sum().backward()
    assert before.grad is None
    assert x.grad is not None and bool((x.grad.abs().sum(dim=-1) > 0).all())


def test_what_is_not_known_is_not_seen() -> None:
    layer = block()
    x, before = torch.randn(1, 1, 8).double(), torch.randn(1, 4, 8).double()
    known = torch.tensor([[[False, False, True, True, True]]])
    out = layer.segment(x, before, sinusoids(5, 8).double(), known)
    changed = before.clone()
    changed[:, :2, 0] += 100.0
    assert torch.equal(out, layer.segment(x, changed, sinusoids(5, 8).double(), known))
    changed[:, 2, 0] += 1.0
    assert not torch.equal(out, layer.segment(x, changed, sinusoids(5, 8).double(), known))
