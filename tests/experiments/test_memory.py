"""Memory that runs out in the middle of training: batches in more parts, from the last checkpoint on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import memory, trainable
from experiments.matrix import Request, resolve
from policies.memory import MOST_CUTS, OutOfMemoryError, is_out_of_memory

REPLAY = {"rounds_per_epoch": 1, "num_envs": 16, "rollout_length": 8, "updates_per_round": 2}
OVERRIDES = {
    "combat_dqn": {"training": {**REPLAY, "learning_starts": 128, "n_step": 1}},
    "spatial_vit": {"data": {"fights": 10, "decisions": 3000, "sizes": {"1v1": 1}}},
}


class Reports:
    """Takes the place of Tune: keeps what is reported."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        from ray import tune

        self.rows: list[dict[str, Any]] = []
        monkeypatch.chdir(folder)
        monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
        monkeypatch.setattr(tune, "get_context", lambda: self)
        monkeypatch.setattr(tune, "report", lambda metrics, checkpoint=None: self.rows.append(metrics))
        self.folder = folder

    def get_trial_dir(self) -> str:
        return str(self.folder)


def run_out(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, calls: set[int]) -> None:
    """Lets a method run out of GPU memory when it is called for the n-th time."""
    method, seen = getattr(owner, name), [0]

    def maybe(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen[0] += 1
        if seen[0] in calls:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return method(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, maybe)


def settings_of(model_type: str, epochs: int) -> dict[str, Any]:
    (run,) = resolve(Request(("mage",), (model_type,), epochs=epochs, overrides=OVERRIDES))
    found: dict[str, Any] = json.loads(run.json)
    if "selection" in found:
        found["selection"]["fights"] = 8
    return found


@pytest.mark.ray
def test_a_reinforcement_run_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from policies.training import Trainer

    reports = Reports(monkeypatch, tmp_path)
    run_out(monkeypatch, Trainer, "train_epoch", {3})
    trainable.train_rl(settings_of("combat_dqn", 4), None)
    assert [row["epoch"] for row in reports.rows] == [1, 2, 3, 4]
    assert [row["accumulate"] for row in reports.rows] == [1, 1, 2, 2]
    note = reports.rows[-1]["out_of_memory"]
    assert "Tried to allocate 2.00 GiB" in note and "batches of 256 rows are now worked on in 2 parts" in note
    assert all(row["peak_process_bytes"] > 1e8 for row in reports.rows)


def test_a_supervised_run_repeats_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from policies.perception.trainer import SupervisedTrainer

    reports = Reports(monkeypatch, tmp_path)
    run_out(monkeypatch, SupervisedTrainer, "_try_step", {2})
    trainable.train_supervised(settings_of("spatial_vit", 2), None)
    assert [row["epoch"] for row in reports.rows] == [1, 2]
    assert [row["accumulate"] for row in reports.rows] == [2, 2]


def test_after_an_eighth_the_run_ends_with_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Reports(monkeypatch, tmp_path)
    parts = []

    def build(trial: dict[str, Any]) -> Any:
        parts.append(trial["training"].get("accumulate", 1))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    run = {"archetype": "tank", "model_type": "combat_dqn", "trial": {"training": {"batch_size": 64}}}
    with pytest.raises(OutOfMemoryError, match=r"tank combat_dqn: .* batches of 64 rows in 8 parts; give a"):
        trainable._carry_out(build, run, None, None, trainable._epochs)
    assert parts == [1, 2, 4, MOST_CUTS]
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_a_cut_run_stays_cut_and_the_stock_lane_cannot_be_cut(tmp_path: Path) -> None:
    run = {"archetype": "tank", "model_type": "combat_dqn", "trial": {"training": {"accumulate": 2}}}
    (tmp_path / "progress.json").write_text(json.dumps({"epoch": 3, "best": None, "accumulate": 8}))
    assert memory.Cut.as_it_stood(run, tmp_path).parts == 8
    assert memory.Cut.as_it_stood(run, None).parts == 2
    stock = {**run, "trial": {"training": {"batch_size": 64}, "sampler": "stock"}}
    with pytest.raises(OutOfMemoryError, match="leave --sampler stock out"):
        memory.Cut(1).further(MemoryError(), stock)


def test_what_counts_as_running_out() -> None:
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(torch.cuda.OutOfMemoryError("x"))
    assert is_out_of_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
    )
    assert not is_out_of_memory(RuntimeError("shapes differ")) and not is_out_of_memory(ValueError())


def test_the_peak_is_of_this_trial() -> None:
    memory.reset_peak()
    before = memory.peak()["peak_process_bytes"]
    taken = torch.ones(50_000_000)  # 200 MB
    assert memory.peak()["peak_process_bytes"] > before + 1.5e8
    del taken
