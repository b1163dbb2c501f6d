"""Behaviour cloning: losses by hand, and that it learns what the script does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from envs.demonstrations import Demonstrations, demonstrate
from policies.combat_dqn import CombatDQN, CombatDQNConfig
from policies.warm_start import CloneResult, clone, discounted_returns, margin_loss, squashed_loss, value_loss


def made_up(fights: int = 40, length: int = 10) -> Demonstrations:
    """Rows whose right action stands in the observation; one of three actions is illegal in each row."""
    generator = np.random.default_rng(0)
    rows = fights * length
    obs = generator.normal(size=(rows, 3)).astype(np.float32)
    mask = np.ones((rows, 3), bool)
    mask[np.arange(rows), generator.integers(0, 3, rows)] = False
    return Demonstrations(
        obs=obs,
        action_mask=mask,
        actions=np.where(mask, obs, -9.0).argmax(axis=1),
        rewards=np.ones(rows, np.float32),
        valid=np.ones(rows, bool),
        fights=np.repeat(np.arange(fights), length),
        head="combat",
        archetype="aggressive",
        scenario="1v1",
        opponent="classic",
        teacher="veteran",
        seed=0,
    )


def cloned(
    demos: Demonstrations, form: str, seed: int = 0, **settings: float
) -> tuple[nn.Module, CloneResult]:
    torch.manual_seed(7)
    network = nn.Sequential(nn.Linear(demos.obs.shape[1], 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
    arguments = {"epochs": 8, "batch_size": 32, "learning_rate": 1e-2} | settings
    return network, clone(network, network.parameters(), demos, form=form, seed=seed, **arguments)  # type: ignore[arg-type]


def test_margin_loss_by_hand() -> None:
    # Row 0, label 0, margin 0.5: max(1, 0.8 + 0.5, 0 + 0.5) - 1 = 0.3
    # Row 1, label 2: max(0 + 0.5, -9 + 0.5, 2) - 2 = 0: it leads by more than the margin
    # Row 2, label 1: max(3 + 0.5, 1, 0 + 0.5) - 1 = 2.5
    q_values = torch.tensor([[1.0, 0.8, 0.0], [0.0, -9.0, 2.0], [3.0, 1.0, 0.0]])
    loss = margin_loss(q_values, torch.tensor([0, 2, 1]), 0.5)
    assert loss.tolist() == pytest.approx([0.3, 0.0, 2.5])


def test_value_loss_by_hand() -> None:
    # Huber with limit 1: |1 - 1.5| = 0.5 -> 0.5^2 / 2 = 0.125; |2 - (-1)| = 3 -> 3 - 0.5 = 2.5
    q_values = torch.tensor([[1.0, 7.0], [7.0, 2.0]])
    loss = value_loss(q_values, torch.tensor([0, 1]), torch.tensor([1.5, -1.0]))
    assert loss.tolist() == pytest.approx([0.125, 2.5])


def test_squashed_loss_by_hand() -> None:
    # tanh(0) = 0, tanh(ln 3) = (3 - 1/3) / (3 + 1/3) = 0.8: ((0 - 0.5)^2 + (0.8 - 0.2)^2) / 2 = 0.305
    means = torch.tensor([[0.0, float(np.log(3.0))]])
    assert squashed_loss(means, torch.tensor([[0.5, 0.2]])).tolist() == pytest.approx([0.305])


def test_discounted_returns_by_hand() -> None:
    # Fight 4: 3, then 2 + 0.5 x 3 = 3.5, then 1 + 0.5 x 3.5 = 2.75. Fight 5: 8, then 10 + 0.5 x 8 = 14.
    returns = discounted_returns(np.array([1, 2, 3, 10, 8]), np.array([4, 4, 4, 5, 5]), 0.5)
    assert returns.tolist() == [2.75, 3.5, 3.0, 14.0, 8.0]


@pytest.mark.parametrize("form", ["logits", "q_values"])
def test_it_learns_a_rule(form: str) -> None:
    _, result = cloned(made_up(), form)
    # Two legal actions of three in every row: chance is a half.
    assert result.chance == pytest.approx(0.5)
    assert result.best.validation_accuracy > 0.9 > result.majority
    assert result.rows + result.validation_rows == 400


def test_q_values_stay_near_the_returns() -> None:
    # Every reward is 1, scaled 0.1, ten to a fight, undiscounted: returns are 0.1 to 1.0.
    demos = made_up()
    network, _ = cloned(demos, "q_values", gamma=1.0, reward_scale=0.1, epochs=20, patience=20)
    assert network.training  # as it was
    with torch.no_grad():
        values = network.eval()(torch.from_numpy(demos.obs))
    mine = values.gather(1, torch.from_numpy(demos.actions)[:, None])
    assert abs(float(mine.mean()) - 0.55) < 0.15
    assert float(mine.min()) > -0.5 and float(mine.max()) < 2.0


def test_squashed_actions_are_fitted() -> None:
    demos = made_up(fights=160)
    numbers = (np.sign(demos.obs) * 0.6).astype(np.float32)
    demos = dataclasses.replace(demos, actions=numbers, action_mask=None, head="control")
    _, result = cloned(demos, "squashed", epochs=20)
    # Three parts, each -0.6 or 0.6 at even odds: the most frequent combination is about one in eight, and
    # answering 0 always costs 0.6^2 = 0.36. A network without jumps is unsure near the sign's jump.
    assert result.best.validation_loss < 0.1 < 0.36
    assert result.best.validation_accuracy > 3 * result.majority
    assert 0.1 < result.majority < 0.2
    assert result.chance == pytest.approx(1 / 27)


def test_same_seed_same_weights_and_the_global_state_is_left_alone() -> None:
    def weights(seed: int) -> list[float]:
        network, _ = cloned(made_up(), "logits", seed, epochs=2)
        return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).tolist()

    assert weights(1) == weights(1)
    state = torch.random.get_rng_state()
    torch.manual_seed(7)
    expected = torch.random.get_rng_state()
    network = nn.Linear(3, 3)
    torch.random.set_rng_state(expected)
    clone(network, network.parameters(), made_up(), form="logits", epochs=1)
    assert torch.equal(torch.random.get_rng_state(), expected)
    torch.random.set_rng_state(state)
    assert weights(1) != weights(2)


def test_the_best_epoch_is_kept() -> None:
    # Labels without a rule: what is learned of them by heart makes unseen fights worse.
    demos = made_up(fights=12)
    assert demos.action_mask is not None
    noise = np.random.default_rng(1).random(demos.action_mask.shape)
    demos = dataclasses.replace(demos, actions=np.where(demos.action_mask, noise, -1).argmax(axis=1))
    _, result = cloned(demos, "logits", epochs=60, patience=5)
    assert len(result.epochs) == result.best_epoch + 1 + 5 < 60
    assert result.best.validation_loss == min(figures.validation_loss for figures in result.epochs)


def test_rows_without_a_label_or_a_choice_teach_nothing() -> None:
    demos = made_up()
    spoiled = dataclasses.replace(
        demos, valid=demos.fights % 2 == 0, actions=np.where(demos.fights % 2 == 0, demos.actions, 0)
    )
    _, result = cloned(spoiled, "logits")
    assert result.rows + result.validation_rows == 200
    # In ten of the forty fights the label is the only legal action.
    assert demos.action_mask is not None
    forced = demos.action_mask & (np.arange(3) == demos.actions[:, None])
    mask = np.where((demos.fights < 10)[:, None], forced, demos.action_mask)
    demos = dataclasses.replace(demos, action_mask=mask)
    _, logits = cloned(demos, "logits", epochs=1)
    assert logits.rows + logits.validation_rows == 300
    _, values = cloned(demos, "q_values", epochs=1)
    assert values.rows + values.validation_rows == 400  # a value counts also where nothing can be chosen


def test_mistakes_are_named() -> None:
    demos = made_up()
    with pytest.raises(ValueError, match="unknown form 'probs'"):
        cloned(demos, "probs")
    with pytest.raises(ValueError, match="cannot learn from the 'combat' head's actions"):
        cloned(demos, "squashed")
    with pytest.raises(ValueError, match="0 epochs"):
        cloned(demos, "logits", epochs=0)
    with pytest.raises(ValueError, match="record more fights"):
        cloned(made_up(fights=1), "logits")


@pytest.mark.parametrize("form", ["logits", "q_values"])
def test_the_combat_network_copies_the_traditional_ai(form: str) -> None:
    demos = demonstrate("mage", fights=100, seed=1)
    torch.manual_seed(0)
    network = CombatDQN(CombatDQNConfig(hidden_dims=(64, 64)))
    result = clone(network, network.parameters(), demos, form=form, epochs=6, learning_rate=3e-3)  # type: ignore[arg-type]
    # Holding while the clock runs is right in two of three decisions; what is left needs the observation.
    assert result.chance < 0.5 < result.majority < 0.8
    assert result.best.validation_accuracy > 0.93
