"""The ring of past decisions, and the checks of the compiled views."""

from __future__ import annotations

import numpy as np
import pytest

from envs.contracts.past import P_ACTION, P_HP, P_X, PAST_COLUMNS, PAST_LENGTH
from envs.simulation import state as s
from envs.simulation.history import History
from envs.simulation.perception import central_batch, grid_batch, token_batch
from envs.simulation.world import World


def small(fights: int = 3, limit: int = 60) -> World:
    return World(
        fights, (("mage", "tank"), ("ranged", "aggressive")), learners=1, seed=2, time_limit_ticks=limit
    )


def test_the_ring_holds_what_was() -> None:
    world = small()
    history = History(world)
    past = [world.units.copy()]
    for _ in range(20):
        world.step(np.ones((3, 1), np.int32))
        history.push()
        past.append(world.units.copy())
    assert history.filled.tolist() == [PAST_LENGTH] * 3
    for age in range(PAST_LENGTH):
        place = history.ring[:, (history.now - age) % PAST_LENGTH]
        then = past[-1 - age]
        assert np.array_equal(place[..., P_X], then[..., PAST_COLUMNS[P_X]])
        assert np.array_equal(place[..., P_HP], then[..., PAST_COLUMNS[P_HP]])
    world.step(np.ones((3, 1), np.int32))
    world.units[..., PAST_COLUMNS[P_ACTION]] = -40  # the rest of a tick; a world view shows 0
    history.push()
    assert (history.ring[:, history.now, :, P_ACTION] == 0).all()


def test_a_new_episode_or_seed_forgets() -> None:
    world = small(limit=10)
    history = History(world)
    filled = []
    for _ in range(7):
        filled.append(int(history.filled[0]))
        world.step(np.ones((3, 1), np.int32))
        history.push()
    assert filled == [1, 2, 3, 4, 5, 6, 1]  # 10 ticks are 5 windows, then the next episode begins
    assert world.fights[0, s.G_EPISODE] == 1
    world.reset(9)
    history.push()
    assert history.filled.tolist() == [1, 1, 1]


def test_state_goes_on_where_it_was() -> None:
    world = small()
    history = History(world)
    for _ in range(5):
        world.step(np.ones((3, 1), np.int32))
        history.push()
    saved, fights = history.get_state(), world.get_state()
    other = small()
    twin = History(other)
    other.set_state(fights)
    twin.set_state(saved)
    out = []
    for a, b in ((world, history), (other, twin)):
        a.step(np.zeros((3, 1), np.int32))
        b.push()
        grid = np.zeros((3, 4, 12, 16, 16), np.uint8)
        grid_batch(b, range(4), grid)
        out.append(grid)
    assert np.array_equal(out[0], out[1]) and out[0][:, :, 10].any()
    with pytest.raises(ValueError, match="this history needs"):
        History(small(2)).set_state(saved)


def test_wrong_arrays_and_units_are_refused() -> None:
    world = small()
    history = History(world)
    with pytest.raises(ValueError, match=r"expected contiguous uint8 \(3, 1, 12, 32, 32\)"):
        grid_batch(history, [0], np.zeros((3, 1, 12, 32, 32), np.float32))
    with pytest.raises(ValueError, match="units 0 to 3"):
        token_batch(history, [4], np.zeros((3, 1, 80), np.float32))
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        token_batch(history, [0, 1], np.zeros((3, 2, 80), np.float32), np.zeros((3, 1), np.int32))
    with pytest.raises(ValueError, match=r"\(3, 256\)"):
        central_batch(world, np.zeros((2, 256), np.float32))


def test_named_actions_of_other_heads() -> None:
    world = small()
    history = History(world)
    out = np.zeros((3, 2, 80), np.float32)
    token_batch(history, [0, 3], out, np.array([[0, 9], [3, -1], [-1, 5]], np.int32))
    assert np.argwhere(out[..., 64:74]).tolist() == [[0, 0, 0], [0, 1, 9], [1, 0, 3], [2, 1, 5]]
