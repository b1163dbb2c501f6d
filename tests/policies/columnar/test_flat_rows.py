"""The skill head's Dict observation as rows, and the whole lane on it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.registration import register
from policies.columnar.flat_rows import FlatRows
from policies.columnar.vector_env import make_vector_env
from policies.profiles import resolve_run
from policies.training import build_trainer


def test_every_part_lies_in_its_place() -> None:
    register()
    plain: Any = gymnasium.make_vec(
        "MLMonster/Skill-v0", num_envs=3, vectorization_mode="vector_entry_point", archetype="mage"
    )
    rows: Any = make_vector_env({"id": "MLMonster/Skill-v0", "archetype": "mage"}, 3)
    assert isinstance(rows, FlatRows)
    # 64 numbers, 7 slots x 15 features, 7 ids
    assert rows.single_observation_space.shape == (64 + 105 + 7,)
    theirs, _ = plain.reset(seed=3)
    mine, info = rows.reset(seed=3)
    assert info["action_mask"].shape == (3, 70)
    for _ in range(5):
        for name, place in rows.layout.items():
            assert np.array_equal(mine[:, place].reshape(theirs[name].shape), theirs[name])
        assert np.array_equal(plain.unwrapped.rows(), mine)
        action = info["action_mask"].argmax(axis=1)
        theirs = plain.step(action)[0]
        mine, *_, info = rows.step(action)
    state = rows.unwrapped.get_state()
    rows.unwrapped.set_state(state)
    plain.close()
    rows.close()


@pytest.mark.ray
def test_the_lane_learns_on_the_skill_head() -> None:
    run = resolve_run(
        "combat_dqn",
        {"id": "MLMonster/Skill-v0", "archetype": "aggressive", "opponent": "classic"},
        overrides={
            "model": {"hidden_dims": [32]},
            "training": {"epochs": 2, "num_envs": 16, "rounds_per_epoch": 8, "learning_starts": 200},
        },
    )
    trainer = build_trainer(run)
    try:
        metrics = [trainer.train_epoch() for _ in range(2)][-1]
        assert metrics["updates"] > 0 and np.isfinite(metrics["loss"])
        shape: Any = trainer.model().config
        assert (shape.observation_size, shape.num_actions) == (176, 70)
    finally:
        trainer.stop()
