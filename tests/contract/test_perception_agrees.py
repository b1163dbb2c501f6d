"""Views of a sequence of world views equal the compiled ones, byte for byte, in fights of all kinds."""

from __future__ import annotations

import numpy as np
import pytest

from envs.contracts import (
    PAST_LENGTH,
    WorldView,
    central_state,
    opponent_windows,
    sequence_token,
    spatial_grid,
)
from envs.contracts import layout as f
from envs.simulation import state as s
from envs.simulation.history import History
from envs.simulation.perception import central_batch, grid_batch, new_windows, token_batch, window_batch
from envs.simulation.world import World
from tests.envs.play import TEAMS, bits, some_actions, symmetric_terrain

FIGHTS, WINDOWS, EVERY = 6, 330, 3
SIZES = {"1v1": 32, "2v2": 48, "3v3": 32, "5v5": 32}  # 4 x 6 x 110 = 2,640 states


def world_of(size: str, threads: int = 1) -> World:
    team, other = TEAMS[size]
    edge = SIZES[size]
    return World(
        FIGHTS, (team, other), learners=1, seed=5, size=edge, starts="random", threads=threads,
        tiers=("classic", "veteran"), styles=((), ("kiter", "rusher", "healer_first")), switching=True,
        terrain=None if size == "1v1" else symmetric_terrain(np.random.default_rng(1), 0.15, edge),
        time_limit_ticks=300,
    )  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_every_view_equals_the_kernels(size: str) -> None:
    rng = np.random.default_rng(11)
    world = world_of(size)
    n = world.units.shape[1]
    half = n // 2
    history = History(world)
    seen: list[list[WorldView]] = [[] for _ in range(FIGHTS)]
    everyone = list(range(n))
    windows, mask = new_windows(history, everyone, 20)
    grids = np.zeros((FIGHTS, 2, 12, 32, 32), np.uint8)
    tokens = np.zeros((FIGHTS, n, 80), np.float32)
    central = np.zeros((FIGHTS, 256), np.float32)
    episodes, states = 0, 0
    used = {"grid": np.zeros(12, bool), "token": np.zeros(80, bool), "window": np.zeros(16, bool)}
    used["central"] = np.zeros(256, bool)
    for window in range(WINDOWS):
        for k in range(FIGHTS):
            if world.fights[k, s.G_TICK] == 0:
                seen[k] = []
                episodes += 1
            seen[k] = [*seen[k][-20:], world.view(k)]
        window_batch(history, everyone, windows, mask)
        if window % EVERY == 0:
            states += FIGHTS
            place = (size, window)
            i, j = window // EVERY % half, half + window // 7 % half
            grid_batch(history, [i, j], grids)
            mine = spatial_grid([h for h in seen for _ in (0, 1)], [i, j] * FIGHTS)
            assert np.array_equal(mine.reshape(grids.shape), grids), place
            used["grid"] |= grids.any(axis=(0, 1, 3, 4))

            token_batch(history, everyone, tokens)
            mine = sequence_token([h for h in seen for _ in everyone], everyone * FIGHTS)
            assert np.array_equal(bits(mine), bits(tokens).reshape(-1, 80)), place
            used["token"] |= tokens.any(axis=(0, 1))

            team, level = window % 2, window % 6
            central_batch(world, central, team=team, tier="veteran", level=level)
            styles = [s.STYLES[row[(1 - team) * half, s.STYLE]] for row in world.units]
            mine = central_state(
                [h[-1] for h in seen], team, tiers=["veteran"] * FIGHTS, styles=styles, level=level
            )
            assert np.array_equal(bits(mine), bits(central)), place
            used["central"] |= central.any(axis=0)

            foe = half + window // 5 % half
            mine, told = opponent_windows(
                seen + seen, [i] * FIGHTS + [foe] * FIGHTS, [foe] * FIGHTS + [i] * FIGHTS, 20
            )
            its = np.concatenate([windows[:, i, foe - half], windows[:, foe, i]])
            assert np.array_equal(told, np.concatenate([mask[:, i, foe - half], mask[:, foe, i]])), place
            assert np.array_equal(bits(mine), bits(its)), place
            used["window"] |= its.any(axis=(0, 1))
        world.step(some_actions(world, rng, illegal=0.05))
        history.push()
    assert states == FIGHTS * WINDOWS // EVERY == 660
    assert episodes >= 2 * FIGHTS
    if size == "5v5":  # nothing agreed because it was zero throughout
        assert all(used[name].all() for name in ("grid", "window"))
        assert used["token"][64:].all()
        assert used["central"][:240].reshape(10, 24).any(axis=0).all() and used["central"][240:246].all()
        assert used["central"][249:].sum() == 4  # script, and the three styles of the other side


def test_past_length_and_dead_observers_are_covered() -> None:
    world = world_of("3v3")
    history = History(world)
    dead = 0
    for _ in range(200):
        world.step(np.ones((FIGHTS, 1), np.int32))
        history.push()
        dead += int((world.units[..., f.HP] <= 0).sum())
    assert dead > 0 and history.filled.max() == PAST_LENGTH


def test_threads_change_nothing() -> None:
    one, two = world_of("3v3"), world_of("3v3", threads=2)
    out = []
    for world in (one, two):
        history = History(world)
        windows, mask = new_windows(history, [0, 4])
        for _ in range(60):
            window_batch(history, [0, 4], windows, mask)
            world.step(np.ones((FIGHTS, 1), np.int32))
            history.push()
        grids, tokens = np.zeros((FIGHTS, 2, 12, 16, 16), np.uint8), np.zeros((FIGHTS, 2, 80), np.float32)
        grid_batch(history, [0, 4], grids)
        token_batch(history, [0, 4], tokens)
        out.append((grids, tokens, windows, mask))
        world.close()
    assert all(np.array_equal(a, b) for a, b in zip(*out, strict=True))
