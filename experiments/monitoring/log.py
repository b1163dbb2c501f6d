"""The training log of a home: `logs/training.log` for people, `logs/training.jsonl` for programs.

Both say the same, a line an event. At `ROTATE_BYTES` a file becomes `training.log.1`, the older ones move up,
and those beyond `KEPT` go.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.ledger import plain

TEXT_FILE, JSON_FILE = "training.log", "training.jsonl"
ROTATE_BYTES = 10_000_000
KEPT = 5
EVENTS = (
    "start", "epoch", "best", "checkpoint", "promotion", "warning", "out_of_memory", "early_stop", "finish",
    "error",
)  # fmt: skip


class TrainingLog:
    """Writes events; several commands may write to one home at the same time.

    Args:
        home: Project folder; the files lie in ``<home>/logs``.
        rotate_bytes: Size at which a file is put away.
        kept: Files put away that stay.
    """

    def __init__(self, home: Path, *, rotate_bytes: int = ROTATE_BYTES, kept: int = KEPT) -> None:
        self._folder = Path(home).absolute() / "logs"
        self._rotate_bytes, self._kept = rotate_bytes, kept

    def write(self, run_id: str, event: str, text: str, **fields: Any) -> None:
        """Writes one event to both files.

        Args:
            run_id: Of the run that it is about.
            event: One of `EVENTS`.
            text: What `training.log` says of it, one line.
            fields: What `training.jsonl` holds beside time, run id and event.

        Raises:
            ValueError: No such event.
            OSError: The files cannot be written.
        """
        if event not in EVENTS:
            raise ValueError(f"{event!r} is no event of the training log; known: {', '.join(EVENTS)}")
        now = datetime.now(UTC)
        row = {"time": now.isoformat(timespec="milliseconds"), "run_id": run_id, "event": event, **fields}
        line = f"{now:%Y-%m-%d %H:%M:%S}Z  {run_id}  {event:<13} {' '.join(text.split())}"
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            self._append(TEXT_FILE, line)
            self._append(JSON_FILE, json.dumps(plain(row), allow_nan=False))

    def _append(self, name: str, line: str) -> None:
        path = self._folder / name
        if path.exists() and path.stat().st_size + len(line) + 1 > self._rotate_bytes:
            for number in range(self._kept, 0, -1):
                older = path.with_name(f"{name}.{number}")
                newer = path.with_name(f"{name}.{number - 1}") if number > 1 else path
                if newer.exists():
                    os.replace(newer, older)
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other writers out: two of them must not put the same file away."""
        with (self._folder / ".training.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def events(home: Path) -> list[dict[str, Any]]:
    """Reads the events of a home, oldest first, those put away included."""
    folder = Path(home).absolute() / "logs"
    paths = sorted(folder.glob(f"{JSON_FILE}.[0-9]*"), key=lambda path: -int(path.suffix[1:]))
    found = []
    for path in [*paths, folder / JSON_FILE]:
        if not path.exists():
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # torn off by a killed process
                found.append(json.loads(line))
    return found


def describe(metrics: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Words some metrics of an epoch as ``name value``, those that are there."""
    parts = []
    for name in names:
        value = metrics.get(name)
        if isinstance(value, (int, float)) and value == value:
            parts.append(f"{name} {value:.4g}")
    return "  ".join(parts)
