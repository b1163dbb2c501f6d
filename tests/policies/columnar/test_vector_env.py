"""Environments by description."""

from __future__ import annotations

from typing import Any

import pytest
from gymnasium.vector import AutoresetMode

from policies.columnar.vector_env import make_vector_env
from tests.policies import fake_env


def test_factory_gets_its_arguments() -> None:
    env: Any = make_vector_env({"factory": "tests.policies.fake_env:counting", "num_actions": 6}, 3)
    assert env.num_envs == 3 and env.single_action_space.n == 6


def test_combat_environment_by_id() -> None:
    env = make_vector_env({"id": "MLMonster/Combat-v0", "archetype": "tank", "scenario": None}, 2)
    obs, info = env.reset(seed=1)
    assert obs.shape == (2, 64) and info["action_mask"].shape == (2, 10)
    env.close()


def test_other_autoreset_modes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fake_env.CountingVectorEnv.metadata, "autoreset_mode", AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match=r"must be AutoresetMode.NEXT_STEP"):
        make_vector_env({"factory": "tests.policies.fake_env:counting"}, 1)


def test_description_without_id_is_refused() -> None:
    with pytest.raises(ValueError, match="give 'id'"):
        make_vector_env({"archetype": "tank"}, 1)
