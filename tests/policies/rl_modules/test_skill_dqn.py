"""The RLModule of the skill network, and the lane on it: layout, seeds, continuing, a start by copying."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from envs.configuration import ConfigError
from envs.demonstrations import demonstrate
from policies.columnar.vector_env import make_vector_env
from policies.profiles import resolve_run
from policies.rl_modules.skill_dqn import SkillDQNModule
from policies.skill_dqn import SkillDQN
from policies.training import Trainer, build_trainer
from tests.policies.tiny_runs import equal, steady, weights

ENV = {"id": "MLMonster/Skill-v0", "archetype": "mage", "opponent": "veteran"}
MODEL = {"hidden_dims": [32], "slot_units": 8, "target_units": 8, "pair_units": 16}
TRAINING: dict[str, Any] = {
    "epochs": 4,
    "num_envs": 8,
    "rollout_length": 16,
    "rounds_per_epoch": 2,
    "updates_per_round": 4,
    "batch_size": 64,
    "learning_starts": 100,
    "buffer_capacity": 4000,
    "n_step": 3,
    "warm_start_fights": 0,
    "symmetries": True,
}
Build = Callable[..., Trainer]


def module(observation: int = 176, actions: int = 70) -> SkillDQNModule:
    torch.manual_seed(0)
    return SkillDQNModule(
        observation_space=gymnasium.spaces.Box(-1, 1, (observation,), np.float32),
        action_space=gymnasium.spaces.Discrete(actions),
        inference_only=False,
        model_config={"network": MODEL},
    )


@pytest.fixture
def build() -> Iterator[Build]:
    made: list[Trainer] = []

    def builder(**training: Any) -> Trainer:
        overrides = {"model": MODEL, "training": {**TRAINING, **training}}
        trainer = build_trainer(resolve_run("skill_dqn", ENV, seed=4, overrides=overrides))
        assert isinstance(trainer, Trainer)
        made.append(trainer)
        return trainer

    yield builder
    for trainer in made:
        trainer.stop()


def test_rows_of_the_environment_are_read_part_by_part() -> None:
    made = module()
    assert isinstance(made.net, SkillDQN) and made.net.config.hidden_dims == (32,)
    env: Any = make_vector_env(ENV, 6)
    rows, info = env.reset(seed=1)
    for _ in range(3):
        rows, *_, info = env.step(np.where(info["action_mask"], 1, 0).argmax(axis=1))
    obs, mask = torch.from_numpy(rows.copy()), torch.from_numpy(info["action_mask"].copy())
    seen = env.env._observation()  # as a game's server would send it
    q_values, action = made.net.inference_form()(
        torch.from_numpy(seen["observation"].copy()),
        torch.from_numpy(seen["skills"]),
        torch.from_numpy(seen["skill_ids"]),
        mask.float(),
    )
    chosen = made.forward_inference({"obs": obs, "action_mask": mask})["actions"]
    assert torch.equal(chosen, action)
    torch.testing.assert_close(made.net.eval()(obs)[mask], q_values[mask])
    env.close()


@pytest.mark.parametrize(("observation", "actions"), [(64, 70), (176, 10)])
def test_another_head_is_refused(observation: int, actions: int) -> None:
    with pytest.raises(ConfigError, match="train it in MLMonster/Skill-v0"):
        module(observation, actions)


@pytest.mark.ray
def test_same_seed_same_weights_and_a_continued_run_is_the_same_run(build: Build, tmp_path: Path) -> None:
    one, two = build(), build()
    for trainer in (one, two):
        metrics = [trainer.train_epoch() for _ in range(2)][-1]
        assert metrics["updates"] == 16 and np.isfinite(metrics["loss"])
    assert equal(weights(one), weights(two))
    folder = one.save(tmp_path / "checkpoint")
    expected = steady(one.train_epoch())
    resumed = build()
    resumed.restore(folder)
    assert steady(resumed.train_epoch()) == expected
    assert equal(weights(one), weights(resumed))


@pytest.mark.ray
def test_network_copies_the_script(build: Build) -> None:
    # No own updates in this epoch: too few rows for the DQN.
    trainer = build(warm_start_fights=60, learning_starts=4000, rounds_per_epoch=1)
    trainer.train_epoch()
    demos = demonstrate("mage", head="skill", opponent="veteran", fights=40, seed=77)
    rows = demos.valid & demos.choice
    assert demos.action_mask is not None
    with torch.no_grad():
        model: Any = trainer.model()
        q_values = model.q_values(torch.from_numpy(demos.obs[rows]), dropout=False).numpy()
    chosen = np.where(demos.action_mask[rows], q_values, -1e9).argmax(axis=1)
    labels = demos.actions[rows]
    right, commonest = (chosen == labels).mean(), (labels == np.bincount(labels).argmax()).mean()
    assert right > commonest + 0.1
