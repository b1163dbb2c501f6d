"""The trainer: same seed same weights, exact resumption, metrics, and errors of bad checkpoints."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.configuration import ConfigError
from policies.checkpoint import CheckpointError
from policies.training import AnyTrainer, build_trainer, seed_everything
from tests.policies.tiny_runs import ALGORITHMS, equal, steady, tiny_run, weights

pytestmark = pytest.mark.ray

Build = Callable[..., Any]


@pytest.fixture
def build() -> Iterator[Build]:
    made: list[AnyTrainer] = []

    def builder(algorithm: str = "dqn", **settings: Any) -> AnyTrainer:
        made.append(build_trainer(tiny_run(algorithm, **settings)))
        return made[-1]

    yield builder
    for trainer in made:
        trainer.stop()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_same_seed_same_weights_and_another_seed_differs(build: Build, algorithm: str) -> None:
    first, other = build(algorithm, seed=1), build(algorithm, seed=2)
    second = build(algorithm, seed=1)
    for trainer in (first, second, other):
        seed_everything(trainer.run.seed)
        start = weights(trainer)
        for _ in range(3):
            trainer.train_epoch()
        assert not equal(start, weights(trainer))
    assert equal(weights(first), weights(second))
    assert not equal(weights(first), weights(other))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_resumed_run_equals_one_never_stopped(build: Build, tmp_path: Path, algorithm: str) -> None:
    """The ring has gone round, episodes run, noise comes from the global state: all must come back."""
    whole = build(algorithm, seed=3)
    for _ in range(3):
        whole.train_epoch()
    folder = whole.save(tmp_path / "checkpoint")
    rest = [steady(whole.train_epoch()) for _ in range(3)]
    resumed = build(algorithm, seed=3)
    resumed.train_epoch()  # whatever it has done before must not matter
    resumed.restore(folder)
    again = [steady(resumed.train_epoch()) for _ in range(3)]
    assert again == rest
    assert equal(weights(whole), weights(resumed))
    assert resumed.epoch == 6


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_resuming_before_the_first_epoch(build: Build, tmp_path: Path, algorithm: str) -> None:
    whole = build(algorithm, seed=3)
    folder = whole.save(tmp_path / "start")
    whole.train_epoch()
    resumed = build(algorithm, seed=3)
    resumed.train_epoch()
    resumed.restore(folder)
    resumed.train_epoch()
    assert equal(weights(whole), weights(resumed))


def test_penalty_of_ppo_resumes(build: Build, tmp_path: Path) -> None:
    """The weight of the KL penalty moves with the divergence; RLlib loses it when it restores."""
    settings = {"training": {"kl_coeff": 0.3, "kl_target": 1e-6}}
    whole = build("ppo", **settings)
    whole.train_epoch()
    # Far above the target in both rounds: 0.3 x 1.5 x 1.5
    assert whole.algorithm.learner.kl_coeff == pytest.approx(0.3 * 1.5 * 1.5)
    folder = whole.save(tmp_path / "checkpoint")
    resumed = build("ppo", **settings)
    resumed.restore(folder)
    assert resumed.algorithm.learner.kl_coeff == whole.algorithm.learner.kl_coeff
    assert steady(resumed.train_epoch()) == steady(whole.train_epoch())
    assert equal(weights(whole), weights(resumed))


def test_temperature_of_sac_resumes(build: Build, tmp_path: Path) -> None:
    whole = build("sac", training={"alpha_learning_rate": 0.1})
    whole.train_epoch()
    folder = whole.save(tmp_path / "checkpoint")
    alpha = whole.algorithm.learner.log_alpha.detach().clone()
    resumed = build("sac", training={"alpha_learning_rate": 0.1})
    assert resumed.algorithm.learner.log_alpha != alpha
    resumed.restore(folder)
    assert resumed.algorithm.learner.log_alpha == alpha


def test_checkpoint_without_replay_says_that_it_is_not_exact(
    build: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = build(checkpoint_replay=False)
    trainer.train_epoch()
    folder = trainer.save(tmp_path / "light")
    assert not (folder / "replay").exists()
    resumed = build()
    with caplog.at_level(logging.WARNING, logger="policies.checkpoint"):
        resumed.restore(folder)
    assert "holds no replay buffer" in caplog.text and "will not equal" in caplog.text
    assert resumed.epoch == 1 and len(resumed.algorithm.replay) == 0
    resumed.train_epoch()


def test_replay_segments_are_shared_between_checkpoints(build: Build, tmp_path: Path) -> None:
    trainer = build(training={"buffer_capacity": 4000})
    trainer.train_epoch()
    one = trainer.save(tmp_path / "one")
    trainer.train_epoch()
    two = trainer.save(tmp_path / "two")
    names = {path.name for path in (one / "replay").glob("steps-*")}
    assert names and names < {path.name for path in (two / "replay").glob("steps-*")}
    for name in names:
        assert (one / "replay" / name).stat().st_ino == (two / "replay" / name).stat().st_ino


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
    assert files == {"weights.safetensors", "state.npz", "state.json", "replay"}
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


def test_replacement_that_fails_or_is_killed_halfway_leaves_the_old_checkpoint(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build()
    trainer.train_epoch()
    folder = trainer.save(tmp_path / "c")
    trainer.train_epoch()
    rename = os.rename

    def failing(source: Any, target: Any) -> None:
        if ".writing-" in str(source):
            raise OSError("Read-only file system")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("policies.state_files.os.rename", failing)
        with pytest.raises(OSError, match="Read-only"):
            trainer.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    # Killed between the two renames: only the old one is there, under its name for a moment.
    os.rename(folder, tmp_path / "c.old-0123abcd")
    trainer.restore(folder)
    assert trainer.epoch == 1 and [path.name for path in tmp_path.iterdir()] == ["c"]


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
    changed = tmp_path / "changed"
    shutil.copytree(good, changed)
    segment = next((changed / "replay").glob("steps-*"))
    segment.write_bytes(segment.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        trainer.restore(changed)
    other = build(training={"batch_size": 16})
    with pytest.raises(CheckpointError, match=r"training.batch_size"):
        other.restore(good)
    longer = build(training={"epochs": 9})
    longer.restore(good)
    assert longer.epoch == 1


def test_bad_settings_are_refused_before_anything_is_built() -> None:
    run = tiny_run("dqn")
    with pytest.raises(ConfigError, match=r"training.batch_size.*at least 1"):
        build_trainer({**run, "training": {**run["training"], "batch_size": 0}})
    with pytest.raises(ConfigError, match="did you mean 'noise'"):
        build_trainer({**run, "nosie": 0.1})
