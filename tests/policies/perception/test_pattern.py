"""The pattern task: rows, exact augmentation, masks, losses by hand, metrics, and that it learns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from envs.configuration import ConfigError
from envs.contracts import opponent_windows
from envs.contracts.view import WorldView
from envs.perception import labels
from envs.perception.sights import Sights, record_sights
from envs.simulation import state as s
from envs.simulation.world import World
from envs.symmetries import ELEMENTS, turn
from policies.pattern_recognition import STYLES, PatternRecognition, PatternRecognitionConfig
from policies.perception.pattern import LENGTHS, PatternTask, asked_about, turned
from policies.perception.task import Rows, take

TEAMS = (("tank", "mage"), ("ranged", "support"))
FIGHTS = 8
ARGUMENTS: dict[str, Any] = {"seed": 3, "styles": (s.STYLES, s.STYLES[1:])}
TINY = PatternRecognitionConfig(d_model=16, heads=2, layers=1, feed_forward=16, decisions_per_token=5)


@pytest.fixture(scope="module")
def sights() -> Sights:
    return record_sights(FIGHTS, TEAMS, **ARGUMENTS)


@pytest.fixture(scope="module")
def rows(sights: Sights) -> Rows:
    return PatternTask().rows(sights, stride=4)


@pytest.fixture(scope="module")
def histories() -> list[list[WorldView]]:
    """Views of every fight up to decision 60."""
    world = World(FIGHTS, TEAMS, log_damage=True, **ARGUMENTS)
    seen = [[world.view(fight)] for fight in range(FIGHTS)]
    for _ in range(60):
        world.step(np.zeros((FIGHTS, 0), np.int32))
        for fight in range(FIGHTS):
            seen[fight].append(world.view(fight))
    return seen


def batch(rows: Rows) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in rows.items()}


def fitted(rows: Rows) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in PatternTask().fit(rows).items()}


class Says(PatternRecognition):
    """A network whose logits and embeddings are given."""

    def __init__(self, logits: Sequence[Sequence[float]], embedding: Tensor | None = None) -> None:
        super().__init__(TINY)
        self.logits = nn.Parameter(torch.tensor(logits))
        self.vectors = torch.eye(len(logits), 32) if embedding is None else embedding
        self.project = nn.Sequential()

    def forward(self, window: Tensor, shown: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
        return self.logits, self.vectors


def plain_rows(count: int, **changes: Any) -> Rows:
    """Rows with nothing in their windows."""
    base: Rows = {
        "window": np.zeros((count, 50, 16), np.float32),
        "shown": np.ones((count, 50), bool),
        "kind": np.zeros(count, np.int8),
        "style": np.zeros(count, np.int8),
        "kept": np.full(count, 50, np.int8),
        "seen": np.full(count, 50, np.int8),
        "length": np.full(count, 50, np.int8),
        "fight": np.arange(count),
        "time": np.full(count, 60),
        "slot": np.zeros(count, np.int64),
    }
    return base | {name: np.asarray(value, base[name].dtype) for name, value in changes.items()}


def test_windows_are_the_contracts_own(rows: Rows, histories: list[list[WorldView]]) -> None:
    for time in (8, 24, 60):
        at = np.flatnonzero(rows["time"] == time)
        assert len(at) > FIGHTS
        seen = [histories[fight][: time + 1] for fight in rows["fight"][at]]
        window, shown = opponent_windows(seen, [0] * len(at), [int(2 + slot) for slot in rows["slot"][at]])
        np.testing.assert_array_equal(rows["window"][at], window)
        np.testing.assert_array_equal(rows["shown"][at], shown)


def test_labels_and_kinds(sights: Sights, rows: Rows) -> None:
    style = sights.recording.units[1, rows["fight"], 2 + rows["slot"], -1]
    np.testing.assert_array_equal(rows["style"], style - 1)
    assert len(np.unique(rows["style"])) >= 4 and (rows["kept"] == 50).all()
    assert set(zip(rows["slot"].tolist(), rows["kind"].tolist(), strict=True)) == {(0, 5), (1, 2)}
    assert rows["time"].min() == 8 and (rows["time"] % 4 == 0).all()
    assert (rows["shown"][:, -1]).all() and (rows["length"] == 50).all()
    np.testing.assert_array_equal(rows["seen"], np.minimum(rows["time"], 50))


def test_a_switch_ends_what_was_kept() -> None:
    changing = record_sights(12, TEAMS, **(ARGUMENTS | {"switching": True}))
    rows = PatternTask().rows(changing, stride=1)
    recording = changing.recording
    unit = 2 + rows["slot"]
    switch = recording.switch_tick[rows["fight"], unit]  # switches at the decision of that tick
    assert (switch > 0).all()
    since = rows["time"] - -(-switch // 2)  # decisions taken in the new style
    for length in LENGTHS.values():
        value, valid = labels.style(recording, length)
        known = valid[rows["time"], rows["fight"], unit]
        np.testing.assert_array_equal(rows["kept"] >= length, known)
        crossed = (since > 0) & (since < length)
        assert crossed.any()
        assert not known[crossed].any() and known[~crossed].all()
        np.testing.assert_array_equal(
            rows["style"][known], value[rows["time"], rows["fight"], unit][known] - 1
        )
    assert (rows["style"][rows["kept"] == 0] == -1).all()
    # Before and after the switch the label is another one.
    one = (rows["fight"] == rows["fight"][since > 50][0]) & (rows["slot"] == 0) & (rows["kept"] == 50)
    assert len(np.unique(rows["style"][one])) == 2


def test_plain_scripts_have_no_style() -> None:
    rows = PatternTask().rows(record_sights(3, TEAMS, seed=1), stride=5)
    assert (rows["style"] == -1).all() and (rows["kept"] == 0).all()
    assert not len(asked_about(rows, 10))


@pytest.mark.parametrize("element", ELEMENTS)
def test_a_turned_window_is_that_of_the_turned_fight(
    element: int, rows: Rows, histories: list[list[WorldView]]
) -> None:
    at = np.flatnonzero(rows["time"] == 60)[:4]
    views = [[_turned_view(view, element) for view in histories[fight]] for fight in rows["fight"][at]]
    window, _ = opponent_windows(views, [0] * len(at), [int(2 + slot) for slot in rows["slot"][at]])
    np.testing.assert_array_equal(turned(rows["window"][at], np.full(len(at), element)), window)


def _turned_view(view: WorldView, element: int) -> WorldView:
    """A view of the arena turned about its middle."""
    units = view.units.copy()
    for unit in units:
        x, y = turn(element, 2 * int(unit[0]) - 31, 2 * int(unit[1]) - 31)
        unit[:2] = (x + 31) // 2, (y + 31) // 2
    return dataclasses.replace(view, units=units)


def test_a_cut_window_is_that_of_a_fight_seen_later(rows: Rows, histories: list[list[WorldView]]) -> None:
    task = PatternTask(whole=0.0, shortest=7)
    some = take(rows, rows["time"] == 60)
    before = {name: values.copy() for name, values in some.items()}
    for seed in range(4):
        cut = task.augment(some, np.random.default_rng(seed))
        (length,) = np.unique(cut["length"])
        assert 7 <= length < 50
        for row in range(2):
            # Seen one decision longer than is left, so that its first step is known too.
            late = [histories[some["fight"][row]][60 - length :]]
            window, shown = opponent_windows(late, [0], [int(2 + some["slot"][row])])
            window[:, : 50 - length] = 0.0
            candidates = [turned(window, np.array([element]))[0] for element in ELEMENTS]
            assert any(np.array_equal(cut["window"][row], one) for one in candidates)
            np.testing.assert_array_equal(cut["shown"][row], shown[0] & (np.arange(50) >= 50 - length))
    for name, values in before.items():
        np.testing.assert_array_equal(some[name], values)


def test_augmentation_comes_from_its_generator(rows: Rows) -> None:
    task = PatternTask()
    one, same, other = (task.augment(rows, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one["window"], same["window"])
    assert not np.array_equal(one["window"], other["window"])
    few = take(rows, slice(0, 2))
    lengths = np.array([task.augment(few, np.random.default_rng(k))["length"][0] for k in range(400)])
    # A quarter keeps all, and of the others one in 46.
    assert abs((lengths == 50).mean() - (0.25 + 0.75 / 46)) < 4 * math.sqrt(0.25 * 0.75 / 400)
    assert lengths.min() == 5 and len(np.unique(lengths)) > 40


def test_loss_by_hand() -> None:
    # Weights 2 for class 0, 1 for class 1. Row 0: class 0, logits log 3 against 0 and -inf-like rest.
    far = -200.0
    network = Says([[math.log(3.0), 0.0, far, far, far, far], [0.0, 0.0, far, far, far, far]])
    weight = {"weight": torch.tensor([2.0, 1.0, 1.0, 1.0, 1.0, 1.0])}
    data = batch(plain_rows(2, style=[0, 1]))
    found = PatternTask(contrastive=0.0).loss(network, data, weight)
    # p = 3/4 and 1/2: (2 log(4/3) + log 2) / 3
    expected = (2.0 * math.log(4.0 / 3.0) + math.log(2.0)) / 3.0
    assert math.isclose(found["loss"].item(), expected, rel_tol=1e-5)
    assert "contrastive_loss" not in found
    # row 0 is right; row 1 ties, and the first of equals is named
    assert float(found["accuracy"]) == 0.5


def test_contrastive_part_by_hand() -> None:
    # Both rows of class 0, embeddings the same unit vector, a third row of class 1 at a right angle; t = 0.5:
    # log(1 + e^-2), as worked out in test_contrastive. Logits all equal: log 6.
    vectors = torch.zeros(3, 32)
    vectors[0, 0] = vectors[1, 0] = vectors[2, 1] = 1.0
    network = Says([[0.0] * 6] * 3, vectors)
    task = PatternTask(contrastive=0.3, contrastive_temperature=0.5)
    found = task.loss(network, batch(plain_rows(3, style=[0, 0, 1])), {"weight": torch.ones(6)})
    expected = math.log(6.0) + 0.3 * math.log(1.0 + math.exp(-2.0))
    assert math.isclose(found["loss"].item(), expected, rel_tol=1e-5)


def test_unknown_styles_give_no_gradient() -> None:
    # Row 1 has no style, row 2 changed it within what is left of its window, row 3 only before that.
    network = Says([[0.5, 0.0, 0.0, 0.0, 0.0, 0.0]] * 4)
    data = batch(plain_rows(4, style=[0, -1, 2, 2], kept=[50, 0, 10, 10], length=[50, 50, 11, 10]))
    PatternTask(contrastive=0.0).loss(network, data, {"weight": torch.ones(6)})["loss"].backward()
    assert network.logits.grad is not None
    assert network.logits.grad.abs().sum(dim=1).gt(0).tolist() == [True, False, False, True]
    nothing = batch(plain_rows(4, style=[-1] * 4, kept=[0] * 4))
    assert PatternTask().loss(network, nothing, {"weight": torch.ones(6)})["loss"].item() == 0.0


def test_class_weights_and_prior_by_hand() -> None:
    # 5, 1 and 0 rows and one added to each: counts 6 2 1 1 1 1 of 12; weight = 12 / 6 / count
    found = PatternTask().fit(plain_rows(6, style=[0, 0, 0, 0, 0, 1]))
    np.testing.assert_allclose(found["prior"], np.array([6, 2, 1, 1, 1, 1]) / 12, rtol=1e-6)
    np.testing.assert_allclose(found["weight"], [1 / 3, 1, 2, 2, 2, 2], rtol=1e-6)


def test_predictions_look_back_as_far_as_they_say(rows: Rows) -> None:
    torch.manual_seed(0)
    network = PatternRecognition(TINY).eval()
    some = take(rows, rows["time"] == 60)
    answers = PatternTask().predict(network, batch(some))
    assert set(answers) == {*LENGTHS, "embedding"}
    for question, length in LENGTHS.items():
        changed = {**some, "window": some["window"].copy()}
        changed["window"][:, : 50 - length] = 9.0
        torch.testing.assert_close(
            PatternTask().predict(network, batch(changed))[question], answers[question], rtol=0, atol=0
        )
        if length > 10:
            changed["window"][:, 50 - length] = 9.0
            assert not torch.equal(
                PatternTask().predict(network, batch(changed))[question], answers[question]
            )


def test_errors_count_full_windows_of_one_style_only() -> None:
    rows = plain_rows(5, style=[0, 0, 1, -1, 0], kept=[50, 10, 50, 0, 50], seen=[50, 50, 50, 50, 24])
    chances = np.full((5, 6), 0.1, np.float32)
    chances[:, 0] = 0.5
    errors = PatternTask().errors({question: chances for question in LENGTHS}, rows, {})
    nan = float("nan")
    np.testing.assert_array_equal(errors["style_2s"], [0, 0, 1, nan, 0])
    np.testing.assert_array_equal(errors["style_5s"], [0, nan, 1, nan, nan])
    np.testing.assert_array_equal(errors["style_10s"], [0, nan, 1, nan, nan])


def test_metrics_by_hand() -> None:
    task, rows = PatternTask(), plain_rows(4, style=[0, 0, 0, 1])
    fit = {"prior": np.full(6, 1 / 6, np.float32)}
    chances = np.tile(np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1], np.float32), (4, 1))
    found = task.metrics({question: chances for question in LENGTHS}, rows, fit)
    assert found["accuracy_10s"] == 0.75
    loss = (3 * math.log(2.0) + math.log(10.0)) / 4
    assert found["log_loss_2s"] == pytest.approx(loss, rel=1e-5)
    # All in one bin: stated 0.5, true 0.75
    assert found["calibration_5s"] == pytest.approx(0.25)
    assert found["skill"] == pytest.approx(1 - loss / math.log(6.0), rel=1e-5)


def test_calibration_sets_the_temperature() -> None:
    # Chances 0.9 / 0.02 x 5, right in 3 of 4 rows; p^(1/t) normalised must be 3/4: (0.9 / 0.02)^(1/t) / 5 = 3
    network = PatternRecognition(TINY)
    chances = np.tile(np.array([0.9, 0.02, 0.02, 0.02, 0.02, 0.02], np.float32), (40, 1))
    rows = plain_rows(40, style=[0, 0, 0, 1] * 10)
    found = PatternTask().calibrate(network, {question: chances for question in LENGTHS}, rows, {})
    assert found["temperature"] == pytest.approx(math.log(45.0) / math.log(15.0), rel=1e-3)
    assert float(network.temperature) == pytest.approx(found["temperature"], rel=1e-6)


def test_baselines_answer_every_question(rows: Rows) -> None:
    task = PatternTask()
    found = task.baselines(rows, task.fit(rows))
    assert set(found) == {"class prior", "nearest class mean", "logistic regression"}
    for answers in found.values():
        assert set(answers) == set(LENGTHS)
        for chances in answers.values():
            np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-5)


def test_it_learns(rows: Rows) -> None:
    """On its own training rows, from a fixed seed, it soon knows more than the prior."""
    task = PatternTask(contrastive=0.1)
    torch.manual_seed(0)
    network = PatternRecognition(dataclasses.replace(TINY, d_model=32, feed_forward=64))
    fit = fitted(rows)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    rng = np.random.default_rng(0)
    for _ in range(60):
        some = take(rows, rng.integers(0, len(rows["fight"]), 64))
        loss = task.loss(network, batch(task.augment(some, rng)), fit)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        answers = {name: value.numpy() for name, value in task.predict(network, batch(rows)).items()}
    metrics = task.metrics(answers, rows, task.fit(rows))
    assert metrics["accuracy_10s"] > 0.6 and metrics["skill"] > 0.2
    assert len(STYLES) == 6


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="contrastiv"):
        PatternTask(contrastiv=0.1)
    with pytest.raises(ConfigError, match="shortest"):
        PatternTask(shortest=51)
