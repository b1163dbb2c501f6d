"""The process that owns the embedded server: `python -P -m storage.supervisor FOLDER`.

It lives while any client holds a lease, an open connection on its socket: a client that is killed lets go by
itself. When the last lease has been gone for a while it stops the server cleanly and ends. One per folder.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType

from . import account, binaries
from .errors import DatabaseError, StorageError, one_line
from .server import PostgresServer
from .sockets import lease_address, make_socket_folder, remove_socket_folder

_LOG_BYTES = 1 << 20
_LOCK_PATIENCE_S = 30.0
_RESTARTS = 5  # crashes of the server that are borne within a minute
_log = logging.getLogger(__name__)


class _Stopped(BaseException):
    """SIGTERM or SIGINT came."""


def main(arguments: list[str] | None = None) -> int:
    """Run the supervisor; a line on stderr and exit code 1 say why it could not.

    Args:
        arguments: Command line, `sys.argv[1:]` unless given.
    """
    parser = argparse.ArgumentParser(prog="storage.supervisor", description=__doc__)
    parser.add_argument("folder", type=Path, help="the embedded server's folder")
    parser.add_argument("--linger-s", type=float, default=2.0, help="seconds from the last lease to the end")
    options = parser.parse_args(arguments)
    if os.fork():
        # The caller gets no child to reap, and whoever kills its children (Ray does) does not find us.
        os._exit(0)
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the thread that started us may have blocked some
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_stopped)
    try:
        _run(options.folder, options.linger_s)
    except _Stopped:
        _log.info("stopped by a signal")
    except StorageError as error:
        return _complain(one_line(error))
    except OSError as error:
        return _complain(
            f"cannot run the embedded database in {options.folder}: {one_line(error)}; check that the folder "
            "is yours and the disk not full, or give a database with --dsn"
        )
    return 0


def _complain(line: str) -> int:
    _log.error("%s", line)
    with contextlib.suppress(OSError):  # whoever started us may be gone
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    return 1


def _run(folder: Path, linger_s: float) -> None:
    programs = binaries.locate()
    data_owners = [path.stat().st_uid for path in folder.glob("pg[0-9]*")]
    user, known = os.geteuid(), account.is_known(os.geteuid())
    whom = account.choose_account(
        user,
        known,
        data_owners[0] if data_owners else None,
        namespaces=(user == 0 or not known) and account.namespaces_work(programs / "postgres"),
    )
    if whom.become is not None:
        account.become(whom.become, folder)
    lock = _take_lock(folder)
    if lock is None:
        return
    log = folder / "server.log"
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(folder / "server.log.1")
    logging.basicConfig(
        filename=log,
        level=logging.INFO,
        format="%(asctime)s supervisor[%(process)d] %(levelname)s: %(message)s",
    )
    server: PostgresServer | None = None
    try:
        sockets = make_socket_folder(folder)
        with socket.socket(socket.AF_UNIX) as door:
            # The door opens before the server runs, so that whoever waits already holds a lease.
            door.bind(str(sockets / "lease"))
            door.listen(128)
            server = PostgresServer(folder, sockets, log, binaries.inspect(programs, whom), whom, lock)
            server.start()
            _log.info("server %s is ready", server.pid)
            _leave_terminal(log)
            _serve_leases(door, server, linger_s)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if server is not None:
            server.stop()
        remove_socket_folder(folder)
        _log.info("server is stopped")


def _serve_leases(door: socket.socket, server: PostgresServer, linger_s: float) -> None:
    """Hand out leases until the last one has been gone for `linger_s` seconds."""
    answer = {"dsn": server.dsn, "supervisor_pid": os.getpid(), "server_pid": server.pid}
    crashes: list[float] = []
    last_use = time.monotonic()
    door.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(door, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(min(0.25, linger_s)):
                if key.fileobj is door:
                    with contextlib.suppress(OSError):  # the client may have gone again
                        lease, _ = door.accept()
                        lease.setblocking(False)
                        selector.register(lease, selectors.EVENT_READ)
                        lease.sendall(json.dumps(answer).encode() + b"\n")
                else:
                    _drop_if_closed(selector, key.fileobj)  # type: ignore[arg-type]
            if len(selector.get_map()) > 1:
                last_use = time.monotonic()
            elif time.monotonic() - last_use >= linger_s:
                _log.info("no lease for %.1f s", linger_s)
                return
            if not server.running():
                crashes = [moment for moment in crashes if moment > time.monotonic() - 60.0]
                crashes.append(time.monotonic())
                if len(crashes) > _RESTARTS:
                    raise DatabaseError("the embedded database crashed again and again; see server.log")
                _log.warning("server %s is gone, starting it again", server.pid)
                server.start()
                answer["server_pid"] = server.pid


def _drop_if_closed(selector: selectors.BaseSelector, lease: socket.socket) -> None:
    """Forget a lease whose client closed it or died; what a client sends has no meaning."""
    try:
        if lease.recv(4096):
            return
    except BlockingIOError:
        return
    except OSError:
        pass
    selector.unregister(lease)
    lease.close()


def _take_lock(folder: Path) -> int | None:
    """Lock the folder; None when another supervisor serves it.

    A supervisor that is about to end, or a server whose supervisor was killed, holds the lock for a moment.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _answers(folder):
                return None
        else:
            return descriptor
        if time.monotonic() > deadline:
            raise DatabaseError(
                f"another process holds {folder / 'lock'} and does not answer; see who with `fuser`, "
                "and stop it"
            )
        time.sleep(0.05)


def _answers(folder: Path) -> bool:
    """Return whether a supervisor listens at the folder's address."""
    address = lease_address(folder)
    if address is None:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(address)) == 0


def _leave_terminal(log: Path) -> None:
    """Point stderr at the log: the pipe to the client that started us closes, which tells it we are up."""
    with log.open("ab") as target:
        os.dup2(target.fileno(), sys.stderr.fileno())


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise _Stopped


if __name__ == "__main__":
    sys.exit(main())
