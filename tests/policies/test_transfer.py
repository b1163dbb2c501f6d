"""A start from other weights: what should move moves, what should be fresh is, the rest is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from policies.combat_dqn import CombatDQN, CombatDQNConfig
from policies.model_types import MODEL_TYPES, build_network
from policies.profiles import profile_values
from policies.training import Trainer, build_trainer
from policies.transfer import TransferError, transfer
from tests.policies.tiny_runs import ALGORITHMS, tiny_run


def network(seed: int, hidden: tuple[int, ...] = (16, 8)) -> CombatDQN:
    torch.manual_seed(seed)
    return CombatDQN(CombatDQNConfig(hidden_dims=hidden))


@pytest.mark.parametrize("name", MODEL_TYPES)
def test_every_type_says_what_is_fresh_and_the_rest_moves(name: str) -> None:
    config = profile_values(name, "demo")[0]["model"]
    torch.manual_seed(1)
    source = build_network(name, config)
    torch.manual_seed(2)
    target = build_network(name, config)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    done = transfer(source, target)
    fresh = MODEL_TYPES[name].fresh
    assert not done.misfit and done.moved
    assert {key for key in before if key.startswith(fresh or ("?",))} == set(done.fresh)
    assert bool(done.fresh) == bool(fresh)
    theirs, ours = source.state_dict(), target.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in done.moved)
    assert all(torch.equal(ours[key], before[key]) for key in done.fresh)
    assert any(not torch.equal(before[key], theirs[key]) for key in done.moved)


def test_other_sizes_share_what_fits() -> None:
    done = transfer(network(1), network(2, (16, 12)))
    assert set(done.moved) == {"hidden.0.weight", "hidden.0.bias"}
    assert "hidden.1.weight: (12, 16) here, (8, 16) there" in done.misfit
    assert "2 tensors moved, 2 fresh, 2 did not fit" in str(done)


def test_the_caller_may_choose_what_is_fresh() -> None:
    target, source = network(2), network(1)
    done = transfer(source, target, fresh=())
    assert not done.fresh and torch.equal(target.head.weight, source.head.weight)


@pytest.mark.parametrize(
    ("source", "fresh", "words"),
    [
        ("movement_ppo", None, "movement_ppo cannot start combat_dqn"),
        ("combat_dqn", ("haed.",), "combat_dqn has no part 'haed.'; its parts are head., hidden."),
        ("combat_dqn", ("head.", "hidden."), "nothing of the combat_dqn given fits"),
    ],
)
def test_mistakes_are_named(source: str, fresh: Any, words: str) -> None:
    other = build_network(source, {}) if source != "combat_dqn" else network(1)
    with pytest.raises(TransferError, match=words):
        transfer(other, network(2), fresh)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_trainer_starts_from_weights_and_its_targets_follow(algorithm: str) -> None:
    trainer = build_trainer(tiny_run(algorithm, seed=1))
    assert isinstance(trainer, Trainer)
    torch.manual_seed(9)
    source = type(trainer.model())(trainer.model().config)
    done = trainer.start_from(source, ())
    learner: Any = trainer.algorithm.learner
    weights = learner.net_module.state_dict()
    for key in done.moved:
        assert torch.equal(weights[f"net.{key}"], source.state_dict()[key]), key
    for part, own in (("target_net.", "net."), ("target_critics.", "net.critics.")):
        for key in [key for key in weights if key.startswith(part)]:
            assert torch.equal(weights[key], weights[own + key.removeprefix(part)]), key
    trainer.train_epoch()
    with pytest.raises(RuntimeError, match="training has begun"):
        trainer.start_from(source)
    trainer.stop()
