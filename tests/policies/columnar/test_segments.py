"""Replay checkpoints: bit for bit, only new rows written, whole folders, damage named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.columnar import segments
from policies.columnar.replay import PrioritizedReplay
from policies.columnar.rollout import Rollout
from policies.columnar.segments import SegmentError, load_replay, save_replay

ENVS, LENGTH, TIME = 3, 29, 4


def buffer(**settings: Any) -> PrioritizedReplay:
    defaults: dict[str, Any] = {
        "num_envs": ENVS,
        "capacity": ENVS * LENGTH,
        "observation_size": 5,
        "num_actions": 11,
        "gamma": 0.9,
        "n_step": 3,
    }
    return PrioritizedReplay(**{**defaults, **settings})


class Player:
    """Random rounds that join up, and draws and updates between them; all from the seed and the round."""

    def __init__(self, replay: PrioritizedReplay, seed: int = 0) -> None:
        self.replay, self.seed, self.rounds = replay, seed, 0
        self.drawn: list[Any] = []

    def play(self, rounds: int) -> None:
        replay, shape = self.replay, self.replay.action_shape
        for _ in range(rounds):
            random = np.random.default_rng([self.seed, self.rounds])
            after = np.random.default_rng([self.seed, self.rounds + 1])
            rollout = Rollout.empty(ENVS, TIME, 5, replay.num_actions, shape)
            rollout.obs[:, 0] = random.random((ENVS, 5))
            rollout.obs[:, 1:TIME] = random.random((ENVS, TIME - 1, 5))
            rollout.obs[:, TIME] = after.random((ENVS, 5))
            if rollout.action_mask is not None:
                rollout.action_mask[:] = rollout.obs.sum(axis=2, keepdims=True) * np.arange(1, 12) % 1 < 0.5
            rollout.actions[:] = random.random((ENVS, TIME, *shape)) * 10
            rollout.rewards[:] = random.random((ENVS, TIME))
            rollout.terminated[:] = random.random((ENVS, TIME)) < 0.1
            rollout.truncated[:] = random.random((ENVS, TIME)) < 0.1
            rollout.valid[:] = random.random((ENVS, TIME)) < 0.8
            replay.add(rollout)
            for _ in range(2):
                batch = replay.sample(16, beta=0.4)
                columns = {name: column.tolist() for name, column in batch.columns.items()}
                self.drawn.append((batch.slots.tolist(), columns))
                replay.update_priorities(batch.slots, batch.columns["rewards"].numpy())
            self.rounds += 1


def assert_equal(one: PrioritizedReplay, other: PrioritizedReplay) -> None:
    assert one.scalars == other.scalars and len(one) == len(other)
    for name, ring in one.rings.items():
        assert ring.tobytes() == other.rings[name].tobytes(), name
    assert one._tree.tobytes() == other._tree.tobytes()


def index_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "index.json").read_text())["index"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("steps-*"))


KINDS: list[dict[str, Any]] = [
    {},
    {"action_shape": (2,), "num_actions": 0},
    {"alpha": 0.0},
    {"alpha": 0.0, "action_shape": (2,), "num_actions": 0, "n_step": 1},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [1, 3, 5])
def test_a_chain_of_checkpoints_restores_bit_for_bit(
    tmp_path: Path, kind: dict[str, Any], every: int
) -> None:
    """16 rounds of 4 steps on a ring of 29: it wraps twice, and segments are partly overwritten."""
    player, previous = Player(buffer(**kind)), None
    cut_segments = 0
    for count in range(0, 16, every):
        folder = tmp_path / f"{count:03d}"
        save_replay(player.replay, folder, previous)
        restored = buffer(**kind, seed=77)
        load_replay(restored, folder)
        assert_equal(player.replay, restored)
        segment = (index_of(folder)["segments"] or [{"first": 0}])[0]
        cut_segments += segment["first"] < player.replay.steps - LENGTH
        # The copy goes on as the original does.
        other = Player(restored)
        other.rounds, before = player.rounds, len(player.drawn)
        player.play(every)
        other.play(every)
        assert other.drawn == player.drawn[before:]
        assert_equal(player.replay, restored)
        previous = folder
    assert cut_segments > 0


def test_a_second_save_writes_only_the_new_rows(tmp_path: Path) -> None:
    replay = buffer(capacity=ENVS * 4000)
    player = Player(replay)
    player.play(500)
    first, second = tmp_path / "first", tmp_path / "second"
    save_replay(replay, first, None)
    player.play(2)
    save_replay(replay, second, first)
    old, new = "steps-000000000000-000000002000.npz", "steps-000000002000-000000002008.npz"
    assert names(first) == [old] and names(second) == [old, new]
    # 5 + 1 float32, 2 bytes of masks, an int64 action and a byte of flags: 35 bytes a row
    assert (first / old).stat().st_size > 2000 * ENVS * 35
    # 8 x 3 rows are 840 bytes; the rest are the row seen last and the headers of five arrays.
    assert (second / new).stat().st_size < 840 + 100 + 5 * 400
    assert os.stat(first / old).st_ino == os.stat(second / old).st_ino
    assert os.stat(second / new).st_nlink == 1


def test_segments_leave_with_the_rows_they_hold(tmp_path: Path) -> None:
    player, previous, kept = Player(buffer()), None, []
    for count in range(12):
        player.play(1)
        folder = tmp_path / str(count)
        save_replay(player.replay, folder, previous)
        kept.append([int(name[6:18]) for name in names(folder)])
        previous = folder
    # After 28 steps all of the ring of 29; after 48 steps row 48 - 29 = 19 and later, so from segment 16 on.
    assert kept[6] == [0, 4, 8, 12, 16, 20, 24] and kept[11] == [16, 20, 24, 28, 32, 36, 40, 44]


def test_large_additions_are_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 3 environments x 35 bytes are 105 bytes a step, so six steps fit.
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 700)
    player, restored = Player(buffer()), buffer(seed=9)
    player.play(9)
    save_replay(player.replay, tmp_path / "a", None)
    # 36 steps, of which 7 to 35 are in the ring
    assert [entry["steps"] for entry in index_of(tmp_path / "a")["segments"]] == [6, 6, 6, 6, 5]
    load_replay(restored, tmp_path / "a")
    assert_equal(player.replay, restored)


def test_a_folder_is_whole_by_itself(tmp_path: Path) -> None:
    player, restored = Player(buffer()), buffer(seed=9)
    player.play(3)
    save_replay(player.replay, tmp_path / "a", None)
    player.play(3)
    save_replay(player.replay, tmp_path / "b", tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    shutil.copytree(tmp_path / "b", tmp_path / "elsewhere" / "c")
    shutil.rmtree(tmp_path / "b")
    load_replay(restored, tmp_path / "elsewhere" / "c")
    assert_equal(player.replay, restored)
    # And a chain goes on from the copy.
    player.play(1)
    save_replay(player.replay, tmp_path / "d", tmp_path / "elsewhere" / "c")
    assert names(tmp_path / "d") == [
        *names(tmp_path / "elsewhere" / "c"),
        "steps-000000000024-000000000028.npz",
    ]


def test_copies_where_links_are_not_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*arguments: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    player, restored = Player(buffer()), buffer(seed=9)
    player.play(2)
    save_replay(player.replay, tmp_path / "a", None)
    player.play(2)
    save_replay(player.replay, tmp_path / "b", tmp_path / "a")
    (name,) = names(tmp_path / "a")
    assert os.stat(tmp_path / "a" / name).st_ino != os.stat(tmp_path / "b" / name).st_ino
    load_replay(restored, tmp_path / "b")
    assert_equal(player.replay, restored)


def test_left_overs_and_links_are_never_written_to(tmp_path: Path) -> None:
    """A save that was cut off may have linked an older segment under the name of the next one."""
    player = Player(buffer())
    player.play(2)
    save_replay(player.replay, tmp_path / "a", None)
    (name,) = names(tmp_path / "a")
    before = (tmp_path / "a" / name).read_bytes()
    (tmp_path / "b").mkdir()
    for left_over in (name, "steps-000000000008-000000000012.npz", "leaves.npy"):
        os.link(tmp_path / "a" / name, tmp_path / "b" / left_over)
    player.play(1)
    save_replay(player.replay, tmp_path / "b", tmp_path / "a")
    assert (tmp_path / "a" / name).read_bytes() == before
    restored = buffer(seed=9)
    load_replay(restored, tmp_path / "b")
    assert_equal(player.replay, restored)
    with pytest.raises(SegmentError, match="beside it"):
        save_replay(player.replay, tmp_path / "b", tmp_path / "a")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("pattern", "damage", "says"),
    [
        ("steps-*", Path.unlink, "is missing"),
        ("steps-*", cut, "the index says"),
        ("steps-*", flip, "the file was changed"),
        ("leaves.npy", Path.unlink, "is missing"),
        ("leaves.npy", flip, "the file was changed"),
        ("index.json", Path.unlink, "not whole"),
        ("index.json", cut, "not whole"),
    ],
)
def test_damage_is_named(tmp_path: Path, pattern: str, damage: Callable[[Path], None], says: str) -> None:
    player, other = Player(buffer()), Player(buffer(seed=9), seed=9)
    player.play(5)
    other.play(2)
    save_replay(player.replay, tmp_path / "a", None)
    save_replay(other.replay, tmp_path / "as it was", None)
    damage(next((tmp_path / "a").glob(pattern)))
    with pytest.raises(SegmentError, match=says):
        load_replay(other.replay, tmp_path / "a")
    # The buffer that was to be filled is as it was.
    untouched = buffer()
    load_replay(untouched, tmp_path / "as it was")
    assert_equal(untouched, other.replay)


def test_an_edited_index_and_other_settings_are_named(tmp_path: Path) -> None:
    player = Player(buffer())
    player.play(5)
    save_replay(player.replay, tmp_path / "a", None)
    for settings in ({"n_step": 1}, {"alpha": 0.0}, {"num_actions": 12}, {"capacity": ENVS * (LENGTH + 1)}):
        with pytest.raises(SegmentError, match="settings of the saved run"):
            load_replay(buffer(**settings), tmp_path / "a")
    path = tmp_path / "a" / "index.json"
    path.write_text(path.read_text().replace('"max_priority": ', '"max_priority": 1'))
    with pytest.raises(SegmentError, match="changed by hand"):
        load_replay(buffer(), tmp_path / "a")


@pytest.mark.parametrize("trouble", ["cut", "missing", "other run", "other shape", "ahead"])
def test_a_previous_checkpoint_of_no_use_costs_space_only(
    tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    """All rows are in memory, so a bad older folder makes the new one larger, not wrong."""
    old = Player(buffer(**({"n_step": 2} if trouble == "other shape" else {})), seed=trouble == "other run")
    old.play(9 if trouble == "ahead" else 2)
    save_replay(old.replay, tmp_path / "a", None)
    if trouble == "cut":
        cut(next((tmp_path / "a").glob("steps-*")))
    if trouble == "missing":
        next((tmp_path / "a").glob("steps-*")).unlink()
    player, restored = Player(buffer()), buffer(seed=9)
    player.play(3)
    save_replay(player.replay, tmp_path / "b", tmp_path / "a")
    assert "writing all rows anew" in caplog.text
    assert names(tmp_path / "b") == ["steps-000000000000-000000000012.npz"]
    load_replay(restored, tmp_path / "b")
    assert_equal(player.replay, restored)


@pytest.mark.parametrize("rounds", [7, 10])
def test_a_previous_checkpoint_that_the_ring_has_left_behind(
    tmp_path: Path, rounds: int, caplog: pytest.LogCaptureFixture
) -> None:
    player, restored = Player(buffer()), buffer(seed=9)
    player.play(1)
    save_replay(player.replay, tmp_path / "a", None)
    player.play(rounds)
    save_replay(player.replay, tmp_path / "b", tmp_path / "a")
    # 32 or 44 steps in all, the ring holds the last 29. After 32, the row of step 3 waits for step 32: the
    # last step of the older checkpoint is half overwritten.
    first, end = {7: (3, 32), 10: (15, 44)}[rounds]
    assert names(tmp_path / "b") == [f"steps-{first:012d}-{end:012d}.npz"] and not caplog.text
    load_replay(restored, tmp_path / "b")
    assert_equal(player.replay, restored)
