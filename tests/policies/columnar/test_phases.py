"""Phases of an epoch, on a clock that the test turns."""

from __future__ import annotations

from policies.columnar.phases import KERNEL_AND_TORCH, NAMES, Phases


def test_seconds_add_up_by_hand() -> None:
    now = [0.0]
    phases = Phases()
    phases.clock = lambda: now[0]
    assert phases.seconds == dict.fromkeys(NAMES, 0.0)
    with phases.measure("build"):
        now[0] = 2.0
    before = dict(phases.seconds)
    with phases.measure("build"):
        now[0] = 5.0
    phases.add("env", 0.5)
    assert (phases.seconds["build"], phases.seconds["env"]) == (5.0, 0.5)
    # Since the copy: 5 - 2 of building and half a second of the environment
    since = phases.since(before)
    assert (since["build"], since["env"], since["forward"]) == (3.0, 0.5, 0.0)


def test_phases_of_the_work_itself_are_phases() -> None:
    assert set(KERNEL_AND_TORCH) < set(NAMES)
