"""The trainer: same seed same weights, exact resumption, metrics, and errors of bad checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.configuration import ConfigError, merge
from policies.checkpoint import CheckpointError
from policies.profiles import combat_dqn_run
from policies.training import CombatDQNTrainer, build_combat_dqn, seed_everything

pytestmark = pytest.mark.ray

TINY: dict[str, Any] = {
    "model": {"hidden_dims": [16, 8], "dropout": 0.1},
    "training": {
        "epochs": 6,
        "batch_size": 32,
        "num_envs": 4,
        "rollout_length": 5,
        "rounds_per_epoch": 4,
        "updates_per_round": 3,
        "learning_starts": 40,
        "buffer_capacity": 160,
        "target_period": 5,
        "n_step": 3,
    },
}
Build = Callable[..., CombatDQNTrainer]


@pytest.fixture
def build() -> Iterator[Build]:
    made: list[CombatDQNTrainer] = []

    def builder(seed: int = 0, env: str = "counting", **overrides: Any) -> CombatDQNTrainer:
        run = combat_dqn_run(
            {"factory": f"tests.policies.fake_env:{env}"}, seed=seed, overrides=merge(TINY, overrides)
        )
        made.append(build_combat_dqn(run))
        return made[-1]

    yield builder
    for trainer in made:
        trainer.stop()


def weights(trainer: CombatDQNTrainer) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in trainer.model().state_dict().values()]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def steady(metrics: dict[str, float]) -> dict[str, float]:
    """Metrics without clocks; NaN as text, so that they compare."""
    clocks = ("seconds_", "epoch_s", "env_steps_per_s", "updates_per_s")
    return {
        name: value if value == value else -1.0
        for name, value in metrics.items()
        if not name.startswith(clocks)
    }


def test_same_seed_same_weights_and_another_seed_differs(build: Build) -> None:
    first, other = build(seed=1), build(seed=2)
    second = build(seed=1)
    for trainer in (first, second, other):
        seed_everything(trainer.run.seed)
        start = weights(trainer)
        for _ in range(3):
            trainer.train_epoch()
        assert not equal(start, weights(trainer))
    assert equal(weights(first), weights(second))
    assert not equal(weights(first), weights(other))


def test_resumed_run_equals_one_never_stopped(build: Build, tmp_path: Path) -> None:
    """The ring has gone round, episodes run, dropout draws from the global state: all must come back."""
    whole = build(seed=3)
    for _ in range(3):
        whole.train_epoch()
    folder = whole.save(tmp_path / "checkpoint")
    rest = [steady(whole.train_epoch()) for _ in range(3)]
    resumed = build(seed=3)
    resumed.train_epoch()  # whatever it has done before must not matter
    resumed.restore(folder)
    again = [steady(resumed.train_epoch()) for _ in range(3)]
    assert again == rest
    assert equal(weights(whole), weights(resumed))
    assert resumed.epoch == 6


def test_resuming_before_the_first_epoch(build: Build, tmp_path: Path) -> None:
    whole = build(seed=3)
    folder = whole.save(tmp_path / "start")
    whole.train_epoch()
    resumed = build(seed=3)
    resumed.train_epoch()
    resumed.restore(folder)
    resumed.train_epoch()
    assert equal(weights(whole), weights(resumed))


def test_metrics_by_hand(build: Build) -> None:
    trainer = build()
    metrics = [trainer.train_epoch() for _ in range(3)]
    # 4 rounds x 4 environments x 5 steps = 80 rows an epoch; learning starts in the round that reaches 40
    # steps (rounds of 20 rows, less autoreset rows: the third), so epoch 1 makes 2 x 3 updates, later ones
    # 4 x 3.
    assert [m["updates"] for m in metrics] == [6, 18, 30]
    assert [m["epoch"] for m in metrics] == [1, 2, 3]
    assert 60 < metrics[0]["env_steps"] < 80
    # Planned are 6 x 80 = 480 steps; epsilon falls from 1 to 0.1 within 0.3 x 480 = 144 of them.
    steps = metrics[0]["env_steps"]
    assert metrics[0]["epsilon"] == pytest.approx(1.0 - 0.9 * steps / 144)
    assert metrics[2]["epsilon"] == pytest.approx(0.1)
    assert metrics[2]["win_rate"] == pytest.approx(0.5, abs=0.2)  # every second episode of each environment
    assert metrics[2]["reward"] == pytest.approx(metrics[2]["reward_terms/all"])
    assert 3 <= metrics[2]["episode_length"] <= 6
    for name in ("loss", "q_mean", "q_max", "td_error"):
        assert np.isfinite(metrics[2][name])
    phases = sum(value for name, value in metrics[2].items() if name.startswith("seconds_"))
    assert phases == pytest.approx(metrics[2]["epoch_s"])


def test_learning_rate_falls_to_its_final_share(build: Build) -> None:
    trainer = build(training={"epochs": 2, "learning_rate": 1e-3, "learning_rate_final_share": 0.1})
    metrics = [trainer.train_epoch() for _ in range(2)]
    # Linear in the share of the planned 2 x 80 steps: 1e-3 x (1 - 0.9 x share)
    for at in metrics:
        assert at["learning_rate"] == pytest.approx(1e-3 * (1 - 0.9 * at["env_steps"] / 160))
    assert metrics[1]["learning_rate"] < metrics[0]["learning_rate"] < 1e-3


def test_runner_acts_with_the_learners_own_module(build: Build) -> None:
    trainer = build()
    trainer.train_epoch()
    assert trainer.algorithm.runner.module is trainer.algorithm.learner.net_module
    assert trainer.model() is trainer.algorithm.runner.module.net


def test_checkpoint_replaces_and_leaves_nothing_beside(build: Build, tmp_path: Path) -> None:
    trainer = build()
    trainer.train_epoch()
    trainer.save(tmp_path / "c")
    trainer.train_epoch()
    trainer.save(tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    files = {path.name for path in (tmp_path / "c").iterdir()}
    assert files == {"weights.safetensors", "target.safetensors", "state.npz", "state.json"}
    assert json.loads((tmp_path / "c" / "state.json").read_text())["epoch"] == 2


def test_failed_save_keeps_the_old_checkpoint(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build()
    trainer.train_epoch()
    trainer.save(tmp_path / "c")

    def full_disk(*args: Any, **kwargs: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("policies.checkpoint.np.savez", full_disk)
    trainer.train_epoch()
    with pytest.raises(OSError, match="No space"):
        trainer.save(tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert json.loads((tmp_path / "c" / "state.json").read_text())["epoch"] == 1


def test_bad_checkpoints_are_refused(build: Build, tmp_path: Path) -> None:
    trainer = build()
    trainer.train_epoch()
    good = trainer.save(tmp_path / "good")
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        trainer.restore(tmp_path / "nowhere")
    torn = tmp_path / "torn"
    shutil.copytree(good, torn)
    (torn / "state.npz").write_bytes((good / "state.npz").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        trainer.restore(torn)
    other = build(training={"batch_size": 16})
    with pytest.raises(CheckpointError, match=r"training.batch_size"):
        other.restore(good)
    longer = build(training={"epochs": 9})
    longer.restore(good)
    assert longer.epoch == 1


def test_bad_settings_are_refused_before_anything_is_built() -> None:
    run = combat_dqn_run({"factory": "tests.policies.fake_env:counting"}, overrides=TINY)
    with pytest.raises(ConfigError, match=r"training.batch_size.*at least 1"):
        build_combat_dqn({**run, "training": {**run["training"], "batch_size": 0}})
    with pytest.raises(ConfigError, match="did you mean 'final_epsilon'"):
        build_combat_dqn({**run, "final_epsilom": 0.1})
