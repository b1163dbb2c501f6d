"""DQN on the lane: every batch holds whole windows of one environment, and autoreset rows enter none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from policies.columnar.dqn import ColumnarDQN, ColumnarDQNConfig, dqn_module_config
from policies.profiles import load_run
from policies.training import build_trainer
from tests.policies.columnar.batches import check_transitions, legal, recorded
from tests.policies.tiny_runs import tiny_run

pytestmark = pytest.mark.ray


def test_batches_are_windows_of_the_environment() -> None:
    trainer = build_trainer(tiny_run("dqn", reward_scale=2.0))
    try:
        batches = recorded(trainer, epochs=6)
    finally:
        trainer.stop()
    # 2 x 3 updates in the first epoch, 4 x 3 in each later one
    assert len(batches) == 66
    seen = set()
    for batch in batches:
        # reward unit 100, reward scale 2
        check_transitions(batch, gamma=0.99, n_step=3, reward_factor=0.02)
        env, step = batch["obs"][:, 0], batch["obs"][:, 1]
        assert np.array_equal(batch["action_mask"], legal(env, step))
        assert np.array_equal(batch["new_action_mask"], legal(env, batch["new_obs"][:, 1]))
        assert np.take_along_axis(batch["action_mask"], batch["actions"][:, None], axis=1).all()
        assert (batch["weights"] > 0).all() and (batch["weights"] <= 1).all()
        seen |= {tuple(row) for row in batch["obs"][:, :3].astype(int).tolist()}
    assert len(seen) > 200 and {row[0] for row in seen} == {0, 1, 2, 3}


def test_module_settings_by_hand() -> None:
    run = load_run(tiny_run("dqn", noise=0.07))
    settings = dqn_module_config(run)  # type: ignore[arg-type]
    # 6 epochs x 4 rounds x 20 decisions, of which epsilon falls over 0.3
    assert settings["epsilon"] == {"initial": 1.0, "final": 0.07, "decay_steps": pytest.approx(144)}
    config = ColumnarDQNConfig.of_run(run)  # type: ignore[arg-type]
    assert config.algo_class is ColumnarDQN and config.n_step == 3 and config.lr == run.training.learning_rate
    assert isinstance(ColumnarDQN.get_default_config(), ColumnarDQNConfig)


def test_nothing_is_learned_before_learning_starts() -> None:
    trainer = build_trainer(tiny_run("dqn", training={"learning_starts": 160}))
    try:
        before = [p.clone() for p in trainer.model().parameters()]
        metrics = trainer.train_epoch()
        assert metrics["updates"] == 0 and metrics["env_steps"] < 160
        assert all(torch.equal(a, b) for a, b in zip(before, trainer.model().parameters(), strict=True))
        # Twice as many rows, less the autoreset rows, are there after the third epoch.
        assert [trainer.train_epoch()["updates"] > 0 for _ in range(2)] == [False, True]
    finally:
        trainer.stop()
