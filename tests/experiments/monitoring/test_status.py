"""States of runs: of this process, of another one, of a killed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.cli.status import age, state_lines
from experiments.ledger import Ledger, RunRecord
from experiments.monitoring.drivers import Presence, drivers
from experiments.monitoring.status import note_state, run_states

ROOT = Path(__file__).resolve().parents[3]


def begin(home: Path, name: str, epochs_done: int = 0) -> RunRecord:
    record = Ledger(home).run(name)
    trial = {"training": {"epochs": 10}}
    record.begin({"archetype": "mage", "model_type": "combat_dqn", "profile": "demo", "trial": trial})
    for epoch in range(1, epochs_done + 1):
        record.add_epoch({"epoch": epoch, "epochs": 10, "epoch_s": 3.0, "loss": 0.5, "win_rate": 0.25})
    return record


def states(home: Path) -> dict[str, str]:
    return {run.run_id: run.state for run in run_states(home)}


def test_states_of_an_experiment(tmp_path: Path) -> None:
    one, two, three = (begin(tmp_path, name, epochs_done=4) for name in ("one", "two", "three"))
    three.model_folder.mkdir()
    three.finish({})
    presence = Presence(tmp_path)
    presence.enter(["one", "two"])
    note_state(one, "running")
    assert states(tmp_path) == {"one": "running", "two": "waiting", "three": "finished"}
    first = run_states(tmp_path)[0]
    assert (first.epoch, first.epochs, first.left_s, first.pid) == (4, 10, 18.0, os.getpid())
    note_state(one, "failed", "DivergedError: lower the rate")
    note_state(two, "running")
    assert states(tmp_path) == {"two": "running", "one": "failed", "three": "finished"}
    presence.leave()
    assert states(tmp_path) == {"one": "failed", "two": "stopped", "three": "finished"}
    assert drivers(tmp_path) == []


def test_a_killed_command_trains_nothing(tmp_path: Path) -> None:
    begin(tmp_path, "one")
    script = (
        "import pathlib, sys, time\n"
        "from experiments.monitoring.drivers import Presence\n"
        "Presence(pathlib.Path(sys.argv[1])).enter(['one'])\n"
        "print('there', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "there\n"
        assert [driver.pid for driver in drivers(tmp_path)] == [process.pid]
        assert states(tmp_path) == {"one": "waiting"}
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert states(tmp_path) == {"one": "stopped"}


def test_the_table(tmp_path: Path) -> None:
    assert "no run in" in state_lines([], tmp_path)[0]
    note_state(begin(tmp_path, "one", epochs_done=5), "failed", "DivergedError: lower the rate")
    lines = state_lines(run_states(tmp_path), tmp_path)
    assert "mage       combat_dqn  demo     failed   5/10  ######......" in lines[2]
    assert lines[-2:] == ["one: DivergedError: lower the rate", "1 run: 1 failed"]


@pytest.mark.parametrize(("seconds", "words"), [(5, "5 s"), (60, "1 min"), (7200, "2 h"), (3 * 86400, "3 d")])
def test_ages(seconds: float, words: str) -> None:
    assert age(seconds) == words
