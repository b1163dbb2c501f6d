from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from storage import Registry, StorageConfig, open_registry
from storage.lease import acquire_lease
from storage.session import LoopThread


@pytest.fixture(scope="session")
def server_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One embedded server for all tests that only need a database."""
    with acquire_lease(tmp_path_factory.mktemp("shared") / "postgres") as lease:
        yield lease.dsn


@pytest.fixture(scope="session")
def _empty_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory as initdb makes it, of a server that has stopped."""
    folder = tmp_path_factory.mktemp("template") / "postgres"
    with acquire_lease(folder, linger_s=0.1) as lease:
        pass
    wait(lambda: not is_alive(lease.supervisor_pid))
    return folder / "pg18"


@pytest.fixture
def folder(_empty_data: Path, tmp_path: Path) -> Path:
    """Folder of an embedded server whose data directory is there already, which saves each test an initdb."""
    shutil.copytree(_empty_data, tmp_path / "postgres" / "pg18", symlinks=True)
    return tmp_path / "postgres"


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def new_database(server_dsn: str, loop: LoopThread) -> str:
    """DSN of an empty database of its own."""
    from storage.database import connect

    name = f"test_{time.monotonic_ns()}"

    async def create() -> None:
        connection = await connect(server_dsn)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    loop.run(create())
    return server_dsn.replace("/postgres?", f"/{name}?")


@pytest.fixture
def registry(new_database: str, tmp_path: Path) -> Iterator[Registry]:
    with open_registry(StorageConfig(home=tmp_path, dsn=new_database)) as opened:
        yield opened


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    return wait


@pytest.fixture
def alive() -> Callable[[int], bool]:
    return is_alive


@pytest.fixture
def kill() -> Callable[[int], None]:
    """SIGKILL one process by its number."""

    def send(pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    return send


def wait(condition: Callable[[], bool], limit_s: float = 30.0) -> None:
    """Wait for what another process is about to do; a generous limit, since machines may be loaded."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """A zombie counts as dead: nobody may be there to reap it in a container."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
