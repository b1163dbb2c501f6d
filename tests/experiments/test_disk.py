"""Disks that are too small, and disks that fill up."""

from __future__ import annotations

import errno
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from experiments import checkpoint_store, cli, disk, trainable, tuning
from experiments.errors import FULL_DISK, ExperimentError, UsageError
from experiments.ledger import Ledger
from experiments.matrix import Request, resolve
from experiments.progress import Progress
from policies.state_files import replaced
from tests.experiments.test_trainable import FakeTrainer

Usage = namedtuple("Usage", "total used free")


def runs_of(*model_types: str, profile: str = "demo", **lane: Any) -> Any:
    return resolve(Request(("tank",), model_types, profile=profile, lane=lane))


def test_the_estimate_counts_weights_and_replay() -> None:
    (full,) = runs_of("combat_dqn", profile="full")
    assert 300e6 < disk.checkpoint_bytes(full) < 400e6  # a million rows of 300 bytes, and the network
    (without,) = runs_of("combat_dqn", profile="full", checkpoint_replay=False)
    assert disk.checkpoint_bytes(full) - disk.checkpoint_bytes(without) == 1_000_000 * disk.REPLAY_ROW_BYTES
    one = disk.checkpoint_bytes(full)
    assert disk.needed_bytes([full, full], 1) == 2 * 2 * one + 2 * one + disk.RESERVE_BYTES
    assert disk.needed_bytes([], 1) == 0


def test_less_disk_than_the_plan_needs_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = runs_of("combat_dqn", "spatial_vit")
    need = disk.needed_bytes(runs, 1)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda place: Usage(need, 0, need))
    disk.check_space(str(tmp_path), runs, 1)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda place: Usage(need, 1, need - 1))
    with pytest.raises(UsageError, match=r"2 runs needs about .* GB free"):
        disk.check_space(str(tmp_path), runs, 1)
    disk.check_space("s3://bucket/runs", runs, 1)


def test_the_command_starts_nothing_on_a_small_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda place: Usage(1, 1, 0))
    monkeypatch.setattr(tuning, "train", lambda *args, **kwargs: pytest.fail("training started"))
    home = tmp_path / "home"
    cell = ["--archetypes", "tank", "--model-types", "combat_dqn", "--home", str(home)]
    assert cli.main(["train", *cell]) == cli.EXIT_USAGE
    assert "GB free" in capsys.readouterr().err
    assert list(home.iterdir()) == []


def test_a_disk_that_fills_up_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    trainer = FakeTrainer()
    work = tmp_path / "work"
    work.mkdir()
    written = trainable._write_checkpoint(trainer, {"epoch": 1, "best": None}, work)
    kept = written.rename(tmp_path / "kept")
    record = Ledger(tmp_path).run("tank-1")
    record.set_latest(str(kept), 1)

    def save(folder: Path) -> None:
        with replaced(folder) as beside:  # as trainers write
            (beside / "epoch").write_text("")
            raise OSError(errno.ENOSPC, "No space left on device")

    trainer.save = save  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left"):
        trainable._write_checkpoint(trainer, {"epoch": 2, "best": None}, work)
    assert checkpoint_store.flaw(str(kept)) is None and record.latest() == (str(kept), 1)


def test_a_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(*args: Any, **kwargs: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "history.jsonl")
        except OSError as error:
            raise RuntimeError("The Ray Tune run failed") from error

    monkeypatch.setattr(tuning, "train", train)
    cell = ["--archetypes", "tank", "--model-types", "combat_dqn", "--home", str(tmp_path)]
    assert cli.main(["train", *cell]) == cli.EXIT_FAILURE
    assert capsys.readouterr().err == f"monster: error: {FULL_DISK}\n"


def test_settings_changed_in_the_ledger_are_refused(tmp_path: Path) -> None:
    (run,) = runs_of("combat_dqn")
    record = Ledger(tmp_path).run(run.run_id)
    record.begin(run.settings)
    quiet = Progress(lambda line: None)

    class StartedError(Exception):
        pass

    def session() -> Any:
        raise StartedError

    with pytest.raises(StartedError):
        tuning.train(tmp_path, [run], quiet, session=session)
    record.begin({**run.settings, "seed": 7})
    with pytest.raises(ExperimentError, match=r"run\.json was changed by hand: .* --no-resume"):
        tuning.train(tmp_path, [run], quiet, session=session)
    assert record.settings() == {**run.settings, "seed": 7}, "nothing was written"


def test_a_home_of_other_runs_says_what_is_reused_and_what_is_new(tmp_path: Path) -> None:
    (run,) = runs_of("combat_dqn")
    Ledger(tmp_path).run("tank-combat_dqn-demo-s0-ffffffffff").begin({"seed": 1})
    lines: list[str] = []

    class StartedError(Exception):
        pass

    def session() -> Any:
        raise StartedError

    with pytest.raises(StartedError):
        tuning.train(tmp_path, [run], Progress(lines.append), session=session)
    assert any("0 finished runs are reused, 0 go on and 1 are new; 1 runs of this home" in x for x in lines)


def test_a_cut_checkpoint_gives_way_to_the_one_before_or_to_a_new_start(tmp_path: Path) -> None:
    (run,) = runs_of("combat_dqn")
    record = Ledger(tmp_path).run(run.run_id)
    for epoch in (10, 20):
        work = tmp_path / f"work-{epoch}"
        work.mkdir()
        written = trainable._write_checkpoint(FakeTrainer(), {"epoch": epoch, "best": None}, work)
        record.set_latest(str(written), epoch)
    lines: list[str] = []
    (newest, _), (older, _) = record.checkpoints()
    (Path(newest) / "trainer" / "epoch").write_text("")
    assert tuning._resume_from(run, record, Progress(lines.append)) == older
    assert "checkpoint of epoch 20 cannot be used (trainer/epoch has 0 of 1 bytes)" in lines[0]
    assert "continuing after epoch 10/40" in lines[1]
    (Path(older) / "files.json").unlink()
    assert tuning._resume_from(run, record, Progress(lines.append)) is None
    assert "no whole checkpoint is left, so the run starts anew" in lines[-1]
