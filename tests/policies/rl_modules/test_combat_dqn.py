"""The RLModule: exploration schedule, masks, and the outputs that RLlib's loss reads."""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from ray.rllib.core.rl_module.apis import QNetAPI, TargetNetworkAPI

from policies.combat_dqn import ILLEGAL_Q
from policies.rl_modules.combat_dqn import CombatDQNModule


def module(double_q: bool = True, **epsilon: float) -> CombatDQNModule:
    torch.manual_seed(0)
    made = CombatDQNModule(
        observation_space=gymnasium.spaces.Box(-1, 1, (3,), np.float32),
        action_space=gymnasium.spaces.Discrete(4),
        inference_only=False,
        model_config={
            "network": {"hidden_dims": [8]},
            "double_q": double_q,
            "epsilon": epsilon or {"initial": 0.0, "final": 0.0, "decay_steps": 0},
        },
    )
    made.make_target_networks()
    return made


def test_sizes_come_from_the_spaces_and_the_apis_are_there() -> None:
    made = module()
    assert made.net.config.observation_size == 3 and made.net.config.num_actions == 4
    assert isinstance(made, QNetAPI) and isinstance(made, TargetNetworkAPI)


def test_epsilon_by_hand() -> None:
    made = module(initial=1.0, final=0.2, decay_steps=100)
    assert [made.current_epsilon(t) for t in (0, 50, 100, 900)] == [
        1.0,
        0.6,
        0.19999999999999996,
        0.19999999999999996,
    ]


def test_exploration_follows_epsilon_and_mask() -> None:
    made = module(initial=0.5, final=0.5, decay_steps=0)
    obs = torch.zeros(4000, 3)
    with torch.no_grad():
        made.net.head.bias.copy_(torch.tensor([0.0, 0.0, 9.0, 0.0, 5.0]))  # best: action 1; action 3 illegal
    mask = torch.tensor([[True, True, True, False]]).repeat(4000, 1)
    actions = made.forward_exploration({"obs": obs, "action_mask": mask}, t=0)["actions"]
    counts = torch.bincount(actions, minlength=4) / 4000
    # Half greedy, half uniform over three: 1/6, 1/2 + 1/6, 1/6, 0; four standard deviations are 0.03
    np.testing.assert_allclose(counts.numpy(), [1 / 6, 2 / 3, 1 / 6, 0.0], atol=0.03)
    assert made.forward_inference({"obs": obs[:2], "action_mask": mask[:2]})["actions"].tolist() == [1, 1]


def test_exploration_does_not_touch_the_global_random_state() -> None:
    made = module(initial=1.0, final=1.0, decay_steps=0)
    state = torch.get_rng_state()
    made.forward_exploration({"obs": torch.zeros(5, 3)}, t=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_training_outputs_mask_the_next_actions_only() -> None:
    for double_q in (True, False):
        made = module(double_q)
        with torch.no_grad():
            made.net.head.bias.add_(1.0)  # online and target networks differ
        obs, nxt = torch.randn(6, 3), torch.randn(6, 3)
        legal = torch.rand(6, 4) < 0.5
        output = made.forward_train(
            {"obs": obs, "new_obs": nxt, "action_mask": legal, "new_action_mask": legal}
        )
        assert torch.equal(output["qf_preds"], made.net.q_values(obs, dropout=False))
        assert output["qf_preds"].requires_grad
        target, online = output["qf_target_next_preds"], output["qf_next_preds"]
        assert not target.requires_grad and not online.requires_grad
        assert torch.equal(target[legal], made.target_net.q_values(nxt, dropout=False)[legal])
        chooser = made.net if double_q else made.target_net
        assert torch.equal(online[legal], chooser.q_values(nxt, dropout=False)[legal])
        assert (target[~legal] == ILLEGAL_Q).all() and (online[~legal] == ILLEGAL_Q).all()


def test_target_network_is_a_frozen_copy() -> None:
    made = module()
    ((online, target),) = made.get_target_network_pairs()
    assert online is made.net and target is made.target_net
    assert all(torch.equal(a, b) for a, b in zip(online.parameters(), target.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in target.parameters())
