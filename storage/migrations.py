"""Migrations: numbered SQL files, each applied once, in one transaction, by one process at a time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from .errors import DatabaseError

if TYPE_CHECKING:
    from asyncpg import Connection

_LOCK = 7_301_846_205_118  # any number, as long as nobody else uses it in the same database
_LEDGER = """
CREATE TABLE IF NOT EXISTS ml_schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True)
class Migration:
    """One step of the database's schema."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Digest of the text, by which a changed migration is noticed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations() -> list[Migration]:
    """Return the migrations of this release in order, numbered 1, 2, 3 …"""
    found = []
    for entry in files("storage.sql").iterdir():
        number, separator, name = entry.name.removesuffix(".sql").partition("_")
        if entry.name.endswith(".sql") and separator and number.isdigit():
            found.append(Migration(int(number), name, entry.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.version)


async def migrate(connection: Connection, migrations: list[Migration]) -> list[int]:
    """Bring the database to this release's schema; return the versions that were applied now.

    Args:
        connection: A connection of its own: the lock belongs to its session.
        migrations: Migrations in order.

    Raises:
        DatabaseError: The database is newer than this release, or was made by other migrations.
    """
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute("SET client_min_messages = warning")
        await connection.execute(_LEDGER)
        rows = await connection.fetch("SELECT version, sha256 FROM ml_schema_migrations ORDER BY version")
        pending = plan({row["version"]: row["sha256"] for row in rows}, migrations)
        for migration in pending:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO ml_schema_migrations (version, name, sha256) VALUES ($1, $2, $3)",
                    migration.version,
                    migration.name,
                    migration.sha256,
                )
        return [migration.version for migration in pending]
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


def plan(applied: dict[int, str], migrations: list[Migration]) -> list[Migration]:
    """Return what is still to be applied.

    Args:
        applied: Version -> sha256 of what the database says was applied.
        migrations: Migrations of this release in order.

    Raises:
        DatabaseError: The database is newer than this release, or was made by other migrations.
    """
    known = {migration.version: migration for migration in migrations}
    newest = max(known, default=0)
    for version, sha256 in applied.items():
        if version not in known:
            raise DatabaseError(
                f"the database has schema {version} and this release of ml-monster knows {newest}; "
                "upgrade ml-monster, or use another database"
            )
        if known[version].sha256 != sha256:
            raise DatabaseError(
                f"schema step {version} ({known[version].name}) of the database differs from this release's; "
                "it was made by a changed source tree: restore that source, or use another database"
            )
    return [migration for migration in migrations if migration.version not in applied]
