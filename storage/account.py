"""As whom the embedded server runs: PostgreSQL refuses root, and users without an entry in /etc/passwd.

Whoever owns an existing data directory keeps it. For a new one, root prefers a user namespace (files stay
root's, nothing on the machine changes) and falls back to the user `nobody` where namespaces are blocked.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import DatabaseError

NOBODY = 65534


@dataclass(frozen=True)
class Account:
    """How server processes are started.

    Attributes:
        prefix: Words before the server's own command line.
        become: User id that the supervisor takes for good, or None to stay who it is.
    """

    prefix: tuple[str, ...] = ()
    become: int | None = None


def choose_account(user: int, known: bool, data_owner: int | None, namespaces: bool) -> Account:
    """Choose how to run the server.

    Args:
        user: Effective user id of the supervisor.
        known: Whether the user has an entry in /etc/passwd; in a container often not.
        data_owner: User id that owns the data directory, None when there is none yet.
        namespaces: Whether a process can be mapped to `nobody` in a user namespace.
    """
    if user != 0:
        return Account() if known or not namespaces else Account(prefix=namespace_prefix())
    if data_owner:
        return Account(become=data_owner)
    return Account(prefix=namespace_prefix()) if namespaces else Account(become=NOBODY)


def namespace_prefix() -> tuple[str, ...]:
    """Return the words that run a command as `nobody` in a user namespace of its own."""
    mapped = (f"--map-user={NOBODY}", f"--map-group={NOBODY}")
    return (shutil.which("unshare") or "unshare", "--user", *mapped, "--")


def is_known(user: int) -> bool:
    """Return whether the machine has a name for a user id."""
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def namespaces_work(postgres: Path) -> bool:
    """Return whether the server's binary runs inside a user namespace on this machine."""
    if shutil.which("unshare") is None:
        return False
    command = [*namespace_prefix(), str(postgres), "--version"]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def become(user: int, folder: Path) -> None:
    """Give up root for good: hand `folder` to `user` and run as that user from here on.

    Args:
        user: User id to become.
        folder: The embedded server's folder, which the user must own.

    Raises:
        DatabaseError: The machine does not know the user.
    """
    try:
        group = pwd.getpwuid(user).pw_gid
    except KeyError:
        raise DatabaseError(
            f"the embedded database would run as user id {user}, which has no entry in /etc/passwd; "
            "run as that user, or give a database with --dsn"
        ) from None
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, group, follow_symlinks=False)
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
