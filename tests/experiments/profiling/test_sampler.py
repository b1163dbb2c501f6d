"""The sampler: who was busy, for how long, also in compiled code that keeps the interpreter's lock."""

from __future__ import annotations

import hashlib
import time

import pytest

from experiments.profiling.sampler import COMPILING, Sampler, short_path


def busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def locked(seconds: float) -> None:
    """Calls into C that keep the interpreter's lock; each takes some ten milliseconds."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        sum(range(1_000_000))


def share(sampler: Sampler, name: str) -> float:
    whole = sum(sampler.seconds.values())
    inside = [spent for stack, spent in sampler.seconds.items() if any(f.startswith(name) for f in stack)]
    return sum(inside) / whole


def test_time_goes_to_the_functions_that_took_it() -> None:
    started = time.perf_counter()
    with Sampler(0.002) as sampler:
        busy(0.3)
        locked(0.1)
    wall = time.perf_counter() - started
    assert sum(sampler.seconds.values()) == pytest.approx(wall, rel=0.1)
    assert share(sampler, "busy ") == pytest.approx(0.75, abs=0.1)
    assert share(sampler, "locked ") == pytest.approx(0.25, abs=0.1)


def test_stacks_begin_below_the_caller_and_end_with_the_line() -> None:
    with Sampler(0.002) as sampler:
        busy(0.05)
    stacks = [stack for stack in sampler.seconds if stack[0].startswith("busy ")]
    assert stacks and all(stack[0] == f"busy ({short_path(__file__)})" for stack in stacks)
    assert any("while time.perf_counter() < until" in stack[-1] for stack in stacks)


def test_paths_are_those_inside_packages() -> None:
    assert short_path(__file__) == "tests/experiments/profiling/test_sampler.py"
    assert short_path(hashlib.__file__) == "hashlib.py"
    assert short_path(pytest.__file__) == "pytest/__init__.py"


def test_a_compiler_is_one_frame_and_imports_are_none() -> None:
    import numba

    with Sampler(0.002) as sampler:
        numba.njit(lambda x: x + 1)(1)
    frames = {frame for stack in sampler.seconds for frame in stack}
    assert COMPILING in frames
    assert not any("numba/core/" in frame or "importlib" in frame for frame in frames)
