"""SAC on the lane: windows of a continuous environment, its figures by hand, the temperature's aim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from policies.columnar.sac import ColumnarSAC, ColumnarSACConfig, sac_module_config
from policies.profiles import load_run
from policies.soft_actor_critic import squashed_sample
from policies.training import build_trainer
from tests.policies.columnar.batches import check_transitions, recorded
from tests.policies.tiny_runs import batch_of, learner_of, tiny_run

pytestmark = pytest.mark.ray


def test_batches_are_windows_of_the_environment() -> None:
    trainer = build_trainer(tiny_run("sac"))
    try:
        batches = recorded(trainer, epochs=6)
    finally:
        trainer.stop()
    assert len(batches) == 66
    pairs: dict[tuple[int, ...], tuple[float, ...]] = {}
    for batch in batches:
        check_transitions(batch, gamma=0.99, n_step=3, reward_factor=0.01)
        assert (np.abs(batch["actions"]) <= 1.0).all() and "action_mask" not in batch
        for row, action in zip(
            batch["obs"][:, :3].astype(int).tolist(), batch["actions"].tolist(), strict=True
        ):
            # One step has one action, whenever it is drawn.
            assert pairs.setdefault(tuple(row), tuple(action)) == tuple(action)
    assert len(set(pairs.values())) == len(pairs) > 200


def test_losses_and_figures_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    made, batch = learner_of(tiny_run("sac", training={"gamma": 0.5, "initial_alpha": 0.2})), batch_of("sac")
    net, target = made.net_module.net, made.net_module.target_critics
    with torch.no_grad():
        target.biases[0].add_(0.3)  # online and target critics differ
        torch.manual_seed(7)
        noise, next_noise = torch.randn(32, 2), torch.randn(32, 2)
        mean, log_std = net.actor(batch["obs"])
        actions, logp = squashed_sample(mean, log_std, noise)
        mean, log_std = net.actor(batch["new_obs"])
        next_actions, next_logp = squashed_sample(mean, log_std, next_noise)
        value = target(batch["new_obs"], next_actions).min(dim=0).values - 0.2 * next_logp
        goal = batch["rewards"] + 0.5 * value * (~batch["terminateds"])
        error = net.critics(batch["obs"], batch["actions"]) - goal
        huber = torch.where(error.abs() < 1, 0.5 * error**2, error.abs() - 0.5)
        chosen = net.critics(batch["obs"], actions).min(dim=0).values
    expected = {
        "loss": (huber * batch["weights"]).mean(dim=1).sum(),
        "actor_loss": (0.2 * logp - chosen).mean(),
        "alpha": 0.2,
        "entropy_nats": -logp.mean(),
        "q_mean": chosen.mean(),
        "q_max": chosen.max(),
        "td_error": error.abs().mean(),
    }
    torch.manual_seed(7)
    loss = made.update_columns(batch)
    torch.testing.assert_close(loss.td_error, error.abs().mean(dim=0), rtol=1e-4, atol=1e-5)
    figures = made.take_figures()
    for name, number in expected.items():
        assert figures[name] == pytest.approx(float(number), rel=1e-4, abs=1e-5), name
    # The temperature moves against the gap between the entropy and its aim, minus 2 for two controls.
    gap = float(logp.mean()) - 2.0
    assert made.log_alpha.grad is not None and made.wanted_entropy == -2.0
    assert float(made.log_alpha.detach()) - np.log(0.2) == pytest.approx(
        np.sign(gap) * made.run.training.alpha_learning_rate, rel=1e-3
    )


def test_actor_loss_leaves_the_critics_alone() -> None:
    made: Any = learner_of(tiny_run("sac"))
    made._fused = None
    batch = batch_of("sac")
    batch["weights"][:] = 0.0  # nothing of the critics' own loss is left
    for flat in made.flat:
        flat.zero_gradient()
    made.losses(batch).total.backward()
    actor, critics, _ = made.flat
    assert (critics.gradient == 0.0).all() and (actor.gradient != 0.0).any()


def test_module_settings() -> None:
    run = load_run(tiny_run("sac", noise=0.3))
    assert sac_module_config(run)["min_std"] == 0.3  # type: ignore[arg-type]
    config = ColumnarSACConfig.of_run(run)  # type: ignore[arg-type]
    assert config.algo_class is ColumnarSAC and config.twin_q and config.target_entropy == "auto"
    assert config.actor_lr == run.training.learning_rate and config.tau == run.training.target_tau
    assert isinstance(ColumnarSAC.get_default_config(), ColumnarSACConfig)
