"""What `bench.minds` measures beside metrics: what nobody can exceed, and what a type is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from policies.perception.evaluation import interval, paired
from policies.perception.task import Rows
from policies.perception.trainer import SupervisedTrainer

Figures = dict[str, float]

GOALS: dict[str, dict[str, tuple[float, bool]]] = {
    "threat_assessment": {
        "share_of_told_2s": (0.85, True),
        "share_of_ceiling_2s": (0.85, True),
        "calibration_error": (0.05, False),
        "rank_correlation_low": (0.0, True),
        "epistemic_share_gain": (0.0, True),
    },
    "spatial_vit": {
        "damage_share_of_told": (0.8, True),
        "occupancy_share_of_told": (0.8, True),
        "damage_share_of_ceiling": (0.8, True),
        "occupancy_share_of_ceiling": (0.8, True),
    },
    "temporal_transformer": {"memory_low": (0.0, True), "deed_points_over_best": (10.0, True)},
    "pattern_recognition": {"share_of_posterior_10s": (0.9, True), "calibration_10s": (0.05, False)},
}
"""Per type the figures that have a goal: limit, and whether it must be reached from below (True)."""


def study(trainer: SupervisedTrainer, sets: dict[str, Rows], answers: dict[str, Rows]) -> Figures:
    """Figures of a trained mind, by name.

    Args:
        trainer: At its end.
        sets: Rows of test and held_out.
        answers: The mind's, of the same.
    """
    return STUDIES[trainer.run.model_type](trainer, sets, answers)


def threat(trainer: SupervisedTrainer, sets: dict[str, Rows], answers: dict[str, Rows]) -> Figures:
    """Explained variance beside its noise ceiling; whether the stated doubt says something."""
    from policies.perception.reliability import rank_correlation
    from policies.perception.threat import ceiling, total_std

    run = trainer.run
    limits = ceiling(run.archetype, run.data, run.seed, states=1000, copies=12)
    metrics = trainer.task.metrics(answers["test"], sets["test"], trainer.fitted)
    found: Figures = {"calibration_error": metrics["calibration_error"]}
    for name in ("2s", "5s"):
        limit = limits[f"threat_{name}"].value
        found[f"ceiling_{name}"] = limit
        found[f"share_of_ceiling_{name}"] = metrics[f"ev_threat_{name}"] / limit
        if f"told_{name}" in limits:
            told = limits[f"told_{name}"].value
            found[f"told_{name}"] = told
            found[f"share_of_told_{name}"] = metrics[f"ev_threat_{name}"] / told
    rows, said = sets["test"], answers["test"]
    known = rows["known"][..., 0]
    miss, doubt = np.abs(said["threat"][..., 0] - rows["threat"][..., 0]), total_std(said)[..., 0]
    fight = np.broadcast_to(rows["fight"][:, None], known.shape)
    found["rank_correlation"] = rank_correlation(doubt[known], miss[known])
    again = []
    rng = np.random.default_rng(0)
    names, group = np.unique(fight[known], return_inverse=True)
    places = [np.flatnonzero(group == k) for k in range(len(names))]
    for _ in range(40):
        pick = np.concatenate([places[k] for k in rng.integers(0, len(names), len(names))])
        again.append(rank_correlation(doubt[known][pick], miss[known][pick]))
    found["rank_correlation_low"] = float(np.quantile(again, 0.025))
    bounds = {}
    for which in ("test", "held_out"):
        own = sets[which]["known"][..., 0]
        share = (answers[which]["epistemic"][..., 0] / np.maximum(total_std(answers[which])[..., 0], 1e-6))[
            own
        ]
        fights = np.broadcast_to(sets[which]["fight"][:, None], own.shape)[own]
        found[f"epistemic_share_{which}"] = float(share.mean())
        bounds[which] = interval(share.astype(np.float64), fights)
    # Above 0 the two intervals do not meet.
    found["epistemic_share_gain"] = bounds["held_out"][0] - bounds["test"][1]
    return found


def spatial(trainer: SupervisedTrainer, sets: dict[str, Rows], answers: dict[str, Rows]) -> Figures:
    """Explained variances beside their noise ceilings."""
    from policies.perception.spatial_ceiling import ceiling

    run = trainer.run
    metrics = trainer.task.metrics(answers["test"], sets["test"], trainer.fitted)
    found: Figures = {}
    limits = ceiling(run.archetype, run.data, run.seed, states=1000, copies=8)
    for name in [name for name in limits if not name.startswith("told_")]:
        found[f"ceiling_{name}"] = limits[name].value
        if f"{name}_explained" in metrics:
            found[f"{name}_share_of_ceiling"] = metrics[f"{name}_explained"] / limits[name].value
        if f"told_{name}" in limits:
            found[f"told_{name}"] = limits[f"told_{name}"].value
            found[f"{name}_share_of_told"] = metrics[f"{name}_explained"] / limits[f"told_{name}"].value
    return found


def temporal(trainer: SupervisedTrainer, sets: dict[str, Rows], answers: dict[str, Rows]) -> Figures:
    """Ceilings of accuracy, the lead over the best baseline, and the same weights without their memory."""
    from policies.perception.temporal import TemporalTask
    from policies.perception.temporal_ceiling import ceiling

    run, task, rows = trainer.run, trainer.task, sets["test"]
    metrics = task.metrics(answers["test"], rows, trainer.fitted)
    found: Figures = dict(ceiling(run.archetype, run.data, run.seed, states=12))
    guesses = [task.metrics({**answers["test"], **guess}, rows, trainer.fitted)
               for guess in task.baselines(rows, trainer.fitted).values()]  # fmt: skip
    best = max(
        guess["deed_accuracy"] for guess in guesses if guess["deed_accuracy"] != metrics["deed_accuracy"]
    )
    found["deed_points_over_best"] = 100.0 * (metrics["deed_accuracy"] - best)
    trainer.task = TemporalTask(**{**run.task, "span": 0})
    try:
        forgetful = trainer.answers(rows)
    finally:
        trainer.task = task
    own = task.errors(answers["test"], rows, trainer.fitted)
    theirs = task.errors(forgetful, rows, trainer.fitted)
    scales = {name: float(np.nanmean(values)) for name, values in theirs.items()}
    together = [
        np.mean([errors[name] / scales[name] for name in ("deed", "target", "hp") if name in errors], axis=0)
        for errors in (own, theirs)
    ]
    gain = paired("together", "no memory", together[0], together[1], rows["fight"])
    return {**found, "memory_low": gain.low, "memory_high": gain.high}


def pattern(trainer: SupervisedTrainer, sets: dict[str, Rows], answers: dict[str, Rows]) -> Figures:
    """Accuracy beside that of the exact posterior on the very rows."""
    from policies.perception.pattern import LENGTHS
    from policies.perception.pattern_ceiling import exact_answers

    run, task = trainer.run, trainer.task
    found: Figures = {}
    for which in ("test", "held_out"):
        rows = sets[which]
        exact = exact_answers(rows, run.archetype, run.data, run.seed, which)
        own = task.errors(answers[which], rows, trainer.fitted)
        limit = task.errors(exact, rows, trainer.fitted)
        ending = "" if which == "test" else "_held_out"
        for question in LENGTHS:
            name = question.removeprefix("style_") + ending
            mine, best = (1.0 - float(np.nanmean(errors[question])) for errors in (own, limit))
            found[f"posterior_{name}"] = best
            found[f"share_of_posterior_{name}"] = mine / best
    metrics: Mapping[str, Any] = task.metrics(answers["test"], sets["test"], trainer.fitted)
    return {**found, "calibration_10s": metrics["calibration_10s"]}


STUDIES = {
    "threat_assessment": threat,
    "spatial_vit": spatial,
    "temporal_transformer": temporal,
    "pattern_recognition": pattern,
}
