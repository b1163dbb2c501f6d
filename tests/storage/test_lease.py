from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

import storage
from storage import DatabaseError
from storage.database import connect
from storage.lease import Lease, acquire_lease
from storage.session import LoopThread

ROOT = Path(storage.__file__).resolve().parent.parent


def one(loop: LoopThread, dsn: str) -> int:
    async def ask() -> int:
        connection = await connect(dsn)
        try:
            return int(await connection.fetchval("SELECT 1"))
        finally:
            await connection.close()

    return loop.run(ask())


def test_everybody_shares_one_server_also_when_all_start_it_at_once(
    tmp_path: Path, loop: LoopThread, wait_until: Callable[..., None], alive: Callable[[int], bool]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        leases = list(pool.map(lambda _: acquire_lease(tmp_path / "postgres", linger_s=0.3), range(4)))
    first = leases[0]
    assert {(lease.dsn, lease.supervisor_pid) for lease in leases} == {(first.dsn, first.supervisor_pid)}
    for lease in leases[1:]:
        lease.close()
    assert one(loop, first.dsn) == 1
    first.close()
    wait_until(lambda: not alive(first.supervisor_pid) and not alive(first.server_pid))
    # A clean end: the pid file and the sockets are gone, and only data, lock and log remain.
    assert sorted(path.name for path in (tmp_path / "postgres").iterdir()) == ["lock", "pg18", "server.log"]
    assert not (tmp_path / "postgres" / "pg18" / "postmaster.pid").exists()
    assert "database system is shut down" in (tmp_path / "postgres" / "server.log").read_text()


@pytest.mark.parametrize("name", ["meine Möbel", "with, comma", "long" * 30])
def test_a_home_with_any_path_works_and_leaves_nothing_elsewhere(
    folder: Path,
    tmp_path: Path,
    loop: LoopThread,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
    alive: Callable[[int], bool],
) -> None:
    folder = folder.rename(tmp_path / name)
    monkeypatch.setenv("PGPORT", "1")  # a client's environment must not lead it astray
    monkeypatch.setenv("PGSSLMODE", "require")
    with acquire_lease(folder, linger_s=0.1) as lease:
        assert one(loop, lease.dsn) == 1
        sockets = Path((folder / "endpoint").read_text()).parent
        assert sockets.is_dir()
    wait_until(lambda: not alive(lease.supervisor_pid))
    assert not sockets.exists()


def test_a_folder_that_cannot_be_made_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="cannot use the embedded database") as caught:
        acquire_lease(tmp_path / "file" / "postgres")
    assert "\n" not in str(caught.value)


def test_the_supervisor_is_ours_in_a_folder_that_has_its_own_storage(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "__init__.py").write_text("raise SystemExit('not ours')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from storage.lease import acquire_lease\n"
        "acquire_lease(Path('postgres'), linger_s=0.1).close()\n"
    )
    packages = str(Path(asyncpg.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": packages}  # without this project
    command = [sys.executable, "-c", code, str(ROOT)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_lease_lets_go_when_its_block_ends(tmp_path: Path) -> None:
    import socket

    ours, theirs = socket.socketpair()
    with Lease(ours, {"dsn": "postgresql://x", "supervisor_pid": 1, "server_pid": 2}) as lease:
        assert lease.server_pid == 2
    assert theirs.recv(1) == b""
    theirs.close()
