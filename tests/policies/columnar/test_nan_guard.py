"""The NaN guard: names the first bad tensor, and dumps what computes the failure again."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from policies.columnar.nan_guard import MAX_DUMPS, read_dump
from policies.training import replay_dump
from tests.policies.tiny_runs import batch_of, learner_of, tiny_run

pytestmark = pytest.mark.ray  # replaying a dump builds a trainer


def guarded(algorithm: str, folder: Path, **settings: Any) -> Any:
    made = learner_of(tiny_run(algorithm, **settings))
    made.guard.folder = folder
    return made


def only_dump(folder: Path) -> Path:
    (dump,) = folder.iterdir()
    return dump


def check_dump(made: Any, dump: Path, batch: dict[str, torch.Tensor], words: str) -> None:
    """The dump is whole, holds the very batch, and fails again in the same way."""
    assert {path.name for path in dump.iterdir()} == {
        "report.json",
        "columns.safetensors",
        "weights.safetensors",
        "random.safetensors",
    }
    report, columns, weights, _ = read_dump(dump)
    assert words in report["found"]
    assert columns.keys() == batch.keys()
    assert all(torch.equal(columns[name].nan_to_num(), batch[name].nan_to_num()) for name in batch)
    assert all(
        torch.equal(weights[name].nan_to_num(), value.nan_to_num())
        for name, value in made.net_module.state_dict().items()
    )
    assert replay_dump(dump) == report["found"]


@pytest.mark.parametrize("algorithm", ["dqn", "ppo", "sac"])
def test_nan_in_an_observation(algorithm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made, batch = guarded(algorithm, tmp_path), batch_of(algorithm)
    made.update_columns(batch_of(algorithm, seed=1))
    batch["obs"][3, 2] = torch.nan
    with caplog.at_level(logging.WARNING):
        made.update_columns(batch)
    # 32 rows of 4 numbers
    words = "column 'obs' has 1 of 128 numbers not finite, first in row 3"
    assert "update 1 left out" in caplog.text and words in caplog.text
    dump = only_dump(tmp_path)
    assert dump.name == "update-00000001" and str(dump) in caplog.text
    check_dump(made, dump, batch, words)


@pytest.mark.parametrize(("algorithm", "name"), [("dqn", "net.head.bias"), ("ppo", "net.value_head.bias")])
def test_nan_in_a_weight(algorithm: str, name: str, tmp_path: Path) -> None:
    made, batch = guarded(algorithm, tmp_path), batch_of(algorithm)
    with torch.no_grad():
        dict(made.net_module.named_parameters())[name][0] = torch.inf
    made.update_columns(batch)
    check_dump(made, only_dump(tmp_path), batch, f"weight '{name}' has 1 of")


def test_nan_in_the_loss_only(tmp_path: Path) -> None:
    made, batch = guarded("ppo", tmp_path), batch_of("ppo")
    # Every column, weight and layer is finite; 32 advantages of 3e38 are too much for float32 together.
    batch["advantages"][:] = 3e38
    made.update_columns(batch)
    check_dump(made, only_dump(tmp_path), batch, "the loss has 1 of 1 numbers not finite")


def test_nan_in_a_layers_output_is_told_from_one_in_a_weight(tmp_path: Path) -> None:
    made, batch = guarded("dqn", tmp_path), batch_of("dqn")
    with torch.no_grad():
        made.net_module.net.hidden[0].weight.fill_(3e38)
    made.update_columns(batch)
    check_dump(made, only_dump(tmp_path), batch, "the output of layer 'net.hidden.0' (Linear) has")


def test_dropout_falls_again_as_it_did(tmp_path: Path) -> None:
    made = guarded("dqn", tmp_path, model={"dropout": 0.5})
    batch = batch_of("dqn", rows=8)
    state = torch.get_rng_state()
    batch["rewards"][:] = torch.nan
    made.update_columns(batch)
    _, _, _, random = read_dump(only_dump(tmp_path))
    assert torch.equal(random, state)
    assert (
        replay_dump(only_dump(tmp_path))
        == json.loads((only_dump(tmp_path) / "report.json").read_text())["found"]
    )


def test_no_more_than_a_few_dumps_and_none_without_a_folder(tmp_path: Path) -> None:
    made, batch = guarded("ppo", tmp_path), batch_of("ppo")
    batch["obs"][0, 0] = torch.nan
    for _ in range(MAX_DUMPS + 2):
        made.update_columns(batch)
    assert len(list(tmp_path.iterdir())) == MAX_DUMPS and made.skipped_updates == MAX_DUMPS + 2
    silent = learner_of(tiny_run("ppo"))
    silent.update_columns(batch)
    assert silent.skipped_updates == 1 and silent.guard.dumps == 0


def test_looking_does_not_move_the_random_state(tmp_path: Path) -> None:
    made, batch = guarded("sac", tmp_path), batch_of("sac")
    batch["rewards"][0] = torch.nan
    torch.manual_seed(3)
    made.guard.report(made, batch)
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)


def test_no_dump_there(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        replay_dump(tmp_path)
