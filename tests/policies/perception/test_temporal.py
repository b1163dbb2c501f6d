"""The temporal task: rows are what was seen and what followed; changes of rows are changes of fights."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from envs.configuration import ConfigError, load_dataclass, load_yaml
from envs.contracts.features import ALLY_0, ENEMY_0
from envs.perception import labels
from envs.perception.labels import DEEDS
from envs.perception.recording import SECOND, TARGET
from envs.perception.sights import Sights, record_sights
from envs.simulation import state as s
from envs.symmetries import ALLY_TO, ENEMY_TO, Symmetries
from policies.perception import temporal_errors, temporal_symmetry
from policies.perception.compositions import FightPlan
from policies.perception.settings import SupervisedTrainingConfig
from policies.perception.task import Rows, count_rows, take
from policies.perception.temporal import TemporalTask, decisions
from policies.perception.temporal_ceiling import ceiling
from policies.profiles import CONFIG_FOLDER
from policies.temporal_heads import OTHERS, SIDE
from policies.temporal_transformer import TemporalTransformer, TemporalTransformerConfig

TEAMS = (("mage", "tank", "ranged"), ("support", "aggressive", "mage"))
ARGUMENTS: dict[str, Any] = {"seed": 5, "styles": (s.STYLES, s.STYLES)}
TASK = TemporalTask()
TINY = TemporalTransformerConfig(width=8, layers=1, heads=2, hidden=8, segment=16, memory=16, head_units=4)


@pytest.fixture(scope="module")
def sights() -> Sights:
    return record_sights(10, TEAMS, **ARGUMENTS)


@pytest.fixture(scope="module")
def rows(sights: Sights) -> Rows:
    return TASK.rows(sights, stride=1)


def batch_of(rows: Rows) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in rows.items()}


def fitted_of(rows: Rows) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.asarray(value)) for name, value in TASK.fit(rows).items()}


def test_rows_are_what_was_seen_and_what_followed(sights: Sights, rows: Rows) -> None:
    recording = sights.recording
    seeing = sights.seeing[:, :, 0]
    deed, target = labels.next_deed(recording), labels.next_target(recording)
    hp = labels.future_hp(recording)
    units, places = [0, 1, 2, 3, 4, 5], [0, 1, 2, 5, 6, 7]
    known_hp = temporal_errors.known_hp(rows)
    assert count_rows(rows) == 10
    for fight in range(10):
        length = int(rows["length"][fight])
        assert length == seeing[:, fight].sum()
        np.testing.assert_array_equal(
            rows["token"][fight, :length], sights.tokens[:length, fight, 0].astype(np.float16)
        )
        assert not rows["token"][fight, length:].any()
        np.testing.assert_array_equal(
            rows["opponents"][fight, :length, :3], sights.opponents[:length, fight, 0].astype(np.float16)
        )
        for slot, enemy in enumerate((3, 4, 5)):
            for when in range(length):
                known = bool(deed.valid[when, fight, enemy])
                assert (rows["deed"][fight, when, slot] >= 0) == known
                if known:
                    assert rows["deed"][fight, when, slot] == deed.value[when, fight, enemy]
                    aimed = int(target.value[when, fight, enemy])
                    assert rows["target"][fight, when, slot] == {0: 0, 1: 1, 2: 2, -1: 5}[aimed]
        np.testing.assert_array_equal(known_hp[fight, :length][:, places], hp.valid[:length, fight][:, units])
        assert not known_hp[fight, length:].any() and not known_hp[fight][:, [3, 4, 8, 9]].any()
        for moment in range(5):
            later = temporal_errors.future(rows["hp"], rows["deed"].shape[1], moment)[fight, :length]
            np.testing.assert_array_equal(later[:, places], hp.value[:length, fight][:, units, moment])
    assert (rows["deed"][:, :, 3:] == -1).all()


def test_what_an_enemy_did_and_whom_it_aims_at_now(sights: Sights, rows: Rows) -> None:
    target, alive = sights.recording.units[..., TARGET], sights.recording.alive
    deed, did = labels.next_deed(sights.recording), labels.deeds(sights.recording)
    for when, enemy in ((7, 3), (20, 4), (12, 5)):
        for fight in range(10):
            if when >= rows["length"][fight] or not alive[when, fight, enemy]:
                continue
            aimed = int(target[when, fight, enemy])
            aimed = aimed if aimed >= 0 and alive[when, fight, aimed] else 5
            assert rows["now_target"][fight, when, enemy - 3] == aimed
            assert rows["last_deed"][fight, when, enemy - 3] == deed.value[when - SECOND, fight, enemy]
            assert rows["did"][fight, when, enemy - 3] == did[when - 1, fight, enemy]


def test_kinds_of_everybody_else(rows: Rows) -> None:
    names = ["aggressive", "defensive", "support", "mage", "tank", "ranged"]
    kinds = rows["kinds"][0]
    assert kinds.shape == (OTHERS, 6)
    assert [names[k.argmax()] if k.any() else None for k in kinds] == [
        "tank", "ranged", None, None, "support", "aggressive", "mage", None, None,
    ]  # fmt: skip


def test_the_network_sees_them(rows: Rows) -> None:
    seen = decisions(batch_of(rows))
    assert seen.token.shape == (10, 300, 80) and seen.aims.shape == (10, 300, 5, 6)
    did = torch.from_numpy(rows["did"]).long()
    assert torch.equal(seen.deeds.sum(dim=-1) > 0, did >= 0)
    assert torch.equal(seen.deeds.argmax(dim=-1)[did >= 0], did[did >= 0])
    now = torch.from_numpy(rows["now_target"])
    assert torch.equal(seen.aims.sum(dim=-1) > 0, now >= 0)
    assert torch.equal(seen.aims.argmax(dim=-1)[now >= 0], now[now >= 0].long())


def test_served_inputs_are_one_decision_after_the_other(rows: Rows) -> None:
    found = TASK.served_inputs(rows)
    signature = TemporalTransformer(TINY).signature()
    first = int(rows["length"][0])
    for port in signature.inputs[:5]:
        assert found[port.name].shape == (rows["length"].sum(), *port.shape)
        assert found[port.name].dtype == np.float32
    np.testing.assert_array_equal(found["token"][:first], rows["token"][0, :first].astype(np.float32))
    np.testing.assert_array_equal(found["token"][first], rows["token"][1, 0].astype(np.float32))
    np.testing.assert_array_equal(found["kinds"][first - 1], rows["kinds"][0].astype(np.float32))


def test_turned_rows_are_rows_of_turned_fights(sights: Sights, rows: Rows) -> None:
    # "around" plays the same fights, each turned or mirrored at random.
    other = TASK.rows(record_sights(10, TEAMS, starts="around", **ARGUMENTS), stride=1)
    still = [np.tile(np.arange(5), (10, 1)), np.tile(np.arange(4), (10, 1))]
    elements = np.full(10, -1)
    for element in range(8):
        turned = temporal_symmetry.change(rows, np.full(10, element), *still)
        same = (turned["token"][:, 0] == other["token"][:, 0]).all(axis=1)
        elements[same] = element
    assert (elements >= 0).all() and len(set(elements.tolist())) > 3
    found = temporal_symmetry.change(rows, elements, *still)
    for name, values in other.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def renumbered(sights: Sights, order: list[int]) -> Sights:
    """The same fights with the units listed in another order; the observer stays first."""
    recording, new = sights.recording, np.argsort(order)
    units = recording.units[:, :, order].copy()
    aimed = units[..., TARGET]
    units[..., TARGET] = np.where(aimed >= 0, new[np.maximum(aimed, 0)], -1)
    enemies, allies = [unit - 3 for unit in order[3:]], [unit - 1 for unit in order[1:3]]
    to_enemy = next(k for k, to in enumerate(ENEMY_TO) if list(np.argsort(to)) == [*enemies, 3, 4])
    to_ally = next(k for k, to in enumerate(ALLY_TO) if list(np.argsort(to)) == [*allies, 2, 3])
    tokens = sights.tokens.copy().reshape(-1, 80)
    group = Symmetries("combat", max_enemies=3, max_allies=2)
    group.apply(np.full(len(tokens), 8 * (to_enemy + 120 * to_ally)), {"obs": tokens})
    return dataclasses.replace(
        sights,
        recording=dataclasses.replace(
            recording,
            units=units,
            hp=recording.hp[:, :, order],
            deeds=recording.deeds[:, :, order],
            template=recording.template[order],
            skills=recording.skills[order],
        ),
        tokens=tokens.reshape(sights.tokens.shape),
        opponents=sights.opponents[..., enemies, :],
    )


def test_renumbered_rows_are_rows_of_renumbered_fights(sights: Sights, rows: Rows) -> None:
    expected = TASK.rows(renumbered(sights, [0, 2, 1, 5, 3, 4]), stride=1)
    enemies, allies = np.tile([2, 0, 1, 3, 4], (10, 1)), np.tile([1, 0, 2, 3], (10, 1))
    found = temporal_symmetry.change(rows, np.zeros(10, np.int64), enemies, allies)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert (found["target"] != rows["target"]).any()


def test_fights_begun_later_are_the_same_from_there(rows: Rows) -> None:
    begin = np.arange(10) * 3
    length = rows["length"] - begin.astype(np.int32)
    found = temporal_symmetry.cut(rows, begin, length)
    assert found["deed"].shape[1] == length.max()
    known = temporal_errors.known_hp(found)
    for fight in range(10):
        here, there = slice(0, length[fight]), slice(begin[fight], rows["length"][fight])
        for name in temporal_symmetry.PER_DECISION:
            np.testing.assert_array_equal(found[name][fight, here], rows[name][fight, there])
        np.testing.assert_array_equal(known[fight, here], temporal_errors.known_hp(rows)[fight, there])
        for moment in range(5):
            np.testing.assert_array_equal(
                temporal_errors.future(found["hp"], found["deed"].shape[1], moment)[fight, here],
                temporal_errors.future(rows["hp"], rows["deed"].shape[1], moment)[fight, there],
            )
        assert (found["deed"][fight, length[fight] :] == -1).all()
        assert not known[fight, length[fight] :].any()


def test_augmentation_draws_anew_and_leaves_its_argument(rows: Rows) -> None:
    before = {name: values.copy() for name, values in rows.items()}
    task = TemporalTask(crop=0.5, noise=0.01)
    found = [task.augment(rows, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    for name, values in before.items():
        np.testing.assert_array_equal(rows[name], values)
        np.testing.assert_array_equal(found[0][name], found[1][name])
    assert (
        found[0]["token"].shape != found[2]["token"].shape or (found[0]["token"] != found[2]["token"]).any()
    )
    assert (found[0]["length"] < rows["length"]).any() and (found[0]["length"] == rows["length"]).any()
    # Empty slots stay empty, whatever is drawn.
    assert not found[0]["kinds"][:, [2, 3, 7, 8]].any()
    absent = rows["token"][..., ENEMY_0 + 18 : ALLY_0]
    assert not absent.any() and not found[0]["token"][..., ENEMY_0 + 18 : ALLY_0].any()


def test_loss_by_hand(rows: Rows) -> None:
    # A network that says nothing: all deeds are as likely as another, and so are all who live, and nobody.
    network = TemporalTransformer(TINY)
    with torch.no_grad():
        for parameter in network.heads.parameters():
            parameter.zero_()
    two = take(rows, slice(0, 2))
    fitted = fitted_of(rows)
    figures = TASK.loss(network, batch_of(two), fitted)
    assert figures["deed_loss"].item() == pytest.approx(math.log(len(DEEDS)), rel=1e-5)
    known = two["target"] >= 0
    lives = 1 + (two["hp"][:, :300, 1:SIDE] > 0).sum(
        axis=2
    )  # the monster itself lives where anything is known
    expected = np.log(np.repeat(lives[..., None] + 1, 5, axis=2)[known]).mean()
    gone = known & (np.take_along_axis(two["hp"][:, :300, :SIDE], np.minimum(two["target"], 4), 2) <= 0)
    assert not (gone & (two["target"] < 5)).any()
    assert figures["target_loss"].item() == pytest.approx(float(expected), rel=1e-5)
    mask, total, count = temporal_errors.known_hp(two), 0.0, 0
    for moment in range(5):
        change = temporal_errors.future(two["hp"], 300, moment) - two["hp"][:, :300]
        scaled = change**2 / fitted["change_square"].numpy()[:, moment]
        total, count = total + scaled[mask[..., moment]].sum(), count + mask[..., moment].sum()
    assert figures["hp_loss"].item() == pytest.approx(total / count, rel=1e-4)
    parts = sum(figures[name].item() for name in ("deed_loss", "target_loss", "hp_loss"))
    assert figures["loss"].item() == pytest.approx(parts, rel=1e-6)
    weighted = TemporalTask(deed_weight=2.0, target_weight=0.0, hp_weight=0.5)
    half = weighted.loss(network, batch_of(two), fitted)
    expected = 2.0 * figures["deed_loss"].item() + 0.5 * figures["hp_loss"].item()
    assert half["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_what_is_not_known_gives_no_gradient(rows: Rows) -> None:
    network = TemporalTransformer(TINY)
    batch = batch_of(take(rows, slice(0, 2)))
    hidden = {**batch, "deed": batch["deed"].clone(), "target": batch["target"].clone()}
    for name in ("deed", "target"):
        hidden[name][:] = -1
    hidden["hp_known"] = torch.zeros_like(batch["hp_known"])
    TASK.loss(network, hidden, fitted_of(rows))["loss"].backward()
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())
    hidden["deed"][0, 3, 0] = 2
    network.zero_grad()
    TASK.loss(network, hidden, fitted_of(rows))["loss"].backward()
    assert network.heads.deed.weight.grad is not None and bool(network.heads.deed.weight.grad.any())
    assert not network.heads.turn.weight.grad.any()  # type: ignore[union-attr]


def test_more_fights_than_go_through_at_once(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    network, fitted = TemporalTransformer(TINY).eval(), fitted_of(rows)
    with torch.no_grad():
        loss, answers = TASK.loss(network, batch_of(rows), fitted), TASK.predict(network, batch_of(rows))
        monkeypatch.setattr("policies.perception.temporal.ROWS_AT_ONCE", 3)
        again, parts = TASK.loss(network, batch_of(rows), fitted), TASK.predict(network, batch_of(rows))
    assert again["loss"].item() == pytest.approx(loss["loss"].item(), rel=1e-5)
    for name, values in answers.items():
        assert torch.allclose(parts[name], values, atol=1e-6)


def two_fights() -> tuple[Rows, dict[str, np.ndarray]]:
    """Two fights of two decisions against one enemy, and what was fitted."""
    unknown = np.full((2, 2, 5), -1, np.int8)
    rows: Rows = {name: unknown.copy() for name in ("deed", "target", "last_deed", "did", "now_target")}
    rows["deed"][0, :, 0], rows["deed"][1, 0, 0] = (2, 3), 2
    rows["last_deed"][:, :, 0] = 2
    rows["target"][0, :, 0], rows["target"][1, 0, 0] = (0, 0), 1
    rows["now_target"][:, :, 0] = ((0, 0), (0, 0))
    rows["hp"] = np.zeros((2, 27, 10), np.float32)
    rows["hp"][:, :, 0] = 1.0
    rows["hp"][0, 6:, 0] = 0.5  # after 1 s from the second decision on
    rows["hp_known"] = np.ones((2, 2, 5), bool)
    return rows, temporal_errors.fit(rows)


def test_errors_by_hand() -> None:
    rows, fitted = two_fights()
    deed = np.full((2, 2, 5, len(DEEDS)), 0.0, np.float32)
    deed[..., 2], deed[..., 3] = 0.75, 0.25
    hp = np.ones((2, 2, 10, 5), np.float32)
    errors = temporal_errors.errors({"deed": deed, "hp": hp}, rows, fitted)
    assert set(errors) == {"deed", "deed_nll", "own_hp", "ally_hp", "enemy_hp"}
    assert errors["deed"].tolist() == [0.5, 0.0]
    assert errors["deed_nll"] == pytest.approx([-(math.log(0.75) + math.log(0.25)) / 2, -math.log(0.75)])
    # Fight 0, decision 0: after 5 decisions still 1, then 0.5 (4 of 5 wrong by 0.5); decision 1: all 5.
    assert errors["own_hp"] == pytest.approx([9 * 0.25 / 10, 0.0])
    assert np.isnan(errors["ally_hp"]).all() and np.isnan(errors["enemy_hp"]).all()
    target = np.eye(6, dtype=np.float32)[np.maximum(rows["target"], 0)]
    everything = temporal_errors.errors({"deed": deed, "target": target, "hp": hp}, rows, fitted)
    entropy = -(fitted["deed_prior"] * np.log(fitted["deed_prior"])).sum()
    # All targets are right. The first fight's HP changes by 0.5 unforetold: after 1 s in one decision (mean
    # square 1/16 over the four of both fights), after 2 to 5 s in both (1/8).
    no_change = (4 * 0.25 / 0.125 + 0.25 / 0.0625 + 4 * 0.25 / 0.125) / 10
    assert everything["together"] == pytest.approx(
        [(errors["deed_nll"][0] / entropy + no_change) / 3, errors["deed_nll"][1] / entropy / 3], rel=1e-5
    )


def test_fitted_numbers_and_guesses_by_hand() -> None:
    rows, fitted = two_fights()
    # Deeds 2, 3, 2 with one added to each of 14 counts: 3/17 and 2/17; repeated in 2 of 3.
    assert fitted["deed_prior"][[0, 2, 3]] == pytest.approx([1 / 17, 3 / 17, 2 / 17])
    assert float(fitted["deed_repeats"]) == pytest.approx(2 / 3)
    assert fitted["change_square"][0] == pytest.approx([0.25 * 1 / 4, *[0.25 * 2 / 4] * 4])
    guesses = temporal_errors.guesses(rows, fitted)
    assert set(guesses) == {"class_prior", "last_deed", "same_target", "same_hp"}
    chances = guesses["last_deed"]["deed"][0, 0, 0]
    assert chances.sum() == pytest.approx(1.0)
    assert chances[2] == pytest.approx(2 / 3)
    assert chances[3] / chances[0] == pytest.approx(2.0)
    assert (guesses["last_deed"]["deed_guess"][:, :, 0] == 2).all()
    errors = temporal_errors.errors(guesses["same_target"], rows, fitted)
    assert errors["target"].tolist() == [0.0, 1.0]
    assert temporal_errors.errors(guesses["class_prior"], rows, fitted)["deed"].tolist() == [0.5, 0.0]
    assert temporal_errors.errors(guesses["same_hp"], rows, fitted)["own_hp"] == pytest.approx([0.225, 0.0])


def test_simple_guesses_have_no_skill_and_the_truth_has_all() -> None:
    rows, fitted = two_fights()
    guesses = temporal_errors.guesses(rows, fitted)
    simple = {
        "deed": guesses["class_prior"]["deed"],
        "target": guesses["same_target"]["target"],
        "hp": guesses["same_hp"]["hp"],
    }
    assert temporal_errors.metrics(simple, rows, fitted)["skill"] == pytest.approx(0.0, abs=1e-6)
    truth = {
        name: np.eye(classes, dtype=np.float32)[np.maximum(rows[name], 0)]
        for name, classes in temporal_errors.CLASSES.items()
    }
    truth["hp"] = np.stack([temporal_errors.future(rows["hp"], 2, moment) for moment in range(5)], axis=-1)
    best = temporal_errors.metrics(truth, rows, fitted)
    assert best["skill"] == pytest.approx(1.0)
    assert best["deed_accuracy"] == best["target_turn_accuracy"] == best["own_hp_explained"] == 1.0


def test_calibration_finds_the_temperature(rows: Rows) -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((4000, 6)) * 2.0
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(6, p=row) for row in chances], np.int8)
    sharp = np.exp(1.5 * logits) / np.exp(1.5 * logits).sum(axis=1, keepdims=True)
    assert temporal_errors.best_temperature(sharp, truth) == pytest.approx(1.5, abs=0.1)
    network = TemporalTransformer(TINY).eval()
    with torch.no_grad():
        answers = {name: value.numpy() for name, value in TASK.predict(network, batch_of(rows)).items()}
    fitted = TASK.calibrate(network, answers, rows, TASK.fit(rows))
    assert float(network.deed_temperature) == pytest.approx(fitted["deed_temperature"])
    assert float(network.target_temperature) == pytest.approx(fitted["target_temperature"])


def test_ceilings_are_between_guesses_and_certainty() -> None:
    plan = FightPlan(fights=8, sizes={"1v1": 1, "2v2": 1})
    found = ceiling("mage", plan, 0, states=4, copies=4)
    assert found["deed_accuracy_least"] <= found["deed_accuracy_most"] <= 1.0
    assert 0.0 < found["target_accuracy_least"] <= found["target_accuracy_most"] <= 1.0
    assert found == ceiling("mage", plan, 0, states=4, copies=4)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="crop"):
        TemporalTask(crop=1.5)
    with pytest.raises(ConfigError, match="nois"):
        TemporalTask(nois=0.1)


@pytest.mark.parametrize("profile", ["demo", "small", "full"])
def test_profiles_can_be_used(profile: str) -> None:
    block = load_yaml(CONFIG_FOLDER / "temporal_transformer.yaml")[profile]
    plan = load_dataclass(FightPlan, block["data"], profile)
    training = load_dataclass(SupervisedTrainingConfig, block["training"], profile)
    assert TemporalTransformer(load_dataclass(TemporalTransformerConfig, block["model"], profile)).training
    assert dataclasses.asdict(TemporalTask(**block["task"]).settings).items() >= block["task"].items()
    assert plan.fights >= training.batch_size
