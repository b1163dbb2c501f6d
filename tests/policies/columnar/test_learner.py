"""The short way through the learner equals RLlib's own update, and bad gradients are kept out."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from policies.columnar.dqn import ColumnarDQNConfig
from policies.columnar.dqn_learner import ColumnarDQNLearner
from policies.columnar.learner import MAX_BAD_UPDATES, SCALE_GROWTH_PERIOD, DivergedError, module_of
from policies.profiles import load_run, resolve_run
from policies.settings import DQNRun
from tests.policies.tiny_runs import batch_of, learner_of, tiny_run

ROWS = 64


def learner(stock: bool = False, **training: Any) -> Any:
    """Our DQN learner, or RLlib's own with the same settings and module."""
    overrides = {"model": {"hidden_dims": [16, 16]}, "training": {"n_step": 1, "grad_clip": 0.05, **training}}
    run = resolve_run("combat_dqn", {"factory": "tests.policies.fake_env:bandit"}, overrides=overrides)
    config = ColumnarDQNConfig.of_run(cast(DQNRun, load_run(run)))
    torch.manual_seed(0)
    env: Any = __import__("tests.policies.fake_env", fromlist=["bandit"]).bandit(1)
    spec = config.get_multi_rl_module_spec(
        spaces={DEFAULT_MODULE_ID: (env.single_observation_space, env.single_action_space)},
        inference_only=False,
    )
    made = (DQNTorchLearner if stock else ColumnarDQNLearner)(config=config, module_spec=spec)
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


def weights(made: Any) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in made.net_module.net.parameters()]


def test_short_way_equals_stock_update() -> None:
    short, stock = learner(), learner(stock=True)
    stock.net_module = module_of(stock)
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
        all_q = net.q_values(batch["obs"], dropout=False)
        q = all_q[:, 0]  # every action of the batch is 0
        online = net.q_values(batch["new_obs"], dropout=False).masked_fill(~batch["new_action_mask"], -1e4)
        best = online.argmax(dim=1, keepdim=True)
        value = target.q_values(batch["new_obs"], dropout=False).gather(1, best)[:, 0]
        # double DQN (van Hasselt et al. 2016, eq. 4): r + gamma Q'(s', argmax_a Q(s', a))
        goal = batch["rewards"] + 0.5 * value * (~batch["terminateds"])
    expected = (q - goal).abs()
    td_errors = made.update_columns(batch).td_error
    torch.testing.assert_close(td_errors, expected)
    figures = made.take_figures()
    huber = torch.where(expected < 1, 0.5 * expected**2, expected - 0.5)
    assert figures["loss"] == pytest.approx(float((huber * batch["weights"]).mean()), rel=1e-5)
    assert figures["td_error"] == pytest.approx(float(expected.mean()), rel=1e-5)
    assert figures["q_mean"] == pytest.approx(float(q.mean()), rel=1e-4)
    legal = all_q.masked_fill(~batch["action_mask"], -1e4)
    assert figures["q_max"] == pytest.approx(float(legal.max()), rel=1e-5)
    # 1 - Var(goal - Q) / Var(goal), with n - 1 in both denominators
    explained = 1.0 - float((goal - q).var() / goal.var())
    assert figures["explained_variance"] == pytest.approx(explained, rel=1e-4)
    assert np.isnan(made.take_figures()["loss"])


def test_target_follows_by_tau() -> None:
    made = learner(target_tau=0.25, target_period=1)
    with torch.no_grad():
        for parameter in made.net_module.net.parameters():
            parameter.add_(4.0)
    before = [parameter.clone() for parameter in made.net_module.target_net.parameters()]
    made.after_update()
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
    optimized = [p for group in made.optimizer.param_groups for p in group["params"]]
    assert len(optimized) == 1 and optimized[0] is made.flat[0].vector
    online = list(made.net_module.net.parameters())
    assert {id(p) for p in made.flat[0].parameters} == {id(p) for p in online}
    # Every weight lies in the vector, and the target network's lie elsewhere.
    assert sum(p.numel() for p in online) == optimized[0].numel()
    storage = optimized[0].untyped_storage().data_ptr()
    assert all(p.untyped_storage().data_ptr() == storage for p in online)
    target = made.net_module.target_net.parameters()
    assert all(p.untyped_storage().data_ptr() != storage for p in target)
    before = [p.clone() for p in made.net_module.target_net.parameters()]
    made.update_columns(columns())
    after = made.net_module.target_net.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_target_moves_after_each_period_only() -> None:
    made = learner(target_period=2, target_tau=1.0)

    def in_step() -> bool:
        pairs = zip(made.net_module.net.parameters(), made.net_module.target_net.parameters(), strict=True)
        # The interpolation w + 1.0 (v - w) gives v but for a rounding.
        return all(torch.allclose(a, b, rtol=0.0, atol=1e-7) for a, b in pairs)

    seen = []
    for seed in range(4):
        made.update_columns(columns(seed))
        seen.append(in_step())
    assert seen == [False, True, False, True]


ALL = ["dqn", "ppo", "sac"]
NO_DROPOUT: dict[str, Any] = {"model": {"dropout": 0.0}}


def vector(made: Any) -> torch.Tensor:
    """Everything that is trained."""
    return torch.cat([flat.vector.detach().clone() for flat in made.flat])


@pytest.mark.parametrize("rows", [32, 31])
@pytest.mark.parametrize("algorithm", ALL)
def test_accumulated_gradient_equals_the_whole_batch(
    algorithm: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Noise that depends on its row alone: parts draw in another order than the whole.
    monkeypatch.setattr(torch, "randn_like", lambda mean: torch.cos(9.0 * mean.detach()))
    model = NO_DROPOUT if algorithm == "dqn" else {}
    whole = learner_of(tiny_run(algorithm, **model))
    whole._fused = None
    parts = learner_of(tiny_run(algorithm, training={"accumulate": 4}, **model))
    start = vector(whole)
    assert torch.equal(start, vector(parts))
    for seed in range(3):
        batch = batch_of(algorithm, rows, seed)
        first, second = whole.update_columns(batch), parts.update_columns(batch)
        if algorithm != "ppo":
            torch.testing.assert_close(second.td_error, first.td_error, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(vector(parts), vector(whole), rtol=0.0, atol=1e-6)
    assert (vector(whole) - start).abs().max() > 1e-4


def test_clipping_and_weight_decay_by_hand() -> None:
    """First step of AdamW: w <- w (1 - rate decay) - rate g / (|g| + eps), for its moments are g and g^2."""
    settings = {"weight_decay": 0.1, "learning_rate": 0.01, "adam_eps": 1.0}
    model = {"dropout": 0.0}
    free = learner_of(tiny_run("dqn", model=model, training={**settings, "grad_clip": 1e9}))
    free._fused = None
    clipped = learner_of(tiny_run("dqn", model=model, training={**settings, "grad_clip": 0.02}))
    before = vector(free)
    free.losses(batch_of("dqn")).total.backward()
    gradient = free.flat[0].gradient.clone()
    norm = float(gradient.norm())
    assert norm > 0.02
    for made, g in ((free, gradient), (clipped, gradient * 0.02 / norm)):
        made.update_columns(batch_of("dqn"))
        expected = before * (1.0 - 0.01 * 0.1) - 0.01 * g / (g.abs() + 1.0)
        torch.testing.assert_close(vector(made), expected, rtol=0.0, atol=1e-6)


def test_without_decay_an_unused_weight_stays() -> None:
    made = learner_of(tiny_run("ppo"))
    batch = batch_of("ppo")
    batch["obs"][:, 2] = 0.0
    column = made.net_module.net.shared[0].weight[:, 2]
    before = column.detach().clone()
    made.update_columns(batch)
    assert torch.equal(column.detach(), before)


@pytest.mark.parametrize("algorithm", ALL)
def test_bf16_trains_and_weights_stay_fp32(algorithm: str) -> None:
    half = learner_of(tiny_run(algorithm, precision="bf16"))
    full = learner_of(tiny_run(algorithm))
    start, losses = vector(half), []
    for _ in range(30):
        batch = batch_of(algorithm)
        torch.manual_seed(1)
        loss = half.update_columns(batch)
        losses.append(float(loss.total.detach()))
    torch.manual_seed(1)
    expected = float(full.update_columns(batch_of(algorithm)).total)
    # bfloat16 keeps 8 bits: about 0.4 % per operation
    assert losses[0] == pytest.approx(expected, rel=0.05) and losses[-1] < losses[0]
    assert all(p.dtype == torch.float32 for p in half.net_module.parameters())
    assert all(flat.vector.dtype == flat.gradient.dtype == torch.float32 for flat in half.flat)
    assert torch.isfinite(vector(half)).all() and not torch.equal(vector(half), start)
    assert half.skipped_updates == 0


def test_fp16_halves_its_scale_on_overflow_and_grows_again() -> None:
    made = learner_of(tiny_run("ppo", precision="fp16"))
    assert made.loss_scale == 2.0**14
    made.loss_scale = 2.0**127  # the scaled gradient overflows
    before = vector(made)
    made.update_columns(batch_of("ppo"))
    assert made.loss_scale == 2.0**126 and torch.equal(vector(made), before)
    assert made.skipped_updates == 0  # no sign of anything wrong
    made.loss_scale, made._good_at_this_scale = 2.0**10, SCALE_GROWTH_PERIOD - 1
    made.update_columns(batch_of("ppo"))
    assert made.loss_scale == 2.0**11 and not torch.equal(vector(made), before)
    made.update_columns(batch_of("ppo"))
    assert made.loss_scale == 2.0**11
    assert all(p.dtype == torch.float32 for p in made.net_module.parameters())


def test_the_scale_does_not_change_the_step() -> None:
    one, other = (learner_of(tiny_run("ppo", precision="fp16")) for _ in range(2))
    one.loss_scale, other.loss_scale = 2.0**4, 2.0**10
    for made in (one, other):
        made.update_columns(batch_of("ppo"))
    # Tiny gradients round to zero at the smaller scale, so the steps are alike and not the same bits.
    torch.testing.assert_close(
        one.flat[0].gradient / one.flat[0].gradient.norm(),
        other.flat[0].gradient / other.flat[0].gradient.norm(),
        rtol=0.0,
        atol=0.02,
    )


def test_fp16_that_stays_bad_at_scale_one_is_counted() -> None:
    made = learner_of(tiny_run("ppo", precision="fp16"))
    made.loss_scale = 1.0
    broken = batch_of("ppo")
    broken["advantages"][0] = torch.nan
    made.update_columns(broken)
    assert made.skipped_updates == 1 and made.loss_scale == 1.0


@pytest.mark.parametrize("algorithm", ALL)
def test_state_comes_back_bit_for_bit(algorithm: str) -> None:
    made, other = learner_of(tiny_run(algorithm)), learner_of(tiny_run(algorithm))
    for seed in range(5):
        made.update_columns(batch_of(algorithm, seed=seed))
    other.update_columns(batch_of(algorithm, seed=9))
    other.set_columnar_state(copy.deepcopy(made.get_columnar_state()))
    assert torch.equal(vector(made), vector(other)) and other.updates == 5
    for each in (made, other):
        torch.manual_seed(2)
        each.update_columns(batch_of(algorithm, seed=6))
    assert torch.equal(vector(made), vector(other))
    assert made.take_figures() == other.take_figures()


@pytest.mark.parametrize("algorithm", ALL)
def test_learning_rate_is_a_share_of_each_groups_own(algorithm: str) -> None:
    made = learner_of(tiny_run(algorithm, training={"learning_rate": 0.004}))
    made.set_learning_rate(0.25)
    rates = [group["lr"] for group in made.optimizer.param_groups]
    assert rates[0] == 0.001
    if algorithm == "sac":
        training = made.run.training
        assert rates[1:] == [training.critic_learning_rate / 4, training.alpha_learning_rate / 4]


@pytest.mark.parametrize("autograd", [False, True])
@pytest.mark.parametrize("algorithm", ALL)
def test_a_loss_that_is_not_finite_is_never_stepped(algorithm: str, autograd: bool) -> None:
    """The slope of a Huber loss is cut, and a clipped value error has none: the gradient alone hides it."""
    made = learner_of(tiny_run(algorithm, **(NO_DROPOUT if algorithm == "dqn" else {})))
    if autograd:
        made._fused = None
    before = vector(made)
    for name in ("value_targets", "advantages") if algorithm == "ppo" else ("rewards",):
        for bad in (torch.nan, torch.inf):
            batch = batch_of(algorithm)
            batch[name][5] = bad
            made.update_columns(batch)
    assert torch.equal(vector(made), before)
    assert made.skipped_updates == made.updates
    made.update_columns(batch_of(algorithm))
    assert not torch.equal(vector(made), before) and torch.isfinite(vector(made)).all()
