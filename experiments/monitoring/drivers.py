"""Which commands are training in a home now: a file for each, locked as long as its process lives.

The lock is the kernel's: it goes with the process, however that ends, so a killed command is never taken for
a running one, and no process is judged by its number.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.ledger import write_json


@dataclass(frozen=True)
class Driver:
    """A command that is training.

    Attributes:
        pid: Its process.
        started: Seconds since 1970.
        run_ids: What it trains, in order.
    """

    pid: int
    started: float
    run_ids: tuple[str, ...]


class Presence:
    """Says that this process trains some runs, until it is left or the process ends.

    Args:
        home: Project folder.
    """

    def __init__(self, home: Path) -> None:
        self._path = _folder(home) / f"{os.getpid()}-{time.time_ns()}.json"
        self._lock: int | None = None

    def enter(self, run_ids: Sequence[str]) -> None:
        """Writes what is trained and takes the lock.

        Raises:
            OSError: The folder cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, {"pid": os.getpid(), "started": time.time(), "run_ids": list(run_ids)})
        self._lock = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def leave(self) -> None:
        """Takes the file away."""
        if self._lock is None:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None


def drivers(home: Path) -> list[Driver]:
    """The commands that train in a home on this machine; what killed ones left is removed.

    Args:
        home: Project folder.
    """
    found = []
    for path in sorted(_folder(home).glob("*.json")):
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError), path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                row = json.load(file)
                found.append(Driver(row["pid"], row["started"], tuple(row["run_ids"])))
                continue
            # Just written and not locked yet, or left by a process that is gone.
            if time.time() - path.stat().st_mtime > 5:
                path.unlink(missing_ok=True)
    return found


def _folder(home: Path) -> Path:
    return Path(home).absolute() / "training" / ".drivers"
