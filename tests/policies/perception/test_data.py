"""Rows: stored and read, handed out in an order that only seed and epoch decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from policies.perception.data import DataError, Loader, read, store
from policies.perception.task import Rows
from tests.policies.perception.toy import toy_rows, toy_sets


def test_stored_rows_come_back_without_being_loaded(tmp_path: Path) -> None:
    sets = toy_sets()
    store(sets, tmp_path / "rows", {"archetype": "tank"})
    again = read(tmp_path / "rows")
    assert set(again) == set(sets)
    for name, rows in sets.items():
        for key, values in rows.items():
            np.testing.assert_array_equal(again[name][key], values)
            assert isinstance(again[name][key], np.memmap)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("gone", "no stored rows"),
        ("array", "no stored rows"),
        ("short", r"train: 'y' has 199 rows, the listing says 200"),
        ("nan", r"test: row 5 \(fight 1\) holds nan in 'x'\[3\]"),
    ],
)
def test_harmed_rows_are_refused(tmp_path: Path, harm: str, words: str) -> None:
    sets = toy_sets()
    if harm == "nan":
        sets["test"]["x"][5, 3] = np.nan
    if harm != "gone":
        store(sets, tmp_path / "rows", {})
    if harm == "array":
        (tmp_path / "rows" / "train" / "x.npy").unlink()
    if harm == "short":
        np.save(tmp_path / "rows" / "train" / "y.npy", sets["train"]["y"][:199])
    with pytest.raises(DataError, match=words):
        read(tmp_path / "rows")


def test_every_row_comes_once_an_epoch_and_in_another_order_in_the_next() -> None:
    rows = {"fight": np.arange(96, dtype=np.int64)}
    loader = Loader(rows, 32, seed=1)
    epochs = [[batch["fight"] for batch in loader.epoch(epoch)] for epoch in (0, 1, 0)]
    assert sorted(np.concatenate(epochs[0])) == list(range(96))
    np.testing.assert_array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[2]))
    assert not np.array_equal(epochs[0][0], epochs[1][0])


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_epoch_may_begin_in_its_middle(prefetch: int) -> None:
    def shake(rows: Rows, rng: np.random.Generator) -> Rows:
        return {**rows, "x": rows["x"] + rng.normal(size=rows["x"].shape).astype(np.float32)}

    loader = Loader(toy_rows(200, 0), 32, 3, shake, prefetch)
    whole = list(loader.epoch(2))
    rest = list(loader.epoch(2, 4))
    assert len(whole) == 6 and len(rest) == 2
    for one, other in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])


def test_an_error_while_preparing_reaches_the_one_who_takes() -> None:
    def fail(rows: Rows, rng: np.random.Generator) -> Rows:
        raise ValueError("cannot turn this")

    with pytest.raises(ValueError, match="cannot turn this"):
        list(Loader(toy_rows(64, 0), 32, 0, fail).epoch(0))


def test_stopping_early_leaves_no_thread() -> None:
    import threading

    before = threading.active_count()
    for _ in Loader(toy_rows(320, 0), 32, 0).epoch(0):
        break
    assert threading.active_count() == before
