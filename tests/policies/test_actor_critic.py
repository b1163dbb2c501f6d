"""The actor-critic network: forward by hand, masks, and draws that follow the softmax."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from envs.configuration import ConfigError, load_dataclass
from policies.actor_critic import (
    ILLEGAL_LOGIT,
    ActorCritic,
    ActorCriticConfig,
    draw_actions,
    mask_logits,
    mlp,
)


def test_forward_by_hand() -> None:
    # One shared unit h = relu(2 x1 - x2 + 1), no layers of their own: logits (h, -h), value 3 h + 1
    config = ActorCriticConfig((1,), (), (), "relu", observation_size=2, num_actions=2)
    network = ActorCritic(config)
    with torch.no_grad():
        network.shared[0].weight.copy_(torch.tensor([[2.0, -1.0]]))  # type: ignore[operator]
        network.shared[0].bias.fill_(1.0)  # type: ignore[operator]
        network.policy_head.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        network.value_head.weight.fill_(3.0)
        network.value_head.bias.fill_(1.0)
    # x = (1, 1): h = 2; x = (0, 5): h = relu(-4) = 0
    obs = torch.tensor([[1.0, 1.0], [0.0, 5.0]])
    logits, values = network(obs)
    assert logits.tolist() == [[2.0, -2.0], [0.0, 0.0]] and values.tolist() == [7.0, 1.0]
    assert torch.equal(network.logits(obs), logits) and torch.equal(network.values(obs), values)


def test_heads_without_shared_layers_are_apart() -> None:
    torch.manual_seed(0)
    network = ActorCritic(ActorCriticConfig((), (8,), (8,), observation_size=3, num_actions=4))
    obs = torch.randn(5, 3)
    _, values = network(obs)
    values.sum().backward()
    assert all(p.grad is None for p in (*network.actor.parameters(), *network.policy_head.parameters()))
    assert all(p.grad is not None for p in (*network.critic.parameters(), *network.value_head.parameters()))


def test_start_is_near_uniform_and_signal_survives() -> None:
    torch.manual_seed(0)
    config = ActorCriticConfig((512, 256, 256), (128, 64), (128, 64), "relu")
    network, obs = ActorCritic(config), torch.randn(256, 64)
    logits, values = network(obs)
    # The policy head starts at a hundredth of its inputs' scale.
    assert float(logits.detach().abs().max()) < 0.1
    assert float(values.detach().std()) > 0.1


def test_mask_by_hand() -> None:
    logits = torch.tensor([[1.0, 5.0]])
    assert mask_logits(logits, torch.tensor([[True, False]])).tolist() == [[1.0, ILLEGAL_LOGIT]]
    assert mask_logits(logits, None) is logits
    # No probability in float32, and a number in float16.
    assert torch.softmax(mask_logits(logits, torch.tensor([[True, False]])), 1)[0, 1] == 0.0
    assert torch.isfinite(torch.tensor(ILLEGAL_LOGIT).half())


def test_draws_follow_the_softmax_and_the_generator() -> None:
    # Odds 1 : 2 : 5, and an action that is not legal
    row = torch.tensor([0.0, np.log(2.0), np.log(5.0), ILLEGAL_LOGIT])
    logits = row.repeat(20_000, 1)
    draws = draw_actions(logits, torch.Generator().manual_seed(1))
    shares = torch.bincount(draws, minlength=4) / 20_000
    # Four standard deviations of the largest share's estimate: 4 sqrt(0.25 / 20000) = 0.014
    np.testing.assert_allclose(shares.numpy(), [1 / 8, 2 / 8, 5 / 8, 0.0], atol=0.014)
    again = draw_actions(logits, torch.Generator().manual_seed(1))
    other = draw_actions(logits, torch.Generator().manual_seed(2))
    assert torch.equal(draws, again) and not torch.equal(draws, other)


def test_no_layers_hand_the_input_on() -> None:
    x = torch.randn(2, 3)
    assert torch.equal(mlp(3, (), "tanh")(x), x)
    layers = mlp(3, (4, 5), "tanh")
    assert [type(layer).__name__ for layer in layers] == ["Linear", "Tanh", "Linear", "Tanh"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"shared_dims": [0]}, "shared_dims"),
        ({"activation": "gelu"}, "activation"),
        ({"num_actions": 1}, "num_actions.*at least 2"),
        ({"actor_dim": [8]}, "actor_dims"),
    ],
)
def test_bad_shapes_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_dataclass(ActorCriticConfig, values, "model")
