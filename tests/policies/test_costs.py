"""What model types cost, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from policies import costs
from policies.combat_dqn import CombatDQN, CombatDQNConfig
from policies.inference import random_inputs
from policies.soft_actor_critic import SoftActorCritic, SoftActorCriticConfig


def test_served_and_trained_parameters_by_hand() -> None:
    # Actor 64 -> 4 -> 10: 64 x 4 + 4 + 4 x 10 + 10 = 310; two critics 69 -> 4 -> 1: 2 x (280 + 5) = 570.
    manifest = SoftActorCritic(SoftActorCriticConfig(hidden_dims=(4,))).manifest()
    assert manifest["parameters"] == 310 and manifest["bytes"] == 1240
    assert manifest["parameters_trained"] == 880
    assert manifest["flops_per_decision"] == 2 * (64 * 4 + 4 * 10)


def test_activations_grow_with_the_rows() -> None:
    network = CombatDQN(CombatDQNConfig(hidden_dims=(32, 16), dueling=False))
    one, four = (costs.activation_bytes(network, rows) for rows in (100, 400))
    assert one < four <= 4 * one
    # At least the inputs of the three products are kept: 64 + 32 + 16 numbers per row.
    assert one >= 100 * (64 + 32 + 16) * 4
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(("name", "rows"), [("combat_dqn", 256), ("team_coordination", 3072 // 16)])
def test_rows_at_a_time(name: str, rows: int) -> None:
    assert costs.rows_at_a_time(name, "demo") == rows


def test_measure_leaves_the_random_state_alone_and_adds_up() -> None:
    state = torch.get_rng_state()
    found = costs.measure("combat_dqn", "demo", seconds=0.01, repeats=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.fp32_bytes == 4 * found.parameters == 2 * found.fp16_bytes
    # Weights, gradients, two moments and the target network.
    assert found.training_bytes == 5 * found.trained_parameters * 4 + found.activation_bytes
    assert set(found.latency_ms) == {1, 8, 64} and all(value > 0 for value in found.latency_ms.values())


def test_random_inputs_fit_and_are_the_same_every_time() -> None:
    signature = CombatDQN(CombatDQNConfig(hidden_dims=(4,))).signature()
    obs, mask = random_inputs(signature, 50)
    assert obs.shape == (50, 64) and mask.shape == (50, 10)
    assert set(mask.unique().tolist()) == {0.0, 1.0} and bool((mask[:, 0] == 1).all())
    assert float(obs.min()) >= -1.0 and float(obs.max()) <= 1.0
    assert torch.equal(random_inputs(signature, 50)[0], obs)
