import json
from pathlib import Path

import numpy as np

from experiments.ledger import Ledger, plain, write_json


def test_a_run_is_done_only_with_marker_and_weights(tmp_path: Path) -> None:
    record = Ledger(tmp_path).run("tank-1")
    assert record.done() is None and record.settings() is None and Ledger(tmp_path).runs() == []
    record.begin({"epochs": 3})
    record.finish({"epochs": 3})
    assert record.done() is None  # the weights were never kept
    record.model_folder.mkdir()
    assert record.done() == {"epochs": 3}
    assert [run.run_id for run in Ledger(tmp_path).runs()] == ["tank-1"]


def test_history_keeps_the_last_of_repeated_epochs_and_survives_a_torn_line(tmp_path: Path) -> None:
    record = Ledger(tmp_path).run("tank-1")
    record.begin({})
    for epoch, loss in ((1, 0.5), (2, 0.4), (3, 0.3), (2, 0.41), (3, 0.31)):
        record.add_epoch({"epoch": epoch, "loss": loss})
    with (record.folder / "history.jsonl").open("a") as file:
        file.write('{"epoch": 4, "lo')
    assert [(row["epoch"], row["loss"]) for row in record.history()] == [(1, 0.5), (2, 0.41), (3, 0.31)]


def test_the_newest_whole_checkpoint_counts(tmp_path: Path) -> None:
    record = Ledger(tmp_path).run("tank-1")
    for epoch in (3, 5, 7):
        checkpoint = tmp_path / f"checkpoint_{epoch}"
        checkpoint.mkdir()
        (checkpoint / "state.npz").write_bytes(b"x" * epoch)
        (checkpoint / "files.json").write_text(json.dumps({"state.npz": epoch}))
        record.set_latest(str(checkpoint), epoch)
    assert record.checkpoints() == [(str(tmp_path / f"checkpoint_{epoch}"), epoch) for epoch in (7, 5)]
    assert record.latest() == (str(tmp_path / "checkpoint_7"), 7)
    (tmp_path / "checkpoint_7" / "state.npz").write_bytes(b"x")
    assert record.latest() == (str(tmp_path / "checkpoint_5"), 5)
    (tmp_path / "checkpoint_5" / "files.json").unlink()
    assert record.latest() is None


def test_plain_values_are_json_without_nan() -> None:
    value = plain(
        {"a": np.float32(0.5), "b": float("nan"), "c": (np.int64(3), Path("x")), 4: np.array([1.0, np.inf])}
    )
    assert value == {"a": 0.5, "b": None, "c": [3, "x"], "4": [1.0, None]}
    json.dumps(value, allow_nan=False)


def test_a_written_file_is_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "value.json"
    write_json(path, {"x": 1})
    write_json(path, {"x": 2})
    assert json.loads(path.read_text()) == {"x": 2}
    assert [p.name for p in path.parent.iterdir()] == ["value.json"]
