"""Measures a perception mind by its exported file, on fights that neither training nor selection has seen.

The fights have the compositions of the run's own plan and seeds of the evaluation block. What baselines need
to know (priors, class means) was taken from all training rows when the run ended and came along with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.ceilings import QUESTIONS, ceiling_of, noise_ceilings
from experiments.ledger import plain
from experiments.seeds import Purpose, seed_for

if TYPE_CHECKING:
    from policies.perception.ceilings import FreshFights
    from policies.perception.compositions import FightPlan
    from policies.perception.pattern import PatternTask
    from policies.perception.task import PerceptionTask, Rows

FITTED_FILE = "fitted.safetensors"
"""Beside the weights of a perception mind: what its baselines took from the training rows."""
FIGHTS = {"test": 360, "held_out": 120}
"""Fights of an evaluation, over all compositions."""
ROWS_AT_ONCE = 256

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""The exported file: from inputs to outputs, by name."""
Figures = dict[str, Any]


def evaluate_mind(
    model_type: str,
    archetype: str,
    run: Run,
    fitted: Mapping[str, np.ndarray],
    trial: Mapping[str, Any],
    seed: int,
    home: Path,
    fights: Mapping[str, int] | None = None,
) -> Figures:
    """Asks an exported perception mind about new fights and compares it with every named baseline.

    Args:
        model_type: Of the mind.
        archetype: Whose eyes.
        run: Its exported file.
        fitted: What the task fitted to the training rows.
        trial: The run's resolved settings: ``data``, ``task`` and ``seed``.
        seed: The user's base seed.
        home: Project folder, for the noise ceilings.
        fights: Of each set; those of `FIGHTS` if not given.

    Returns:
        ``perceived`` (the task's metrics per set), ``against`` (per set, question and baseline the errors and
        the 95 % interval of their difference), ``ceilings``, ``rows`` and ``fights`` per set, and beside
        them the figures that the gate asks for, see `MAIN`.
    """
    from envs.configuration import load_dataclass
    from policies.model_types import MODEL_TYPES
    from policies.perception.compositions import FightPlan
    from policies.perception.evaluation import compare

    task = MODEL_TYPES[model_type].task_class()(**(trial.get("task") or {}))
    plan = load_dataclass(FightPlan, trial["data"], "run: data")
    found: Figures = {"perceived": {}, "against": [], "rows": {}, "fights": {}}
    sets: dict[str, tuple[Rows, Rows]] = {}
    for which, count in (fights or FIGHTS).items():
        rows = evaluation_rows(
            task, archetype, plan, int(trial["seed"]), seed, count, held_out=which == "held_out"
        )
        answers = file_answers(model_type, task, run, rows)
        sets[which] = rows, answers
        found["perceived"][which] = task.metrics(answers, rows, fitted)
        found["against"] += [
            {"set": which, **asdict(one), "better": one.better}
            for one in compare(task, answers, rows, fitted, seed)
        ]
        found["rows"][which] = len(rows["fight"])
        found["fights"][which] = len(np.unique(rows["fight"]))
    fresh = _fights(model_type, archetype, plan, int(trial["seed"]), seed, (fights or FIGHTS)["test"])
    found["ceilings"] = noise_ceilings(home, model_type, archetype, plan, int(trial["seed"]), fresh)
    rows, answers = sets["test"]
    found |= MAIN[model_type](task, answers, rows, fitted, found)
    return dict(plain(found))


def evaluation_rows(
    task: PerceptionTask,
    archetype: str,
    plan: FightPlan,
    composition_seed: int,
    seed: int,
    fights: int,
    *,
    held_out: bool,
) -> Rows:
    """Rows of fights of the evaluation block, in the compositions of a training run.

    Args:
        task: What is asked.
        archetype: Whose eyes.
        plan: Of the training; its number of fights does not matter.
        composition_seed: Seed of the training, which drew the compositions.
        seed: The user's base seed.
        fights: Over all compositions, at least one each.
        held_out: Teams of enemies that never fought in training.
    """
    from envs.perception.sights import record_sights
    from policies.perception.compositions import compositions, world_arguments
    from policies.perception.data import FIGHT_NUMBERS, check
    from policies.perception.task import join

    fresh = _fights(task.model_type, archetype, plan, composition_seed, seed, fights, held_out=held_out)
    base, each = fresh.seed, fresh.fights
    chosen = compositions(archetype, plan, composition_seed, held_out=held_out)
    grids = {"grid_stride": task.grid_stride} if task.grid_stride else {}
    parts = []
    for number, composition in enumerate(chosen):
        arguments: dict[str, Any] = world_arguments(composition, plan, base, number, held_out=held_out)
        sights = record_sights(each, composition.teams, **{**arguments, **grids})
        rows = task.rows(sights, stride=plan.stride)
        rows["fight"] = rows["fight"] + number * FIGHT_NUMBERS
        parts.append(rows)
    found = join(parts)
    check(found, "held_out" if held_out else "test")
    return found


def _fights(
    model_type: str,
    archetype: str,
    plan: FightPlan,
    composition_seed: int,
    seed: int,
    fights: int,
    *,
    held_out: bool = False,
) -> FreshFights:
    """The fights of an evaluation, as many of each composition."""
    from policies.perception.ceilings import FreshFights
    from policies.perception.compositions import compositions

    chosen = compositions(archetype, plan, composition_seed, held_out=held_out)
    base = seed_for(Purpose.EVALUATION, seed, archetype, model_type)
    return FreshFights(base, max(1, round(fights / len(chosen))))


def file_answers(model_type: str, task: PerceptionTask, run: Run, rows: Rows) -> Rows:
    """What an exported file says of rows, named as the task names its answers.

    Args:
        model_type: Of the file.
        task: Whose rows.
        run: The file.
        rows: Asked about.
    """
    return ANSWERS[model_type](task, run, rows)


def _whole_rows(task: PerceptionTask, run: Run, rows: Rows, names: Sequence[str]) -> Rows:
    """Rows that stand alone, some at a time."""
    parts: list[Rows] = []
    count = len(rows["fight"])
    for start in range(0, count, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        parts.append(run({name: np.ascontiguousarray(rows[name][part]) for name in names}))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _threat(task: PerceptionTask, run: Run, rows: Rows) -> Rows:
    names = ("observation", "opponents", "kinds", "health")
    return _whole_rows(task, run, {**rows, **{name: rows[name].astype(np.float32) for name in names}}, names)


def _spatial(task: PerceptionTask, run: Run, rows: Rows) -> Rows:
    said = _whole_rows(task, run, rows, ("grid",))
    return {"damage": said["damage"], "occupancy": said["occupancy"], "step": said["cell"]}


def _pattern(task: PatternTask, run: Run, rows: Rows) -> Rows:
    """Three questions: the style by the last 2, 5 and 10 s; a window that shows less has the rest hidden."""
    from policies.pattern_recognition import WINDOW_LENGTH
    from policies.perception.pattern import LENGTHS

    given = {**task.served_inputs(rows), "fight": rows["fight"]}
    found: Rows = {}
    for question, length in LENGTHS.items():
        left = (np.arange(WINDOW_LENGTH) >= WINDOW_LENGTH - length).astype(np.float32)
        said = _whole_rows(task, run, {**given, "shown": given["shown"] * left}, ("window", "shown", "kind"))
        found[question] = said["style"]
        found["embedding"] = said["embedding"]
    return found


def _temporal(task: PerceptionTask, run: Run, rows: Rows) -> Rows:
    """Whole fights, decision after decision, with the cache that each carries."""
    import torch

    from policies.perception.temporal import decisions

    given = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in rows.items()}
    asked = {name: part.numpy() for name, part in decisions(given)._asdict().items()}
    count, time = rows["deed"].shape[:2]
    found: dict[str, np.ndarray] = {}
    state: dict[str, np.ndarray] = {}
    for now in range(int(rows["length"].max())):
        said = run(
            {**{name: np.ascontiguousarray(values[:, now]) for name, values in asked.items()}, **state}
        )
        state = {name.removeprefix("next_"): said[name] for name in said if name.startswith("next_")}
        for name in ("deed", "target", "hp"):
            if name not in found:
                found[name] = np.zeros((count, time, *said[name].shape[1:]), np.float32)
            found[name][:, now] = said[name]
    return found


ANSWERS: Mapping[str, Callable[[Any, Run, Any], Any]] = {
    "threat_assessment": _threat,
    "spatial_vit": _spatial,
    "temporal_transformer": _temporal,
    "pattern_recognition": _pattern,
}


def _main_threat(task: Any, answers: Any, rows: Any, fitted: Any, found: Figures) -> Figures:
    known = rows["known"][..., 0]
    truth = rows["threat"][..., 0][known].astype(np.float64)
    fight = np.broadcast_to(rows["fight"][:, None], known.shape)[known]
    square = (answers["threat"][..., 0][known] - truth) ** 2
    low, high = explained_interval(square, (truth - truth.mean()) ** 2, fight)
    metrics = found["perceived"]["test"]
    names = QUESTIONS["threat_assessment"]["2s"]
    return {
        "calibration_error": metrics["calibration_error"],
        **_share("2s", metrics["ev_threat_2s"], low, high, found["ceilings"], names),
    }


def _main_spatial(task: Any, answers: Any, rows: Any, fitted: Any, found: Figures) -> Figures:
    errors = task.errors(answers, rows, fitted)
    figures: Figures = {}
    for name, names in QUESTIONS["spatial_vit"].items():
        known = np.isfinite(errors[name])
        truth = rows[name][known].reshape(int(known.sum()), -1).astype(np.float64)
        apart = ((truth - truth.mean(axis=0)) ** 2).sum(axis=1)
        low, high = explained_interval(errors[name][known], apart, rows["fight"][known])
        value = found["perceived"]["test"][f"{name}_explained"]
        figures |= _share(name, value, low, high, found["ceilings"], names)
    return figures


def _share(
    question: str, value: float, low: float, high: float, ceilings: Figures, names: tuple[str, ...]
) -> Figures:
    """An explained variance, its interval, and what share of the ceiling it is."""
    which = ceiling_of(ceilings, names)
    limit = None if which is None else float(ceilings[which]["value"])
    return {
        f"explained_{question}": value,
        f"explained_{question}_low": low,
        f"explained_{question}_high": high,
        f"ceiling_{question}": limit,
        f"ceiling_{question}_name": which,
        f"share_of_ceiling_{question}": None if limit is None else value / limit,
    }


def _main_temporal(task: Any, answers: Any, rows: Any, fitted: Any, found: Figures) -> Figures:
    known = rows["deed"] >= 0

    def right(said: Mapping[str, np.ndarray]) -> np.ndarray:
        guess = said["deed_guess"] if "deed_guess" in said else said["deed"].argmax(axis=-1)
        return np.where(known, guess == rows["deed"], False).reshape(len(known), -1).sum(axis=1)

    guesses = {name: right(said) for name, said in task.baselines(rows, fitted).items() if "deed" in said}
    return _points(right(answers), guesses, known.reshape(len(known), -1).sum(axis=1), rows["fight"])


def _main_pattern(task: Any, answers: Any, rows: Any, fitted: Any, found: Figures) -> Figures:
    question = "style_10s"

    def right(said: Any) -> np.ndarray:
        return 1.0 - np.asarray(task.errors({question: said[question]}, rows, fitted)[question])

    own = right(answers)
    known = np.isfinite(own)
    guesses = {name: right(said)[known] for name, said in task.baselines(rows, fitted).items()}
    return _points(own[known], guesses, np.ones(int(known.sum())), rows["fight"][known])


def _points(
    own: np.ndarray, guesses: Mapping[str, np.ndarray], asked: np.ndarray, fight: np.ndarray
) -> Figures:
    """Accuracy, and by how many points it is above the best baseline.

    Args:
        own: Right answers of each row.
        guesses: Those of each baseline.
        asked: Questions of each row.
        fight: The row's fight.
    """
    best = max(guesses, key=lambda name: float(guesses[name].sum()))
    low, high = ratio_interval(own - guesses[best], asked, fight)
    total = float(asked.sum())
    return {
        "accuracy": float(own.sum()) / total,
        "best_baseline": best,
        "best_baseline_accuracy": float(guesses[best].sum()) / total,
        "points_over_best": 100.0 * float((own - guesses[best]).sum()) / total,
        "points_over_best_low": 100.0 * low,
        "points_over_best_high": 100.0 * high,
    }


MAIN: Mapping[str, Callable[..., Figures]] = {
    "threat_assessment": _main_threat,
    "spatial_vit": _main_spatial,
    "temporal_transformer": _main_temporal,
    "pattern_recognition": _main_pattern,
}
"""By model type, the figures that the gate asks for."""


def perceived_words(figures: Mapping[str, Any]) -> str:
    """The figures that the gate asks for, in one line."""
    if figures.get("points_over_best") is not None:
        return (
            f"accuracy {figures['accuracy']:.3f}, {figures['points_over_best']:.1f} points over "
            f"{figures['best_baseline']} ({figures['points_over_best_low']:.1f} to "
            f"{figures['points_over_best_high']:.1f})"
        )
    parts = []
    for name in (key.removeprefix("share_of_ceiling_") for key in figures if key.startswith("share_of_")):
        share = figures[f"share_of_ceiling_{name}"]
        of = "no ceiling" if share is None else f"{share:.2f} of the ceiling"
        parts.append(f"explained variance {name} {figures[f'explained_{name}']:.3f}, {of}")
    return "; ".join(parts)


def ratio_interval(above: np.ndarray, below: np.ndarray, fight: np.ndarray) -> tuple[float, float]:
    """95 % interval of a ratio of sums over rows, by bootstrap over fights.

    Args:
        above: float ``(row,)``.
        below: float ``(row,)``, positive in sum.
        fight: int ``(row,)``.
    """
    from policies.perception.evaluation import bootstrap_means

    means = bootstrap_means(np.stack([above, below], axis=1).astype(np.float64), fight)
    low, high = np.quantile(means[:, 0] / np.maximum(means[:, 1], 1e-12), [0.025, 0.975])
    return float(low), float(high)


def explained_interval(square: np.ndarray, apart: np.ndarray, fight: np.ndarray) -> tuple[float, float]:
    """95 % interval of an explained variance, 1 - squared errors / squared distances from the mean.

    Args:
        square: Squared errors, float ``(row,)``.
        apart: Squared distances of the truth from its mean, likewise.
        fight: int ``(row,)``.
    """
    low, high = ratio_interval(square, apart, fight)
    return 1.0 - high, 1.0 - low


def save_fitted(fitted: Mapping[str, np.ndarray], folder: Path) -> Path:
    """Writes what a task fitted to the training rows, beside and renamed.

    Args:
        fitted: Arrays by name.
        folder: Of the weights.
    """
    from safetensors.numpy import save_file

    beside = folder / f".{FITTED_FILE}.writing"
    save_file({name: np.array(value, order="C") for name, value in fitted.items()}, str(beside))
    return beside.replace(folder / FITTED_FILE)


def load_fitted(path: Path) -> dict[str, np.ndarray]:
    """Reads what `save_fitted` wrote."""
    from safetensors.numpy import load_file

    return dict(load_file(str(path)))
