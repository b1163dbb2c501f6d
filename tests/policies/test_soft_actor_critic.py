"""The soft actor-critic networks: the squashed density, the twin critics, the floor of the noise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from envs.configuration import ConfigError, load_dataclass
from policies.soft_actor_critic import (
    LOG_STD_MAX,
    GaussianActor,
    SoftActorCritic,
    SoftActorCriticConfig,
    TwinCritics,
    squashed_sample,
)

CONFIG = SoftActorCriticConfig((8, 6), observation_size=3, action_size=2)


def test_squashed_density_equals_torch_distributions() -> None:
    torch.manual_seed(0)
    mean, log_std = torch.randn(64, 3, dtype=torch.float64), torch.randn(64, 3, dtype=torch.float64) * 0.5
    actions, logp = squashed_sample(mean, log_std, torch.randn(64, 3, dtype=torch.float64))
    base = Independent(Normal(mean, log_std.exp()), 1)
    expected = TransformedDistribution(base, [TanhTransform()]).log_prob(actions)
    torch.testing.assert_close(logp, expected, rtol=1e-6, atol=1e-6)


def test_squashed_density_by_hand() -> None:
    # u = 0 + 1 x 0: a = 0 with slope 1 - 0 = 1, log density -log sqrt(2 pi) = -0.9189 for each component
    actions, logp = squashed_sample(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2))
    assert actions.tolist() == [[0.0, 0.0]]
    assert logp.item() == pytest.approx(-2 * 0.9189385332)
    # u = 1 + 2 x 0.5 = 2: log N = -0.125 - log 2 - 0.9189, slope 1 - tanh(2)^2 = 0.0706508
    actions, logp = squashed_sample(
        torch.ones(1, 1), torch.full((1, 1), math.log(2.0)), torch.full((1, 1), 0.5)
    )
    assert actions.item() == pytest.approx(math.tanh(2.0))
    assert logp.item() == pytest.approx(-0.125 - math.log(2.0) - 0.9189385 - math.log(0.0706508), rel=1e-5)


def test_density_keeps_its_digits_far_out() -> None:
    # tanh(20) is 1 in float32, and log(1 - tanh(20)^2) = 2 (log 2 - 20 - 0) = -38.6137
    mean = torch.full((1, 1), 20.0, requires_grad=True)
    _, logp = squashed_sample(mean, torch.zeros(1, 1), torch.zeros(1, 1))
    assert logp.item() == pytest.approx(-0.9189385 + 38.6137056, rel=1e-6)
    logp.backward()
    assert mean.grad is not None and mean.grad.item() == pytest.approx(2.0)  # the slope of 2 u


def test_twin_critics_equal_two_separate_networks() -> None:
    torch.manual_seed(0)
    twins = TwinCritics(CONFIG)
    alone = []
    for k in range(2):
        network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1))
        with torch.no_grad():
            layers = [layer for layer in network if isinstance(layer, nn.Linear)]
            for layer, weight, bias in zip(layers, twins.weights, twins.biases, strict=True):
                layer.weight.copy_(weight[k].T)
                layer.bias.copy_(bias[k, 0])
        alone.append(network)
    obs, actions = torch.randn(16, 3), torch.randn(16, 2)
    values = twins(obs, actions)
    assert values.shape == (2, 16)
    both = torch.cat((obs, actions), dim=1)
    for k in range(2):
        torch.testing.assert_close(values[k], alone[k](both)[:, 0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(values[0], values[1])  # two networks, not one twice
    # The gradient of one says nothing to the other.
    values[0].sum().backward()
    for weight, bias in zip(twins.weights, twins.biases, strict=True):
        assert weight.grad is not None and bias.grad is not None
        assert (weight.grad[1] == 0).all() and (bias.grad[1] == 0).all() and (weight.grad[0] != 0).any()


def test_noise_starts_where_it_is_told_and_keeps_its_floor() -> None:
    actor = GaussianActor(CONFIG)
    with torch.no_grad():
        _, log_std = actor(torch.zeros(1, 3))
    # The head's weights start at a hundredth of the usual scale.
    assert log_std.tolist() == [pytest.approx([-0.5, -0.5], abs=0.02)]
    floored = GaussianActor(CONFIG, min_std=0.9)
    with torch.no_grad():
        assert floored(torch.zeros(1, 3))[1].exp().tolist() == [pytest.approx([0.9, 0.9])]
        floored.head.bias[2:] = 50.0
        assert floored(torch.zeros(1, 3))[1].tolist() == [[LOG_STD_MAX] * 2]


def test_best_guess_is_tanh_of_the_mean() -> None:
    torch.manual_seed(0)
    network, obs = SoftActorCritic(CONFIG), torch.randn(4, 3)
    assert torch.equal(network(obs), torch.tanh(network.actor(obs)[0]))


@pytest.mark.parametrize(
    ("values", "words"),
    [({"hidden_dims": []}, "hidden_dims is empty"), ({"initial_log_std": 3.0}, "initial_log_std.*at most 2")],
)
def test_bad_shapes_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_dataclass(SoftActorCriticConfig, values, "model")
