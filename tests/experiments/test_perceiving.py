from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.perception.recording import FIVE_SECONDS
from experiments import ceilings, perceiving
from experiments.heads import torch_mind
from experiments.perceiving import (
    evaluate_mind,
    evaluation_rows,
    explained_interval,
    file_answers,
    load_fitted,
    ratio_interval,
    save_fitted,
)
from policies.perception.ceilings import Ceiling, FreshFights, draw
from policies.perception.profiles import resolve_perception_run
from policies.perception.threat import ThreatTask, _futures
from policies.perception.trainer import SupervisedTrainer

TYPES = ("threat_assessment", "spatial_vit", "temporal_transformer", "pattern_recognition")
LITTLE = {"fights": 40, "sizes": {"1v1": 1}}
FIGHTS = {"test": 8, "held_out": 4}


@pytest.fixture(scope="module", params=TYPES)
def trainer(request: pytest.FixtureRequest) -> SupervisedTrainer:
    """A mind that was never trained, with what its baselines took from the training rows."""
    return SupervisedTrainer(
        resolve_perception_run(request.param, "tank", seed=3, overrides={"data": LITTLE})
    )


def test_the_file_answers_as_the_trainer_does(trainer: SupervisedTrainer) -> None:
    run = trainer.run
    rows = evaluation_rows(trainer.task, "tank", run.data, run.seed, 0, 4, held_out=False)
    said = file_answers(run.model_type, trainer.task, torch_mind(trainer.network).ask, rows)
    for name, wanted in trainer.answers(rows).items():
        if name == "death_epistemic":
            continue
        seen = said[name]
        if "length" in rows and run.model_type == "temporal_transformer":
            there = np.arange(seen.shape[1]) < rows["length"][:, None]
            seen, wanted = seen[there], wanted[there]
        np.testing.assert_allclose(seen, wanted, atol=2e-5, err_msg=name)


def test_a_mind_is_measured_on_new_fights_beside_its_baselines(
    trainer: SupervisedTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {name: Ceiling(0.5, 0.4, 0.6, 9, 9) for name in ("threat_2s", "told_2s", "damage", "occupancy")}
    monkeypatch.setattr(ceilings, "_source", lambda model_type: lambda *_, **__: limits)
    run = trainer.run
    figures: dict[str, Any] = evaluate_mind(
        run.model_type,
        "tank",
        torch_mind(trainer.network).ask,
        trainer.fitted,
        resolve_perception_run(run.model_type, "tank", seed=3, overrides={"data": LITTLE}),
        0,
        tmp_path,
        FIGHTS,
    )
    assert set(figures["fights"]) == set(FIGHTS) and min(figures["fights"].values()) >= 3
    named = {(row["set"], row["baseline"]) for row in figures["against"]}
    rows = evaluation_rows(trainer.task, "tank", run.data, run.seed, 0, 4, held_out=False)
    wanted = trainer.task.baselines(rows, trainer.fitted)
    assert named == {(which, name) for which in FIGHTS for name in wanted}
    if run.model_type == "threat_assessment":
        assert figures["ceiling_2s_name"] == "told_2s"  # what it is told comes before the whole state
        assert figures["share_of_ceiling_2s"] == pytest.approx(figures["explained_2s"] / 0.5)
        assert figures["explained_2s_low"] < figures["explained_2s"] < figures["explained_2s_high"]
    elif run.model_type == "spatial_vit":
        assert figures["ceiling_damage_name"] == "damage"
    else:
        assert figures["points_over_best"] == pytest.approx(
            100 * (figures["accuracy"] - figures["best_baseline_accuracy"])
        )
        assert figures["points_over_best_low"] <= figures["points_over_best"]


def test_evaluation_fights_are_not_those_of_training(trainer: SupervisedTrainer) -> None:
    run = trainer.run
    rows = evaluation_rows(trainer.task, "tank", run.data, run.seed, 0, 4, held_out=False)
    name = next(n for n in ("observation", "grid", "token", "window") if n in rows)
    trained = trainer.sets["train"][name]
    if rows[name].shape[1:] == trained.shape[1:]:
        seen = {row.tobytes() for row in trained}
        assert not any(row.tobytes() in seen for row in rows[name][len(rows[name]) // 2 :])


def test_ceilings_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def of_threat(*arguments: Any, **more: Any) -> dict[str, Ceiling]:
        made.append(more)
        return {"threat_2s": Ceiling(0.8, 0.7, 0.9, 10, 12)}

    monkeypatch.setattr(ceilings, "_source", lambda model_type: of_threat)
    plan, fights = perceiving_plan(), FreshFights(5, 4)
    first = ceilings.noise_ceilings(tmp_path, "threat_assessment", "tank", plan, 3, fights)
    assert first["threat_2s"] == {"value": 0.8, "low": 0.7, "high": 0.9, "states": 10, "entries": 12}
    assert ceilings.noise_ceilings(tmp_path, "threat_assessment", "tank", plan, 3, fights) == first
    assert len(made) == 1 and made[0]["fresh"] == fights
    ceilings.noise_ceilings(tmp_path, "threat_assessment", "tank", plan, 4, fights)
    ceilings.noise_ceilings(tmp_path, "threat_assessment", "tank", plan, 4, FreshFights(6, 4))
    assert len(made) == 3
    assert ceilings.noise_ceilings(tmp_path, "pattern_recognition", "tank", plan, 3, fights) == {}


def test_ceilings_are_of_the_very_states_that_are_asked_about() -> None:
    plan, task = perceiving_plan(), ThreatTask()
    rows = evaluation_rows(task, "tank", plan, 3, 0, 6, held_out=False)
    fresh = perceiving._fights("threat_assessment", "tank", plan, 3, 0, 6)
    # Under salt 0 the first copy repeats what happened.
    draws = draw(
        "tank", plan, 3, _futures, horizon=FIVE_SECONDS, states=10_000, copies=1, salt=0, fresh=fresh
    )
    known = rows["known"][..., 0]
    drawn = draws.values[:, 0, :, 0]
    assert np.isfinite(drawn).sum() == known.sum() > 50
    np.testing.assert_allclose(np.sort(drawn[np.isfinite(drawn)]), np.sort(rows["threat"][..., 0][known]))


def perceiving_plan() -> Any:
    from policies.perception.compositions import FightPlan

    return FightPlan(fights=40, sizes={"1v1": 1})


def test_intervals_draw_fights_together() -> None:
    fight = np.repeat(np.arange(50), 4)
    right = np.repeat(np.arange(50) % 2, 4).astype(float)
    low, high = ratio_interval(right, np.ones(200), fight)
    # 50 fights of chance 1/2: standard error sqrt(1/4 / 50) = 0.0707, so 0.5 +- 0.139
    assert low == pytest.approx(0.361, abs=0.03) and high == pytest.approx(0.639, abs=0.03)
    assert explained_interval(np.full(200, 1.0), np.full(200, 4.0), fight) == (0.75, 0.75)


def test_what_was_fitted_comes_back(tmp_path: Path) -> None:
    fitted = {"mean": np.array([1.5, 2.0], np.float32), "rate": np.array(0.25, np.float32)}
    back = load_fitted(save_fitted(fitted, tmp_path))
    assert back.keys() == fitted.keys()
    assert all(np.array_equal(back[name], fitted[name]) for name in fitted)
    assert perceiving.FITTED_FILE == "fitted.safetensors"
