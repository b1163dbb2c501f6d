"""The training log: lines for people and for programs, rotation, several writers."""

from __future__ import annotations

import json
import threading
from datetime import datetime
from pathlib import Path

import pytest

from experiments.monitoring.log import TrainingLog, events


def test_both_files_say_the_same(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path)
    log.write("mage-combat_dqn", "epoch", "2/5  loss 0.5", metrics={"loss": 0.5, "reward": float("nan")})
    line = (tmp_path / "logs" / "training.log").read_text()
    assert line.endswith("Z  mage-combat_dqn  epoch         2/5 loss 0.5\n")
    row = json.loads((tmp_path / "logs" / "training.jsonl").read_text())
    assert (row["run_id"], row["event"]) == ("mage-combat_dqn", "epoch")
    assert row["metrics"] == {"loss": 0.5, "reward": None}
    assert datetime.fromisoformat(row["time"]).utcoffset() is not None


def test_files_are_put_away_at_their_size_and_the_oldest_goes(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, rotate_bytes=400, kept=2)
    for number in range(40):
        log.write("run", "epoch", f"{number}/40", number=number)
    folder = tmp_path / "logs"
    names = {path.name for path in folder.glob("training.jsonl*")}
    assert names == {"training.jsonl", "training.jsonl.1", "training.jsonl.2"}
    assert all(path.stat().st_size <= 400 for path in folder.glob("training.*"))
    seen = [event["number"] for event in events(tmp_path)]
    assert seen == list(range(seen[0], 40)) and seen[0] > 0


def test_writers_at_the_same_time_lose_no_line(tmp_path: Path) -> None:
    def write(name: str) -> None:
        log = TrainingLog(tmp_path, rotate_bytes=2000, kept=50)
        for number in range(30):
            log.write(name, "epoch", "x", number=number)

    writers = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = events(tmp_path)
    for name in "abc":
        assert [event["number"] for event in found if event["run_id"] == name] == list(range(30))


def test_an_unknown_event_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no event of the training log; known: start"):
        TrainingLog(tmp_path).write("run", "epocn", "")
