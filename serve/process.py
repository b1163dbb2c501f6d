"""Starts a service as a process of its own, and stops it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from serve.client import DecisionClient
from serve.ray_session import package_environment
from serve.settings import ServiceError

STOP_TIMEOUT_S = 20.0


class ServiceHandle:
    """A running service that belongs to this process.

    Attributes:
        url: such as `http://127.0.0.1:8000`.
        pid: its main process.
        models: how many models it served when it got ready.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, models: int) -> None:
        self._process = process
        self.url = url
        self.pid = process.pid
        self.models = models

    def __enter__(self) -> ServiceHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the main process is alive."""
        return self._process.poll() is None

    def client(self, timeout_s: float = 10.0) -> DecisionClient:
        """Return a client of this service."""
        return DecisionClient(self.url, timeout_s)

    def stop(self) -> int:
        """Stop the service and wait until it is gone; return its exit status. Harmless when repeated."""
        return _end(self._process)


def start_service(
    home: Path,
    port: int = 0,
    host: str = "127.0.0.1",
    dsn: str | None = None,
    artifacts: str | None = None,
    timeout_s: float = 120.0,
    owner_pid: int | None = None,
) -> ServiceHandle:
    """Start a service and wait until it answers.

    Args:
        home: project data folder; the service's messages go to `home/logs/serve.log`.
        port: port to listen on, 0 for a free one.
        host: loopback address to listen on.
        dsn: DSN of the registry; None for the embedded one under `home`.
        artifacts: root of the artifact store; None for `home/artifacts`.
        timeout_s: longest wait for the service to get ready.
        owner_pid: the service ends with this process; the calling one unless given.

    Raises:
        ServiceError: the service's own line, or that it did not get ready in time.
    """
    home = Path(home).expanduser().absolute()
    log = home / "logs" / "serve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "serve", "--home", str(home), "--host", host, "--port", str(port)]
    command += ["--owner-pid", str(owner_pid or os.getpid())]
    command += ["--dsn", dsn] if dsn else []
    command += ["--artifacts", artifacts] if artifacts else []
    start = log.stat().st_size if log.exists() else 0
    with log.open("ab") as messages:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=messages,
            env=package_environment(),
            start_new_session=True,  # Ctrl-C in a terminal reaches the owner alone, which stops us in order
        )
    try:
        line = _first_line(process, timeout_s)
        if line:
            ready = json.loads(line)
            return ServiceHandle(process, ready["url"], ready["models"])
        ended = process.poll() is not None
    except BaseException:
        _end(process)
        raise
    _end(process)
    if ended:
        raise ServiceError(_complaint(log, start) or f"the service ended at once; see {log}")
    raise ServiceError(f"the service was not ready after {timeout_s:.0f} s; see {log}")


def _first_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """Return the service's first line of output; empty if it ended or took too long."""
    assert process.stdout is not None
    stream = process.stdout
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        lines.put(stream.readline())

    threading.Thread(target=read, name="service-output", daemon=True).start()
    try:
        line = lines.get(timeout=timeout_s)
    except queue.Empty:
        return b""
    if not line:  # end of output: the process is about to end, or has
        _wait(process, 5.0)
    return line


def _end(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.terminate()
        if not _wait(process, STOP_TIMEOUT_S):
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
    return process.returncode


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return process.poll() is not None


def _complaint(log: Path, start: int) -> str:
    """Return the error line that the service left in its log."""
    with log.open("rb") as stream:
        stream.seek(start)
        lines = stream.read().decode("utf-8", "replace").splitlines()
    mark = "serve: error: "
    return next((line.removeprefix(mark) for line in reversed(lines) if line.startswith(mark)), "")
