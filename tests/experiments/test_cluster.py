"""What `monster train --address` refuses before any work, and what counts as a failure of a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from ray.exceptions import RayActorError, RayTaskError

from experiments import cluster
from experiments.errors import UsageError
from experiments.ledger import Ledger
from experiments.progress import Progress
from experiments.tune_callback import LedgerCallback

ONE = cluster.Cluster({"a": "10.0.0.1"}, {"CPU": 4.0}, {"CPU": 4.0})
TWO = cluster.Cluster({"a": "10.0.0.1", "b": "10.0.0.2"}, {"CPU": 8.0}, {"CPU": 8.0})
GROWS = cluster.Cluster({"a": "10.0.0.1"}, {"CPU": 0.0}, {"CPU": 96.0, "GPU": 4.0})
GOOD: dict[str, Any] = {"cpus": 1, "gpu": False, "storage": "s3://b/x", "dsn": "postgresql://h/d"}


def test_one_node_needs_neither_a_database_nor_a_place_of_its_own() -> None:
    cluster.check_plan(ONE, cpus=1, gpu=False, storage=None, dsn=None)


@pytest.mark.parametrize("there", [TWO, GROWS])
def test_runs_on_other_machines_need_both(there: cluster.Cluster) -> None:
    cluster.check_plan(there, **GOOD)
    with pytest.raises(UsageError, match=r"embedded PostgreSQL .* --dsn postgresql://"):
        cluster.check_plan(there, **{**GOOD, "dsn": None})
    with pytest.raises(UsageError, match="--storage-path"):
        cluster.check_plan(there, **{**GOOD, "storage": None})


def test_hardware_that_can_never_come_is_refused() -> None:
    cluster.check_plan(GROWS, **{**GOOD, "gpu": True})
    with pytest.raises(UsageError, match=r"no GPU .* --device cpu"):
        cluster.check_plan(TWO, **{**GOOD, "gpu": True})
    with pytest.raises(UsageError, match="needs 9 CPUs, the cluster has 8"):
        cluster.check_plan(TWO, **{**GOOD, "cpus": 9})


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "10.0.0.1", "head"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT or auto"), cluster.joined(address):
        pass


class FakeTrial:
    def __init__(self, error: Exception, folder: Path) -> None:
        self.config = {"cell": {"run_id": "tank-1"}}
        self.run_metadata = SimpleNamespace(num_failures=1)
        self.pickled_error_file = str(folder / "error.pkl")
        with open(self.pickled_error_file, "wb") as file:
            cloudpickle.dump(error, file)


@pytest.mark.parametrize(
    ("error", "counted", "said"),
    [
        (
            RayActorError(error_msg="The actor died because its node has died. Node Id: 1"),
            0,
            "its node was lost",
        ),
        (
            RayActorError(error_msg="The actor is dead because its worker process has died."),
            1,
            "process has died",
        ),
        (RayTaskError("train", "Traceback\nOSError: no space", OSError("no space")), 1, "OSError: no space"),
    ],
)
def test_a_lost_node_is_no_failure_of_the_run(
    tmp_path: Path, error: Exception, counted: int, said: str
) -> None:
    lines: list[str] = []
    callback = LedgerCallback(Ledger(tmp_path), Progress(lines.append), 0, 1, str(tmp_path))
    trial: Any = FakeTrial(error, tmp_path)
    callback.on_trial_recover(0, [trial], trial)
    assert trial.run_metadata.num_failures == counted
    assert "tank-1 starts again" in lines[0] and said in lines[0]
