"""Networks side by side equal networks one by one."""

from __future__ import annotations

import torch

from policies.columnar.flat import FlatParameters
from policies.columnar.fused.stacked import StackedChain
from policies.soft_actor_critic import SoftActorCriticConfig, TwinCritics


def test_both_backward_passes_equal_autograd() -> None:
    torch.manual_seed(1)
    critics = TwinCritics(SoftActorCriticConfig(hidden_dims=(9, 6), observation_size=4, action_size=2))
    flat = FlatParameters(critics.parameters())
    obs, actions = torch.randn(17, 4), torch.randn(17, 2, requires_grad=True)
    values = critics(obs, actions)
    weights = torch.randn(2, 17)
    parameters = list(critics.parameters())
    expected = torch.autograd.grad((values * weights).sum(), [*parameters, actions])
    chain = StackedChain(list(critics.weights), list(critics.biases))
    with torch.no_grad():
        out = chain.forward(torch.cat((obs, actions.detach()), dim=1))
        torch.testing.assert_close(out.squeeze(-1), values.detach())
        chain.backward(weights.unsqueeze(-1).clone())
        for parameter, theirs in zip(parameters, expected[:-1], strict=True):
            torch.testing.assert_close(parameter.grad, theirs, rtol=1e-5, atol=1e-6)
        kept = flat.gradient.clone()
        at_input = chain.backward_to_input(weights.unsqueeze(-1).clone())
    torch.testing.assert_close(at_input.sum(dim=0)[:, 4:], expected[-1], rtol=1e-5, atol=1e-6)
    # The weights are constants on that way.
    assert torch.equal(flat.gradient, kept)
