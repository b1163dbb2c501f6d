"""The bench for GPUs runs its whole path at a tiny size where there is none."""

from __future__ import annotations

import pytest

from bench import gpu


@pytest.mark.parametrize("name", ["movement_ppo", "pattern_recognition"])
def test_a_cell_gives_a_rate_and_a_projection(name: str) -> None:
    seen = gpu.work(name, "mage", "demo", "cpu", "fp32", 0.05)
    assert seen["rate"] > 0 and seen["projected_s"] > 0
    assert seen["unit"] == ("env steps/s" if name == "movement_ppo" else "rows/s")


def test_slices_change_the_length_of_a_run_and_not_its_network() -> None:
    whole, sliced = gpu.settings_of("combat_dqn", "mage", "full", "cuda", "bf16")
    assert sliced.settings["trial"]["model"] == whole.settings["trial"]["model"]
    assert sliced.settings["trial"]["precision"] == "bf16"
    assert sliced.settings["trial"]["training"]["num_envs"] == whole.settings["trial"]["training"]["num_envs"]
    assert sliced.settings["trial"]["training"]["rounds_per_epoch"] == 4


def test_a_worker_that_fails_ends_the_bench() -> None:
    with pytest.raises(SystemExit, match="status"):
        gpu.together(1, ["--model-types", "combat_dqn", "--profile", "none"])
