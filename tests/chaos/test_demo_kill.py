"""A killed or interrupted demo leaves nothing running and nothing lying about, and the next one is clean."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.demo_process import NOBODY, DemoProcess, wait_until

pytestmark = pytest.mark.ray

OURS_S = 10.0
RAY_S = 120.0


def readable_by_nobody() -> bool:
    """Whether an ordinary user can run this Python and read this checkout."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import envs.contracts"
    try:
        probe = subprocess.run(
            [sys.executable, "-P", "-c", code, str(Path(__file__).parents[2])],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        )
    except PermissionError:
        return False
    return probe.returncode == 0


@pytest.fixture(params=["same user", "ordinary user"])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProcess]:
    uid = None
    if request.param == "ordinary user":
        if os.getuid() != 0:
            pytest.skip("already an ordinary user")
        if not readable_by_nobody():
            pytest.skip("this Python or checkout cannot be read by the user nobody")
        uid = NOBODY
        folder = Path("/tmp") / f"chaos-{os.getpid()}"  # pytest's own folders are closed to others
        folder.mkdir(mode=0o755)
        os.chown(folder, uid, uid)
    else:
        folder = tmp_path_factory.mktemp("demo")
    process = DemoProcess(folder, uid)
    yield process
    process.kill_left_overs()
    shutil.rmtree(process.temporary, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def assert_all_gone(demo: DemoProcess) -> None:
    assert wait_until(lambda: not demo.ours(), OURS_S), f"ours still run after {OURS_S} s: {demo.ours()}"
    assert wait_until(lambda: not demo.marked(), RAY_S), f"still running after {RAY_S} s: {demo.marked()}"


def assert_nothing_outside(demo: DemoProcess) -> None:
    """Outside the project's home only one Ray folder may be left, and that only until the next start."""
    left = sorted(path.name for path in demo.temporary.iterdir())
    assert len(left) <= 1, f"left in the temporary folder: {left}"
    kept = sorted(str(p.relative_to(demo.user_home)) for p in demo.user_home.rglob("*"))
    assert kept == [], f"left in the user's home: {kept}"


@pytest.mark.parametrize(
    ("moment", "kind"),
    [
        ("== training", signal.SIGKILL),
        ("== waiting for the service", signal.SIGKILL),
        ("epoch", signal.SIGINT),
    ],
)
def test_killed_demo_leaves_nothing_and_the_next_is_clean(
    demo: DemoProcess, moment: str, kind: signal.Signals
) -> None:
    process = demo.start("--epochs", "4")
    demo.wait_for(process, moment)
    if kind is signal.SIGINT:
        os.killpg(process.pid, kind)  # Ctrl-C reaches the whole foreground group
    else:
        process.kill()
    rest, _ = process.communicate(timeout=120)
    if kind is signal.SIGINT:
        assert process.returncode not in (0, None)
        assert "Traceback" not in demo.output + rest, demo.output + rest
    assert_all_gone(demo)
    assert_nothing_outside(demo)

    again = demo.start("--epochs", "4")
    text, _ = again.communicate(timeout=400)
    report = json.loads((demo.home / "report.json").read_text())
    assert [model["archetype"] for model in report["models"]] == ["mage"], text
    assert again.returncode in (0, 1), text  # 1: four epochs need not pass the gate
    assert_all_gone(demo)
    assert sorted(demo.temporary.iterdir()) == []
    assert_nothing_outside(demo)
