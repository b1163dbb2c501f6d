"""The short way through the learner equals RLlib's own update, and bad gradients are kept out."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from policies.columnar.dqn import ColumnarDQNConfig
from policies.columnar.learner import MAX_BAD_UPDATES, ColumnarDQNLearner, DivergedError
from policies.profiles import combat_dqn_run, load_run

ROWS = 64


def learner(**training: Any) -> ColumnarDQNLearner:
    overrides = {"model": {"hidden_dims": [16, 16]}, "training": {"n_step": 1, "grad_clip": 0.05, **training}}
    run = combat_dqn_run({"factory": "tests.policies.fake_env:bandit"}, overrides=overrides)
    config = ColumnarDQNConfig.of_run(load_run(run))
    torch.manual_seed(0)
    env: Any = __import__("tests.policies.fake_env", fromlist=["bandit"]).bandit(1)
    spec = config.get_multi_rl_module_spec(
        spaces={DEFAULT_MODULE_ID: (env.single_observation_space, env.single_action_space)},
        inference_only=False,
    )
    made = ColumnarDQNLearner(config=config, module_spec=spec)
    made.build()
    return made


def columns(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand((ROWS, 10), generator=generator) < 0.7
    mask[:, 0] = True
    return {
        "obs": torch.randn((ROWS, 64), generator=generator),
        "new_obs": torch.randn((ROWS, 64), generator=generator),
        "actions": torch.zeros(ROWS, dtype=torch.int64),
        "rewards": torch.randn(ROWS, generator=generator),
        "terminateds": torch.rand(ROWS, generator=generator) < 0.2,
        "n_step": torch.ones(ROWS),
        "weights": torch.rand(ROWS, generator=generator),
        "action_mask": mask,
        "new_action_mask": mask,
    }


def weights(made: ColumnarDQNLearner) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in made.net_module.net.parameters()]


def test_short_way_equals_stock_update() -> None:
    short, stock = learner(), learner()
    start = weights(short)
    assert all(torch.equal(a, b) for a, b in zip(start, weights(stock), strict=True))
    for seed in range(5):
        batch = columns(seed)
        short.net_module.train()
        short.update_columns(copy.deepcopy(batch))
        stock.update(
            batch=MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=ROWS),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: 0},
        )
    for a, b, before in zip(weights(short), weights(stock), start, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
        assert not torch.equal(a, before)


def test_td_errors_and_figures_by_hand() -> None:
    made, batch = learner(gamma=0.5), columns()
    net, target = made.net_module.net, made.net_module.target_net
    with torch.no_grad():
        net.head.bias.add_(torch.randn(11, generator=torch.Generator().manual_seed(3)))
        q = net.q_values(batch["obs"], dropout=False)[:, 0]
        online = net.q_values(batch["new_obs"], dropout=False).masked_fill(~batch["new_action_mask"], -1e4)
        best = online.argmax(dim=1, keepdim=True)
        value = target.q_values(batch["new_obs"], dropout=False).gather(1, best)[:, 0]
        # double DQN (van Hasselt et al. 2016, eq. 4): r + gamma Q'(s', argmax_a Q(s', a))
        goal = batch["rewards"] + 0.5 * value * (~batch["terminateds"])
    expected = (q - goal).abs()
    td_errors = made.update_columns(batch)
    torch.testing.assert_close(td_errors, expected)
    figures = made.take_figures()
    huber = torch.where(expected < 1, 0.5 * expected**2, expected - 0.5)
    assert figures["loss"] == pytest.approx(float((huber * batch["weights"]).mean()), rel=1e-5)
    assert figures["td_error"] == pytest.approx(float(expected.mean()), rel=1e-5)
    assert figures["q_mean"] == pytest.approx(float(q.mean()), rel=1e-4)
    assert figures["q_max"] == pytest.approx(float(q.max()), rel=1e-5)
    assert np.isnan(made.take_figures()["loss"])


def test_target_follows_by_tau() -> None:
    made = learner(target_tau=0.25)
    with torch.no_grad():
        for parameter in made.net_module.net.parameters():
            parameter.add_(4.0)
    before = [parameter.clone() for parameter in made.net_module.target_net.parameters()]
    made.sync_target()
    for old, new in zip(before, made.net_module.target_net.parameters(), strict=True):
        torch.testing.assert_close(new, old + 1.0)


def test_bad_gradient_is_left_out_and_many_end_the_run() -> None:
    made, batch = learner(), columns()
    made.update_columns(batch)
    before, moments = weights(made), copy.deepcopy(made.optimizer.state_dict())
    broken = {**batch, "rewards": torch.full((ROWS,), torch.nan)}
    for _ in range(MAX_BAD_UPDATES - 1):
        made.update_columns(broken)
    assert made.skipped_updates == MAX_BAD_UPDATES - 1
    assert all(torch.equal(a, b) for a, b in zip(before, weights(made), strict=True))
    first = moments["state"][0]["exp_avg"]
    assert torch.equal(made.optimizer.state_dict()["state"][0]["exp_avg"], first)
    with pytest.raises(DivergedError, match="lower learning_rate"):
        made.update_columns(broken)


def test_only_the_online_network_is_optimized() -> None:
    made = learner()
    optimized = {id(p) for group in made.optimizer.param_groups for p in group["params"]}
    assert optimized == {id(p) for p in made.net_module.net.parameters()}
