import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError

from experiments.ledger import Ledger
from experiments.progress import Progress
from experiments.tune_callback import LedgerCallback


def epoch(number: int, level: int) -> dict[str, Any]:
    return {
        "epoch": number, "epochs": 9, "archetype": "tank", "model_type": "combat_dqn",
        "curriculum_level": float(level), "training_iteration": number,
    }  # fmt: skip


def test_a_promotion_is_said_once_also_by_a_run_that_goes_on(tmp_path: Path) -> None:
    lines: list[str] = []
    trial: Any = SimpleNamespace(
        config={"cell": {"run_id": "tank-run", "run": '{"trial": {}}'}}, trial_id="1"
    )

    def report(callback: LedgerCallback, number: int, level: int) -> None:
        callback.on_trial_result(number, [], trial, epoch(number, level))

    Ledger(tmp_path).run("tank-run").begin({})
    callback = LedgerCallback(Ledger(tmp_path), Progress(lines.append), 0, 1, str(tmp_path))
    for number, level in ((1, 1), (2, 2), (3, 2)):
        report(callback, number, level)
    promoted = [line for line in lines if "promoted" in line]
    assert len(promoted) == 1 and "tank       combat_dqn promoted in epoch 2: level 2, classic" in promoted[0]
    again = LedgerCallback(Ledger(tmp_path), Progress(lines.append), 0, 1, str(tmp_path))
    report(again, 4, 2)
    assert len([line for line in lines if "promoted" in line]) == 1
    report(again, 5, 4)
    assert "promoted in epoch 5: level 4, styles" in [line for line in lines if "promoted" in line][-1]


@pytest.mark.parametrize(
    ("error", "failures", "words"),
    [
        (ActorUnavailableError("socket closed", b"0" * 16), 0, "its node was lost or cannot be reached"),
        (ValueError("first line\nreward is nan"), 1, "starts again from its last checkpoint: reward is nan"),
    ],
)
def test_a_node_that_is_gone_is_no_failure_of_the_run(
    tmp_path: Path, error: Exception, failures: int, words: str
) -> None:
    lines: list[str] = []
    file = tmp_path / "error.pkl"
    file.write_bytes(pickle.dumps(error))
    trial: Any = SimpleNamespace(
        config={"cell": {"run_id": "tank-run"}},
        pickled_error_file=str(file),
        run_metadata=SimpleNamespace(num_failures=1),
    )
    callback = LedgerCallback(Ledger(tmp_path), Progress(lines.append), 0, 1, str(tmp_path))
    callback.on_trial_recover(1, [], trial)
    assert trial.run_metadata.num_failures == failures and words in lines[-1]
