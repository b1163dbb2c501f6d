"""A `monster demo` with a home, user home and temporary folder of its own and a mark on all its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


class DemoProcess:
    """Starts the demo and finds everything that descends from it, whatever its parent became.

    Args:
        folder: an empty folder for everything the demo may write.
        uid: user to run as; None stays who we are.
    """

    def __init__(self, folder: Path, uid: int | None = None) -> None:
        self.folder, self.uid = folder, uid
        self.home, self.user_home = folder / "runs", folder / "user"
        # Ray's sockets below the temporary folder must stay within 107 characters.
        self.temporary = Path(f"/tmp/{uuid.uuid4().hex[:6]}")
        for path in (self.home, self.user_home, self.temporary):
            path.mkdir(parents=True, exist_ok=True)
            if uid is not None:
                os.chown(path, uid, uid)
        self.mark = f"CHAOS_MARK={uuid.uuid4().hex}"
        self.output = ""

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one small demo: one archetype, few epochs and fights."""
        name, value = self.mark.split("=")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.user_home),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            name: value,
        }
        if cache := os.environ.get("NUMBA_CACHE_DIR"):
            environment["NUMBA_CACHE_DIR"] = cache
        command = [sys.executable, "-P", "-m", "experiments.cli", "demo", "--home", str(self.home)]
        command += ["--archetypes", "mage", "--num-episodes", "400", *arguments]
        user = {} if self.uid is None else {"user": self.uid, "group": self.uid, "extra_groups": []}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **user,  # type: ignore[call-overload]
        )

    def wait_for(self, process: subprocess.Popen[str], text: str) -> None:
        """Read the output until a line holds `text`; fails with the output if the demo ends before."""
        assert process.stdout is not None
        for line in process.stdout:
            self.output += line
            if text in line:
                return
        raise AssertionError(
            f"the demo ended (exit {process.wait()}) before it said {text!r}:\n{self.output}"
        )

    def marked(self) -> dict[int, str]:
        """Process id -> command line of every living process that carries our mark."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    if state != "Z":
                        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                        found[int(entry.name)] = command.decode(errors="replace")[:160]
            except OSError:
                continue
        return found

    def ours(self) -> dict[int, str]:
        """The marked processes that are servers of ours: service, database, supervisor, janitors."""
        words = ("postgres", "storage.", "serve", "experiments", "haproxy")
        return {pid: text for pid, text in self.marked().items() if any(word in text for word in words)}

    def kill_left_overs(self) -> None:
        """Kill what a failed test left, each by its own id."""
        for pid in self.marked():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll a condition; returns whether it held within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return condition()
