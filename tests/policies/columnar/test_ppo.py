"""PPO on the lane: shards hold exactly the steps of episodes, each with what belongs to it."""

from __future__ import annotations

import copy
import types
from typing import Any

import numpy as np
import pytest
import torch

from policies.columnar.ppo import ColumnarPPO, ColumnarPPOConfig, entropy_coeff, standardised
from policies.profiles import load_run
from policies.training import build_trainer
from tests.policies.columnar.batches import legal, length, recorded
from tests.policies.tiny_runs import batch_of, learner_of, runner_of, tiny_run

pytestmark = pytest.mark.ray


def shards_of(run: dict[str, Any], rollout: Any) -> list[dict[str, Any]]:
    return ColumnarPPO.shards(types.SimpleNamespace(run=load_run(run)), rollout)  # type: ignore[arg-type]


def test_shards_hold_exactly_the_valid_rows() -> None:
    run = tiny_run("ppo", reward_scale=2.0)
    runner = runner_of(run)
    runner.sample()
    rollout = copy.deepcopy(runner.sample())
    (shard,) = shards_of(run, rollout)
    assert rollout.valid.sum() < rollout.valid.size
    assert np.array_equal(shard["obs"], rollout.obs[:, :-1][rollout.valid])
    env, step, episode = shard["obs"][:, 0], shard["obs"][:, 1], shard["obs"][:, 2]
    # What is seen after an end belongs to no step; every other observation of the round is there once.
    assert (step < length(env, episode)).all()
    assert len({tuple(row) for row in shard["obs"].tolist()}) == len(shard["obs"])
    assert np.array_equal(shard["action_mask"], legal(env, step))
    assert np.take_along_axis(shard["action_mask"], shard["actions"][:, None], axis=1).all()
    net = runner.module.net
    with torch.no_grad():
        obs = torch.from_numpy(shard["obs"])
        logits = net.logits(obs).masked_fill(~torch.from_numpy(shard["action_mask"]), -1e4)
        logp = torch.log_softmax(logits, dim=1).gather(1, torch.from_numpy(shard["actions"])[:, None])[:, 0]
        values = net.values(obs).numpy()
    np.testing.assert_allclose(shard["action_logp"], logp.numpy(), atol=1e-5)
    # With lambda = 1 an ended episode's target is its discounted rest of rewards, reward / 100 x 2.
    exact = tiny_run("ppo", reward_scale=2.0, training={"gae_lambda": 1.0, "gamma": 0.5})
    (shard,) = shards_of(exact, rollout)
    checked = 0
    for k in range(len(env)):
        last = length(env[k], episode[k])
        same = (env == env[k]) & (episode == episode[k])
        if episode[k] % 2 or step[same].max() + 1 < last:
            continue  # cut, or not ended within this round
        rest = sum(
            0.5 ** (s - step[k] - 1) * (1000 * env[k] + 100 * episode[k] + s) * 0.02
            for s in range(int(step[k]) + 1, int(last) + 1)
        )
        assert shard["value_targets"][k] == pytest.approx(rest, rel=1e-4)
        checked += 1
    assert checked > 5
    advantage = shard["value_targets"] - values
    np.testing.assert_allclose(shard["advantages"], standardised(advantage), atol=1e-3)


def test_several_learners_share_all_rows_once() -> None:
    run = tiny_run("ppo")
    rollout = copy.deepcopy(runner_of(run).sample())
    (whole,) = shards_of(run, rollout)
    pieces = shards_of({**run, "learners": 3}, rollout)
    assert len(pieces) == 3
    sizes = [len(piece["actions"]) for piece in pieces]
    assert sum(sizes) == len(whole["actions"]) and max(sizes) - min(sizes) <= 1
    for name, column in whole.items():
        assert np.array_equal(np.concatenate([piece[name] for piece in pieces]), column), name


def test_every_pass_sees_every_row_once() -> None:
    trainer = build_trainer(tiny_run("ppo"))
    try:
        batches = recorded(trainer, epochs=1)
    finally:
        trainer.stop()
    # 2 rounds x 2 passes x 2 minibatches
    assert len(batches) == 8
    passes = [
        sorted(tuple(row) for batch in batches[k : k + 2] for row in batch["obs"].tolist())
        for k in range(0, 8, 2)
    ]
    assert passes[0] == passes[1] and passes[2] == passes[3] and passes[0] != passes[2]
    assert len(set(passes[0])) == len(passes[0])
    orders = [batch["obs"].tolist() for batch in batches]
    assert orders[0] != orders[2]  # another order in each pass
    for rows in passes:
        for env, step, episode, _ in rows:
            assert step < length(env, episode)


def test_unmasked_environments_have_no_mask_column() -> None:
    run = tiny_run("ppo", env="cartpole")
    (shard,) = shards_of(run, runner_of(run).sample())
    assert "action_mask" not in shard


def test_loss_by_hand() -> None:
    """Two rows; the first's ratio is beyond the clip, so only its cut surrogate counts."""
    made = learner_of(
        tiny_run("ppo", training={"clip": 0.2, "value_coeff": 0.5, "value_clip": 4.0, "entropy_coeff": 0.1})
    )
    made.entropy_coeff = 0.1
    # Uniform over two actions: log 1/2 each, entropy log 2
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    columns = {
        "actions": torch.tensor([0, 1]),
        # ratios (1/2) / (1/4) = 2, cut to 1.2, and (1/2) / (1/2) = 1
        "action_logp": torch.log(torch.tensor([0.25, 0.5])),
        "advantages": torch.tensor([3.0, -1.0]),
        "value_targets": torch.tensor([1.0, 10.0]),
    }
    loss = made.surrogate(columns, logits, torch.tensor([2.0, 1.0]))
    # policy: -(1.2 x 3 - 1) / 2 = -1.3; value: 0.5 (1 + min(81, 4)) / 2 = 1.25; entropy: -0.1 log 2
    assert float(loss.total) == pytest.approx(-1.3 + 1.25 - 0.1 * np.log(2), rel=1e-5)
    figures = {name: float(value) for name, value in loss.figures().items()}
    assert figures["policy_loss"] == pytest.approx(-1.3)
    assert figures["value_loss"] == pytest.approx((1 + 81) / 2)
    assert figures["entropy_bits"] == pytest.approx(1.0)
    assert figures["clipped_share"] == 0.5
    # (rho - 1) - log rho: (1 - log 2 + 0) / 2
    assert figures["kl"] == pytest.approx((1 - np.log(2)) / 2, rel=1e-5)
    loss.total.backward()
    assert logits.grad is not None and logits.grad[0].tolist() == pytest.approx([0.0, 0.0])


def test_penalty_moves_by_the_published_factors() -> None:
    made = learner_of(tiny_run("ppo", training={"kl_coeff": 0.2, "kl_target": 0.01}))
    for kl, expected in ((0.021, 0.3), (0.015, 0.3), (0.004, 0.15)):
        made._adapt_penalty(kl)
        assert made.kl_coeff == pytest.approx(expected)


def test_settings_of_the_loss() -> None:
    run = load_run(tiny_run("ppo", noise=0.05, training={"entropy_coeff": 0.02}))
    # 0.02 x 0.05 / 0.1
    assert entropy_coeff(run) == pytest.approx(0.01)
    config = ColumnarPPOConfig.of_run(run)  # type: ignore[arg-type]
    assert config.algo_class is ColumnarPPO and config.entropy_coeff == pytest.approx(0.01)
    assert config.lambda_ == run.training.gae_lambda and not config.use_kl_loss
    assert isinstance(ColumnarPPO.get_default_config(), ColumnarPPOConfig)


def test_standardised_by_hand() -> None:
    # mean 2, spread sqrt(2/3)
    expected = np.array([-1.0, 0.0, 1.0]) / np.sqrt(2 / 3)
    np.testing.assert_allclose(standardised(np.array([1, 2, 3], np.float32)), expected, rtol=1e-6)
    assert standardised(np.array([5, 5], np.float32)).tolist() == [0.0, 0.0]


def test_penalty_needs_the_old_logits() -> None:
    run = tiny_run("ppo", training={"kl_coeff": 0.2})
    (shard,) = shards_of(run, runner_of(run).sample())
    assert shard["action_dist_inputs"].shape == (len(shard["actions"]), 4)
    made = learner_of(run)
    batch = {name: torch.from_numpy(column) for name, column in shard.items()}
    # Before the first step the policy is the one that acted.
    assert float(made.losses(batch).td_error) == pytest.approx(0.0, abs=1e-6)
    assert batch_of("ppo").keys() <= shard.keys()


def test_turned_rows_start_from_what_the_policy_says_of_them() -> None:
    """Four rows turned by hand: the probability ratio of the first update is 1 on every one of them."""
    learner = learner_of(tiny_run("ppo", training={"kl_coeff": 0.2}))
    random = np.random.default_rng(0)
    mask = random.random((32, 4)) < 0.6
    mask[:, 0] = True
    columns: dict[str, Any] = {
        "obs": random.normal(size=(32, 4)).astype(np.float32),
        "actions": np.zeros(32, np.int64),
        "action_logp": np.full(32, -9.0, np.float32),
        "action_dist_inputs": np.zeros((32, 4), np.float32),
        "advantages": random.normal(size=32).astype(np.float32),
        "value_targets": random.normal(size=32).astype(np.float32),
        "action_mask": mask,
    }
    anew = learner.with_own_logp(columns)
    rows = {name: torch.from_numpy(column) for name, column in anew.items()}
    figures = learner.losses(rows).figures()
    assert float(figures["kl"]) == pytest.approx(0.0, abs=1e-6)
    assert float(figures["clipped_share"]) == 0.0
    # Surrogate at ratio 1: the mean advantage.
    assert float(figures["policy_loss"]) == pytest.approx(-float(columns["advantages"].mean()), abs=1e-5)
    assert columns["action_logp"][0] == -9.0
