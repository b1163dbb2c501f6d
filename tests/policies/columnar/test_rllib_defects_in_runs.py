"""What RLlib 2.60 gets wrong in a whole run; `test_rllib_defects.py` has what one learner or runner shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ray.rllib.algorithms.dqn import DQNConfig

from policies.training import AnyTrainer, build_trainer, ensure_ray
from tests.policies.tiny_runs import tiny_run

pytestmark = pytest.mark.ray


@pytest.fixture
def made() -> Iterator[list[Any]]:
    trainers: list[Any] = []
    yield trainers
    for trainer in trainers:
        trainer.stop()


def betas_of(trainer: AnyTrainer, buffer: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Importance exponents that a run of three epochs samples with."""
    seen: list[float] = []
    sample = buffer.sample

    def recorded(*args: Any, **kwargs: Any) -> Any:
        seen.append(float(kwargs["beta"] if "beta" in kwargs else args[1]))
        return sample(*args, **kwargs)

    monkeypatch.setattr(buffer, "sample", recorded)
    for _ in range(3):
        trainer.train_epoch()
    return seen


def test_importance_exponent_is_not_annealed(made: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    betas = {"priority_beta": 0.4, "priority_beta_final": 1.0}
    plain = {"target_period": 6, "epochs": 3, "priority_alpha": 0.6, **betas}
    made.extend(
        build_trainer(tiny_run("dqn", training=plain, sampler=sampler)) for sampler in ("stock", "columnar")
    )
    stock, ours = made
    assert set(betas_of(stock, stock.algorithm.local_replay_buffer, monkeypatch)) == {0.4}
    seen = betas_of(ours, ours.algorithm.replay, monkeypatch)
    assert seen == sorted(seen) and seen[0] < 0.6
    # Planned are 3 epochs x 80 rows, of which some 15 % are autoreset rows and no decisions.
    assert 0.85 < seen[-1] <= 1.0


def test_dqn_with_a_recurrent_network_fails_in_the_first_update(made: list[Any]) -> None:
    ensure_ray()
    config = (
        DQNConfig()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=4)
        .rl_module(model_config={"use_lstm": True, "max_seq_len": 8, "lstm_cell_size": 8})
        .training(num_steps_sampled_before_learning_starts=50, train_batch_size_per_learner=8)
        .debugging(log_level="ERROR")
    )
    algorithm = config.build_algo()
    made.append(algorithm)
    with pytest.raises((RuntimeError, ValueError)):
        for _ in range(20):
            algorithm.training_step()
