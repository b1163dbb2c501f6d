"""The simulation holds its promises for stats at the edges of what an archetype file may say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs.arena import vector_box
from envs.contracts import layout as f
from envs.contracts.vocabulary import HEADS, NUM_SKILL_SLOTS
from envs.simulation import state as s
from envs.simulation.world import World

BOX = vector_box()
COLUMNS = {
    f.MAX_HP: (1, 1_000_000),
    f.MAX_SP: (0, 1_000_000),
    f.ATK: (0, 1_000_000),
    f.MATK: (0, 1_000_000),
    f.DEF: (0, 1_000_000),
    f.MDEF: (0, 1_000_000),
    f.HIT: (0, 1_000_000),
    f.FLEE: (0, 1_000_000),
    f.RANGE: (1, 48),
    f.SPEED: (50, 10_000),
    f.ATTACK_DELAY: (100, 60_000),
    f.ATTACK_MOTION: (0, 600_000),
}
SKILL = {
    f.EFFECT: (0, 1_000_000),
    f.REACH: (0, 48),
    f.COST: (0, 1_000_000),
    f.CAST_TIME: (0, 600_000),
    f.COOLDOWN_TIME: (0, 600_000),
    f.RADIUS: (0, 48),
    f.DURATION: (0, 600_000),
}


def edge(draw: st.DrawFn, low: int, high: int) -> int:
    return draw(
        st.sampled_from((low, min(low + 1, high), (low + high) // 1000, high)) | st.integers(low, high)
    )


@st.composite
def extreme_worlds(draw: st.DrawFn, head: str) -> World:
    size = draw(st.integers(1, 5))
    names = tuple(draw(st.sampled_from(("aggressive", "support", "mage", "tank"))) for _ in range(size))
    learners = size if head == "pack" else 1
    world = World(
        8,
        (names, names[::-1]),
        learners=learners,
        head=head,
        tiers=("classic", draw(st.sampled_from(("classic", "veteran")))),
        styles=((), draw(st.sampled_from(((), s.STYLES[1:])))),
        starts=draw(st.sampled_from(s.STARTS)),
        rules=draw(st.sampled_from(("renewal", "prerenewal"))),
    )
    for unit in range(2 * size):
        for column, (low, high) in COLUMNS.items():
            if draw(st.booleans()):
                world.template[unit, column] = edge(draw, low, high)
        world.template[unit, f.HP] = world.template[unit, f.MAX_HP]
        world.template[unit, f.SP] = world.template[unit, f.MAX_SP]
        for slot in range(NUM_SKILL_SLOTS):
            if draw(st.integers(0, 3)) == 0:
                world.skills[unit, slot, f.KIND] = draw(st.integers(0, len(f.SKILL_KINDS) - 1))
                for column, (low, high) in SKILL.items():
                    world.skills[unit, slot, column] = edge(draw, low, high)
    world.reset(draw(st.integers(0, 2**62)))
    return world


def some_action(world: World, rng: np.random.Generator) -> np.ndarray:
    if world.head == "control":
        return rng.uniform(-1, 1, (world.num_fights, 1, 5)).astype(np.float32)
    wanted = world.masks if rng.random() < 0.8 else np.ones_like(world.masks)
    return (wanted * rng.random(wanted.shape)).argmax(axis=-1).astype(np.int32)


# 5 heads x 12 worlds x 8 fights x 25 windows: 12,000 steps.
@pytest.mark.parametrize("head", HEADS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_observations_stay_in_space_and_the_dead_stay_dead(head: str, data: st.DataObject) -> None:
    world = data.draw(extreme_worlds(head))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    for _ in range(25):
        before, episode = world.units.copy(), world.fights[:, s.G_EPISODE].copy()
        world.step(some_action(world, rng))
        assert np.isfinite(world.obs).all()
        assert (world.obs >= BOX.low).all() and (world.obs <= BOX.high).all()
        assert world.masks.any(axis=-1).all()
        same = world.fights[:, s.G_EPISODE] == episode
        units, stats = world.units[same], world.stats[same]
        assert (units[..., f.HP] >= 0).all() and (units[..., f.HP] <= units[..., f.MAX_HP]).all()
        assert (units[..., f.SP] >= 0).all() and (units[..., f.SP] <= units[..., f.MAX_SP]).all()
        assert (units[..., :2] >= 0).all() and (units[..., :2] < 32).all()
        dead = before[same][..., f.HP] <= 0
        assert (units[dead][:, f.HP] == 0).all(), "nobody comes back"
        assert (units[dead][:, :2] == before[same][dead][:, :2]).all(), "the dead do not walk"
        for column in (s.S_SWINGS, s.S_SKILLS, s.S_STEPS, s.S_ALIVE, s.S_TAKEN):
            assert (stats[dead][:, column] == 0).all(), "the dead do nothing and nothing is done to them"
        # What counts up never runs over: int32 would show it as a negative number.
        counted = [c for c in range(s.NUM_STATISTICS) if c != s.S_TEAM_GAIN]
        assert (stats[..., counted] >= 0).all()
