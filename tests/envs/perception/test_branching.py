from __future__ import annotations

import numpy as np
import pytest

from envs.contracts import layout as f
from envs.perception.branching import branch, noise_ceiling, outcomes
from envs.perception.labels import threat
from envs.perception.recorder import record
from envs.perception.recording import X
from envs.simulation import state as s
from envs.simulation.world import World
from tests.envs.play import TEAMS, random_actions, symmetric_terrain

NONE = np.zeros((3, 0), np.int32)


def middle_of_a_fight(windows: int = 25) -> World:
    world = World(
        3,
        TEAMS["3v3"],
        seed=8,
        first_fight=5,
        styles=(("kiter", "turtle"), s.STYLES[1:]),
        switching=True,
        terrain=symmetric_terrain(np.random.default_rng(3), 0.1),
        hp_percent=(150, 100),
        rules="prerenewal",
        log_damage=True,
    )
    for _ in range(windows):
        world.step(NONE)
    return world


def test_salt_0_repeats_the_original_future_and_the_other_copies_differ() -> None:
    world = middle_of_a_fight()
    copies = branch(world, 1, 4)
    for name in ("units", "stats", "damage", "killer"):
        for copy in range(4):
            np.testing.assert_array_equal(getattr(copies, name)[copy], getattr(world, name)[1])
    assert len(set(copies.fights[:, s.G_KEY].tolist())) == 4
    futures, original = record(copies), record(world)
    length = int(original.length[1])
    assert futures.length[0] == length and futures.number[0] == original.number[1] == 6
    np.testing.assert_array_equal(futures.units[: length + 1, 0], original.units[: length + 1, 1])
    np.testing.assert_array_equal(futures.damage[:length, 0], original.damage[:length, 1])
    for one in range(4):
        for other in range(one):
            assert (futures.hp[10:, one] != futures.hp[10:, other]).any()


def test_another_salt_gives_other_futures_and_the_same_salt_the_same() -> None:
    world = middle_of_a_fight()
    hp = [record(branch(world, 0, 2, salt), windows=15).hp for salt in (0, 1, 2, 1)]
    assert (hp[1] == hp[3]).all()
    assert all((hp[a][:, 0] != hp[b][:, 0]).any() for a, b in ((0, 1), (0, 2), (1, 2)))


def test_learners_go_on_with_their_own_observations_and_masks() -> None:
    world = World(2, TEAMS["3v3"], seed=3, learners=2, observed=3, log_damage=True)
    rng = np.random.default_rng(0)
    for _ in range(20):
        world.step(random_actions(world.masks, rng))
    copies = branch(world, 1, 2)
    np.testing.assert_array_equal(copies.masks[1], world.masks[1])
    for _ in range(30):
        actions = random_actions(world.masks, rng)
        world.step(actions)
        copies.step(actions[[1, 1]])
        for name in ("units", "obs", "orders", "masks"):
            np.testing.assert_array_equal(getattr(copies, name)[0], getattr(world, name)[1])


def test_ceiling_of_drawn_labels() -> None:
    rng = np.random.default_rng(1)
    state = rng.normal(size=(400, 1))
    certain = np.repeat(state, 8, axis=1)
    assert noise_ceiling(certain) == 1
    coin = rng.integers(0, 2, (400, 8)).astype(float)
    assert noise_ceiling(coin) < 0.05  # nothing about a coin can be known
    # Variance 1 of the states, 3 of chance: a quarter can be explained.
    assert noise_ceiling(certain + np.sqrt(3) * rng.normal(size=(400, 8))) == pytest.approx(0.25, abs=0.05)
    assert np.isnan(noise_ceiling(np.ones((3, 3))))
    # By hand: states (1, 3) and (5, 7): within 2, means 2 and 6 of variance 8, less 2 / 2: 7 / (7 + 2).
    assert noise_ceiling(np.array([[1, 3], [5, 7]])) == pytest.approx(7 / 9)
    with pytest.raises(ValueError, match="two states"):
        noise_ceiling(np.ones((1, 5)))


def test_ceilings_of_real_labels() -> None:
    world = World(24, TEAMS["1v1"], seed=6, log_damage=True)
    for _ in range(12):
        world.step(np.zeros((24, 0), np.int32))
    before = world.get_state()
    here = outcomes(world, range(24), 6, 1, lambda r: r.units[0, :, 0, X].astype(float))
    assert here.shape == (24, 6) and noise_ceiling(here) == 1  # the present is certain
    near = noise_ceiling(outcomes(world, range(24), 6, 10, lambda r: threat(r, 10).value[0, :, 1, 0]))
    assert 0 < near < 1
    # Whether the last hit point of the third swing's damage is odd is as good as a coin.
    odd = noise_ceiling(outcomes(world, range(24), 6, 40, lambda r: r.hp[-1, :, 0] % 2))
    assert odd < 0.3
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(world, name), value)


def test_what_cannot_be_branched_is_refused() -> None:
    world = middle_of_a_fight(0)
    with pytest.raises(ValueError, match="fight 3 of 3"):
        branch(world, 3, 2)
    world.fights[0, s.G_OUTCOME] = s.DRAW
    with pytest.raises(ValueError, match="has ended"):
        branch(world, 0, 2)
    assert world.units[..., f.HP].min() > 0
