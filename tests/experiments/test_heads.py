"""Fights of any head: counted once, with state carried, and equal to the older loop where that plays too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.evaluation import play_fights
from experiments.heads import Mind, Seat, onnx_mind, play_head, random_answers, torch_mind
from experiments.recording import record_decisions
from experiments.trainable import torch_policy
from policies.export import export_onnx
from policies.model_types import MODEL_TYPES, build_network
from policies.profiles import profile_values

ACTING = {name: kind.head for name, kind in MODEL_TYPES.items() if kind.head is not None}


def network_of(name: str) -> Any:
    torch.manual_seed(3)
    network = build_network(name, profile_values(name, "demo")[0]["model"]).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return network


def test_combat_fights_equal_those_of_the_loop_for_combat_alone() -> None:
    network = network_of("combat_dqn")
    ours = play_head("tank", "combat", torch_mind(network), 60, 5)
    theirs = play_fights("tank", torch_policy(network), 60, 5)
    assert ours.outcomes == theirs.outcomes and ours.n == theirs.n == 60
    assert ours.average_reward == pytest.approx(theirs.average_reward)
    assert ours.action_entropy_bits == pytest.approx(theirs.action_entropy_bits)
    assert ours.action_shares == pytest.approx(theirs.action_shares)


@pytest.mark.parametrize(("name", "head"), ACTING.items())
def test_an_exported_file_plays_as_its_network_does(name: str, head: str, tmp_path: Path) -> None:
    network = network_of(name)
    recorded = record_decisions(network, "mage", seed=0, steps=200)
    report = export_onnx(network, tmp_path, {}, recorded)
    mind = onnx_mind(report.fp32.path, report.fp32.sha256)
    by_file = play_head("mage", head, mind, 40, 1)
    by_torch = play_head("mage", head, torch_mind(network), 40, 1)
    assert by_file.outcomes == by_torch.outcomes
    assert by_file.average_reward == pytest.approx(by_torch.average_reward, abs=1e-3)
    assert by_file.action_shares == pytest.approx(by_torch.action_shares, abs=1e-3)


@pytest.mark.parametrize("head", sorted(set(ACTING.values())))
def test_the_script_against_itself_is_near_half_and_random_play_is_not(head: str) -> None:
    script = play_head("tank", head, "script", 200, 0)
    assert script.action_entropy_bits is None and script.action_shares == ()
    assert 0.3 < script.score < 0.7
    chance = play_head("tank", head, "random", 100, 0)
    assert chance.score < script.score and chance.action_entropy_bits is not None
    assert sum(chance.action_shares) == pytest.approx(1.0)


def test_fights_of_a_pack_are_counted_once() -> None:
    seen = play_head("tank", "pack", "random", 30, 0)
    assert seen.n == 30 == sum(seen.outcomes.values())


def test_a_mind_with_a_memory_gets_back_what_it_gave() -> None:
    seat = Seat("pack", "mage", 2, opponent="classic")
    rows = seat.rows
    seat.env.close()
    seen: list[np.ndarray] = []

    def answer(given: Any) -> dict[str, np.ndarray]:
        seen.append(given["state"].copy())
        action = given["action_mask"].argmax(axis=1)
        return {"action": action, "next": given["state"] + 1.0}

    mind = Mind({"local": (70,), "action_mask": (8,), "state": (1,)}, {"state": "next"}, "action", answer)
    play_head("mage", "pack", mind, 2, 0)
    assert [float(values[0, 0]) for values in seen[:4]] == [0.0, 1.0, 2.0, 3.0]
    assert seen[0].shape == (rows, 1)


def test_continuous_controls_are_drawn_in_their_box() -> None:
    seat = Seat("control", "mage", 3)
    drawn = random_answers(1)(seat, {})
    seat.env.close()
    assert drawn.shape == (3, 5) and drawn.dtype == np.float32 and np.abs(drawn).max() <= 1.0


def test_no_fights_are_refused() -> None:
    with pytest.raises(ValueError, match="ask for at least 1"):
        play_head("mage", "combat", "random", 0, 0)
