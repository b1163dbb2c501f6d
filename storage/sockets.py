"""Where the embedded server's sockets lie, and how a client finds them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

_LONGEST_BYTES = 100  # the kernel takes 107 for the path of a unix socket
_SOCKET = ".s.PGSQL.5432"
_PREFIX = "ml-monster-"
_LEASE = "lease"


def fits(folder: Path) -> bool:
    """Return whether PostgreSQL's socket can lie in `folder`: short enough, and no character of its lists."""
    try:
        length = len(str(folder / _SOCKET).encode())
    except UnicodeEncodeError:
        return False
    return length <= _LONGEST_BYTES and re.search(r'[,"\\\x00-\x1f]', str(folder)) is None


def make_socket_folder(home: Path) -> Path:
    """Make an empty folder for the sockets, open to its owner alone; elsewhere only if `home` does not fit.

    Args:
        home: The embedded server's folder, whose lock the caller holds.
    """
    remove_socket_folder(home)
    folder = home / "run"
    if fits(folder):
        folder.mkdir(mode=0o700)
    else:
        base = tempfile.gettempdir()
        base = base if fits(Path(base) / f"{_PREFIX}12345678") else "/tmp"
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    beside = home / "endpoint.new"
    beside.write_text(str(folder / _LEASE), errors="surrogateescape")
    beside.replace(home / "endpoint")
    return folder


def remove_socket_folder(home: Path) -> None:
    """Remove the sockets' folder, also one in the temporary folder that a killed supervisor left."""
    address = lease_address(home)
    if address is not None:
        elsewhere = address.parent
        if (
            elsewhere.name.startswith(_PREFIX)
            and elsewhere.is_dir()
            and elsewhere.stat().st_uid == os.geteuid()
        ):
            shutil.rmtree(elsewhere, ignore_errors=True)
    (home / "endpoint").unlink(missing_ok=True)
    if (home / "run").exists():
        shutil.rmtree(home / "run")


def lease_address(home: Path) -> Path | None:
    """Return the address of the supervisor's socket, or None when no supervisor has been here.

    Args:
        home: The embedded server's folder.

    Raises:
        PermissionError: The folder belongs to another user.
    """
    try:
        return Path((home / "endpoint").read_text(errors="surrogateescape"))
    except FileNotFoundError:
        return None
