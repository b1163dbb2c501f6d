from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from storage import ArtifactError, ArtifactStore

# echo -n abc | sha256sum
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def abc(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"abc")
    return path


def test_a_file_is_addressed_by_its_content(store: ArtifactStore, abc: Path) -> None:
    artifact = store.put(abc)
    assert artifact.to_json() == {"uri": f"store:{ABC}.onnx", "sha256": ABC, "bytes": 3}
    assert (store.root / "ba" / f"{ABC}.onnx").read_bytes() == b"abc"
    assert store.read(artifact.uri, ABC) == b"abc"
    assert store.fetch(artifact.uri, ABC) == store.root / "ba" / f"{ABC}.onnx"


def test_the_same_content_twice_is_stored_once_and_nothing_is_left_beside(
    store: ArtifactStore, abc: Path
) -> None:
    assert store.put(abc) == store.put(abc)
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == [f"{ABC}.onnx"]


def test_a_file_larger_than_one_block_keeps_every_byte(store: ArtifactStore, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096 * 2 + b"tail"  # two blocks of 1 MiB and four bytes
    (tmp_path / "big.bin").write_bytes(content)
    artifact = store.put(tmp_path / "big.bin")
    assert artifact.bytes == 2 * 1024 * 1024 + 4
    assert store.read(artifact.uri, artifact.sha256) == content


def test_a_moved_store_still_knows_its_files(store: ArtifactStore, abc: Path, tmp_path: Path) -> None:
    artifact = store.put(abc)
    store.root.rename(tmp_path / "elsewhere")
    assert ArtifactStore(tmp_path / "elsewhere").read(artifact.uri, artifact.sha256) == b"abc"


def test_a_damaged_file_is_refused_and_putting_it_again_heals_it(store: ArtifactStore, abc: Path) -> None:
    artifact = store.put(abc)
    path = store.fetch(artifact.uri, artifact.sha256)
    path.write_bytes(b"abd")
    for look in (store.fetch, store.read):
        with pytest.raises(ArtifactError, match="damaged or was changed"):
            look(artifact.uri, artifact.sha256)
    store.put(abc)
    assert store.read(artifact.uri, artifact.sha256) == b"abc"


def test_a_digest_that_differs_from_the_registrys_is_refused(store: ArtifactStore, abc: Path) -> None:
    artifact = store.put(abc)
    with pytest.raises(ArtifactError, match="address and digest disagree"):
        store.fetch(artifact.uri, "0" * 64)


def test_a_missing_file_names_the_store(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match="is not in the store"):
        store.read(f"store:{ABC}.onnx", ABC)


@pytest.mark.parametrize(
    "uri", ["../etc/passwd", f"store:{ABC}/../x", f"store:{ABC}.onnx\n", "store:abc.onnx", ""]
)
def test_an_address_can_never_lead_out_of_the_store(store: ArtifactStore, uri: str) -> None:
    with pytest.raises(ArtifactError, match="not of the form"):
        store.fetch(uri, ABC)


@pytest.mark.parametrize("suffix", ["/../x", "onnx", ".on nx"])
def test_a_suffix_is_a_plain_ending(store: ArtifactStore, abc: Path, suffix: str) -> None:
    with pytest.raises(ArtifactError, match="suffix"):
        store.put(abc, suffix)


def test_a_file_that_is_not_there_gives_one_line(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot store") as caught:
        store.put(tmp_path / "none.onnx")
    assert "\n" not in str(caught.value)


def test_what_a_killed_writer_left_is_removed_but_not_what_is_being_written(
    store: ArtifactStore, abc: Path
) -> None:
    incoming = store.root / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "dead").write_bytes(b"")
    (incoming / "living").write_bytes(b"")
    two_hours_ago = time.time() - 7200
    os.utime(incoming / "dead", (two_hours_ago, two_hours_ago))
    store.put(abc)
    assert [path.name for path in incoming.iterdir()] == ["living"]
