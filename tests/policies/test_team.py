"""The pack's network: stepping and sequences agree, and the actor has no way to the central state."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor

from envs.configuration import ConfigError, load_dataclass
from policies.team import TeamActor, TeamActorCritic, TeamConfig

SMALL = TeamConfig(layers=2, units=8, critic_dims=(16, 8), local_size=5, state_size=6, num_actions=4)


def network(config: TeamConfig = SMALL) -> TeamActorCritic:
    torch.manual_seed(1)
    net = TeamActorCritic(config)
    with torch.no_grad():  # away from the near-uniform start, so that differences show
        net.actor.policy_head.weight.normal_()
    return net


def test_default_shape_is_the_specified_one() -> None:
    net = TeamActorCritic()
    assert [layer.weight.shape for layer in net.actor.layers] == [(1024, 326), (1024, 512), (1024, 512)]
    logits, h, c = net.step(torch.zeros(2, 70), *net.actor.initial_state(2))
    assert logits.shape == (2, 8) and h.shape == c.shape == (2, 3, 256)
    assert net.values(torch.zeros(2, 256), torch.zeros(6, 70)).shape == (6,)


def test_policy_begins_near_uniform() -> None:
    torch.manual_seed(0)
    net = TeamActorCritic()
    logits = net.sequence(torch.randn(32, 5, 70), *net.actor.initial_state(32), torch.ones(32, 5))
    assert float(logits.detach().abs().max()) < 0.02


def test_sequences_equal_stepping_with_resets() -> None:
    net = network()
    local, keep = torch.randn(7, 9, 5), torch.rand(7, 9) > 0.3
    h, c = torch.randn(7, 2, 8), torch.randn(7, 2, 8)
    assert not keep.all() and not keep[:, 0].all()
    logits, last_h, last_c = net.actor.unroll(local, h, c, keep)
    stepped = []
    with torch.no_grad():
        for t in range(9):
            kept = keep[:, t, None, None]
            now, h, c = net.step(local[:, t], h * kept, c * kept)
            stepped.append(now)
    torch.testing.assert_close(logits, torch.stack(stepped, dim=1))
    torch.testing.assert_close(last_h, h)
    torch.testing.assert_close(last_c, c)


def test_no_gradient_passes_a_reset() -> None:
    net = network()
    local = torch.randn(1, 4, 5, requires_grad=True)
    keep = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
    net.sequence(local, *net.actor.initial_state(1), keep)[:, 3].sum().backward()
    reached = local.grad.abs().sum(dim=-1)[0] > 0  # type: ignore[union-attr]
    assert reached.tolist() == [False, False, True, True]


def test_state_part_is_broadcast_over_the_members_of_its_fight() -> None:
    net = network()
    state, local = torch.randn(3, 4, 6), torch.randn(3 * 2, 4, 5)
    values = net.values(state, local)
    weight = torch.cat((net.critic.of_state.weight, net.critic.of_local.weight), dim=1)
    for row in range(6):
        seen = torch.cat((state[row // 2], local[row]), dim=-1)
        hidden = torch.tanh(torch.nn.functional.linear(seen, weight, net.critic.of_state.bias))
        hidden = torch.tanh(net.critic.hidden[0](hidden))
        torch.testing.assert_close(values[row], net.critic.value_head(hidden).squeeze(-1))


def test_central_state_changes_the_value_alone() -> None:
    net = network()
    local = torch.randn(4, 5)
    one, other = (net.values(torch.full((2, 6), value), local) for value in (0.0, 1.0))
    assert bool((one - other).abs().min() > 1e-4)
    assert list(inspect.signature(TeamActor.forward).parameters) == ["self", "local", "state_h", "state_c"]


def test_exported_actor_has_no_global_input() -> None:
    net = network()
    program = torch.export.export(net.actor, (torch.randn(3, 5), *net.actor.initial_state(3)))
    inputs = [node for node in program.graph.nodes if node.op == "placeholder"]
    data = [
        tuple(node.meta["val"].shape) for node in inputs if node.name in program.graph_signature.user_inputs
    ]
    assert data == [(3, 5), (3, 2, 8), (3, 2, 8)]  # local, h, c; the state would be (3, 6)
    assert not any("critic" in name for name in program.state_dict)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_trains_all_weights(dtype: torch.dtype) -> None:
    net = network()
    local, state = torch.randn(6, 3, 5), torch.randn(2, 3, 6)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        logits = net.sequence(local, *net.actor.initial_state(6), torch.ones(6, 3))
        loss: Tensor = logits.float().square().sum() + net.values(state, local).float().sum()
    assert logits.dtype is dtype
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name


def test_critic_without_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match="critic_dims is empty"):
        load_dataclass(TeamConfig, {"critic_dims": []}, "model")
