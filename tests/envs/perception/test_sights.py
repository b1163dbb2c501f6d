"""What recorded units saw: equal to the contracts' views of the same fights, whatever the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.contracts import opponent_features, sequence_token, spatial_grid
from envs.perception.sights import Sights, record_sights
from envs.simulation import state as s
from envs.simulation.world import World

TEAMS = (("tank", "mage"), ("ranged", "support"))
ARGUMENTS: dict[str, Any] = {"seed": 3, "styles": (s.STYLES, s.STYLES)}


@pytest.fixture(scope="module")
def sights() -> Sights:
    return record_sights(12, TEAMS, observers=(0, 3), grid_stride=4, **ARGUMENTS)


def test_every_view_equals_the_contracts_own(sights: Sights) -> None:
    world = World(12, TEAMS, log_damage=True, **ARGUMENTS)
    seen = [[world.view(fight)] for fight in range(12)]
    for _ in range(12):
        world.step(np.zeros((12, 0), np.int32))
        for fight in range(12):
            seen[fight].append(world.view(fight))
    for place, unit in enumerate((0, 3)):
        for slot, enemy in enumerate(sights.recording.enemies(unit)):
            shown = opponent_features(seen, [unit] * 12, [enemy] * 12)
            np.testing.assert_array_equal(sights.opponents[12, :, place, slot], shown)
        np.testing.assert_array_equal(sights.tokens[12, :, place], sequence_token(seen, [unit] * 12))
        at = np.flatnonzero((sights.frames[:, 0] == 12) & (sights.frames[:, 2] == place))
        assert len(at) == 12, "all twelve fights still run after 12 decisions"
        grids = spatial_grid(seen, [unit] * 12)
        np.testing.assert_array_equal(sights.grids[at], grids[sights.frames[at, 1]])


def test_batches_of_another_size_see_the_same(sights: Sights) -> None:
    again = record_sights(12, TEAMS, observers=(0, 3), grid_stride=4, chunk=5, **ARGUMENTS)
    np.testing.assert_array_equal(again.tokens, sights.tokens)
    np.testing.assert_array_equal(again.opponents, sights.opponents)
    ours, theirs = np.lexsort(sights.frames.T), np.lexsort(again.frames.T)
    np.testing.assert_array_equal(again.frames[theirs], sights.frames[ours])
    np.testing.assert_array_equal(again.grids[theirs], sights.grids[ours])


def test_nothing_is_seen_after_the_end(sights: Sights) -> None:
    over = np.arange(len(sights.tokens))[:, None] >= sights.recording.length
    assert over.any()
    assert not sights.tokens[over].any()
    assert not sights.shown[over].any()
    assert not sights.seeing[over].any()
    assert (sights.frames[:, 0] < sights.recording.length[sights.frames[:, 1]]).all()


def test_some_of_the_fights(sights: Sights) -> None:
    chosen = np.arange(12) % 3 == 1
    some = sights.fights(chosen)
    np.testing.assert_array_equal(some.tokens, sights.tokens[:, chosen])
    kept = chosen[sights.frames[:, 1]]
    np.testing.assert_array_equal(some.grids, sights.grids[kept])
    np.testing.assert_array_equal(np.flatnonzero(chosen)[some.frames[:, 1]], sights.frames[kept, 1])


def test_kinds_of_the_enemies(sights: Sights) -> None:
    names = [
        ["aggressive", "defensive", "support", "mage", "tank", "ranged"][k] for k in sights.kinds(0).argmax(1)
    ]
    assert names == ["ranged", "support"]
    assert [int(k) for k in sights.kinds(1).argmax(axis=1)] == [4, 3]
