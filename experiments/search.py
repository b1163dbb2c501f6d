"""Hyperparameter search over one cell: samples drawn from the seed, trained in one experiment, the best kept.

    draw samples -> resolve each to a run -> train them, ASHA stopping the weak -> rank -> settings file

Samples are drawn here and not by Tune: a search that is started again has the same ones, each is a run of the
ledger by its own hash, and more samples are asked for without losing those that are there.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.configuration import ConfigError, load_dataclass, load_yaml, nearest
from experiments import tuning
from experiments.errors import ExperimentError, UsageError
from experiments.ledger import Ledger
from experiments.matrix import Request, Run, resolve
from experiments.progress import Progress

SPACES = Path(__file__).parent / "search_spaces.yaml"
SECTIONS = ("model", "training")
ORDER = {"finished": 0, "stopped early": 1, "unfinished": 2, "new": 3}
"""States of a sample, as a table lists them: only a finished one has weights."""
DIGITS = 3
"""Significant digits of a drawn number; more only look exact."""


@dataclass(frozen=True)
class Dimension:
    """The values that one setting may take; exactly one of the three is given."""

    log_uniform: tuple[float, float] | None = None
    """Lowest and highest; each factor is as likely as another."""
    uniform: tuple[float, float] | None = None
    """Lowest and highest."""
    choice: tuple[Any, ...] | None = None
    """Values that are equally likely."""

    def validate(self) -> None:
        """Checks that there is one way to draw, and something to draw from.

        Raises:
            ValueError: Two ways or none, an empty choice, or limits that are none.
        """
        if sum(way is not None for way in (self.log_uniform, self.uniform, self.choice)) != 1:
            raise ValueError("give exactly one of log_uniform, uniform and choice")
        if self.choice is not None and not self.choice:
            raise ValueError("choice is empty; give at least one value")
        for low, high in filter(None, (self.log_uniform, self.uniform)):
            if low >= high or (self.log_uniform and low <= 0.0):
                raise ValueError(f"[{low:g}, {high:g}] must rise, and start above 0 for log_uniform")

    def draw(self, random: Any) -> Any:
        """One value.

        Args:
            random: A numpy ``Generator``; one number is taken from it.
        """
        at = float(random.random())
        if self.choice is not None:
            return self.choice[int(at * len(self.choice))]
        if self.log_uniform is not None:
            low, high = map(math.log, self.log_uniform)
            return _rounded(math.exp(low + at * (high - low)))
        low, high = self.uniform or (0.0, 1.0)
        return _rounded(low + at * (high - low))


Space = dict[str, dict[str, Dimension]]
"""By section of a profile (``model``, ``training``) and key."""


@dataclass(frozen=True)
class SearchRequest:
    """What a user asked to search.

    Attributes:
        archetype: Whose mind.
        model_type: Which mind.
        num_samples: Samples in all; the first is the profile as it stands.
        profile: ``demo``, ``small`` or ``full``.
        seed: Of the drawn settings, and of every run.
        epochs: Of each run; the profile's when None.
        parallel: Runs at the same time.
        early: Whether ASHA stops weak samples.
    """

    archetype: str
    model_type: str
    num_samples: int
    profile: str = "demo"
    seed: int = 0
    epochs: int | None = None
    parallel: int = 1
    early: bool = True


@dataclass(frozen=True)
class Sample:
    """One point of the space.

    Attributes:
        number: In the order drawn, from 0.
        laid: By section what is laid over the profile; nothing for the first.
        run: The resolved run.
    """

    number: int
    laid: dict[str, dict[str, Any]]
    run: Run

    def settings(self, space: Space) -> dict[str, Any]:
        """What the run has for each key of the space, such as ``{"training.n_step": 3}``."""
        trial = self.run.settings["trial"]
        return {f"{part}.{key}": trial[part][key] for part, keys in space.items() for key in keys}


@dataclass(frozen=True)
class Row:
    """A sample and what became of it.

    Attributes:
        sample: With its settings.
        state: A key of ``ORDER``.
        score: Of its best epoch, None where none is known.
        epoch: Epochs done.
        train_s: Seconds of its epochs.
    """

    sample: Sample
    state: str
    score: float | None
    epoch: int
    train_s: float


def load_space(model_type: str, profile: str, path: Path = SPACES) -> Space:
    """Reads the search space of a model type and holds it against a profile.

    Args:
        model_type: Name.
        profile: ``demo``, ``small`` or ``full``.
        path: A file of spaces.

    Raises:
        ConfigError: No space for the type, a key that its profile has not, or a dimension that is none.
    """
    from policies.profiles import profile_values

    spaces = load_yaml(path)
    if model_type not in spaces:
        raise ConfigError(f"{path.name}: no search space for '{model_type}'{nearest(model_type, spaces)}")
    block, source = profile_values(model_type, profile)
    space: Space = {}
    for section, keys in spaces[model_type].items():
        where = f"{path.name}: {model_type}"
        if section not in SECTIONS:
            raise ConfigError(f"{where}: unknown key '{section}'{nearest(section, SECTIONS)}")
        space[section] = {}
        for key, values in keys.items():
            if key not in block[section]:
                hint = nearest(key, block[section])
                raise ConfigError(f"{where}: {source} has no key '{section}.{key}'{hint}")
            space[section][key] = load_dataclass(Dimension, values, f"{where}.{section}.{key}")
    return space


def draw_samples(request: SearchRequest, space: Space) -> list[Sample]:
    """Draws the samples of a search: the profile as it stands, then points of the space, none twice.

    Args:
        request: What is searched.
        space: As ``load_space`` gives it.

    Returns:
        As many as asked for; fewer samples are the beginning of more.

    Raises:
        UsageError: A name or setting that cannot be used, or more samples than the space has points.
    """
    import numpy as np

    text = f"search/{request.seed}/{request.archetype}/{request.model_type}"
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))
    samples = [Sample(0, {}, run_of(request, {}))]
    seen = {samples[0].run.hash}
    for _ in range(100 * request.num_samples):
        if len(samples) == request.num_samples:
            break
        laid = {part: {key: way.draw(random) for key, way in keys.items()} for part, keys in space.items()}
        run = run_of(request, laid)
        if run.hash not in seen:
            seen.add(run.hash)
            samples.append(Sample(len(samples), laid, run))
    else:
        raise UsageError(
            f"--num-samples {request.num_samples}: the space of {request.model_type} has no more than "
            f"{len(samples)} different points; ask for fewer"
        )
    return samples


def run_of(request: SearchRequest, laid: Mapping[str, Any]) -> Run:
    """The run of settings laid over the profile.

    Args:
        request: What is searched.
        laid: By section.
    """
    asked = Request(
        (request.archetype,),
        (request.model_type,),
        profile=request.profile,
        seed=request.seed,
        epochs=request.epochs,
        overrides={request.model_type: laid},
        from_scratch=True,
    )
    return resolve(asked)[0]


def metric_of(model_type: str) -> str:
    """Name of the reported score by which a type's best epoch is chosen; larger is better.

    Args:
        model_type: Name.
    """
    from policies.model_types import MODEL_TYPES

    kind = MODEL_TYPES[model_type]
    return f"val_{kind.task_class().score}" if kind.algorithm == "supervised" else "selection_win_rate"


def carry_out(
    home: Path,
    request: SearchRequest,
    samples: list[Sample],
    progress: Progress,
    session: Callable[[], AbstractContextManager[Any]] | None = None,
) -> str | None:
    """Trains what is not finished yet; samples that ASHA stopped before stay stopped.

    Args:
        home: Project folder.
        request: What is searched.
        samples: As ``draw_samples`` gives them.
        progress: Where lines for people go.
        session: As for `tuning.train`.

    Returns:
        What went wrong where some runs failed and others finished, otherwise None.

    Raises:
        ExperimentError: Nothing finished.
    """
    runs = [sample.run for sample in samples]
    try:
        tuning.train(
            home,
            runs,
            progress,
            parallel=request.parallel,
            scheduler=_scheduler(home, request, runs, progress) if request.early else None,
            session=session,
        )
    except ExperimentError as error:
        if not any(Ledger(home).run(run.run_id).done() for run in runs):
            raise
        return str(error)
    return None


def _scheduler(home: Path, request: SearchRequest, runs: list[Run], progress: Progress) -> Callable[[], Any]:
    ledger, epochs = Ledger(home), runs[0].epochs

    def make() -> Any:
        from experiments.early_stopping import EarlyStopping

        records = [ledger.run(run.run_id) for run in runs]
        return EarlyStopping(
            ledger,
            progress,
            metric=metric_of(request.model_type),
            grace=grace_of(epochs),
            epochs=epochs,
            earlier=[r.run_id for r in records if r.done() is not None or r.stopped() is not None],
        )

    return make


def grace_of(epochs: int) -> int:
    """Epochs that every sample is given: a third and one, the first at which minds that act have a score.

    Args:
        epochs: Planned for each run.
    """
    return epochs // 3 + 1


def ranked(home: Path, samples: list[Sample], metric: str) -> list[Row]:
    """What became of the samples: finished ones first, then stopped ones, each by score, best first.

    Args:
        home: Project folder.
        samples: As ``draw_samples`` gives them.
        metric: As ``metric_of`` names it.
    """
    ledger = Ledger(home)
    rows = []
    for sample in samples:
        record = ledger.run(sample.run.run_id)
        done, history = record.done(), record.history()
        score = max((row[metric] for row in history if row.get(metric) is not None), default=None)
        state = "unfinished" if record.settings() is not None else "new"
        if done is not None:
            # The name holds for all types: of minds that perceive it is the score on the validation set.
            state, score = "finished", done["selection_win_rate"]
        elif record.stopped() is not None:
            state = "stopped early"
        seconds = sum(row.get("epoch_s") or 0.0 for row in history)
        rows.append(Row(sample, state, score, int(history[-1]["epoch"]) if history else 0, seconds))
    return sorted(rows, key=lambda r: (ORDER[r.state], -math.inf if r.score is None else -r.score))


def write_best(home: Path, request: SearchRequest, best: Row) -> Path:
    """Writes the settings of the best sample as a file for ``monster train --config``, and loads it back.

    Args:
        home: Project folder.
        request: What was searched.
        best: A finished sample.

    Returns:
        ``<home>/tuned/<archetype>-<model type>.yaml``.

    Raises:
        ExperimentError: The file does not give the same run; it is not put in place then.
    """
    import yaml

    from experiments import config

    name = request.model_type
    values: dict[str, Any] = {"training": {"epochs": request.epochs}} if request.epochs else {}
    laid = {part: dict(keys) for part, keys in best.sample.laid.items()}
    values["models"] = {name: {**laid.get("model", {}), **({k: laid[k] for k in ("training",) if k in laid})}}
    run = best.sample.run
    about = "the profile as it stands was best" if not laid else f"sample {best.sample.number}"
    head = (
        f"# monster tune: best of {request.num_samples} samples, {about}, {metric_of(name)} {best.score}.\n"
        f"# Run {run.run_id}: --profile {request.profile} --seed {request.seed} train the same.\n"
    )
    path = home / "tuned" / f"{request.archetype}-{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        beside.write_text(head + yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        overrides = config.overrides(config.load_settings(beside), path.name, (name,))
        if run_of(request, overrides[name]).hash != run.hash:
            raise ExperimentError(f"{path} would not give run {run.run_id}; train with the table's settings")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
