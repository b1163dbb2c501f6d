"""Where checkpoints lie: a folder, or any place that pyarrow can open by its URI (``s3://…``, ``gs://…``).

A pointer is the absolute path or the URI of one checkpoint, so that it holds on another machine too. Each
checkpoint lists its files with their sizes, so that one cut short is known before anything reads it.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from experiments.errors import UsageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

FILES = "files.json"
"""In each checkpoint: the size in bytes of every other file, by its path in the folder."""
PROGRESS = "progress.json"
"""In each checkpoint: how far the run is, and which epoch was the best."""
_REMEDY = "give a folder or URI that every node of the cluster can write, such as /mnt/shared/runs or s3://…"


def open_place(location: str) -> tuple[FileSystem, str]:
    """Finds the file system of a place.

    Args:
        location: A path, or a URI.

    Returns:
        The file system, and the path on it.

    Raises:
        UsageError: A URI that pyarrow does not know.
    """
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem, LocalFileSystem

    if "://" not in location:
        return LocalFileSystem(), os.path.abspath(location)
    try:
        filesystem, path = FileSystem.from_uri(location)
    except (ArrowException, OSError, ValueError) as error:
        raise UsageError(f"--storage-path {location} cannot be opened ({_said(error)}); {_REMEDY}") from error
    return filesystem, path


def inside(location: str, name: str) -> str:
    """The place of a folder in a place."""
    if "://" not in location:
        return os.path.join(os.path.abspath(location), name)
    parts = urlsplit(location)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def of_project(home: Path, location: str | None) -> str:
    """The place of a project's checkpoints: a folder of its own, so that several can share a location.

    Args:
        home: Project folder.
        location: What the user gave; None keeps checkpoints in the project folder.
    """
    if location is None:
        return str(Path(home).absolute() / "tune")
    name = Path(home) / "tune" / "name"
    if not name.exists():
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text(f"{Path(home).absolute().name}-{uuid.uuid4().hex[:8]}", encoding="utf-8")
    return inside(location, name.read_text(encoding="utf-8"))


def check_writable(location: str) -> None:
    """Writes a small file into a place and removes it, before any work relies on the place.

    Args:
        location: A path, or a URI; the folder is made.

    Raises:
        UsageError: It cannot be reached or written.
    """
    from pyarrow import ArrowException

    filesystem, path = open_place(location)
    try:
        probe = write_probe(filesystem, path, b"probe")
        filesystem.delete_file(probe)
    except (ArrowException, OSError) as error:
        raise UsageError(
            f"--storage-path {location} cannot be written ({_said(error)}); {_REMEDY}"
        ) from error


def write_probe(filesystem: FileSystem, path: str, text: bytes) -> str:
    """Writes a small file of a new name into a folder, which is made, and returns its path."""
    filesystem.create_dir(path, recursive=True)
    probe = f"{path}/.probe-{uuid.uuid4().hex}"
    with filesystem.open_output_stream(probe) as file:
        file.write(text)
    return probe


def is_local(filesystem: FileSystem) -> bool:
    """Whether paths on it are paths of this machine."""
    from pyarrow.fs import LocalFileSystem

    return isinstance(filesystem, LocalFileSystem)


def pointer(location: str, path: str) -> str:
    """The path or URI of a checkpoint.

    Args:
        location: The place that holds it, as the user gave it.
        path: Its path on the place's file system, as Tune tells it.
    """
    filesystem, root = open_place(location)
    if is_local(filesystem):
        return path
    return inside(location, path[len(root.rstrip("/")) + 1 :])


def read_json(place: str, name: str) -> dict[str, Any]:
    """Reads one of a checkpoint's JSON files.

    Args:
        place: Pointer to the checkpoint.
        name: `PROGRESS` or `FILES`.

    Raises:
        OSError: It is not there.
        ValueError: It is no JSON object.
    """
    filesystem, path = open_place(place)
    with filesystem.open_input_stream(f"{path}/{name}") as file:
        value = json.loads(file.readall())
    if not isinstance(value, dict):
        raise ValueError(f"{place}/{name} holds no JSON object")
    return value


def list_files(folder: Path) -> dict[str, int]:
    """Sizes in bytes of all files of a checkpoint, by their paths in it."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def flaw(place: str) -> str | None:
    """Says what is wrong with a checkpoint, or None where it is whole.

    Args:
        place: Pointer to the checkpoint.
    """
    from pyarrow import ArrowException
    from pyarrow.fs import FileType

    try:
        expected = read_json(place, FILES)
        filesystem, path = open_place(place)
        infos = filesystem.get_file_info([f"{path}/{name}" for name in expected])
    except (ArrowException, OSError, ValueError, UsageError):
        return f"{FILES} is missing or cut short"
    for (name, size), info in zip(expected.items(), infos, strict=True):
        if info.type != FileType.File:
            return f"{name} is missing"
        if info.size != size:
            return f"{name} has {info.size:,} of {size:,} bytes"
    return None


def bring(filesystem: FileSystem, path: str, target: Path) -> Path:
    """Makes a folder of a place readable by path.

    Args:
        filesystem: Of the place.
        path: The folder on it.
        target: Where to copy it, if it does not lie on this machine.

    Returns:
        The folder itself, or the copy.
    """
    if is_local(filesystem):
        return Path(path)
    from pyarrow.fs import LocalFileSystem, copy_files

    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    copy_files(path, str(target), source_filesystem=filesystem, destination_filesystem=LocalFileSystem())
    return target


def folders(location: str) -> list[str]:
    """Names of the folders in a place; none where the place does not exist."""
    from pyarrow.fs import FileSelector, FileType

    filesystem, path = open_place(location)
    found = filesystem.get_file_info(FileSelector(path, allow_not_found=True))
    return sorted(info.base_name for info in found if info.type == FileType.Directory)


def remove(location: str, name: str) -> None:
    """Removes a folder of a place, as far as that can be done."""
    filesystem, path = open_place(location)
    if is_local(filesystem):
        shutil.rmtree(Path(path) / name, ignore_errors=True)
    else:
        filesystem.delete_dir(f"{path}/{name}")


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
