"""One embedded PostgreSQL server: making its data directory, starting it, and stopping it cleanly."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from .account import Account
from .binaries import Binaries, clean
from .errors import DatabaseError, one_line

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_SETTINGS = {
    "listen_addresses": "",  # the unix socket is the only door
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "dynamic_shared_memory_type": "mmap",  # inside the data directory: containers have a tiny /dev/shm
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "cluster_name": "ml-monster",
}


class PostgresServer:
    """A PostgreSQL server on a unix socket, owned by the process that starts it.

    Start it from a process's main thread only: the kernel stops the server when the starting thread ends.

    Args:
        folder: The embedded server's folder; the data lie in `pg<major>` below it.
        socket_folder: Folder of the server's socket, readable by its owner alone.
        log: File to which the server's messages are appended.
        binaries: The server's programs.
        account: How server processes are started.
        lock: Descriptor of the folder's lock; every server process holds it as well, so that the lock is
            free only when the last of them is gone, also after its owner was killed.
    """

    def __init__(
        self, folder: Path, socket_folder: Path, log: Path, binaries: Binaries, account: Account, lock: int
    ) -> None:
        self.folder = folder
        self.data = folder / f"pg{binaries.major}"
        self._socket_folder = socket_folder
        self._log = log
        self._binaries = binaries
        self._account = account
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """Address for every client on this machine."""
        # Port and sslmode are spelt out because PGPORT and PGSSLMODE of a client's environment would win.
        host = quote(str(self._socket_folder), safe="")
        return f"postgresql://postgres@/postgres?host={host}&port=5432&sslmode=disable"

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        return self._process.pid if self._process else None

    def start(self, timeout_s: float = 60.0) -> None:
        """Make the data directory if there is none, start the server and wait until it answers.

        Raises:
            DatabaseError: The data are of another major version, or the server does not start.
        """
        check_major(self.folder, self._binaries.major)
        if not self.data.exists():
            self._make_data()
        deadline = time.monotonic() + timeout_s
        while not self._start_once(deadline):
            time.sleep(0.2)  # processes of a server that crashed are still letting go of its memory

    def running(self) -> bool:
        """Return whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop the server: cleanly, and by force only when that takes longer than `timeout_s`."""
        if self._process is None:
            return
        for number, patience_s in ((signal.SIGINT, timeout_s), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            if self._process.poll() is None:
                self._process.send_signal(number)
                try:
                    self._process.wait(patience_s)
                except subprocess.TimeoutExpired:
                    continue
            break
        self._process = None

    def _make_data(self) -> None:
        """Run initdb beside the final place and rename, so that a half-made directory is never used."""
        for left in self.folder.glob("making-*"):
            shutil.rmtree(left)
        beside = self.folder / f"making-{os.getpid()}"
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-instructions"]
        command = [*self._account.prefix, str(self._binaries.initdb), "-D", str(beside), *options]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=clean(),
            pass_fds=(self._lock,),
            preexec_fn=_die_with_owner(),
        )
        if done.returncode:
            shutil.rmtree(beside, ignore_errors=True)
            raise DatabaseError(
                f"cannot make the embedded database in {self.folder}: {one_line(done.stderr)[-300:]}; "
                "check that the disk has 100 MB free and that the folders above let you in"
            )
        beside.rename(self.data)

    def _start_once(self, deadline: float) -> bool:
        """Start the server; return False when a crashed one's memory is still in use."""
        _remove_stale_pid_file(self.data)
        settings = {**_SETTINGS, "unix_socket_directories": str(self._socket_folder)}
        command = [*self._account.prefix, str(self._binaries.postgres), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            seen = log.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=clean(),
                pass_fds=(self._lock,),
                preexec_fn=_die_with_owner(),
            )
        while self._process.poll() is None:
            if _is_ready(self.data, self._process.pid):
                return True
            if time.monotonic() > deadline:
                self.stop(2.0)
                raise DatabaseError(
                    f"the embedded database does not get ready; its messages are in {self._log}"
                )
            time.sleep(0.02)
        messages = self._log.read_bytes()[seen:].decode(errors="replace")
        if "shared memory block" in messages and time.monotonic() < deadline:
            return False
        fatal = (
            re.findall(r"(?:FATAL|PANIC|ERROR): *(.*)", messages) or messages.splitlines() or ["no message"]
        )
        raise DatabaseError(
            f"the embedded database does not start: {one_line(fatal[-1])}; all of it is in {self._log}"
        )


def check_major(folder: Path, major: int) -> None:
    """Refuse data of another major version: PostgreSQL cannot open them, and an empty start would hide them.

    Args:
        folder: The embedded server's folder.
        major: Major version of the installed server.

    Raises:
        DatabaseError: The data are of another version, or the directory is not one of PostgreSQL's.
    """
    others = sorted(path.name for path in folder.glob("pg[0-9]*") if path.name != f"pg{major}")
    data = folder / f"pg{major}"
    if not data.exists():
        if others:
            raise DatabaseError(
                f"{folder / others[-1]} was made by PostgreSQL {others[-1][2:]} and this release brings "
                f"{major}: copy the data over with that version's pg_dump, or move the folder away to begin "
                "an empty database"
            )
        return
    try:
        found = (data / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise DatabaseError(
            f"{data} is not a readable database directory ({one_line(error)}); run as its owner, "
            "or move it away to begin an empty database"
        ) from error
    if found != str(major):
        raise DatabaseError(
            f"{data} holds data of PostgreSQL {found} and this release brings {major}; "
            f"rename it to pg{found} and copy the data over with that version's pg_dump"
        )


def _die_with_owner() -> Callable[[], None]:
    """Return what a child runs before exec: SIGINT (PostgreSQL's fast shutdown) when its starter dies."""
    owner = os.getpid()

    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != owner:  # it died before the line above could take effect
            os._exit(1)

    return prepare


def _is_ready(data: Path, pid: int) -> bool:
    """Return whether the server says that it accepts connections (line 8 of its pid file, as for pg_ctl)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _remove_stale_pid_file(data: Path) -> None:
    """Remove the pid file of a server that was killed.

    PostgreSQL itself takes any living process of that number for the old server and refuses to start, which
    happens in every restarted container. We hold the folder's lock, so nobody serves this directory; only a
    process that names it on its command line gives us pause.
    """
    pid_file = data / "postmaster.pid"
    try:
        words = Path(f"/proc/{int(pid_file.read_text().split()[0])}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, IndexError):
        words = []
    if os.fsencode(data) not in words:
        pid_file.unlink(missing_ok=True)
