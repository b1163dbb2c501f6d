"""Parameters as one vector: views that stay views, copies, and a target that follows."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from policies.columnar.flat import FlatParameters, flat_copy, load_flat


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_weights_and_gradients_are_views_of_one_vector() -> None:
    net, twin = network(), network()
    flat = FlatParameters(net.parameters())
    assert flat.vector.numel() == 3 * 4 + 4 + 4 * 2 + 2
    x = torch.randn(5, 3)
    assert torch.equal(net(x), twin(x))  # flattening changed no value
    net(x).square().sum().backward()
    twin(x).square().sum().backward()
    expected = torch.cat([p.grad.reshape(-1) for p in twin.parameters() if p.grad is not None])
    torch.testing.assert_close(flat.gradient, expected)
    with torch.no_grad():
        flat.vector.fill_(0.5)
    assert all((p == 0.5).all() for p in net.parameters())


def test_views_survive_load_state_dict_and_cleared_gradients() -> None:
    net, other = network(), network()
    flat = FlatParameters(net.parameters())
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1.0)
    net.load_state_dict(other.state_dict())
    assert torch.equal(flat.vector, flat_copy(other.parameters()))
    with torch.no_grad():
        flat.vector.zero_()
    assert all((p == 0.0).all() for p in net.parameters())
    for p in net.parameters():
        p.grad = None  # as optimizers do
    flat.gradient.fill_(7.0)
    flat.zero_gradient()
    net(torch.ones(1, 3)).sum().backward()
    # The last bias of each output gets 1; the rest of the gradient is through zero weights.
    assert flat.gradient[-2:].tolist() == [1.0, 1.0] and flat.gradient[:-2].abs().sum() == 0.0


def test_backward_adds_until_zeroed() -> None:
    net = network()
    flat = FlatParameters(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    once = flat.gradient.clone()
    net(torch.ones(1, 3)).sum().backward()
    torch.testing.assert_close(flat.gradient, 2.0 * once)
    flat.zero_gradient()
    assert (flat.gradient == 0.0).all()


def test_follow_by_hand() -> None:
    one, two = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    target, source = FlatParameters(one.parameters()), FlatParameters(two.parameters())
    with torch.no_grad():
        target.vector.fill_(2.0)
        source.vector.fill_(10.0)
    target.follow(source, 0.25)
    # 2 + 0.25 (10 - 2) = 4
    assert one.weight.item() == 4.0 and two.weight.item() == 10.0
    target.follow(source, 1.0)
    assert one.weight.item() == 10.0


def test_copy_goes_into_another_network_and_not_into_one_of_another_size() -> None:
    net, other = network(), network()
    FlatParameters(net.parameters())
    with torch.no_grad():
        next(net.parameters()).add_(1.0)
    vector = flat_copy(net.parameters())
    kept = copy.deepcopy(vector)
    load_flat(other.parameters(), vector)
    assert torch.equal(flat_copy(other.parameters()), kept)
    with torch.no_grad():
        next(net.parameters()).add_(1.0)
    assert torch.equal(vector, kept)  # a copy, no view
    with pytest.raises(ValueError, match="26 weights for a network of 3; the networks differ"):
        load_flat(nn.Linear(2, 1).parameters(), vector)


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameters to train"):
        FlatParameters(nn.ReLU().parameters())
