"""Training through Ray Tune as a user starts it, in a folder whose names collide with ours."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.errors import ExperimentError
from experiments.ledger import Ledger
from experiments.matrix import Request, resolve
from experiments.progress import Progress
from experiments.tuning import _experiment_folder, states, train

ROOT = Path(__file__).resolve().parents[2]
RUN = ["train", "--archetypes", "aggressive", "--model-types", "combat_dqn", "--epochs", "3"]
RUN += ["--home", "project"]


def request() -> Request:
    return Request(("aggressive",), ("combat_dqn",), epochs=3)


def start(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "experiments.cli", *arguments],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that work below a folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and str(folder) in str((process / "cwd").readlink()):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.ray
@pytest.mark.parametrize("stop", [signal.SIGTERM])
def test_an_interrupted_run_stops_cleanly_and_continues_from_its_checkpoint(
    tmp_path: Path, stop: signal.Signals
) -> None:
    # A folder with its own packages of our names: running one of them would stop everything.
    for package in ("envs", "policies", "experiments", "storage", "serve"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(
            "raise SystemExit('the wrong package was imported')\n"
        )

    process = start(tmp_path, *RUN)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "epoch   2/3" in line:
            # SIGTERM takes the same way as Ctrl-C, and Ray would like to handle it itself.
            process.send_signal(stop)
            break
    lines += process.stdout.readlines()
    assert process.wait(60) == 130, "".join(lines)
    assert "interrupted" in lines[-1] and "run the same command again to continue" in lines[-1]
    assert not any("Traceback" in line for line in lines)
    deadline = time.monotonic() + 10
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(tmp_path) == []

    home = tmp_path / "project"
    (run,) = resolve(request())
    state = states(home, [run])[run.run_id]
    assert state in ("epoch 1/3", "epoch 2/3")

    process = start(tmp_path, *RUN)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert f"continuing after {state}" in output
    assert "v1: registered from " + run.run_id in output
    record = Ledger(home).run(run.run_id)
    assert record.done() is not None and [row["epoch"] for row in record.history()] == [1, 2, 3]

    listing = start(tmp_path, "registry", "list", "--home", "project", "--json").communicate(timeout=60)[0]
    (version,) = json.loads(listing)
    assert version["state"] == "trained" and version["run_id"] == run.run_id

    # A third time nothing is left to do, so not even Ray is started.
    lines = []
    (again,) = train(home, [run], Progress(lines.append), session=lambda: pytest.fail("Ray was started"))
    assert again.reused and "reusing the finished run" in lines[0]


def test_no_resume_forgets_what_was_there(tmp_path: Path) -> None:
    (run,) = resolve(request())
    record = Ledger(tmp_path).run(run.run_id)
    record.begin(run.settings)
    record.model_folder.mkdir()
    record.finish({})
    assert states(tmp_path, [run])[run.run_id] == "done"

    class StopHereError(Exception):
        pass

    def session() -> None:
        raise StopHereError

    with pytest.raises(StopHereError):
        train(tmp_path, [run], Progress(lambda line: None), resume=False, session=session)  # type: ignore[arg-type]
    assert states(tmp_path, [run])[run.run_id] == "new"


def test_experiments_that_no_unfinished_run_needs_are_removed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for number, name in ((1, "done"), (2, "broken")):
        checkpoint = tmp_path / "tune" / f"experiment-{number:04d}" / name / "checkpoint_000001"
        checkpoint.mkdir(parents=True)
        (checkpoint / "files.json").write_text("{}")
        record = ledger.run(name)
        record.begin({})
        record.set_latest(str(checkpoint), 1)
    ledger.run("done").model_folder.mkdir()
    ledger.run("done").finish({})
    assert _experiment_folder(ledger, str(tmp_path / "tune")) == "experiment-0003"
    assert [p.name for p in (tmp_path / "tune").iterdir()] == ["experiment-0002"]


def test_a_failed_run_is_an_error_with_the_way_back(tmp_path: Path) -> None:
    from contextlib import nullcontext

    from experiments import tuning

    (run,) = resolve(request())
    fit, tuning._fit = tuning._fit, lambda *args, **kwargs: None
    try:
        with pytest.raises(ExperimentError, match="did not finish; run the same command again"):
            train(tmp_path, [run], Progress(lambda line: None), session=nullcontext)
    finally:
        tuning._fit = fit
