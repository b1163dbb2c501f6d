"""A Ray of two nodes on this machine, each on a loopback address, killed by its own processes' ids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD, WORKER = "127.0.0.5", "127.0.0.6"


def environment(mark: str) -> dict[str, str]:
    """Environment of a node or driver whose processes are found by a mark."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",  # both nodes listen on loopback only
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
        "CHAOS_MARK": mark,
        **{name: value for name, value in os.environ.items() if name == "NUMBA_CACHE_DIR"},
    }


def marked(mark: str) -> list[int]:
    """Ids of the living processes that carry a mark."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"CHAOS_MARK={mark}".encode() in (
                entry / "environ"
            ).read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill(mark: str) -> None:
    """SIGKILL to every process that carries a mark, until none is left."""
    while pids := marked(mark):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


class TwoNodes:
    """Head and worker with one CPU each.

    Attributes:
        address: HOST:PORT of the head.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="two-", dir="/tmp"))  # Ray's sockets want a short path
        self._marks = {HEAD: uuid.uuid4().hex, WORKER: uuid.uuid4().hex}
        self.address = ""
        self._start(HEAD, "--head", "--port", "0", "--include-dashboard", "false",
                    "--temp-dir", str(self._folder / "r"))  # fmt: skip
        self.address = (self._folder / "r" / "ray_current_cluster").read_text().strip()
        self.start_worker()

    def start_worker(self) -> None:
        """Start the second node."""
        self._start(WORKER, "--address", self.address)

    def kill_worker(self) -> None:
        """SIGKILL to the second node with all that runs on it."""
        kill(self._marks[WORKER])

    def stop(self) -> None:
        """End both nodes and remove their files."""
        import shutil

        for mark in self._marks.values():
            kill(mark)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, ip: str, *options: str) -> None:
        command = [str(Path(sys.executable).parent / "ray"), "start", "--node-ip-address", ip, *options]
        command += ["--num-cpus", "1", "--num-gpus", "0", "--object-store-memory", "100000000"]
        done = subprocess.run(
            command, cwd=self._folder, env=environment(self._marks[ip]), capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
