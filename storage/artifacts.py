"""Artefact store: files addressed by their own sha256, so that no name can lie about its content."""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from .errors import ArtifactError, one_line

_BLOCK_BYTES = 1 << 20
_ABANDONED_S = 3600.0  # a writer that has not renamed its file after an hour is dead
_SUFFIX = re.compile(r"(\.[A-Za-z0-9_]+)*")
_URI = re.compile(r"store:(?P<sha256>[0-9a-f]{64})(?P<suffix>(\.[A-Za-z0-9_]+)*)")


@dataclass(frozen=True)
class Artifact:
    """One stored file.

    Attributes:
        uri: `store:<sha256><suffix>`, relative to the root of the store, so that a project can be moved.
        sha256: Digest of the content, 64 hexadecimal digits.
        bytes: Size of the content in bytes.
    """

    uri: str
    sha256: str
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return the form in which the registry keeps an artefact."""
        return asdict(self)


class ArtifactStore:
    """Folder of artefacts at `<root>/ab/abcdef….onnx`; written beside and renamed, verified when read."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().absolute()

    def put(self, path: str | Path, suffix: str | None = None) -> Artifact:
        """Copy a file into the store; the same content twice is stored once.

        Args:
            path: File to store.
            suffix: Ending of the stored name, such as `.onnx`; the file's own unless given.

        Raises:
            ArtifactError: The file cannot be read or the store cannot be written.
        """
        source = Path(path)
        suffix = source.suffix if suffix is None else suffix
        if not _SUFFIX.fullmatch(suffix):
            raise ArtifactError(f"artefact suffix {suffix!r} is not of the form .onnx; give a plain ending")
        incoming = self.root / "incoming"
        beside = incoming / uuid.uuid4().hex
        try:
            incoming.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(incoming)
            with source.open("rb") as reader, beside.open("xb") as writer:
                digest, size = _digest(reader, writer)
                writer.flush()
                os.fsync(writer.fileno())
            target = self._path(digest, suffix)
            target.parent.mkdir(exist_ok=True)
            # Renaming over an older copy also heals one that was damaged on disk.
            beside.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            raise ArtifactError(
                f"cannot store {source}: {one_line(error)}; check that the file exists and that "
                f"{self.root} is writable and not full"
            ) from error
        finally:
            beside.unlink(missing_ok=True)
        return Artifact(f"store:{digest}{suffix}", digest, size)

    def fetch(self, uri: str, sha256: str) -> Path:
        """Return the path of a stored file after verifying its content.

        Args:
            uri: `store:<sha256><suffix>` as the registry holds it.
            sha256: The digest that the registry holds; it must be the file's.

        Raises:
            ArtifactError: Malformed address, missing file, or content of another digest.
        """
        path = self._locate(uri, sha256)
        try:
            with path.open("rb") as reader:
                digest, _ = _digest(reader)
        except OSError as error:
            raise _unreadable(uri, path, error) from error
        _compare(uri, path, digest)
        return path

    def read(self, uri: str, sha256: str) -> bytes:
        """Return the verified content: the very bytes that were hashed, so no swap can slip in between.

        Args:
            uri: `store:<sha256><suffix>` as the registry holds it.
            sha256: The digest that the registry holds; it must be the content's.

        Raises:
            ArtifactError: Malformed address, missing file, or content of another digest.
        """
        path = self._locate(uri, sha256)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _unreadable(uri, path, error) from error
        _compare(uri, path, hashlib.sha256(content).hexdigest())
        return content

    def _path(self, digest: str, suffix: str) -> Path:
        return self.root / digest[:2] / f"{digest}{suffix}"

    def _locate(self, uri: str, sha256: str) -> Path:
        match = _URI.fullmatch(uri)
        if match is None:
            raise ArtifactError(
                f"artefact address {uri!r} is not of the form store:<sha256>.onnx; "
                "use the address that the registry holds"
            )
        if match["sha256"] != sha256:
            raise ArtifactError(
                f"artefact {uri} was asked for with sha256 {sha256[:12]}…; address and digest disagree, "
                "so the registry row was altered: export and register the model again"
            )
        return self._path(match["sha256"], match["suffix"])


def _digest(reader: IO[bytes], writer: IO[bytes] | None = None) -> tuple[str, int]:
    """Hash a stream, copying it to `writer` when given; return the digest and the size in bytes."""
    sha256, size = hashlib.sha256(), 0
    while block := reader.read(_BLOCK_BYTES):
        sha256.update(block)
        size += len(block)
        if writer is not None:
            writer.write(block)
    return sha256.hexdigest(), size


def _compare(uri: str, path: Path, digest: str) -> None:
    if not uri.startswith(f"store:{digest}"):
        raise ArtifactError(
            f"artefact {uri} has content of sha256 {digest[:12]}…: the file {path} is damaged or was "
            "changed; restore it or export the model again"
        )


def _unreadable(uri: str, path: Path, error: OSError) -> ArtifactError:
    if isinstance(error, FileNotFoundError):
        return ArtifactError(
            f"artefact {uri} is not in the store {path.parent.parent}; "
            "copy it there or export the model again"
        )
    return ArtifactError(f"artefact {uri} cannot be read: {one_line(error)}; check the rights of {path}")


def _remove_abandoned(incoming: Path) -> None:
    """Remove what writers left that were killed; a living writer's file is younger than an hour."""
    oldest = time.time() - _ABANDONED_S
    for left in incoming.iterdir():
        try:
            if left.stat().st_mtime < oldest:
                left.unlink()
        except FileNotFoundError:  # renamed by its writer in the meantime
            continue


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: the name lives in the folder, not in the file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
