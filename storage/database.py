"""Connections to PostgreSQL, and errors of theirs that a person can read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg

from .errors import DatabaseError, StorageError, one_line
from .jsonable import encode

if TYPE_CHECKING:
    from asyncpg import Connection, Pool

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0

# A server that stops, starts or recovers: the same request can succeed a moment later.
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    ConnectionError,
    FileNotFoundError,  # the socket, between two servers
)


async def connect(dsn: str) -> Connection:
    """Open one connection.

    Args:
        dsn: PostgreSQL address.

    Raises:
        DatabaseError: The address is malformed, or nobody answers there as asked.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, command_timeout=COMMAND_TIMEOUT_S)
    except Exception as error:
        raise explain(error, dsn) from error
    await prepare(connection)
    return connection


async def make_pool(dsn: str, max_size: int) -> Pool:
    """Return a pool for the running event loop, which alone may use it; it connects when first used.

    Args:
        dsn: PostgreSQL address.
        max_size: Most connections at a time.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=max_size,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        init=prepare,
    )


async def prepare(connection: Connection) -> None:
    """Let a new connection exchange Python values for jsonb.

    Args:
        connection: An open connection.
    """
    await connection.set_type_codec("jsonb", encoder=encode, decoder=json.loads, schema="pg_catalog")


@asynccontextmanager
async def lost_if_torn(connection: Connection) -> AsyncIterator[None]:
    """Turn the many ways in which asyncpg fails on a connection that is just dying into one of `LOST`.

    Args:
        connection: An acquired connection, which is given up in that case.
    """
    try:
        yield
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if isinstance(error, ValueError):  # a value that does not fit its column
            raise
        connection.terminate()
        raise ConnectionResetError("the connection was lost") from error


def explain(error: Exception, dsn: str) -> StorageError:
    """Return the error as one line that names the likely cause and the remedy.

    Args:
        error: What asyncpg or the system raised.
        dsn: The address that was used; its password never reaches the message.
    """
    if isinstance(error, StorageError):
        return error
    seen = one_line(error)
    place = describe(dsn)
    remedies: list[tuple[type[Exception] | tuple[type[Exception], ...], str]] = [
        (asyncpg.InvalidCatalogNameError, "make it with `createdb`, or correct its name in --dsn"),
        (asyncpg.InvalidAuthorizationSpecificationError, "correct user and password in --dsn"),
        (asyncpg.InsufficientPrivilegeError, "grant the user the right to create and change tables"),
        (asyncpg.UndefinedTableError, "open the registry once by `monster registry list` to make its tables"),
        (TimeoutError, "check that the host is right and that no firewall drops the connection"),
        (LOST, "check that the server runs, and host and port in --dsn"),
        (OSError, "check host and port in --dsn"),
        (ValueError, "give --dsn in the form postgresql://user:password@host:5432/database"),
    ]
    for kinds, remedy in remedies:
        if isinstance(error, kinds):
            return DatabaseError(f"cannot use the database {place}: {seen}; {remedy}")
    return DatabaseError(f"the database {place} refused: {seen}")


def describe(dsn: str) -> str:
    """Return where an address leads, without its password.

    Args:
        dsn: PostgreSQL address.
    """
    try:
        parts = urlsplit(dsn)
        if not parts.hostname:
            return "of this machine"
        port: Any = parts.port or 5432
    except ValueError:
        return "of the given address"
    return f"at {parts.hostname}:{port}{parts.path}"
