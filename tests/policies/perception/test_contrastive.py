"""The supervised contrastive loss against numbers worked by hand."""

from __future__ import annotations

import math

import torch

from policies.perception.contrastive import supervised_contrastive


def test_by_hand() -> None:
    # z1 = z2 = (1, 0), z3 = (0, 1), labels 0 0 1, t = 0.5: z1 z2 / t = 2, others 0.
    # row 1: P = {2}: -log(e^2 / (e^2 + e^0)); row 2 the same; row 3 has nobody alike and does not count
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = supervised_contrastive(vectors, torch.tensor([0, 0, 1]), 0.5)
    assert math.isclose(float(loss), math.log(1.0 + math.exp(-2.0)), rel_tol=1e-6)


def test_the_mean_stands_outside_the_logarithm() -> None:
    # labels 0 0 0 1, t = 1; row 1 = (1, 0) against (1, 0), (0, 1), (-1, 0): likenesses 1, 0, -1.
    # L1 = -1/2 [(1 - log S) + (0 - log S)] with S = e + 1 + 1/e
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    first = math.log(math.e + 1.0 + 1.0 / math.e) - 0.5
    # row 2 is as row 1; row 3: likenesses 0, 0, 0: log 3
    expected = (2.0 * first + math.log(3.0)) / 3.0
    loss = supervised_contrastive(vectors, torch.tensor([0, 0, 0, 1]), 1.0)
    assert math.isclose(float(loss), expected, rel_tol=1e-6)


def test_unknown_rows_count_for_nothing() -> None:
    vectors = torch.nn.functional.normalize(
        torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), dim=1
    )
    labels = torch.tensor([0, 1, 0, 1, -1, -1])
    vectors.requires_grad_()
    loss = supervised_contrastive(vectors, labels, 0.2)
    torch.testing.assert_close(loss, supervised_contrastive(vectors[:4], labels[:4], 0.2))
    loss.backward()
    assert vectors.grad is not None
    assert bool((vectors.grad[4:] == 0).all()) and bool((vectors.grad[:4] != 0).any())


def test_nobody_alike_is_no_loss_and_no_nan() -> None:
    vectors = torch.eye(3, requires_grad=True)
    for labels in ([0, 1, 2], [-1, -1, -1], [0, -1, -1]):
        loss = supervised_contrastive(vectors, torch.tensor(labels), 0.1)
        assert float(loss) == 0.0
        (gradient,) = torch.autograd.grad(loss, vectors)
        assert bool(torch.isfinite(gradient).all())


def test_half_precision_around_it_changes_nothing() -> None:
    drawn = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    vectors, labels = torch.nn.functional.normalize(drawn, dim=1), torch.arange(8) % 2
    with torch.autocast("cpu", torch.bfloat16):
        inside = supervised_contrastive(vectors, labels, 0.1)
    assert torch.equal(inside, supervised_contrastive(vectors, labels, 0.1))
