"""Cleaning up after a session: kills exactly what carries the marker, removes exactly its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serve import janitor


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(folder: Path | None) -> subprocess.Popen[bytes]:
        marker = {} if folder is None else {janitor.MARKER: str(folder)}
        process = subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], **marker})
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def session(parent: Path, name: str, pid: int, ticks: int | None) -> Path:
    folder = parent / f"{janitor.PREFIX}{name}"
    folder.mkdir()
    (folder / janitor.OWNER_FILE).write_text(json.dumps({"pid": pid, "started_ticks": ticks}))
    return folder


def test_a_process_is_known_by_pid_and_start_time(spawn: Callable[..., subprocess.Popen[bytes]]) -> None:
    assert janitor.started_ticks(os.getpid()) == janitor.started_ticks(os.getpid())
    process = spawn(None)
    assert janitor.started_ticks(process.pid) is not None
    process.kill()
    assert wait_for(lambda: janitor.started_ticks(process.pid) is None)  # a zombie already counts as gone


def test_sweep_kills_the_sessions_processes_and_no_others(
    tmp_path: Path, spawn: Callable[..., subprocess.Popen[bytes]]
) -> None:
    mine, other = session(tmp_path, "a", 1, 0), session(tmp_path, "ab", 1, 0)
    members, stranger, neighbour = [spawn(mine), spawn(mine)], spawn(None), spawn(other)
    assert wait_for(lambda: set(janitor.session_processes(mine)) == {m.pid for m in members})
    assert janitor.sweep(mine)
    assert [member.wait(5) for member in members] == [-9, -9]
    assert not mine.exists()
    assert stranger.poll() is None
    assert neighbour.poll() is None
    assert other.exists()


def test_only_sessions_of_dead_owners_are_swept_at_the_next_start(tmp_path: Path) -> None:
    own = janitor.started_ticks(os.getpid())
    assert own is not None
    alive = session(tmp_path, "alive", os.getpid(), own)
    reused = session(tmp_path, "reused", os.getpid(), own - 1)  # our pid, another process
    dead = session(tmp_path, "dead", 2**22 + 1, 5)
    young = tmp_path / f"{janitor.PREFIX}young"
    young.mkdir()
    foreign = tmp_path / "other-dead"
    foreign.mkdir()
    assert janitor.sweep_dead_sessions(tmp_path) == [dead, reused]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in (alive, young, foreign))


@pytest.mark.parametrize("ending", ["close", "kill"])
def test_the_janitor_sweeps_when_its_owner_ends_in_whatever_way(
    tmp_path: Path, spawn: Callable[..., subprocess.Popen[bytes]], ending: str
) -> None:
    folder = session(tmp_path, "x", 1, 0)
    member = spawn(folder)
    code = (
        "import subprocess, sys, time\n"
        "guard = subprocess.Popen([sys.executable, '-I', *sys.argv[1:]], stdin=subprocess.PIPE)\n"
        "print(guard.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(janitor.__file__), str(folder)]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdin is not None
    assert owner.stdout is not None
    guard = int(owner.stdout.readline())
    time.sleep(0.2)
    assert member.poll() is None
    if ending == "kill":
        owner.kill()
    else:
        owner.stdin.close()
    owner.wait(10)
    assert member.wait(10) == -9
    assert wait_for(lambda: not folder.exists())
    assert wait_for(lambda: janitor.started_ticks(guard) is None)
