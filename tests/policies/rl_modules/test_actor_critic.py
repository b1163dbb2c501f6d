"""The PPO module: what it draws, what it says of the draw, and the outputs that RLlib's loss reads."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from ray.rllib.core.rl_module.apis import ValueFunctionAPI

from policies.rl_modules.actor_critic import ActorCriticModule


def module(**settings: Any) -> ActorCriticModule:
    torch.manual_seed(0)
    return ActorCriticModule(
        observation_space=gymnasium.spaces.Box(-1, 1, (3,), np.float32),
        action_space=gymnasium.spaces.Discrete(4),
        inference_only=False,
        model_config={"network": {"shared_dims": [8], "actor_dims": [], "critic_dims": []}, **settings},
    )


def biased(odds: list[float]) -> ActorCriticModule:
    """Gives the same logits, log odds, for every observation."""
    made = module()
    with torch.no_grad():
        made.net.policy_head.weight.zero_()
        made.net.policy_head.bias.copy_(torch.tensor(odds).log())
    return made


def test_sizes_come_from_the_spaces() -> None:
    made = module()
    assert (made.net.config.observation_size, made.net.config.num_actions) == (3, 4)
    assert isinstance(made, ValueFunctionAPI)
    assert sum(p.numel() for p in made.acting_parameters()) == sum(p.numel() for p in made.net.parameters())


def test_draws_and_their_log_probability_by_hand() -> None:
    made = biased([1.0, 2.0, 5.0, 8.0])
    mask = torch.tensor([[True, True, True, False]]).repeat(10_000, 1)
    output = made.act({"obs": torch.zeros(10_000, 3), "action_mask": mask}, explore=True, env_steps=0)
    shares = torch.bincount(output["actions"], minlength=4) / 10_000
    # Odds 1 : 2 : 5 among the legal ones; four standard deviations are 4 sqrt(0.25 / 10000) = 0.02
    np.testing.assert_allclose(shares.numpy(), [1 / 8, 2 / 8, 5 / 8, 0.0], atol=0.02)
    expected = torch.tensor([1 / 8, 2 / 8, 5 / 8, 1.0]).log()[output["actions"]]
    torch.testing.assert_close(output["action_logp"], expected)
    assert set(output) == {"actions", "action_logp"}


def test_without_exploring_the_best_legal_action() -> None:
    made = biased([1.0, 2.0, 5.0, 8.0])
    columns = {"obs": torch.zeros(2, 3), "action_mask": torch.tensor([[True] * 3 + [False], [True] * 4])}
    output = made.act(columns, explore=False, env_steps=0)
    assert output["actions"].tolist() == [2, 3] and set(output) == {"actions"}


def test_logits_are_kept_if_asked_for() -> None:
    made = module(keep_logits=True)
    mask = torch.tensor([[True, False, True, True]])
    output = made.act({"obs": torch.ones(1, 3), "action_mask": mask}, explore=True, env_steps=0)
    logits = output["action_dist_inputs"]
    assert torch.equal(
        logits, made.forward_train({"obs": torch.ones(1, 3), "action_mask": mask})["action_dist_inputs"]
    )
    assert logits[0, 1] == -1e4


def test_acting_does_not_touch_the_global_random_state() -> None:
    made = module()
    state = torch.get_rng_state()
    made.act({"obs": torch.zeros(5, 3)}, explore=True, env_steps=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_values_and_mask_beside_the_observation() -> None:
    made, obs = module(), torch.randn(5, 3)
    assert torch.equal(made.compute_values({"obs": obs}), made.net.values(obs))
    mask = torch.ones(5, 4)
    mask[:, 2] = 0.0
    beside = made.forward_exploration({"obs": {"observation": obs, "action_mask": mask}})
    apart = made.forward_exploration({"obs": obs, "action_mask": mask > 0.5})
    assert torch.equal(beside["action_dist_inputs"], apart["action_dist_inputs"])
    assert (beside["action_dist_inputs"][:, 2] == -1e4).all()
