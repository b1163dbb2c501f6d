"""Batches of fights: the same numbers however they are split, and the laws that every fight obeys."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.contracts import combat_orders
from envs.contracts import layout as f
from envs.simulation import state as s
from envs.simulation.world import World
from tests.envs.play import OTHER_SIDE, TEAMS, assert_equal_worlds, mirrored, random_actions


def play(world: World, windows: int, *, seed: int = 0, illegal: float = 0.05) -> list[dict[str, np.ndarray]]:
    """Random play; returns the state after each window."""
    rng = np.random.default_rng(seed)
    states = [world.get_state()]
    for _ in range(windows):
        world.step(random_actions(world.masks, rng, illegal=illegal))
        states.append(world.get_state())
    return states


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("size", ["1v1", "3v3", "5v5"])
def test_batch_of_64_equals_64_batches_of_one(size: str) -> None:
    rng = np.random.default_rng(3)
    together = World(64, TEAMS[size], learners=1, seed=5, first_fight=100)
    alone = [World(1, TEAMS[size], learners=1, seed=5, first_fight=100 + k) for k in range(64)]
    for _ in range(60):
        actions = random_actions(together.masks, rng, illegal=0.05)
        together.step(actions)
        for k, world in enumerate(alone):
            world.step(actions[k : k + 1])
    for k, world in enumerate(alone):
        for name in ("units", "fights", "stats", "obs", "orders", "masks"):
            assert np.array_equal(getattr(world, name)[0], getattr(together, name)[k]), (k, name)


@pytest.mark.parametrize("batch", [64, 67])
def test_one_thread_equals_two_and_three(batch: int) -> None:
    worlds = [World(batch, TEAMS["3v3"], learners=1, seed=5, threads=threads) for threads in (1, 2, 3)]
    rng = np.random.default_rng(3)
    for window in range(80):
        actions = random_actions(worlds[0].masks, rng)
        for world in worlds:
            world.step(actions)
        for world in worlds[1:]:
            assert_equal_worlds(worlds[0], world, window)
    for world in worlds:
        world.close()


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("teams", list(TEAMS))
@pytest.mark.parametrize("tiers", [("classic", "veteran"), ("veteran", "passive")])
def test_swapping_sides_under_the_same_keys_mirrors_every_step(
    teams: str, tiers: tuple[str, str], size: int
) -> None:
    left, right = TEAMS[teams]
    one = World(16, (left, right), tiers=tiers, seed=11, size=size)
    two = World(16, (right, left), tiers=tiers[::-1], seed=11, size=size, swap_sides=True)
    none = np.zeros((16, 0), np.int32)
    ended = 0
    for window in range(320):
        assert np.array_equal(mirrored(two.units, size), one.units), window
        assert np.array_equal(np.roll(two.stats, len(left), axis=1), one.stats), window
        assert [OTHER_SIDE[int(v)] for v in two.outcome] == one.outcome.tolist(), window
        ended += int((one.outcome != s.RUNNING).sum())
        one.step(none)
        two.step(none)
    assert ended >= 16


def test_seeds_reproduce_and_other_seeds_differ() -> None:
    one, again, other = (play(World(8, TEAMS["3v3"], learners=1, seed=seed), 40) for seed in (4, 4, 5))
    assert all(equal(a, b) for a, b in zip(one, again, strict=True))
    # Under another seed no fight starts alike (cells and clocks of eight pairs).
    assert not (one[0]["units"] == other[0]["units"]).all(axis=(1, 2)).any()


def test_episodes_and_fight_numbers_differ() -> None:
    world = World(64, TEAMS["1v1"], seed=4)
    first = world.units[:, :, [f.X, f.Y, f.ACTION_CLOCK]].copy()
    assert len(np.unique(first.reshape(64, -1), axis=0)) > 56  # 3 x 9 cells x 600 clocks: few coincide
    world.reset()
    assert (world.fights[:, s.G_EPISODE] == 1).all()
    assert (first != world.units[:, :, [f.X, f.Y, f.ACTION_CLOCK]]).any(axis=(1, 2)).mean() > 0.9
    world.reset(4)
    assert np.array_equal(first, world.units[:, :, [f.X, f.Y, f.ACTION_CLOCK]])


def test_starts_are_point_symmetric() -> None:
    for size in (32, 48):
        world = World(32, TEAMS["5v5"], size=size, seed=2)
        left, right = world.units[:, :5], world.units[:, 5:]
        assert (left[..., f.X] + right[..., f.X] == size - 1).all()
        assert (left[..., f.Y] + right[..., f.Y] == size - 1).all()
        assert np.array_equal(left[..., f.ACTION_CLOCK], right[..., f.ACTION_CLOCK])
        gap = right[..., f.X] - left[..., f.X]
        assert gap.min() == 5 and gap.max() == 9  # 2 x 3 - 1 to 2 x 5 - 1 cells


def test_state_continues_exactly() -> None:
    world = World(8, TEAMS["3v3"], learners=1, seed=4, swap_sides=True, time_limit_ticks=80)
    play(world, 30)
    kept = world.get_state()
    ahead = play(world, 50, seed=9)
    fresh = World(8, TEAMS["3v3"], learners=1, seed=0, time_limit_ticks=600)
    fresh.set_state(kept)
    assert all(equal(a, b) for a, b in zip(ahead, play(fresh, 50, seed=9), strict=True))


def test_state_of_another_shape_is_refused() -> None:
    kept = World(8, TEAMS["3v3"]).get_state()
    with pytest.raises(ValueError, match=r"state of units has shape \(8, 6, \d+\), this world needs \(4, 6"):
        World(4, TEAMS["3v3"]).set_state(kept)


@pytest.mark.parametrize(
    ("teams", "arguments", "message"),
    [
        ((("tank",), ("mage", "tank")), {}, "teams of 1 and 2: both sides must have the same size"),
        ((("tank",), ("mage",)), {"learners": 2}, "2 learners, 2 observed units in a team of 1"),
        ((("tank",), ("mage",)), {"learners": 1, "observed": 0}, "1 learners, 0 observed"),
    ],
)
def test_impossible_worlds_are_refused(teams: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        World(2, teams, **arguments)


def test_a_fight_that_ended_begins_anew_in_the_next_step() -> None:
    world = World(4, TEAMS["1v1"], learners=1, seed=1, time_limit_ticks=20)
    actions = np.full((4, 1), 4, np.int32)  # retreat until the time is up
    for _ in range(10):
        assert (world.outcome == s.RUNNING).all()
        world.step(actions)
    assert (world.outcome != s.RUNNING).all() and (world.fights[:, s.G_TICK] == 20).all()
    assert (world.fights[:, s.G_EPISODE] == 0).all()
    world.step(actions)
    assert (world.outcome == s.RUNNING).all() and (world.fights[:, s.G_EPISODE] == 1).all()
    assert (world.fights[:, s.G_TICK] == 0).all() and (world.stats == 0).all()
    assert (world.units[:, 0, f.LAST_ACTION] == -1).all()  # the action was ignored


def test_only_learners_remember_actions_and_unknown_ones_are_none() -> None:
    world = World(2, TEAMS["3v3"], learners=1, observed=3, seed=1)
    world.step(np.array([[3, 3, 3], [12, 3, 3]], np.int32))
    assert world.units[:, :, f.LAST_ACTION].tolist() == [[3, -1, -1, -1, -1, -1], [-1] * 6]


@pytest.mark.parametrize("teams", list(TEAMS))
def test_the_dead_never_act_heal_or_revive(teams: str) -> None:
    world = World(32, TEAMS[teams], tiers=("veteran", "veteran"), learners=1, seed=8)
    rng = np.random.default_rng(8)
    deaths = 0
    for _ in range(200):
        before, running = world.units.copy(), world.outcome == s.RUNNING
        world.step(random_actions(world.masks, rng, illegal=0.2))
        dead = (before[..., f.HP] <= 0) & running[:, None]
        deaths += int(dead.sum())
        frozen = np.ones(s.NUM_COLUMNS, bool)
        # What a dead learner is told, who was hit last, and the tick of its last blow may still be noted.
        frozen[[f.LAST_ACTION, s.LAST_HIT_TICK, *range(s.ORDER, s.ORDER + 5)]] = False
        frozen[s.PROTECT_TICK :] = False  # a shield it gave may hold after its death
        assert np.array_equal(before[dead][:, frozen], world.units[dead][:, frozen])
        assert (world.stats[dead][:, [s.S_DEALT, s.S_TAKEN, s.S_HEALED, s.S_SP, s.S_ALIVE]] == 0).all()
        assert (world.obs[:, 0, :62][world.units[:, 0, f.HP] <= 0] == 0).all()
    assert deaths > 0 or teams == "1v1"  # a 1v1 ends with the first death


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    st.sampled_from(list(TEAMS)),
    st.integers(0, 2**63 - 1),
    st.sampled_from(["passive", "classic", "veteran"]),
    st.booleans(),
    st.sampled_from([32, 48]),
)
def test_laws_of_every_step(teams: str, seed: int, tier: str, prerenewal: bool, size: int) -> None:
    rules = "prerenewal" if prerenewal else "renewal"
    half = len(TEAMS[teams][0])
    world = World(
        8, TEAMS[teams], tiers=(tier, "veteran"), learners=1, observed=half, seed=seed, rules=rules, size=size
    )
    rng = np.random.default_rng(seed)
    for _ in range(60):
        world.step(random_actions(world.masks, rng, illegal=0.1))
        u, alive = world.units, world.units[..., f.HP] > 0
        assert world.masks.any(axis=-1).all() and world.masks[..., 0].all()
        assert np.isfinite(world.obs).all() and np.abs(world.obs).max() <= 2
        assert (u[..., f.HP] >= 0).all() and (u[..., f.HP] <= u[..., f.MAX_HP]).all()
        assert (u[..., f.SP] >= 0).all() and (u[..., f.SP] <= u[..., f.MAX_SP]).all()
        assert ((u[..., :2] >= 0) & (u[..., :2] < size)).all()
        assert (u[..., f.GUARD : f.TAUNT + 1] >= 0).all() and (u[..., f.SHIELD] >= 0).all()
        assert (u[..., f.CAST_SLOT][~alive] == -1).all()
        over = (~alive[:, :half]).all(axis=1) | (~alive[:, half:]).all(axis=1)
        assert (over == np.isin(world.outcome, (1, -1, 3)))[world.outcome != s.DRAW].all()
        assert (over <= (world.outcome != s.RUNNING)).all()


@pytest.mark.parametrize("teams", list(TEAMS))
def test_a_legal_action_takes_effect_within_the_window(teams: str) -> None:
    # All others are held by a long stun, so that nothing but the learner itself decides: it must step, swing,
    # or start a skill in these 200 ms.
    world = World(32, TEAMS[teams], tiers=("classic", "veteran"), learners=1, seed=6)
    rng = np.random.default_rng(6)
    tried = np.zeros(10, np.int64)
    for window in range(120):
        if window % 6 == 0:
            kept = world.get_state()
            held = {name: value.copy() for name, value in kept.items()}
            held["units"][:, 1:, f.STUN] = 60_000
            # The last tick of a taunt is the script's, so its effect would not be the action's own.
            held["units"][:, 0, f.TAUNT] = 0
            world.set_state(held)
            orders, masks = combat_orders([world.view(k) for k in range(32)], [0] * 32)
            running = world.outcome == s.RUNNING
            before = held["units"][:, 0]
            for action in range(1, 10):
                world.set_state(held)
                world.step_orders(orders[:, None, action], np.full((32, 1), action, np.int32))
                after = world.units[:, 0]
                moved = (after[:, :2] != before[:, :2]).any(axis=1)
                acted = after[:, f.ACTION_CLOCK] > before[:, f.ACTION_CLOCK]
                legal = masks[:, action] & running
                assert (moved | acted)[legal].all(), (window, action)
                tried[action] += legal.sum()
            world.set_state(kept)
        world.step(random_actions(world.masks, rng))
    assert (tried[[1, 2, 3, 4, 5]] > 0).all()


def test_a_cast_held_up_by_a_stun_leaves_nothing_to_decide() -> None:
    world = World(1, (("mage",), ("tank",)), learners=1, seed=6)
    state = world.get_state()
    me = state["units"][0, 0]
    me[[f.CAST_SLOT, f.CAST_LEFT, f.CAST_TARGET, f.ACTION_CLOCK]] = 0, 100, 1, 0
    for stun, free in ((100, True), (200, False)):
        me[f.STUN] = stun  # 100: gone in the first tick, the cast ends in it, the second tick is free
        world.set_state(state)
        _, mask = combat_orders([world.view(0)], [0])
        assert bool(mask[0, 1:].any()) is free


def fixed_world(teams: str, **arguments: Any) -> World:
    """A world of made-up stat blocks and skills, so that tuning the archetypes' files leaves it alone."""
    world = World(4, TEAMS[teams], learners=1, **arguments)
    for i, row in enumerate(world.template):
        row[[f.HP, f.MAX_HP]] = 2500 + 150 * i
        row[[f.SP, f.MAX_SP]] = 300
        row[f.ATK : f.RANGE + 1] = 250 + 10 * i, 220, 50 + 10 * i, 60, 100, 10 + i, 1 + 3 * (i % 3)
        row[f.SPEED : f.ATTACK_MOTION + 1] = 160, 1100, 400
        row[[s.PREFER_LOW, s.PREFER_HIGH, s.BASIC_MAGIC]] = 2, 6, 60 * (i % 2)
    skills = np.zeros_like(world.skills)
    for i, a in enumerate(world.template[:, f.ARCHETYPE]):
        for k in range(6):
            kind = 1 + (6 * a + k) % 11
            reach = 0 if kind in (f.K_POWER, f.K_TAUNT) else 7
            skills[i, k] = kind, k % 2, 120 + 20 * k, reach, 10, 300 * (k % 3), 3000, 3, 2500, 1500
    world.skills = skills
    world.reset(2026)
    return world


GOLDEN: dict[str, tuple[dict[str, Any], str]] = {
    "1v1": ({}, "08fd208b0ba8e1ca"),
    "3v3": ({"tiers": ("classic", "veteran"), "rules": "prerenewal"}, "ac5681eef6873375"),
    "5v5": ({"tiers": ("veteran", "classic"), "size": 48, "swap_sides": True}, "fd5ef567e72a75e9"),
}


@pytest.mark.parametrize("teams", list(GOLDEN))
def test_golden_fights(teams: str) -> None:
    # These change with the rules, the observation or the action contract only: then say so in the changelog
    # and train anew.
    arguments, expected = GOLDEN[teams]
    world = fixed_world(teams, **arguments)
    digest = hashlib.sha256()
    for window in range(120):
        world.step(np.array([[(7 * window + 3 * k) % 10] for k in range(4)], np.int32))
        for name in ("units", "fights", "stats", "obs", "orders", "masks"):
            digest.update(np.ascontiguousarray(getattr(world, name)).tobytes())
    assert digest.hexdigest()[:16] == expected
