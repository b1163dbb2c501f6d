"""A profile of a tiny run of each kind: phases add up to the wall time and name what was done."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from experiments.cli.profile import profile_lines
from experiments.matrix import Request, Run, resolve
from experiments.profiling.measure import PHASES, Profile, profile

pytestmark = pytest.mark.ray

TINY: dict[str, dict[str, Any]] = {
    "combat_dqn": {
        "model": {"hidden_dims": [16]},
        "training": {
            "num_envs": 4, "rollout_length": 8, "rounds_per_epoch": 2, "updates_per_round": 2,
            "learning_starts": 32, "buffer_capacity": 1024, "batch_size": 16, "warm_start_fights": 0,
        },
    },
    "threat_assessment": {"data": {"fights": 12}},
}  # fmt: skip


def tiny(model_type: str) -> Run:
    (run,) = resolve(Request(("mage",), (model_type,), epochs=1, overrides=TINY))
    return run


def measured(model_type: str) -> tuple[Profile, float]:
    started = time.perf_counter()
    return profile(tiny(model_type)), time.perf_counter() - started


@pytest.fixture(scope="module")
def warmed_up() -> None:
    """Ray and the compiled simulation are there; neither is part of a run."""
    profile(tiny("combat_dqn"))


@pytest.mark.usefixtures("warmed_up")
@pytest.mark.parametrize("model_type", list(TINY))
def test_phases_add_up_to_the_time_that_passed(model_type: str) -> None:
    found, wall_s = measured(model_type)
    assert list(found.phases) == list(PHASES)
    assert sum(found.phases.values()) == pytest.approx(found.wall_s)
    # What is before and after, such as the wait for a process to end, belongs to no phase.
    assert 0.0 < found.wall_s <= wall_s
    # The sampler has seen the same time.
    assert sum(found.stacks.values()) == pytest.approx(found.wall_s, rel=0.2, abs=0.2)
    assert all(seconds >= 0.0 for seconds in found.phases.values())
    busy = {"start", "forward", "backward", "optimizer", "replay and loader", "checkpoint", "selection"}
    busy |= {"validation"} if model_type == "threat_assessment" else {"simulation", "acting"}
    assert {name for name, seconds in found.phases.items() if seconds > 0} >= busy


def test_the_table_names_phases_and_page() -> None:
    phases = dict.fromkeys(PHASES, 0.0) | {"forward": 3.0, "the rest": 1.0}
    lines = profile_lines([Profile("combat_dqn", "x", 2, 4.0, phases, {})], [Path("flame.html")])
    assert lines[0].split()[:3] == ["combat_dqn", "seconds", "share"]
    assert lines[2].split()[:3] == ["forward", "3.00", "75.0%"]
    assert lines[-2].split() == ["sum", "4.00", "100.0%", "2", "epochs"]
    assert lines[-1] == "flame graph: flame.html"
