"""stable-baselines3 takes our environments as they are; that it also learns is shown by tests/learning."""

from __future__ import annotations

import gymnasium
import pytest

import envs  # noqa: F401  (registers the ids)

sb3 = pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed (extra `bench`)")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("head", ["Combat", "Movement", "Control"])
def test_its_own_check_finds_nothing(head: str) -> None:
    from stable_baselines3.common.env_checker import check_env

    check_env(gymnasium.make(f"MLMonster/{head}-v0").unwrapped, warn=True)


@pytest.mark.parametrize(("name", "num_envs"), [("MLMonster/Combat-v0", 1), ("MLMonster/Control-v0", 8)])
def test_ppo_trains(name: str, num_envs: int) -> None:
    from stable_baselines3.common.env_util import make_vec_env

    env = make_vec_env(name, n_envs=num_envs, seed=1) if num_envs > 1 else gymnasium.make(name)
    model = sb3.PPO("MlpPolicy", env, n_steps=256 // num_envs, batch_size=64, seed=1, device="cpu")
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(512)
    changed = [not a.equal(b) for a, b in zip(before, model.policy.parameters(), strict=True)]
    assert model.num_timesteps == 512 and any(changed)
