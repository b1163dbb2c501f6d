"""A matrix of runs on a Ray of two nodes: a node is killed, the driver is killed, and everything finishes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs.contracts import MODEL_TYPES
from experiments.checkpoint_store import flaw
from experiments.ledger import Ledger
from storage.lease import acquire_lease
from tests.chaos.demo_process import wait_until
from tests.chaos.two_nodes import HEAD, TwoNodes, environment, kill

pytestmark = pytest.mark.ray

WHOLE_MATRIX = os.environ.get("MLM_WHOLE_MATRIX") == "1"
"""All 54 runs; 18 otherwise."""
LIMIT_S = 1500 if WHOLE_MATRIX else 400
RESOURCES_BACK_S = 60.0


@pytest.fixture
def nodes() -> Iterator[TwoNodes]:
    cluster = TwoNodes()
    yield cluster
    cluster.stop()


@pytest.fixture
def dsn(tmp_path: Path) -> Iterator[str]:
    with acquire_lease(tmp_path / "database") as lease:
        yield lease.dsn


class Training:
    """`monster train` on the cluster, one home for all its starts."""

    def __init__(self, folder: Path, nodes: TwoNodes, dsn: str) -> None:
        self.home, self._folder = folder / "runs", folder
        self._options = ["--address", nodes.address, "--storage-path", str(folder / "shared")]
        self._options += ["--home", str(self.home), "--dsn", dsn, "--epochs", "2", "--parallel", "2"]
        self.mark = uuid.uuid4().hex

    def start(self, *cells: str) -> subprocess.Popen[str]:
        self.output = (self._folder / f"output-{time.monotonic_ns()}").open("w+")
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.chaos.matrix_process", *cells, *self._options],
            cwd=self._folder, env=environment(self.mark), stdout=self.output, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip

    def said(self) -> str:
        return Path(self.output.name).read_text()

    def finished(self) -> set[str]:
        return {record.run_id for record in Ledger(self.home).runs() if record.done() is not None}

    def epochs(self) -> dict[str, list[int]]:
        """Epochs of each run in the order in which they were reported, repeated ones too."""
        written = {record.run_id: record.folder / "history.jsonl" for record in Ledger(self.home).runs()}
        return {
            run: [int(epoch) for epoch in re.findall(r'"epoch": (\d+)', path.read_text())]
            for run, path in written.items()
            if path.exists()
        }


def ray_says(address: str, expression: str) -> str:
    """What a driver of its own sees, so that this process joins no cluster."""
    code = f"import ray; ray.init(address={address!r}, log_to_driver=False); print({expression})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment("asks"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout.strip()


def test_a_killed_node_costs_no_run(tmp_path: Path, nodes: TwoNodes, dsn: str) -> None:
    training = Training(tmp_path, nodes, dsn)
    cells = ["--all"] if WHOLE_MATRIX else ["--archetypes", "tank", "mage"]
    # A tank's movement starts from two other archetypes' minds, which are trained too.
    expected = 54 if WHOLE_MATRIX else 2 * len(MODEL_TYPES) + 2
    process = training.start(*cells)
    try:
        assert wait_until(lambda: len(training.finished()) >= 3 or process.poll() is not None, LIMIT_S)
        before, passes = training.finished(), training.epochs()
        nodes.kill_worker()
        killed = time.monotonic()
        assert wait_until(
            lambda: (
                ray_says(nodes.address, "[n['NodeManagerAddress'] for n in ray.nodes() if n['Alive']]")
                == f"['{HEAD}']"
            ),
            RESOURCES_BACK_S,
        )
        nodes.start_worker()
        assert wait_until(
            lambda: ray_says(nodes.address, "ray.cluster_resources()['CPU']") == "2.0",
            RESOURCES_BACK_S - (time.monotonic() - killed),
        ), "the cluster's resources are not back within 60 s"
        assert process.wait(LIMIT_S) == 0, training.said()
    finally:
        kill(training.mark)
    said = training.said()
    assert len(training.finished()) == expected, said
    assert {run: epochs for run, epochs in training.epochs().items() if run in before} == {
        run: epochs for run, epochs in passes.items() if run in before
    }, "a finished run was repeated"
    assert "its node was lost" in said, said
    for record in Ledger(training.home).runs():
        assert [flaw(place) for place, _ in record.checkpoints()] == [None] * len(record.checkpoints())
        assert record.checkpoints(), record.run_id
    assert wait_until(
        lambda: ray_says(nodes.address, "ray.available_resources().get('CPU')") == "2.0", RESOURCES_BACK_S
    ), "what the runs held was not given back"


def test_a_killed_driver_repeats_no_finished_run(tmp_path: Path, nodes: TwoNodes, dsn: str) -> None:
    training = Training(tmp_path, nodes, dsn)
    cells = ["--all"] if WHOLE_MATRIX else ["--archetypes", "tank", "mage", "--stage", "core"]
    expected = 54 if WHOLE_MATRIX else 8
    process = training.start(*cells)
    try:
        assert wait_until(lambda: len(training.finished()) >= 2 or process.poll() is not None, LIMIT_S)
        kill(training.mark)
        process.wait(30)
        before, passes = training.finished(), training.epochs()
        assert 2 <= len(before) < expected, training.said()
        assert wait_until(
            lambda: ray_says(nodes.address, "ray.available_resources().get('CPU')") == "2.0",
            RESOURCES_BACK_S,
        ), "what the killed driver's runs held was not given back"
        process = training.start(*cells, "--resume")
        assert process.wait(LIMIT_S) == 0, training.said()
    finally:
        kill(training.mark)
    assert len(training.finished()) == expected
    after = training.epochs()
    assert {run: after[run] for run in before} == {run: passes[run] for run in before}
    assert training.said().count("reusing the finished run") == len(before)
