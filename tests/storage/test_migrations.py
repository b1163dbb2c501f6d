from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from storage import DatabaseError, StorageConfig, open_registry
from storage.database import connect
from storage.migrations import Migration, load_migrations, migrate, plan
from storage.session import LoopThread

ONE = Migration(1, "one", "CREATE TABLE one (a integer)")
TWO = Migration(2, "two", "CREATE TABLE two (a integer)")


def run(loop: LoopThread, dsn: str, migrations: list[Migration]) -> list[int]:
    async def work() -> list[int]:
        connection = await connect(dsn)
        try:
            return await migrate(connection, migrations)
        finally:
            await connection.close()

    return loop.run(work())


def test_the_releases_migrations_are_numbered_without_a_gap() -> None:
    numbers = [migration.version for migration in load_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert load_migrations()[0].name == "models"


def test_each_step_is_applied_once_and_in_order(new_database: str, loop: LoopThread) -> None:
    assert run(loop, new_database, [ONE]) == [1]
    assert run(loop, new_database, [ONE, TWO]) == [2]
    assert run(loop, new_database, [ONE, TWO]) == []


def test_a_step_that_fails_leaves_no_trace(new_database: str, loop: LoopThread) -> None:
    broken = Migration(2, "broken", "CREATE TABLE half (a integer); SELECT 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        run(loop, new_database, [ONE, broken])
    assert run(loop, new_database, [ONE, Migration(2, "half", "CREATE TABLE half (a integer)")]) == [2]


def test_processes_that_migrate_at_once_take_turns(new_database: str, loop: LoopThread) -> None:
    slow = Migration(1, "slow", "CREATE TABLE slow (a integer); SELECT pg_sleep(0.2)")

    async def one() -> list[int]:
        connection = await connect(new_database)
        try:
            return await migrate(connection, [slow])
        finally:
            await connection.close()

    async def four() -> list[list[int]]:
        return list(await asyncio.gather(*(one() for _ in range(4))))

    assert sorted(loop.run(four())) == [[], [], [], [1]]


def test_a_database_of_a_newer_release_is_refused() -> None:
    with pytest.raises(DatabaseError, match="has schema 3 and this release of ml-monster knows 2"):
        plan({1: ONE.sha256, 2: TWO.sha256, 3: "x"}, [ONE, TWO])


def test_a_migration_that_was_changed_after_its_release_is_noticed() -> None:
    with pytest.raises(DatabaseError, match=r"step 1 \(one\)"):
        plan({1: "of another text"}, [ONE])


def test_the_registry_refuses_a_newer_schema_in_one_line(
    new_database: str, loop: LoopThread, tmp_path: Path
) -> None:
    run(loop, new_database, [*load_migrations(), Migration(999, "future", "SELECT 1")])
    config = StorageConfig(home=tmp_path, dsn=new_database)
    with pytest.raises(DatabaseError, match="has schema 999") as caught, open_registry(config):
        pass
    assert "\n" not in str(caught.value)
