"""Cleans up after a Ray session when its owner ends, however it ends.

Started as a process of its own (`python -I janitor.py FOLDER`, standard library only), it reads a pipe whose
other end the owner holds. When the owner closes it, or dies, the janitor kills every process of the session
and removes the session's folder. A process belongs to the session if it carries the folder in its
environment: Ray's daemons and everything they start inherit that, and nothing else does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARKER = "ML_MONSTER_RAY_SESSION"
PREFIX = "mlm-ray-"
OWNER_FILE = "owner.json"
GRACE_S = 0.5
"""Ray's own daemons get this long to follow their driver by themselves."""


def started_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it is gone or a zombie.

    A pid alone may have been given to another process since; pid and start time together name one.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the program's name may hold spaces and brackets
    return None if fields[0] in "ZX" else int(fields[19])


def session_processes(folder: Path) -> list[int]:
    """Return the processes of this user that carry the session's marker, but not this one."""
    mark = f"{MARKER}={folder}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = Path(entry.path, "environ").read_bytes()
            except OSError:  # gone meanwhile, or another user's
                continue
            if mark in environment.split(b"\0"):
                found.append(int(entry.name))
    return found


def sweep(folder: Path, patience_s: float = 8.0) -> bool:
    """Kill what runs of a session and remove its folder.

    Args:
        folder: the session's folder.
        patience_s: longest wait for killed processes to be gone.

    Returns:
        Whether nothing is left.
    """
    deadline = time.monotonic() + patience_s
    while (alive := session_processes(folder)) and time.monotonic() < deadline:
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists() and not session_processes(folder)


def sweep_dead_sessions(parent: Path) -> list[Path]:
    """Sweep the sessions of this user whose owner is gone; what others own is left alone.

    Args:
        parent: folder that holds session folders.

    Returns:
        The folders that were swept.
    """
    swept = []
    for folder in sorted(parent.glob(f"{PREFIX}*")):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            owner = json.loads((folder / OWNER_FILE).read_text())
            if started_ticks(int(owner["pid"])) == int(owner["started_ticks"]):
                continue
        except (OSError, ValueError, KeyError, TypeError):
            continue  # just being made, or not ours to judge
        sweep(folder)
        swept.append(folder)
    return swept


def main() -> None:
    """Wait for the owner's end, then sweep."""
    folder = Path(sys.argv[1])
    owner = os.getppid()
    # A terminal's Ctrl-C and a service manager's TERM reach the whole family; the janitor leaves last.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    import select

    while True:
        readable, _, _ = select.select([sys.stdin], [], [], 1.0)
        # The pipe may be held open by a child that the owner forked: look at the parent as well.
        if (readable and not os.read(sys.stdin.fileno(), 1)) or os.getppid() != owner:
            break
    deadline = time.monotonic() + GRACE_S
    while session_processes(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    sweep(folder)


if __name__ == "__main__":
    main()
