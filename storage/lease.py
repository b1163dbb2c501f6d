"""How a client gets the embedded server: it holds a lease, and starts the supervisor if none answers."""

from __future__ import annotations

import json
import os
import site
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from .errors import DatabaseError, one_line
from .sockets import lease_address

_POLL_S = 0.03


class Lease:
    """A claim on the embedded server, which runs as long as any is held.

    The claim is an open connection, so it ends with the process that holds it, however that ends.

    Attributes:
        dsn: PostgreSQL address of the server.
        supervisor_pid: Process that owns the server.
        server_pid: The server's own process.
    """

    def __init__(self, connection: socket.socket, answer: dict[str, object]) -> None:
        self._connection = connection
        self.dsn = str(answer["dsn"])
        self.supervisor_pid = int(str(answer["supervisor_pid"]))
        self.server_pid = int(str(answer["server_pid"]))

    def close(self) -> None:
        """Let go; the server stops a moment after the last lease is gone."""
        self._connection.close()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def acquire_lease(folder: Path, timeout_s: float = 90.0, linger_s: float = 2.0) -> Lease:
    """Return a lease on the embedded server of a folder, starting the server if it does not run.

    Args:
        folder: The embedded server's folder; made if missing.
        timeout_s: Patience for the whole start, seconds; a first start makes the data directory.
        linger_s: How long a supervisor started by this call outlives its last lease, seconds.

    Raises:
        DatabaseError: The server cannot be started; the message says why.
    """
    deadline = time.monotonic() + timeout_s
    starter: _Starter | None = None
    try:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        while time.monotonic() < deadline:
            connection = _connect(folder)
            if connection is not None:
                answer = _wait_for_answer(connection, deadline)
                if answer is not None:
                    return Lease(connection, answer)
                connection.close()  # it was about to end, or it failed: then its starter says why
            if starter is not None and starter.ended():
                complaint = starter.complaint()
                if complaint:
                    raise DatabaseError(complaint)
                starter = None
            elif starter is None and connection is None:
                starter = _Starter(folder, linger_s)
            time.sleep(_POLL_S)
    except OSError as error:
        raise DatabaseError(
            f"cannot use the embedded database in {folder}: {one_line(error)}; if it is another user's, "
            "run as that user, choose another --home, or give a database with --dsn"
        ) from error
    finally:
        if starter is not None:
            starter.close()
    raise DatabaseError(
        f"the embedded database in {folder} did not get ready within {timeout_s:.0f} s; "
        f"look into {folder / 'server.log'}"
    )


class _Starter:
    """A supervisor that is being started, and the pipe on which it complains until it is up."""

    def __init__(self, folder: Path, linger_s: float) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self._reader = reader
        self._text = b""
        command = [sys.executable, "-P", "-m", "storage.supervisor", str(folder), "--linger-s", str(linger_s)]
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=writer,
                cwd=folder,
                env=_environment(),
                start_new_session=True,
            )
        finally:
            os.close(writer)

    def ended(self) -> bool:
        """Return whether the supervisor closed the pipe: it is up, it failed, or another one serves."""
        while True:
            try:
                block = os.read(self._reader, 65536)
            except BlockingIOError:
                return False
            if not block:
                return True
            self._text += block

    def complaint(self) -> str:
        """Return the last line that the supervisor wrote, empty when it did not complain."""
        lines = self._text.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """Stop listening."""
        os.close(self._reader)


def _connect(folder: Path) -> socket.socket | None:
    address = lease_address(folder)
    if address is None:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(address))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    return connection


def _wait_for_answer(connection: socket.socket, deadline: float) -> dict[str, object] | None:
    """Read the supervisor's line; None when it closes the connection instead."""
    line = b""
    while not line.endswith(b"\n"):
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            block = connection.recv(4096)
        except (TimeoutError, ConnectionResetError):
            return None
        if not block:
            return None
        line += block
    answer: dict[str, object] = json.loads(line)
    return answer


def _environment() -> dict[str, str]:
    """Return the environment in which `storage.supervisor` is this very package."""
    environment = dict(os.environ)
    root = str(Path(__file__).resolve().parent.parent)
    if root not in site.getsitepackages():  # there it is found anyway, and must not come before the stdlib
        inherited = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = root if not inherited else f"{root}{os.pathsep}{inherited}"
    return environment
