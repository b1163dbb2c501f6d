"""Perception minds really learn, and bf16 ends within the noise of seeds."""

from __future__ import annotations

import numpy as np
import pytest

from envs.configuration import load_dataclass
from policies.model_types import MODEL_TYPES
from policies.perception.compositions import FightPlan
from policies.perception.data import collect
from policies.perception.evaluation import compare
from policies.perception.profiles import resolve_perception_run
from policies.perception.trainer import SupervisedTrainer, train

PERCEPTION = [name for name, kind in MODEL_TYPES.items() if kind.algorithm == "supervised"]
FEW = {"fights": 60, "sizes": {"1v1": 2, "2v2": 2}}


@pytest.mark.parametrize("name", PERCEPTION)
def test_a_short_run_beats_the_prior_on_fights_it_never_saw(name: str) -> None:
    run = resolve_perception_run(name, "mage", seed=1, overrides={"data": FEW, "training": {"epochs": 4}})
    trainer = SupervisedTrainer(run)
    train(trainer)
    rows = trainer.sets["test"]
    found = compare(trainer.task, trainer.answers(rows), rows, trainer.fitted)
    # The simplest guess of each type: what is common, whatever is seen.
    simple = [one for one in found if "prior" in one.baseline or "mean map" in one.baseline]
    assert simple and all(one.error < one.baseline_error for one in simple), simple


def test_bf16_ends_within_the_noise_of_fp32() -> None:
    run = resolve_perception_run(
        "pattern_recognition", "mage", overrides={"data": FEW, "training": {"epochs": 4}}
    )
    task = MODEL_TYPES["pattern_recognition"].task_class()(**run["task"])
    sets = collect(task, "mage", load_dataclass(FightPlan, run["data"], "plan"), 0)
    scores: dict[str, list[float]] = {}
    for precision in ("fp32", "bf16"):
        for seed in range(3):
            trainer = SupervisedTrainer({**run, "seed": seed, "precision": precision}, sets=sets)
            train(trainer)
            scores.setdefault(precision, []).append(trainer.best["score"])
    fp32, bf16 = (np.array(scores[name]) for name in ("fp32", "bf16"))
    noise = max(float(np.concatenate([fp32, bf16]).std(ddof=1)), 0.01)
    assert abs(float(fp32.mean() - bf16.mean())) < 2.0 * noise, scores
