"""stable-baselines3, which knows nothing of us, learns in our environments without an adapter of ours."""

from __future__ import annotations

import pytest

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed (extra `bench`)")
from bench.sb3 import train


@pytest.mark.parametrize(("name", "num_envs"), [("MLMonster/Combat-v0", 1), ("MLMonster/Control-v0", 8)])
def test_ppo_of_stable_baselines3_learns(name: str, num_envs: int) -> None:
    result = train(name, num_envs, steps=20_480, fights=100, archetype="aggressive", opponent="classic")
    assert result.steps == 20_480
    assert result.learned, f"won {result.before} before and {result.after} after"
