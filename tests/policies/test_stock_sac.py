"""RLlib's own SAC module in our shape: the same numbers, and weights both ways."""

from __future__ import annotations

import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from policies.stock_sac import critic_differences, load_soft_actor_critic, to_soft_actor_critic
from tests.policies.columnar.stock_learners import stock_learner_of
from tests.policies.tiny_runs import learner_of, tiny_run


def test_weights_go_both_ways() -> None:
    run = tiny_run("sac", noise=0.3)
    module = stock_learner_of(run).module[DEFAULT_MODULE_ID].unwrapped()
    ours = learner_of(run).net_module
    assert critic_differences(ours.net.critics, module) > 0.01
    load_soft_actor_critic(module, ours.net, ours.target_critics)
    assert critic_differences(ours.net.critics, module) == 0.0
    assert critic_differences(ours.target_critics, module, "target_") == 0.0
    back = to_soft_actor_critic(module)
    for name, value in ours.net.state_dict().items():
        assert torch.equal(value, back.state_dict()[name]), name
    assert back.actor.log_std_min == ours.net.actor.log_std_min


def test_standard_deviation_is_held_above_the_noise() -> None:
    run = tiny_run("sac", noise=0.3)
    module = stock_learner_of(run).module[DEFAULT_MODULE_ID].unwrapped()
    with torch.no_grad():
        module.pi.linear.bias.fill_(-9.0)
    _, log_std = module.forward_exploration({"obs": torch.zeros(2, 4)})["action_dist_inputs"].chunk(2, dim=-1)
    # ln 0.3 = -1.204
    torch.testing.assert_close(log_std, torch.full((2, 2), -1.2039728))
