"""A start from demonstrations: the network copies them, and the replay buffer begins with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from envs.configuration import ConfigError
from envs.demonstrations import demonstrate
from policies.profiles import load_run, resolve_run
from policies.training import Trainer, build_trainer
from tests.policies.tiny_runs import equal, tiny_run, weights

pytestmark = pytest.mark.ray
COMBAT = {"id": "MLMonster/Combat-v0", "archetype": "aggressive", "opponent": "classic"}
CONTROL = {"id": "MLMonster/Control-v0", "archetype": "aggressive", "opponent": "classic"}
SMALL = {"epochs": 1, "num_envs": 4, "rollout_length": 8, "rounds_per_epoch": 1, "warm_start_fights": 24}
Build = Callable[..., Trainer]


@pytest.fixture
def build() -> Iterator[Build]:
    made: list[Trainer] = []

    def builder(model_type: str, env: dict[str, Any], **training: Any) -> Trainer:
        run = resolve_run(model_type, env, seed=4, overrides={"training": {**SMALL, **training}})
        trainer = build_trainer(run)
        assert isinstance(trainer, Trainer)
        made.append(trainer)
        return trainer

    yield builder
    for trainer in made:
        trainer.stop()


def agreement(trainer: Trainer) -> tuple[float, float]:
    """Share of the script's choices that the network makes too, and that of the commonest legal one."""
    demos = demonstrate("aggressive", head="combat", opponent="classic", fights=30, seed=77)
    rows = demos.valid & demos.choice
    assert demos.action_mask is not None
    with torch.no_grad():
        model: Any = trainer.model()
        out = model(torch.from_numpy(demos.obs[rows]))
        scores = (out[0] if isinstance(out, tuple) else out).numpy()
    chosen = np.where(demos.action_mask[rows], scores, -1e9).argmax(axis=1)
    labels = demos.actions[rows]
    return float((chosen == labels).mean()), float((labels == np.bincount(labels).argmax()).mean())


@pytest.mark.parametrize("model_type", ["combat_dqn", "movement_ppo"])
def test_network_copies_the_script(build: Build, model_type: str) -> None:
    # No own updates in this epoch: the DQN has too few rows, PPO a rate of nearly zero.
    extra = {"learning_starts": 5000} if model_type == "combat_dqn" else {"minibatch_size": 32}
    trainer = build(model_type, COMBAT, learning_rate=1e-9, **extra)
    trainer.train_epoch()
    right, commonest = agreement(trainer)
    assert right > 0.85 > commonest
    if model_type == "combat_dqn":
        learner: Any = trainer.algorithm.learner
        assert torch.equal(learner._target.vector, learner.flat[0].vector)


def test_replay_begins_with_the_fights_and_the_critics_learn_alone_at_first(build: Build) -> None:
    trainer = build(
        "soft_actor_critic", CONTROL, learning_starts=16, updates_per_round=5, actor_starts=5, epochs=2
    )
    first = trainer.train_epoch()
    assert first["updates"] == 5 and first["replay_rows"] > 500 > first["env_steps"]
    learner: Any = trainer.algorithm.learner
    before = [flat.vector.detach().clone() for flat in learner.flat]
    assert float(learner.log_alpha.detach()) == pytest.approx(np.log(0.05), rel=1e-6)
    trainer.train_epoch()
    assert all(not torch.equal(a, flat.vector) for a, flat in zip(before, learner.flat, strict=True))


def test_same_seed_same_start_and_a_continued_run_starts_only_once(build: Build, tmp_path: Any) -> None:
    one, two = (build("movement_ppo", COMBAT, minibatch_size=32) for _ in range(2))
    for trainer in (one, two):
        trainer.train_epoch()
    assert equal(weights(one), weights(two))
    folder = one.save(tmp_path / "checkpoint")
    expected = one.train_epoch()["loss"]
    resumed = build("movement_ppo", COMBAT, minibatch_size=32)
    resumed.restore(folder)
    assert resumed.train_epoch()["loss"] == expected


def test_an_environment_without_a_script_is_refused() -> None:
    trainer = build_trainer(load_run(tiny_run("dqn", training={"warm_start_fights": 3})))
    try:
        with pytest.raises(ConfigError, match="nobody to copy"):
            trainer.train_epoch()
    finally:
        trainer.stop()
