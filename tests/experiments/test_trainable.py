import copy
import hashlib
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments import trainable
from experiments.seeds import Purpose
from policies.combat_dqn import CombatDQN, CombatDQNConfig
from policies.model_types import WEIGHTS_FILE, build_network, load_weights, save_weights


class FakeTrainer:
    """Counts its epochs; its model's output bias is the epoch number."""

    def __init__(self) -> None:
        self.epoch = 0
        self.net = CombatDQN(CombatDQNConfig(hidden_dims=(4,)))

    def train_epoch(self) -> dict[str, Any]:
        self.epoch += 1
        with torch.no_grad():
            self.net.head.bias.fill_(float(self.epoch))
        return {"loss": 1.0 / self.epoch}

    def model(self) -> CombatDQN:
        return self.net

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "epoch").write_text(str(self.epoch))

    def restore(self, folder: Path) -> None:
        self.epoch = int((folder / "epoch").read_text())


def run_of(epochs: int) -> dict[str, Any]:
    return {
        "archetype": "tank",
        "model_type": "combat_dqn",
        "trial": {"training": {"epochs": epochs}, "env": {"opponent": "classic"}},
        "selection": {"fights": 8, "seed": 0, "opponent": "classic"},
    }


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Scores that the selection fights give, in order."""
    scores: list[tuple[float, float]] = []

    def play(*args: Any, **kwargs: Any) -> Any:
        class Score:
            win_rate, average_reward = scores.pop(0)

        return Score

    monkeypatch.setattr("experiments.evaluation.play_fights", play)
    return scores


def bias(path: Path) -> float:
    return float(load_weights(path / WEIGHTS_FILE).head.bias[0].detach())


def test_the_best_epoch_is_kept_and_selection_starts_after_the_first_third(
    tmp_path: Path, rates: list[tuple[float, float]]
) -> None:
    rates += [(0.5, 1.0), (0.9, 1.0), (0.7, 1.0), (0.9, 2.0)]  # epochs 3, 4, 5, 6 of 6
    progress: dict[str, Any] = {"epoch": 0, "best": None}
    reports = list(trainable._epochs(FakeTrainer(), run_of(6), progress, tmp_path))
    assert [m.get("selection_win_rate") for m, _ in reports] == [None, None, 0.5, 0.9, 0.7, 0.9]
    assert [m["best_epoch"] for m, _ in reports] == [None, None, 3, 4, 4, 6]  # a tie goes to the later one
    assert bias(tmp_path / "best") == 6.0
    # Six epochs, four checkpoints: every second epoch, and the last.
    assert [due for _, due in reports] == [False, True, False, True, False, True]


def test_a_broken_run_continues_where_its_checkpoint_stood(
    tmp_path: Path, rates: list[tuple[float, float]]
) -> None:
    rates += [(0.9, 1.0), (0.1, 1.0), (0.2, 1.0), (0.3, 1.0)]
    trainer, progress = FakeTrainer(), {"epoch": 0, "best": None}
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    for metrics, _ in trainable._epochs(trainer, run_of(4), progress, first):
        if metrics["epoch"] == 2:
            checkpoint = trainable._write_checkpoint(trainer, copy.deepcopy(progress), first)
            break
    again = FakeTrainer()
    restored = trainable._restore(again, checkpoint, second)
    assert restored["epoch"] == again.epoch == 2 and restored["best"]["epoch"] == 2
    rest = [m["epoch"] for m, _ in trainable._epochs(again, run_of(4), restored, second)]
    assert rest == [3, 4]
    assert bias(second / "best") == 2.0  # 0.9 of epoch 2 was not beaten


class FakePasses:
    """A supervised trainer that is best in its second epoch and stops after its fourth."""

    def __init__(self) -> None:
        self.epoch, self.best = 0, {"epoch": 0, "score": 0.0}
        self.net = CombatDQN(CombatDQNConfig(hidden_dims=(4,)))
        self.ended = 0
        self.fitted: dict[str, Any] = {}

    @property
    def over(self) -> bool:
        return self.epoch >= 4

    def train_epoch(self) -> dict[str, Any]:
        self.epoch += 1
        if self.epoch <= 2:
            self.best = {"epoch": self.epoch, "score": 0.1 * self.epoch}
        return {"loss": 1.0, "val_loss": 1.0}

    def finish(self) -> dict[str, float]:
        self.ended += 1
        with torch.no_grad():
            self.net.head.bias.fill_(7.0)
        return {"temperature": 1.5}

    def model(self) -> CombatDQN:
        return self.net

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "epoch").write_text(str(self.epoch))

    def restore(self, folder: Path) -> None:
        self.epoch = int((folder / "epoch").read_text())
        self.best = {"epoch": 2, "score": 0.2}


def test_a_supervised_run_stops_early_and_keeps_its_calibrated_weights(tmp_path: Path) -> None:
    trainer, progress = FakePasses(), {"epoch": 0, "best": None}
    reports = list(trainable._passes(trainer, run_of(20), progress, tmp_path))
    assert [metrics["epoch"] for metrics, _ in reports] == [1, 2, 3, 4]
    assert reports[-1][1] and reports[-1][0]["calibration_temperature"] == 1.5
    assert progress["finished"] and progress["best"] == {"epoch": 2, "rank": [0.2, 0.0]}
    assert bias(tmp_path / "best") == 7.0 and trainer.ended == 1


def test_a_supervised_run_broken_before_its_end_only_ends(tmp_path: Path) -> None:
    trainer, progress = FakePasses(), {"epoch": 0, "best": None}
    for metrics, _ in trainable._passes(trainer, run_of(20), progress, tmp_path):
        if metrics["epoch"] == 3:
            trainer.epoch = 4  # its last epoch is done, and nothing was said of it
            checkpoint = trainable._write_checkpoint(trainer, progress, tmp_path)
            break
    again, work = FakePasses(), tmp_path / "again"
    work.mkdir()
    restored = trainable._restore(again, checkpoint, work)
    reports = list(trainable._passes(again, run_of(20), restored, work))
    assert len(reports) == 1 and again.ended == 1 and bias(work / "best") == 7.0


def test_a_run_that_shows_how_it_learns_is_selected_from_its_first_epoch(
    tmp_path: Path, rates: list[tuple[float, float]]
) -> None:
    rates += [(0.1, 1.0), (0.2, 1.0), (0.3, 1.0)]
    run = run_of(3)
    run["selection"]["every_epoch"] = True
    reports = list(trainable._epochs(FakeTrainer(), run, {"epoch": 0, "best": None}, tmp_path))
    assert [metrics["selection_win_rate"] for metrics, _ in reports] == [0.1, 0.2, 0.3]


def test_a_run_starts_from_the_weights_it_is_named_after_and_from_no_others(tmp_path: Path) -> None:
    class Starter(FakeTrainer):
        def start_from(self, source: CombatDQN) -> None:
            self.net.load_state_dict(source.state_dict())

    source, trainer = CombatDQN(CombatDQNConfig(hidden_dims=(4,))), Starter()
    file = save_weights(source, tmp_path)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    start = {"run_id": "mage-combat_dqn", "model_type": "combat_dqn", "weights_sha256": digest}
    trainable._take_up(trainer, start, file)
    assert torch.equal(trainer.net.head.weight, source.head.weight)
    with pytest.raises(ValueError, match="should hold the weights"):
        trainable._take_up(trainer, {**start, "weights_sha256": "0" * 64}, file)
    with pytest.raises(ValueError, match="is missing"):
        trainable._take_up(trainer, start, tmp_path / "gone")
    # Of a run of the same experiment the file is named, not yet its content.
    by_run = {"run_id": "mage-combat_dqn", "model_type": "combat_dqn"}
    trainable._take_up(trainer, by_run, file)
    with pytest.raises(ValueError, match="mage-combat_dqn, whose weights this run starts from, is not fini"):
        trainable._take_up(trainer, by_run, tmp_path / "gone")


def test_a_torch_policy_respects_the_mask() -> None:
    mask = np.zeros((5, 10), bool)
    mask[np.arange(5), [0, 3, 9, 2, 7]] = True
    policy = trainable.torch_policy(CombatDQN(CombatDQNConfig(hidden_dims=(4,))))
    assert policy(np.random.default_rng(0).random((5, 64), np.float32), mask).tolist() == [0, 3, 9, 2, 7]


def test_reused_processes_start_from_known_random_states() -> None:
    def draws() -> tuple[float, float]:
        trainable.reset_process(3)
        return float(np.random.random()), float(torch.rand(()))

    first = draws()
    torch.rand(7)
    assert draws() == first


def test_a_reused_process_lets_go_of_the_run_before() -> None:
    class Knot:
        """Refers to itself, as an algorithm of RLlib does."""

        def __init__(self) -> None:
            self.me = self

    before = weakref.ref(Knot())
    trainable.reset_process(0)
    assert before() is None


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no body; known: rl"):
        trainable.run_cell({"cell": {"run": json.dumps({"kind": "pack"})}})


def test_every_head_is_chosen_where_it_is_judged_and_not_where_it_learns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Any, ...]] = []

    def play(archetype: str, head: str, mind: Any, n: int, seed: int, **of: Any) -> Any:
        asked.append((archetype, head, n, seed, of))

        class Score:
            win_rate, average_reward = 0.25, 7.0

        return Score

    monkeypatch.setattr("experiments.heads.play_head", play)
    learning = {"opponent": "veteran", "scenario": "2v2", "reward": {"outcome_weight": 9.0}}
    run = {**run_of(2), "model_type": "movement_ppo", "trial": {"env": learning}}
    network = build_network("movement_ppo", {"shared_dims": [4], "actor_dims": [4], "critic_dims": [4]})
    assert trainable._selection_score(network, run) == (0.25, 7.0)
    of = {"purpose": Purpose.SELECTION, "opponent": "classic", "scenario": None}
    assert asked == [("tank", "movement", 8, 0, of)]
