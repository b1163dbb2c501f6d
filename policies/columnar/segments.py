"""Append-only checkpoints of a replay buffer: each one writes the steps that are new and links the rest.

A folder holds `index.json`, `leaves.npy` (the priorities, whole: they change everywhere) and segments
`steps-FIRST-END.npz`, each with the rings' columns of consecutive steps, (env, step, ...). A segment never
changes once it is written, so the next checkpoint shares it by a hard link; every folder is whole by itself
and can be moved, copied or deleted alone. No pickles.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from policies.columnar.replay import PrioritizedReplay

logger = logging.getLogger(__name__)

FORMAT = 1
INDEX_FILE = "index.json"
LEAVES_FILE = "leaves.npy"
# A segment takes about so many bytes at most: smaller ones leave sooner once the ring has moved on.
SEGMENT_BYTES = 64 << 20
# Rings that hold one row more than steps: what was seen last.
_SEEN = ("obs", "masks")


class SegmentError(RuntimeError):
    """A saved replay buffer is not whole, or not of this buffer; its text says what was seen."""


def save_replay(replay: PrioritizedReplay, folder: Path, previous: Path | None) -> None:
    """Write the buffer into a folder of its own.

    Args:
        replay: What to save.
        folder: Created if missing; must not be the folder of an earlier checkpoint.
        previous: Folder of the checkpoint before, whose segments are linked (copied where the file system
            cannot link); None writes everything. If it is damaged or of another run, everything is written.

    Raises:
        SegmentError: `folder` already holds a checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / INDEX_FILE).exists():
        raise SegmentError(
            f"{folder} already holds a replay checkpoint, and files that others link must not change; "
            "save beside it and rename"
        )
    steps = replay.steps
    oldest = max(steps - replay.length, 0)
    segments = _linked(replay, folder, previous, oldest) if previous is not None else []
    first = segments[-1]["first"] + segments[-1]["steps"] if segments else oldest
    bytes_per_step = sum(ring[:, 0].nbytes for ring in replay.rings.values())
    most = max(SEGMENT_BYTES // bytes_per_step, 1)
    segments += [_write(replay, folder, at, min(at + most, steps)) for at in range(first, steps, most)]
    index = {
        "format": FORMAT,
        "shape": replay.shape,
        "scalars": replay.scalars,
        "tail": _fingerprint(replay, steps),
        "segments": segments,
        "leaves": _write_leaves(replay, folder) if replay.prioritized else None,
    }
    (folder / INDEX_FILE).write_text(json.dumps({"sha256": _text_digest(index), "index": index}, indent=1))


def load_replay(replay: PrioritizedReplay, folder: Path) -> None:
    """Take up a saved buffer bit for bit; if a file is missing or changed, the buffer stays as it was.

    Args:
        replay: A buffer of the same shape.
        folder: As `save_replay` left it, here or elsewhere.

    Raises:
        SegmentError: Something is missing, cut or changed, or the buffer has another shape.
    """
    index = _read_index(folder)
    if index["shape"] != replay.shape:
        raise SegmentError(
            f"{folder}: the saved replay buffer is {index['shape']}, this one {replay.shape}; resume with "
            "the settings of the saved run"
        )
    steps, segments = index["scalars"]["steps"], index["segments"]
    reached = oldest = max(steps - replay.length, 0)
    for segment in segments:
        if segment["first"] > reached:
            break
        reached = segment["first"] + segment["steps"]
    if reached != steps:
        raise SegmentError(
            f"{folder / INDEX_FILE} lists segments up to step {reached} of {steps} without a gap: written by "
            "another version; resume from an earlier checkpoint"
        )
    for entry in [*segments, *([index["leaves"]] if index["leaves"] else [])]:
        _check(folder, entry)
    for segment in segments:
        _read(replay, folder, segment, oldest)
    leaves = np.load(folder / LEAVES_FILE, allow_pickle=False) if index["leaves"] else np.zeros(0)
    replay.restore(index["scalars"], leaves)


def _linked(replay: PrioritizedReplay, folder: Path, previous: Path, oldest: int) -> list[dict[str, Any]]:
    """Link the segments of the checkpoint before that the ring still needs, and return their entries."""
    needed: list[dict[str, Any]] = []
    try:
        index = _read_index(previous)
        saved_steps = index["scalars"]["steps"]
        if saved_steps <= oldest + 1:  # the ring has moved on past all of it
            return []
        if index["shape"] != replay.shape or index["tail"] != _fingerprint(replay, saved_steps):
            raise SegmentError(f"{previous} is the replay checkpoint of another run")
        needed = [entry for entry in index["segments"] if entry["first"] + entry["steps"] > oldest]
        for entry in needed:
            # Size only: a digest of everything at each checkpoint would cost what appending saves.
            _check_size(previous, entry)
        for entry in needed:
            _link(previous / entry["name"], folder / entry["name"])
    except (SegmentError, OSError) as error:
        # The rows are all in memory, so a damaged older checkpoint is no reason to fail.
        logger.warning("replay checkpoint %s: writing all rows anew (%s)", folder, error)
        for entry in needed:
            (folder / entry["name"]).unlink(missing_ok=True)
        return []
    return needed


def _link(source: Path, target: Path) -> None:
    # A left-over of an interrupted save is unlinked, never written to: it may share its bytes with others.
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _write(replay: PrioritizedReplay, folder: Path, first: int, end: int) -> dict[str, Any]:
    """Write steps [first, end) as a segment and return its entry."""
    columns = {}
    for name, ring in replay.rings.items():
        spans = list(replay.spans(first, end + (name in _SEEN)))
        parts = [ring[:, rows] for rows, _ in spans]
        columns[name] = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    path = folder / f"steps-{first:012d}-{end:012d}.npz"
    path.unlink(missing_ok=True)
    np.savez(path, allow_pickle=False, **columns)
    return {"name": path.name, "first": first, "steps": end - first, **_digest(path)}


def _write_leaves(replay: PrioritizedReplay, folder: Path) -> dict[str, Any]:
    path = folder / LEAVES_FILE
    path.unlink(missing_ok=True)
    np.save(path, replay.leaves, allow_pickle=False)
    return {"name": path.name, **_digest(path)}


def _read(replay: PrioritizedReplay, folder: Path, entry: dict[str, Any], oldest: int) -> None:
    """Fill in a segment's steps from `oldest` on; in ascending order, as they were added."""
    first = max(entry["first"], oldest)
    skipped, end = first - entry["first"], entry["first"] + entry["steps"]
    try:
        with np.load(folder / entry["name"], allow_pickle=False) as columns:
            for name, ring in replay.rings.items():
                column = columns[name]
                for rows, steps in replay.spans(first, end + (name in _SEEN)):
                    ring[:, rows] = column[:, skipped + steps.start : skipped + steps.stop]
    except (KeyError, ValueError, zipfile.BadZipFile) as error:  # the digest was right, so another version's
        raise SegmentError(f"{folder / entry['name']} is no segment of this version ({error})") from error


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX_FILE
    try:
        text = json.loads(path.read_text())
        index, seen = dict(text["index"]), text["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SegmentError(
            f"{path} cannot be read ({type(error).__name__}: {error}): the replay checkpoint is not whole; "
            "resume from an earlier one"
        ) from error
    if seen != _text_digest(index):
        raise SegmentError(f"{path} is not as it was written: changed by hand; resume from an earlier one")
    if index["format"] != FORMAT:
        raise SegmentError(f"{path} has format {index['format']}, this version reads {FORMAT}")
    return index


def _text_digest(index: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _check_size(folder: Path, entry: dict[str, Any]) -> None:
    path = folder / entry["name"]
    size = path.stat().st_size if path.is_file() else None
    if size != entry["bytes"]:
        seen = "is missing" if size is None else f"has {size} bytes, the index says {entry['bytes']}"
        raise SegmentError(f"{path} {seen}: cut or deleted; resume from an earlier checkpoint")


def _check(folder: Path, entry: dict[str, Any]) -> None:
    _check_size(folder, entry)
    path = folder / entry["name"]
    seen = _digest(path)["sha256"]
    if seen != entry["sha256"]:
        raise SegmentError(
            f"{path} has sha256 {seen[:12]}…, the index says {entry['sha256'][:12]}…: the file was changed; "
            "resume from an earlier checkpoint"
        )


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _fingerprint(replay: PrioritizedReplay, steps: int) -> str | None:
    """Digest of the step before step `steps`: tells whether a checkpoint is of this buffer's own past."""
    if not 0 < steps <= replay.steps:
        return None
    row = (steps - 1) % replay.length
    digest = hashlib.sha256()
    for ring in replay.rings.values():
        digest.update(ring[:, row].tobytes())
    return digest.hexdigest()
