"""TensorBoard event files: one file a run, one point an epoch, whatever broke off in between.

Written with TensorBoard's own records rather than through `torch.utils.tensorboard`: its writer starts a new
file and a thread with every attempt and leaves the points of a repeated epoch where they are. Here a point is
appended and on disk at once, and a resumed run first drops what it is going to repeat.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIX = "events.out.tfevents"
"""TensorBoard reads the files of a folder whose names hold this, in the order of their names."""
GROUPS = {
    "play": (
        "reward", "episode_length", "win_rate", "score", "action_entropy_bits", "episodes",
        "selection_win_rate", "selection_reward",
    ),
    "settings": (
        "learning_rate", "epsilon", "entropy_coeff", "priority_beta", "replay_rows", "accumulate",
        "curriculum_level", "curriculum_share",
    ),
    "resources": (
        "epoch_s", "env_steps_per_s", "rows_per_s", "gpu_memory_bytes", "peak_gpu_bytes",
        "peak_process_bytes",
    ),
    "progress": (
        "env_steps", "updates", "skipped_updates", "steps", "skipped_steps", "best_epoch", "early_stop",
    ),
}  # fmt: skip
"""TensorBoard's cards are folded by what stands before the slash; names are those of docs/metrics.md."""
_GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}
_UNSHOWN = ("epoch", "epochs")


def tag(name: str) -> str:
    """Where TensorBoard shows a metric: its group and its name.

    Args:
        name: As in docs/metrics.md; one that has a slash already is its own tag.
    """
    if "/" in name:
        return name
    if name.startswith("seconds_"):
        return f"resources/{name}"
    if name.startswith(("val_", "calibration_")) and name != "val_loss":
        return f"validation/{name}"
    return f"{_GROUP_OF.get(name, 'learning')}/{name}"


class Curve:
    """The event file of one run.

    Args:
        folder: ``<home>/logs/tensorboard/<run id>``; made with the first point.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: Path | None = None
        self._last_epoch = 0

    def add(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Adds one epoch; points of this epoch and later ones, of an attempt that broke off, are dropped.

        Args:
            epoch: TensorBoard's step, from 1.
            metrics: By name; what is no finite number is left out.

        Raises:
            OSError: The file cannot be written.
        """
        if self._file is None or epoch <= self._last_epoch:
            self._file = self._start(epoch)
        now = time.time()
        points = {tag(name): float(value) for name, value in metrics.items() if _is_point(name, value)}
        _append(self._file, [_event(now, epoch, points)])
        self._last_epoch = epoch

    def clear(self) -> None:
        """Removes the run's points: it starts anew."""
        for path in _files(self._folder):
            path.unlink()
        self._file = None

    def _start(self, epoch: int) -> Path:
        """Finds the file to go on with: the one that is there, or a new one with the points that stay."""
        files = _files(self._folder)
        found = [(event, path) for path in files for event in _read(path)]
        kept = [event for event, _ in found if event.step < epoch]
        if len(files) == 1 and len(kept) == len(found) and _is_whole(files[0]):
            return files[0]
        self._folder.mkdir(parents=True, exist_ok=True)
        # A name behind the old ones: a TensorBoard that is looking at them goes on to this file.
        number = max((int(path.suffix[1:]) for path in files), default=0) + 1
        path = self._folder / f"{PREFIX}.{int(time.time()):010d}.monster.{number:04d}"
        beside = self._folder / ".writing"
        beside.unlink(missing_ok=True)
        _append(beside, kept or [_version()])
        beside.rename(path)
        for old in files:
            old.unlink()
        return path


def read_curve(folder: Path) -> dict[str, dict[int, float]]:
    """Reads a run's points.

    Args:
        folder: ``<home>/logs/tensorboard/<run id>``.

    Returns:
        By tag, the value of each epoch.
    """
    found: dict[str, dict[int, float]] = {}
    for path in _files(folder):
        for event in _read(path):
            for value in event.summary.value:
                found.setdefault(value.tag, {})[int(event.step)] = float(value.simple_value)
    return found


def _is_point(name: str, value: Any) -> bool:
    if name in _UNSHOWN or isinstance(value, (bool, str)):
        return False
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}.*")) if folder.is_dir() else []


def _event(wall_time: float, step: int, points: Mapping[str, float]) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=name, simple_value=value) for name, value in points.items()]
    return Event(wall_time=wall_time, step=step, summary=Summary(value=values))


def _version() -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time.time(), file_version="brain.Event:2")


def _append(path: Path, events: list[Any]) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with path.open("ab") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())


def _read(path: Path) -> list[Any]:
    """Every whole event of a file; a record torn off by a killed process ends it."""
    from tensorboard.compat.proto.event_pb2 import Event

    return [Event.FromString(data) for data in _records(path.read_bytes())[0]]


def _is_whole(path: Path) -> bool:
    content = path.read_bytes()
    return _records(content)[1] == len(content)


def _records(content: bytes) -> tuple[list[bytes], int]:
    """Splits a file of records: length (8 bytes, little-endian), its checksum (4), data, its checksum (4).

    Returns:
        The data of every whole record, and where the last one ends.
    """
    found, place = [], 0
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 8], "little")
        end = place + 12 + length + 4
        if end > len(content):
            break
        found.append(content[place + 12 : end - 4])
        place = end
    return found, place
