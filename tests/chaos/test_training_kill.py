"""A training process killed five times ends with the same bits as one that was left alone."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from policies.training import OBJECT_STORE_BYTES
from tests.chaos.training_process import EPOCHS, TrainingProcess
from tests.policies.tiny_runs import ALGORITHMS

pytestmark = pytest.mark.ray

KILLS = 5


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray that outlives the killed processes: to start one for each would take most of the time."""
    ray.shutdown()
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_five_kills_change_nothing(algorithm: str, tmp_path: Path, address: str) -> None:
    whole = TrainingProcess(algorithm, tmp_path / "whole", address)
    killed = TrainingProcess(algorithm, tmp_path / "killed", address)
    plan = random.Random(f"kills of {algorithm}")
    epochs = sorted(plan.sample(range(EPOCHS - 1), KILLS))
    in_writing = plan.randrange(KILLS)
    try:
        whole.start(reused=False)
        expected = whole.result()
        for number, epoch in enumerate(epochs):
            killed.start(reused=number > 0)
            if number == in_writing:
                killed.kill_while_writing(epoch)
            else:
                killed.kill_after(epoch, plan.uniform(0.0, 0.1))
        killed.start(reused=True)
        assert killed.result() == expected
    finally:
        whole.stop()
        killed.stop()
    names = {"weights", "optimizer", "metrics"} | ({"replay"} if algorithm in ("dqn", "sac") else set())
    assert set(expected) == names
    assert not [path.name for path in (tmp_path / "killed").iterdir() if "." in path.stem]
