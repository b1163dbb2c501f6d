"""The combat network: dueling head, masks in the served form, what it says of itself."""

from __future__ import annotations

import pytest
import torch

from envs.configuration import ConfigError, load_dataclass
from policies.combat_dqn import ILLEGAL_Q, CombatDQN, CombatDQNConfig, combine_dueling, mask_illegal


def test_dueling_head_by_hand() -> None:
    # V = 2, A = (1, 4, 1): mean A = 2, Q = 2 + (1 - 2, 4 - 2, 1 - 2) = (1, 4, 1)
    # V = -1, A = (0, 0, 3): mean A = 1, Q = -1 + (-1, -1, 2) = (-2, -2, 1)
    head = torch.tensor([[2.0, 1.0, 4.0, 1.0], [-1.0, 0.0, 0.0, 3.0]])
    assert combine_dueling(head).tolist() == [[1.0, 4.0, 1.0], [-2.0, -2.0, 1.0]]


def test_forward_by_hand() -> None:
    # One hidden unit h = relu(2 x1 - x2 + 1), head: V = h, A = (3h, h) -> Q = h + (h, -h) = (2h, 0)
    network = CombatDQN(CombatDQNConfig(hidden_dims=(1,), observation_size=2, num_actions=2))
    with torch.no_grad():
        network.hidden[0].weight.copy_(torch.tensor([[2.0, -1.0]]))  # type: ignore[operator]
        network.hidden[0].bias.fill_(1.0)  # type: ignore[operator]
        network.head.weight.copy_(torch.tensor([[1.0], [3.0], [1.0]]))
        network.head.bias.zero_()
    # x = (1, 1): h = 2; x = (0, 5): h = relu(-4) = 0
    assert network(torch.tensor([[1.0, 1.0], [0.0, 5.0]])).tolist() == [[4.0, 0.0], [0.0, 0.0]]


def test_served_form_takes_the_best_legal_action() -> None:
    torch.manual_seed(0)
    network = CombatDQN()
    obs, mask = network.example_inputs(64)
    q_values, action = network.inference_form()(obs, mask)
    assert q_values.shape == (64, 10) and q_values.dtype == torch.float32
    assert action.shape == (64,) and action.dtype == torch.int64
    raw = network.eval()(obs)
    assert torch.equal(q_values[mask > 0.5], raw[mask > 0.5])
    assert (q_values[mask < 0.5] == ILLEGAL_Q).all() and bool((mask < 0.5).any())
    expected = [
        max((a for a in range(10) if m[a] > 0.5), key=lambda a: q[a]) for q, m in zip(raw, mask, strict=True)
    ]
    assert action.tolist() == expected


def test_row_without_legal_action_gives_action_0() -> None:
    network = CombatDQN()
    q_values, action = network.inference_form()(torch.ones(1, 64), torch.zeros(1, 10))
    assert action.tolist() == [0] and (q_values == ILLEGAL_Q).all()


def test_mask_illegal_by_hand() -> None:
    masked = mask_illegal(torch.tensor([[1.0, 5.0]]), torch.tensor([[True, False]]))
    assert masked.tolist() == [[1.0, ILLEGAL_Q]]


def test_dropout_works_in_training_only() -> None:
    torch.manual_seed(0)
    network = CombatDQN(CombatDQNConfig(hidden_dims=(64, 64), dropout=0.5))
    obs, mask = network.example_inputs(8)
    network.train()
    assert not torch.equal(network(obs), network(obs))
    assert torch.equal(network.q_values(obs, dropout=False), network.eval()(obs))
    # The served form ignores the mode that the network happens to be in.
    network.train()
    assert torch.equal(network.inference_form()(obs, mask)[0], network.inference_form()(obs, mask)[0])


def test_manifest_by_hand() -> None:
    # 64 -> 3 -> 1 + 10: (64 x 3 + 3) + (3 x 11 + 11) = 195 + 44 = 239 parameters
    # operations of the products: 2 x 64 x 3 + 2 x 3 x 11 = 384 + 66 = 450
    manifest = CombatDQN(CombatDQNConfig(hidden_dims=(3,))).manifest()
    assert manifest["parameters"] == 239
    assert manifest["bytes"] == 956
    assert manifest["flops_per_decision"] == 450
    assert manifest["observation_version"] == "obs_v1"
    assert manifest["action_version"] == "combat_v1"
    assert manifest["config"]["hidden_dims"] == [3]


def test_signal_survives_ten_layers() -> None:
    torch.manual_seed(0)
    config = CombatDQNConfig(hidden_dims=(1024, 1024, 512, 512, 256, 256, 128, 128, 64, 64))
    network = CombatDQN(config).eval()
    obs, _ = network.example_inputs(256)
    hidden = obs
    for layer in network.hidden:
        hidden = torch.relu(layer(hidden))
    # He's start keeps the mean square; torch's default start would leave about 6 ** -10 of it.
    assert 0.1 < float(hidden.detach().square().mean() / obs.square().mean()) < 10.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hidden_dims": []}, "hidden_dims is empty"),
        ({"hidden_dims": [0]}, "hidden_dims"),
        ({"dropout": 1.0}, "dropout"),
        ({"hiden_dims": [8]}, "hidden_dims"),
    ],
)
def test_bad_shapes_are_refused_in_one_line(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_dataclass(CombatDQNConfig, values, "model_params.yaml")
    assert str(caught.value).startswith("model_params.yaml") and "\n" not in str(caught.value)
