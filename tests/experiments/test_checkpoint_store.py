from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from experiments import checkpoint_store as store
from experiments.errors import UsageError


def checkpoint_in(folder: Path) -> Path:
    (folder / "trainer" / "replay").mkdir(parents=True)
    (folder / "trainer" / "replay" / "0.npz").write_bytes(b"12345")
    (folder / store.PROGRESS).write_text(json.dumps({"epoch": 3}))
    (folder / store.FILES).write_text(json.dumps(store.list_files(folder)))
    return folder


def test_a_whole_checkpoint_has_no_flaw_and_a_cut_one_is_described(tmp_path: Path) -> None:
    place = str(checkpoint_in(tmp_path / "c"))
    assert store.flaw(place) is None and store.read_json(place, store.PROGRESS) == {"epoch": 3}
    os.truncate(tmp_path / "c" / "trainer" / "replay" / "0.npz", 2)
    assert store.flaw(place) == "trainer/replay/0.npz has 2 of 5 bytes"
    (tmp_path / "c" / "trainer" / "replay" / "0.npz").unlink()
    assert store.flaw(place) == "trainer/replay/0.npz is missing"
    (tmp_path / "c" / store.FILES).write_text('{"progress')
    assert store.flaw(place) == "files.json is missing or cut short"
    assert store.flaw(str(tmp_path / "nowhere")) == "files.json is missing or cut short"


def test_pointers_of_a_uri_keep_its_form() -> None:
    location = "s3://bucket/runs?region=eu-central-1"
    assert store.inside(location, "home-1") == "s3://bucket/runs/home-1?region=eu-central-1"
    place = store.pointer(location, "bucket/runs/experiment-0001/tank/checkpoint_000002")
    assert place == "s3://bucket/runs/experiment-0001/tank/checkpoint_000002?region=eu-central-1"


def test_projects_that_share_a_location_do_not_share_a_folder(tmp_path: Path) -> None:
    places = {home: store.of_project(tmp_path / home, "s3://bucket/x") for home in ("a", "b")}
    assert places["a"] != places["b"] and places["a"].startswith("s3://bucket/x/a-")
    assert store.of_project(tmp_path / "a", "s3://bucket/x") == places["a"]
    assert store.of_project(tmp_path / "a", None) == str(tmp_path / "a" / "tune")


def test_a_place_is_probed_and_nothing_stays(tmp_path: Path) -> None:
    store.check_writable(f"file://{tmp_path}/new/place")
    assert list((tmp_path / "new" / "place").iterdir()) == []


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("nosuch://bucket/x", "cannot be opened"),
        ("/proc/nowhere/x", "cannot be written"),
        ("s3://bucket/x?endpoint_override=127.0.0.1:9&scheme=http", "cannot be written"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_in_one_line(location: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        store.check_writable(location)
    assert "every node" in str(refused.value) and "\n" not in str(refused.value)


def test_what_lies_elsewhere_is_copied_here(tmp_path: Path) -> None:
    checkpoint_in(tmp_path / "far" / "c")
    far = SubTreeFileSystem(str(tmp_path / "far"), LocalFileSystem())  # not local: paths are its own
    copy = store.bring(far, "c", tmp_path / "here")
    assert copy == tmp_path / "here" and store.flaw(str(copy)) is None
    assert (
        store.bring(LocalFileSystem(), str(tmp_path / "far" / "c"), tmp_path / "x") == tmp_path / "far" / "c"
    )


def test_folders_are_listed_and_removed(tmp_path: Path) -> None:
    for name in ("experiment-0001", "experiment-0002"):
        (tmp_path / name / "x").mkdir(parents=True)
    location = f"file://{tmp_path}"
    assert store.folders(location) == ["experiment-0001", "experiment-0002"]
    store.remove(location, "experiment-0001")
    assert store.folders(location) == ["experiment-0002"] and store.folders(f"{location}/none") == []
