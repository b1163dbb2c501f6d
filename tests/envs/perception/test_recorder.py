from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.contracts import layout as f
from envs.perception.recorder import record, record_fights
from envs.perception.recording import Recording, X, load
from envs.simulation import state as s
from envs.simulation.world import World
from tests.envs.play import TEAMS


def assert_equal(one: Recording, other: Recording) -> None:
    for field in fields(Recording):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def nearest(world: World) -> np.ndarray:
    return np.ones((world.num_fights, world.learners), np.int32)


def test_chunks_do_not_matter_and_fights_are_named() -> None:
    arguments: dict[str, Any] = {"seed": 5, "learners": 1, "policy": nearest, "tiers": ("classic", "veteran")}
    whole = record_fights(7, TEAMS["2v2"], first_fight=3, **arguments)
    assert_equal(whole, record_fights(7, TEAMS["2v2"], first_fight=3, chunk=3, **arguments))
    assert whole.number.tolist() == list(range(3, 10)) and set(whole.seed) == {5} and not whole.episode.any()
    assert whole.num_windows == whole.length.max() and (whole.outcome != s.RUNNING).all()
    shard = record_fights(2, TEAMS["2v2"], first_fight=6, **arguments)
    part = whole.fights(np.array([3, 4])).until(shard.num_windows)
    assert_equal(shard, part)


def test_rows_are_the_worlds_and_stand_still_after_the_end() -> None:
    arguments: dict[str, Any] = {"seed": 2, "styles": (("turtle",), ("rusher", "kiter"))}
    recording = record_fights(5, TEAMS["2v2"], **arguments)
    world = World(5, TEAMS["2v2"], log_damage=True, **arguments)
    none = np.zeros((5, 0), np.int32)
    running = np.ones(5, bool)
    for t in range(recording.num_windows):
        world.step(none)
        np.testing.assert_array_equal(recording.hp[t + 1, running], world.units[running][..., f.HP])
        np.testing.assert_array_equal(recording.units[t + 1, running][..., X], world.units[running][..., f.X])
        np.testing.assert_array_equal(recording.damage[t, running], world.damage[running])
        np.testing.assert_array_equal(recording.killer[t, running], world.killer[running])
        running &= world.outcome == s.RUNNING
    assert len(set(recording.length)) > 1
    for b, length in enumerate(recording.length):
        assert (recording.hp[length:, b] == recording.hp[length, b]).all()
        assert (recording.units[length:, b] == recording.units[length, b]).all()
        assert not recording.damage[length:, b].any() and (recording.killer[length:, b] == -1).all()


def test_so_many_windows_from_the_middle_of_a_fight() -> None:
    world = World(3, TEAMS["1v1"], seed=4, log_damage=True)
    for _ in range(6):
        world.step(np.zeros((3, 0), np.int32))
    recording = record(world, windows=9)
    whole = record_fights(3, TEAMS["1v1"], seed=4)
    assert (
        recording.length.tolist() == [9, 9, 9] and not recording.by_kill.any() and not recording.outcome.any()
    )
    np.testing.assert_array_equal(recording.units, whole.units[6:16])
    np.testing.assert_array_equal(recording.damage, whole.damage[6:15])


def test_mean_damage_of_swings_and_skills_by_hand() -> None:
    recording = record_fights(1, (("mage",), ("tank",)), seed=1, time_limit_ticks=2)
    table, skills = recording.template, recording.skills
    # A mage swings with 60 % of its MATK of 330: 198, of which (1000 + MDEF) / (1000 + 10 MDEF) come through.
    mdef = int(table[1, f.MDEF])
    assert recording.swing_points[0, 1] == 198 * (1000 + mdef) // (1000 + 10 * mdef)
    assert skills[0, 0, f.EFFECT] == 210
    assert recording.skill_points[0, 0, 1] == (330 * 210 // 100) * (1000 + mdef) // (1000 + 10 * mdef)
    assert recording.skill_points[0, 4, 1] == 0  # a shield does no damage


def test_a_file_holds_everything(tmp_path: Path) -> None:
    recording = record_fights(2, TEAMS["1v1"], seed=9, time_limit_ticks=60)
    recording.save(tmp_path / "fights.npz")
    assert_equal(recording, load(tmp_path / "fights.npz"))
    assert [path.name for path in tmp_path.iterdir()] == ["fights.npz"]
    np.savez(tmp_path / "other.npz", hp=np.zeros(3))
    with pytest.raises(ValueError, match=r"other.npz: no recording .* units"):
        load(tmp_path / "other.npz")


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(ValueError, match="log_damage=True"):
        record(World(1, TEAMS["1v1"]))
    with pytest.raises(ValueError, match="1 learners and no policy"):
        record_fights(1, TEAMS["1v1"], learners=1)
    with pytest.raises(ValueError, match="at least 1"):
        record_fights(0, TEAMS["1v1"])
    world = World(1, TEAMS["1v1"], log_damage=True, time_limit_ticks=2)
    world.step(np.zeros((1, 0), np.int32))
    with pytest.raises(ValueError, match="already ended"):
        record(world)
