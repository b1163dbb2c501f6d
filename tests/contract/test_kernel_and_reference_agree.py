"""The compiled world equals the plain-Python one in settings drawn at random, in every head.

The settings that `tests/envs/test_reference.py` fixes play longer; here many are played for a few seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import archetypes, terrain
from envs.contracts import ARCHETYPES, HEADS
from envs.reference import ReferenceWorld
from envs.simulation import state as s
from envs.simulation.world import RULES, TIERS, World
from tests.envs.play import (
    ARRAYS,
    OTHER_SIDE,
    TEAMS,
    assert_equal_worlds,
    mirrored,
    some_actions,
    symmetric_terrain,
)

MONSTERS = (*ARCHETYPES, *archetypes.monsters())
LAYOUTS = ("open", "scattered", *terrain.names()[1:])


def ground(name: str, size: int, seed: int) -> np.ndarray | None:
    """Blocked cells by name; `scattered` is denser than any layout, so that steps slide and stall."""
    if name == "scattered":
        return symmetric_terrain(np.random.default_rng(seed), 0.3, size)
    return terrain.layout(name, size)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], dict[str, Any]]:
    """Teams and arguments of a world."""
    count = draw(st.integers(1, 5))
    team = st.lists(st.sampled_from(MONSTERS), min_size=count, max_size=count).map(tuple)
    styles = st.lists(st.sampled_from(s.STYLES), max_size=3, unique=True).map(tuple)
    tier, percent = st.sampled_from(sorted(TIERS)), st.integers(5, 200)
    size, seed = draw(st.sampled_from((32, 48))), draw(st.integers(0, 2**64 - 1))
    arguments = {
        "head": draw(st.sampled_from(HEADS)),
        "learners": draw(st.integers(0, count)),
        "observed": count,
        "tiers": (draw(tier), draw(tier)),
        "styles": (draw(styles), draw(styles)),
        "switching": draw(st.booleans()),
        "starts": draw(st.sampled_from(s.STARTS)),
        "terrain": ground(draw(st.sampled_from(LAYOUTS)), size, seed % 1000),
        "hp_percent": (draw(percent), draw(percent)),
        "rules": draw(st.sampled_from(RULES)),
        "swap_sides": draw(st.booleans()),
        "log_damage": draw(st.booleans()),
        "time_limit_ticks": draw(st.sampled_from((40, 240, 600))),
        "size": size,
        "seed": seed,
        "first_fight": draw(st.integers(0, 2**31)),
    }
    return (draw(team), draw(team)), arguments


@settings(max_examples=50, deadline=None, derandomize=True)
@given(setting=worlds(), play=st.integers(0, 2**32))
def test_every_setting_plays_alike(setting: tuple[Any, dict[str, Any]], play: int) -> None:
    teams, arguments = setting
    rng = np.random.default_rng(play)
    ours, theirs = World(2, teams, **arguments), ReferenceWorld(2, teams, **arguments)
    assert_equal_worlds(ours, theirs, "start")
    for window in range(40):
        actions = some_actions(ours, rng, illegal=0.05)
        if ours.head == "control" and ours.learners:
            assert np.array_equal(ours.mixed(actions), theirs.mixed(actions)), window
        ours.step(actions)
        theirs.step(actions)
        assert_equal_worlds(ours, theirs, f"window {window}")


@pytest.mark.parametrize("head", HEADS)
def test_however_a_batch_is_split(head: str) -> None:
    arguments: dict[str, Any] = {
        "head": head, "learners": 3, "seed": 8, "styles": ((), s.STYLES), "switching": True,
        "starts": "random", "terrain": ground("scattered", 32, 3), "log_damage": True,
        "tiers": ("classic", "veteran"), "hp_percent": (100, 40),
    }  # fmt: skip
    rng = np.random.default_rng(8)
    together = World(24, TEAMS["3v3"], first_fight=5, **arguments)
    threaded = World(24, TEAMS["3v3"], first_fight=5, threads=3, **arguments)
    parts = [World(8, TEAMS["3v3"], first_fight=5 + 8 * k, **arguments) for k in range(3)]
    for window in range(60):
        actions = some_actions(together, rng, illegal=0.05)
        together.step(actions)
        threaded.step(actions)
        assert_equal_worlds(together, threaded, window)
        for k, part in enumerate(parts):
            part.step(actions[8 * k : 8 * k + 8])
            for name in ARRAYS:
                whole = getattr(together, name)[8 * k : 8 * k + 8]
                assert np.array_equal(getattr(part, name), whole), (window, k, name)
    threaded.close()


@pytest.mark.parametrize("starts", s.STARTS)
@pytest.mark.parametrize("teams", ["2v2", "5v5"])
def test_swapped_sides_mirror_styles_terrain_and_starts(teams: str, starts: str) -> None:
    left, right = TEAMS[teams]
    styles = (s.STYLES[1:4], s.STYLES[3:])
    common: dict[str, Any] = {
        "seed": 13, "starts": starts, "switching": True, "log_damage": True,
        "terrain": symmetric_terrain(np.random.default_rng(5), 0.1),
    }  # fmt: skip
    one = World(12, (left, right), tiers=("classic", "veteran"), styles=styles, hp_percent=(90, 80), **common)
    two = World(
        12, (right, left), tiers=("veteran", "classic"), styles=styles[::-1], hp_percent=(80, 90),
        swap_sides=True, **common,
    )  # fmt: skip
    none = np.zeros((12, 0), np.int32)
    half, deaths = len(left), 0
    for window in range(300):
        assert np.array_equal(mirrored(two.units, 32), one.units), window
        assert np.array_equal(np.roll(two.stats, half, axis=1), one.stats), window
        assert np.array_equal(np.roll(two.damage, (half, half), axis=(1, 2)), one.damage), window
        assert [OTHER_SIDE[int(v)] for v in two.outcome] == one.outcome.tolist(), window
        deaths += int((one.killer >= 0).sum())
        one.step(none)
        two.step(none)
    assert deaths > 12
