"""The SAC module: acting, target critics, and the outputs that RLlib's loss reads."""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from ray.rllib.core.rl_module.apis import QNetAPI, TargetNetworkAPI

from policies.rl_modules.soft_actor_critic import SoftActorCriticModule
from policies.soft_actor_critic import squashed_sample


def module(min_std: float = 0.0) -> SoftActorCriticModule:
    torch.manual_seed(0)
    made = SoftActorCriticModule(
        observation_space=gymnasium.spaces.Box(-1, 1, (3,), np.float32),
        action_space=gymnasium.spaces.Box(-1, 1, (2,), np.float32),
        inference_only=False,
        model_config={"network": {"hidden_dims": [8]}, "min_std": min_std},
    )
    made.make_target_networks()
    return made


def test_sizes_come_from_the_spaces() -> None:
    made = module()
    assert (made.net.config.observation_size, made.net.config.action_size) == (3, 2)
    assert isinstance(made, QNetAPI) and isinstance(made, TargetNetworkAPI)


def test_actions_follow_mean_and_floor() -> None:
    made = module(min_std=0.5)
    obs = torch.ones(1, 3).repeat(4000, 1)
    with torch.no_grad():
        made.net.actor.head.weight.zero_()
        made.net.actor.head.bias.copy_(torch.tensor([0.3, -0.2, -9.0, -9.0]))
    actions = made.act({"obs": obs}, explore=True, env_steps=0)["actions"]
    before = torch.atanh(actions)
    # The head asks for exp(-9), the floor is 0.5; five standard errors: 5 x 0.5 / sqrt(4000) = 0.04
    np.testing.assert_allclose(before.mean(dim=0).numpy(), [0.3, -0.2], atol=0.04)
    np.testing.assert_allclose(before.std(dim=0).numpy(), [0.5, 0.5], atol=0.04)
    greedy = made.act({"obs": obs[:1]}, explore=False, env_steps=0)["actions"]
    torch.testing.assert_close(greedy, torch.tanh(torch.tensor([[0.3, -0.2]])))
    assert torch.equal(made.forward_inference({"obs": obs[:1]})["actions"], greedy)


def test_acting_does_not_touch_the_global_random_state() -> None:
    made = module()
    state = torch.get_rng_state()
    made.act({"obs": torch.zeros(5, 3)}, explore=True, env_steps=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_env_runner_needs_the_actor_only() -> None:
    made = module()
    assert {id(p) for p in made.acting_parameters()} == {id(p) for p in made.net.actor.parameters()}


def test_target_is_a_frozen_copy_of_the_critics() -> None:
    made = module()
    ((online, target),) = made.get_target_network_pairs()
    assert online is made.net.critics and target is made.target_critics
    assert all(torch.equal(a, b) for a, b in zip(online.parameters(), target.parameters(), strict=True))
    assert not any(p.requires_grad for p in target.parameters())


def test_training_outputs_are_those_of_the_networks() -> None:
    made = module()
    with torch.no_grad():
        for p in made.net.critics.parameters():
            p.add_(0.1)  # online and target critics differ
    obs, nxt, actions = torch.randn(6, 3), torch.randn(6, 3), torch.rand(6, 2) * 2 - 1
    torch.manual_seed(5)
    output = made.forward_train({"obs": obs, "new_obs": nxt, "actions": actions})
    torch.manual_seed(5)
    noise, next_noise = torch.randn(6, 2), torch.randn(6, 2)
    mean, log_std = made.net.actor(obs)
    drawn, logp = squashed_sample(mean, log_std, noise)
    next_mean, next_log_std = made.net.actor(nxt)
    next_drawn, next_logp = squashed_sample(next_mean, next_log_std, next_noise)
    taken = made.net.critics(obs, actions)
    torch.testing.assert_close(output["qf_preds"], taken[0])
    torch.testing.assert_close(output["qf_twin_preds"], taken[1])
    torch.testing.assert_close(output["logp_resampled"], logp)
    torch.testing.assert_close(output["logp_next_resampled"], next_logp)
    torch.testing.assert_close(output["q_curr"], made.net.critics(obs, drawn).amin(dim=0))
    torch.testing.assert_close(output["q_target_next"], made.target_critics(nxt, next_drawn).amin(dim=0))
    # The actor's loss must not move the critics, and the target nothing.
    output["q_curr"].sum().backward()
    assert all(p.grad is None for p in made.net.critics.parameters())
    assert all(p.grad is not None for p in made.net.actor.parameters())
    assert not output["q_target_next"].requires_grad and output["qf_preds"].requires_grad
