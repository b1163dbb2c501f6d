"""The threat task: rows, losses by hand, masks, baselines, metrics, and that it learns."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from envs.configuration import ConfigError
from envs.contracts import layout as f
from envs.contracts import opponent_windows
from envs.contracts.vocabulary import MAX_TEAM_SIZE
from envs.perception import baselines, labels
from envs.perception.recording import FIVE_SECONDS, TWO_SECONDS
from envs.perception.sights import Sights, record_sights
from envs.simulation import state as s
from envs.simulation.world import World
from policies.perception.compositions import FightPlan
from policies.perception.evaluation import compare
from policies.perception.settings import SupervisedRun, SupervisedTrainingConfig
from policies.perception.task import Rows, count_rows, take
from policies.perception.threat import ThreatTask, ceiling, damage_losses, fight_weights
from policies.perception.threat_rows import NONE, UNKNOWN, _history, threat_rows
from policies.perception.trainer import SupervisedTrainer, train
from policies.threat_assessment import QUESTIONS, TARGETS, Beliefs, ThreatAssessment, ThreatAssessmentConfig

TEAMS = (("tank", "mage"), ("ranged", "support"))
FIGHTS, STRIDE, HISTORY = 8, 4, 12
ARGUMENTS: dict[str, Any] = {"seed": 3, "styles": (s.STYLES, s.STYLES[1:])}
TINY = ThreatAssessmentConfig(members=3, hidden=16, aim=4, history=HISTORY, recent=4, deeds=3)


@pytest.fixture(scope="module")
def sights() -> Sights:
    return record_sights(FIGHTS, TEAMS, **ARGUMENTS)


@pytest.fixture(scope="module")
def rows(sights: Sights) -> Rows:
    return threat_rows(sights, stride=STRIDE, history=HISTORY)


def task(**settings: Any) -> ThreatTask:
    return ThreatTask(history=HISTORY, **settings)


def batch(rows: Rows) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(values)) for name, values in rows.items()}


def fitted(rows: Rows) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in task().fit(rows).items()}


def test_a_row_per_stride_in_which_i_live(sights: Sights, rows: Rows) -> None:
    places = {(int(t), int(f)) for t, f in np.argwhere(sights.seeing[..., 0]) if t % STRIDE == 0}
    assert set(zip(rows["time"].tolist(), rows["fight"].tolist(), strict=True)) == places
    assert {name: values.dtype.name for name, values in rows.items()} == {
        "observation": "float32", "opponents": "float16", "health": "float16", "kinds": "uint8",
        "threat": "float32", "known": "bool", "kill": "int8", "target": "int8", "death": "int8",
        "repeated": "float32", "reach": "float32", "same": "int8", "fight": "int64", "time": "int32",
    }  # fmt: skip


def test_targets_are_the_labels(sights: Sights, rows: Rows) -> None:
    recording, at = sights.recording, (rows["time"], rows["fight"])
    for q, (label, me) in enumerate(
        (
            (labels.threat(recording, TWO_SECONDS), True),
            (labels.threat(recording, FIVE_SECONDS), True),
            (labels.team_threat(recording, TWO_SECONDS), False),
            (labels.team_threat(recording, FIVE_SECONDS), False),
        )
    ):
        value = label.value[at][:, 2:, 0] if me else label.value[at][:, 2:]
        known = rows["known"][:, :2, q]
        assert known.any() and not known.all()
        np.testing.assert_array_equal(rows["threat"][:, :2, q][known], value[known])
        assert (rows["threat"][..., q][~rows["known"][..., q]] == 0).all()
    assert not rows["known"][:, 2:].any() and (rows["kill"][:, 2:] == UNKNOWN).all()
    for name, label, unit in (
        ("kill", labels.kills(recording), slice(2, 4)),
        ("death", labels.deaths(recording), 0),
    ):
        value, valid = label.value[at][:, unit], label.valid[at][:, unit]
        found = rows[name][:, :2] if name == "kill" else rows[name]
        assert set(np.unique(found[valid])) == {0, 1}
        np.testing.assert_array_equal(found, np.where(valid, value, UNKNOWN))


def test_targets_are_named_from_my_place(sights: Sights, rows: Rows) -> None:
    value, valid = labels.next_target(sights.recording)
    at = (rows["time"], rows["fight"])
    # Unit 0 is me, unit 1 my first ally; of -1 an enemy aims at nobody.
    names = {0: 0, 1: 1, -1: NONE}
    wanted = np.vectorize(lambda unit: names.get(int(unit), NONE))(value[at][:, 2:])
    np.testing.assert_array_equal(rows["target"][:, :2], np.where(valid[at][:, 2:], wanted, UNKNOWN))
    assert {0, 1, NONE} <= set(np.unique(rows["target"]))
    same = baselines.same_target(sights.recording)[at][:, 2:]
    np.testing.assert_array_equal(
        rows["same"][:, :2], np.vectorize(lambda unit: names.get(int(unit), NONE))(same)
    )


def test_inputs_can_be_had_from_views(sights: Sights, rows: Rows) -> None:
    world = World(FIGHTS, TEAMS, log_damage=True, **ARGUMENTS)
    history = [[world.view(fight)] for fight in range(FIGHTS)]
    for _ in range(40):
        world.step(np.zeros((FIGHTS, 0), np.int32))
        for fight in range(FIGHTS):
            history[fight].append(world.view(fight))
    for time in (4, 40):
        mine = np.flatnonzero((rows["time"] == time) & (rows["fight"] < 3))
        assert len(mine) == 3
        for row in mine:
            seen = history[rows["fight"][row]][: time + 1]
            for slot in range(2):
                window, _ = opponent_windows([seen], [0], [2 + slot], HISTORY)
                np.testing.assert_allclose(rows["opponents"][row, slot], window[0], atol=1e-3)
            last = seen[-HISTORY:]
            bars = np.array([v.units[:2, f.HP] for v in last], float)
            shares = rows["health"][row, -len(last) :, :2].astype(float)
            np.testing.assert_allclose(shares, bars / last[0].units[:2, f.MAX_HP], atol=1e-3)
            assert (rows["health"][row, : HISTORY - len(last)] == 0).all()


def test_history_keeps_its_order() -> None:
    # Every number says time x 10 + fight.
    coded = np.arange(6)[:, None] * 10 + np.arange(3)
    opponents = np.broadcast_to(coded[..., None, None], (6, 3, 2, 16)).astype(np.float32)
    found = _history(opponents, np.array([0, 4]), np.array([2, 1]), 3)
    assert found.shape == (2, MAX_TEAM_SIZE, 3, 16)
    assert found[0, 0, :, 0].tolist() == [0.0, 0.0, 2.0] and found[1, 1, :, 5].tolist() == [21.0, 31.0, 41.0]
    assert (found[:, 2:] == 0).all()


def test_baselines_answer_what_they_can(sights: Sights, rows: Rows) -> None:
    at = (rows["time"], rows["fight"])
    max_hp = sights.recording.max_hp
    for name, guess in (("repeated", baselines.repeated_threat), ("reach", baselines.reach_threat)):
        by_target = guess(sights.recording, FIVE_SECONDS)[at][:, 2:]
        np.testing.assert_allclose(rows[name][:, :2, 1], by_target[..., 0], rtol=1e-5)
        points = by_target[..., :2] * max_hp[:2]
        team = points.sum(-1) if name == "repeated" else points.max(-1)
        np.testing.assert_allclose(rows[name][:, :2, 3], team / max_hp[:2].sum(), rtol=1e-5)
    numbers = task().fit(rows)
    answers = task().baselines(rows, numbers)
    assert {name: sorted(answer) for name, answer in answers.items()} == {
        "repeated_threat": ["threat"],
        "reach_threat": ["threat"],
        "prior": ["death", "kill", "target", "threat"],
        "same_target": ["target"],
    }
    for answer in answers.values():
        if "target" in answer:
            np.testing.assert_allclose(answer["target"].sum(-1), 1.0, rtol=1e-5)
    # The mean is the constant with the least squared error: no other constant explains anything.
    known = rows["known"][..., 0]
    assert numbers["mean"][0] == pytest.approx(rows["threat"][..., 0][known].mean(), rel=1e-5)


def believed(hit: list[float], amount: list[float], spread: list[float]) -> Beliefs:
    """One enemy in slot 0 of one row, one value per member for all questions."""
    members = len(hit)

    def everywhere(values: list[float]) -> Tensor:
        return torch.tensor(values)[:, None, None].expand(members, 1, len(QUESTIONS))

    return Beliefs(
        hit=everywhere(hit),
        amount=everywhere(amount),
        spread=everywhere(spread),
        kill=torch.zeros(members, 1),
        target=torch.zeros(members, 1, len(TARGETS)),
        death=torch.zeros(members, 1),
        places=torch.tensor([0]),
        present=torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]]),
    )


def test_damage_losses_by_hand() -> None:
    beliefs = believed([0.0, 0.0], [2.0, 1.0], [1.0, 0.5])
    threat, scale = torch.full((1, 4), 0.4), torch.full((4,), 0.3)
    hit, amount, mean = damage_losses(beliefs, threat, scale)
    assert hit[:, 0, 0].tolist() == pytest.approx([math.log(2)] * 2)
    # y = 4 tenths. Shape 1, mean 2: log G(1) - log(1 / 2) - 0 + 4 / 2 = log 2 + 2.
    # Shape 2, mean 1: log G(2) - 2 log(2 / 1) - log 4 + 2 x 4 / 1 = 8 - 4 log 2.
    assert amount[:, 0, 0].tolist() == pytest.approx([math.log(2) + 2, 8 - 4 * math.log(2)])
    # ((0.5 x 2 - 4) / 3)^2 = 1 and ((0.5 x 1 - 4) / 3)^2 = 49 / 36.
    assert mean[:, 0, 0].tolist() == pytest.approx([1.0, 49 / 36])
    hit, amount, mean = damage_losses(beliefs, torch.zeros(1, 4), scale)
    assert hit[:, 0, 0].tolist() == pytest.approx([math.log(2)] * 2) and amount.abs().max() == 0.0
    assert mean[:, 0, 0].tolist() == pytest.approx([1 / 9, 1 / 36])


class Told(nn.Module):
    """A network that believes what it is told."""

    def __init__(self, beliefs: Beliefs) -> None:
        super().__init__()
        self.beliefs = beliefs

    def forward(self, *inputs: Tensor) -> Beliefs:
        return self.beliefs


def one_row(**changes: Any) -> dict[str, Tensor]:
    slots = {"kill": torch.zeros(1, 5), "target": torch.zeros(1, 5)}
    return {
        **dict.fromkeys(("observation", "opponents", "kinds", "health"), torch.zeros(1)),
        "threat": torch.full((1, 5, 4), 0.4),
        "known": torch.ones(1, 5, 4, dtype=torch.bool),
        **{name: value.to(torch.int8) for name, value in slots.items()},
        "death": torch.zeros(1, dtype=torch.int8),
        "fight": torch.zeros(1, dtype=torch.int64),
        **changes,
    }


def priors() -> dict[str, Tensor]:
    return {
        "scale": torch.full((4,), 0.3),
        "kill_prior": torch.tensor([0.8, 0.2]),
        "death_prior": torch.tensor([0.9, 0.1]),
        "target_prior": torch.full((6,), 1 / 6),
    }


def test_the_ensembles_loss_by_hand() -> None:
    network = Told(believed([0.0, 0.0], [2.0, 1.0], [1.0, 0.5])).eval()
    settings = {"weight_2s": 2.0, "weight_5s": 0.5, "weight_team": 0.3, "weight_mean": 4.0}
    weights = {"weight_kill": 0.5, "weight_target": 0.25, "weight_death": 2.0}
    losses = task(**settings, **weights).loss(network, one_row(), priors())
    log2 = math.log(2)
    # Means over both members of the three losses of the test above; weights 2 + 0.5 + 0.3 (2 + 0.5) = 3.25.
    damage = 3.25 * (log2 + (10 - 3 * log2) / 2 + 4 * (1 + 49 / 36) / 2)
    assert losses["damage_loss"].item() == pytest.approx(damage, rel=1e-5)
    # Logits of zero: log 2 of two classes, log 6 of six.
    assert losses["kill_loss"].item() == pytest.approx(log2, rel=1e-5)
    assert losses["target_loss"].item() == pytest.approx(math.log(6), rel=1e-5)
    total = damage + 0.5 * log2 + 0.25 * math.log(6) + 2.0 * log2
    assert losses["loss"].item() == pytest.approx(total, rel=1e-5)


def test_balance_weighs_rare_classes_by_hand() -> None:
    network = Told(believed([0.0], [2.0], [1.0])).eval()
    network.beliefs = network.beliefs._replace(death=torch.tensor([[0.0, math.log(3)]]))
    # Two rows: I live (chance 1/2), I die (chance 3/4), frequencies 0.9 and 0.1. Balanced they weigh 1 / 0.9
    # and 1 / 0.1, that is 1 : 9.
    both = one_row(death=torch.tensor([0, 1], dtype=torch.int8), fight=torch.zeros(2, dtype=torch.int64))
    plain = task().loss(network, both, priors())["death_loss"].item()
    even = task(balance=1.0).loss(network, both, priors())["death_loss"].item()
    assert plain == pytest.approx((math.log(2) + math.log(4 / 3)) / 2, rel=1e-5)
    assert even == pytest.approx((math.log(2) + 9 * math.log(4 / 3)) / 10, rel=1e-5)


def test_fights_weigh_differently_for_each_member() -> None:
    fight = torch.tensor([5, 5, 7, 1_000_005, *range(10, 4010)])
    weight = fight_weights(fight, 4, 1.0)
    assert torch.equal(weight[:, 0], weight[:, 1]) and len(set(weight[:, 0].tolist())) == 4
    assert not torch.equal(weight[:, 0], weight[:, 2]) and not torch.equal(weight[:, 0], weight[:, 3])
    assert weight.min() >= 0.0
    assert weight.mean(dim=1).tolist() == pytest.approx([1.0] * 4, abs=0.06)
    assert weight.std(dim=1).tolist() == pytest.approx([1.0] * 4, abs=0.1)  # exponential
    assert abs(float(torch.corrcoef(weight)[0, 1])) < 0.06
    assert torch.equal(fight_weights(fight, 2, 0.0), torch.ones(2, len(fight)))
    half = fight_weights(fight, 4, 0.5)
    torch.testing.assert_close(half, 0.5 + 0.5 * weight)


def test_weights_count_in_training_only(rows: Rows) -> None:
    torch.manual_seed(0)
    network = ThreatAssessment(TINY)
    few, numbers = batch(take(rows, slice(0, 40))), fitted(rows)
    losses = {}
    for name, training in (("training", True), ("still", False)):
        for share in (0.0, 1.0):
            network.train(training)
            losses[name, share] = task(bootstrap=share).loss(network, few, numbers)["loss"].item()
    assert losses["still", 0.0] == losses["still", 1.0]
    assert losses["training", 0.0] != losses["training", 1.0]


def test_what_is_unknown_gives_no_gradient(rows: Rows) -> None:
    torch.manual_seed(0)
    network, numbers = ThreatAssessment(TINY), fitted(rows)
    few = batch(take(rows, slice(0, 40)))
    nothing = {
        "known": torch.zeros_like(few["known"]),
        **{name: torch.full_like(few[name], UNKNOWN) for name in ("kill", "target", "death")},
    }
    loss = task().loss(network, {**few, **nothing}, numbers)["loss"]
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is None or p.grad.abs().max() == 0.0 for p in network.parameters())
    # Known again for one question: its own outputs learn, those of the others do not.
    network.zero_grad()
    task().loss(network, {**few, **nothing, "death": few["death"]}, numbers)["loss"].backward()
    assert network.die.weight.grad is not None and network.die.weight.grad.abs().max() > 0.0
    assert network.match.weight.grad is None or network.match.weight.grad.abs().max() == 0.0


def test_half_precision_trains(rows: Rows) -> None:
    torch.manual_seed(0)
    network, numbers, few = ThreatAssessment(TINY), fitted(rows), batch(take(rows, slice(0, 64)))
    whole = task().loss(network, few, numbers)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        half = task().loss(network, few, numbers)["loss"]
    half.backward()
    assert half.item() == pytest.approx(whole.item(), rel=0.05)
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def test_noise_leaves_zeros_signs_and_targets(rows: Rows) -> None:
    before = {name: values.copy() for name, values in rows.items()}
    noisy = task(noise=0.05).augment(rows, np.random.default_rng(0))
    assert all(np.array_equal(rows[name], values) for name, values in before.items()), "argument written to"
    for name in set(rows) - {"observation"}:
        assert noisy[name] is rows[name]
    old, new = rows["observation"], noisy["observation"]
    assert (np.sign(old) == np.sign(new)).all()
    changed = (old != new).any(axis=0)
    positions = {2, 3, *(20 + 6 * e + k for e in range(2) for k in range(3)), 50, 51, 52}
    assert set(np.flatnonzero(changed)) <= positions | {0, 1} and positions <= set(np.flatnonzero(changed))
    ratio = (new / np.where(old == 0, 1, old))[:, 20][old[:, 20] != 0]
    assert ratio.std() == pytest.approx(0.05, rel=0.2)
    again = task(noise=0.05).augment(rows, np.random.default_rng(0))
    np.testing.assert_array_equal(again["observation"], new)
    assert task(noise=0.0).augment(rows, np.random.default_rng(0)) is rows


def test_errors_by_hand(rows: Rows) -> None:
    two = take(rows, slice(0, 2))
    two = {**two, "known": np.zeros((2, 5, 4), bool), "kill": np.full((2, 5), UNKNOWN, np.int8)}
    two["known"][0, :2, 0] = True
    two["kill"][0, :2] = [1, 0]
    two["threat"] = np.zeros((2, 5, 4), np.float32)
    two["threat"][0, 0, 0] = 0.5
    answers = {"threat": np.full((2, 5, 4), 0.1), "kill": np.full((2, 5), 0.25)}
    errors = task().errors(answers, two, {})
    # (0.4^2 + 0.1^2) / 2 = 0.085; the mean of -log 0.25 and -log 0.75.
    assert errors["threat_2s"][0] == pytest.approx(0.085, rel=1e-5)
    assert np.isnan(errors["threat_2s"][1]) and np.isnan(errors["threat_5s"]).all()
    assert errors["kill"][0] == pytest.approx(-(math.log(0.25) + math.log(0.75)) / 2)
    assert set(errors) == {*QUESTIONS, "kill"}


def test_ceiling_is_a_share() -> None:
    plan = FightPlan(fights=24, sizes={"1v1": 1}, stride=8)
    found = ceiling("mage", plan, 1, states=60, copies=6)
    assert list(found) == [*QUESTIONS, "told_2s", "told_5s"]
    assert all(0.3 < one.value < 1.0 and one.low <= one.value <= one.high for one in found.values())
    changing = ceiling("mage", dataclasses.replace(plan, switching=True), 1, states=20, copies=3)
    assert list(changing) == list(QUESTIONS)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="weight_2s"):
        ThreatTask(weight_2=1.0)


def test_it_learns() -> None:
    run = SupervisedRun(
        model_type="threat_assessment",
        archetype="mage",
        model=dataclasses.asdict(ThreatAssessmentConfig(hidden=32, history=HISTORY, recent=6, deeds=4)),
        data=FightPlan(fights=120, sizes={"1v1": 1, "2v2": 1}, stride=6),
        training=SupervisedTrainingConfig(epochs=5, learning_rate=5e-3, batch_size=128),
        task={"history": HISTORY, "bootstrap": 0.2},
        seed=1,
    )
    trainer = SupervisedTrainer(run)
    train(trainer)
    test = trainer.sets["test"]
    answers = trainer.answers(test)
    figures = trainer.evaluate("test")
    assert count_rows(test) > 200
    assert figures["skill"] > 0.3 and figures["ev_threat_2s"] > 0.25
    assert figures["calibration_error"] < 0.1 and figures["rank_correlation"] > 0.2
    better = compare(trainer.task, answers, test, trainer.fitted)
    assert all(one.better for one in better if one.question in ("threat_2s", "death"))
