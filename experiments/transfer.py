"""Transfer: one archetype's mind starts from another's weights, beside the same training from scratch.

    find or train the source -> train both arms, seed by seed -> compare -> register with lineage

The arms of a seed share everything but the start: fights, exploration, decisions, gradient steps. A run that
starts from weights names them by their digest, so that its id depends on them and not on where they lie.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments import pipeline, tuning
from experiments.errors import ExperimentError, UsageError
from experiments.learning_curves import Curve, Paired
from experiments.ledger import Ledger
from experiments.matrix import Request, Run, resolve
from experiments.progress import Progress
from experiments.transfer_result import WIN_RATE, TransferResult
from experiments.tuning import TrainedRun

Session = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class TransferRequest:
    """What a user asked to transfer.

    Attributes:
        source: Archetype whose weights are taken.
        target: Archetype that is trained.
        model_type: Of both.
        seeds: How many; they count up from `seed`.
        seed: First base seed.
        compare: Whether to train from scratch too.
        profile: Sizes, of the source too if it has to be trained.
        epochs: Of each run; the profile's when None.
        parallel: Runs at the same time.
        resume: Reuse finished runs and continue broken ones.
        overrides: Settings laid over the profile's, by model type, for both arms alike.
    """

    source: str
    target: str
    model_type: str
    seeds: int = 3
    seed: int = 0
    compare: bool = True
    profile: str = "demo"
    epochs: int | None = None
    parallel: int = 1
    resume: bool = True
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def validate(self) -> None:
        """Checks what no single option shows.

        Raises:
            UsageError: Source and target are the same archetype.
        """
        if self.source == self.target:
            raise UsageError(
                f"--source-archetype and --target-archetype are both {self.source}; give two archetypes"
                " (a run goes on by itself: monster train)"
            )


def plan(request: TransferRequest, start: Mapping[str, Any] | None) -> list[Run]:
    """Resolves the runs of one arm, one per seed.

    Args:
        request: What was asked for.
        start: What the runs start from, as `start_of` gives it; None trains from scratch.

    Raises:
        UsageError: A name or setting that cannot be used.
    """
    runs = []
    for seed in range(request.seed, request.seed + request.seeds):
        (run,) = resolve(
            Request(
                (request.target,),
                (request.model_type,),
                profile=request.profile,
                seed=seed,
                epochs=request.epochs,
                overrides=request.overrides,
                from_scratch=True,
            )
        )
        settings = dict(run.settings)
        if "selection" in settings:
            # A head start shows in the first epochs, which selection leaves out otherwise.
            settings["selection"] = {**settings["selection"], "every_epoch": True}
        if start is not None:
            settings["start_from"] = dict(start)
        runs.append(Run(settings))
    return runs


def measured_by(model_type: str) -> tuple[str, str]:
    """The metric of a model type's learning curve, and what it is counted in.

    Args:
        model_type: Name.
    """
    from policies.model_types import model_type as kind_of

    kind = kind_of(model_type)
    if kind.head is not None:
        return "selection_win_rate", "env_steps"
    return f"val_{kind.task_class().score}", "epoch"


def carry_out(
    home: Path,
    request: TransferRequest,
    workshop: Callable[[], AbstractContextManager[pipeline.Workshop]],
    progress: Progress,
    session: Session | None = None,
) -> TransferResult:
    """Does all of it; what is there already is reused.

    Args:
        home: Project folder.
        request: What was asked for.
        workshop: Opens the registry and the artefact store; twice, so that no database runs while training.
        progress: Where lines for people go.
        session: Starts and stops Ray in place of a small one of its own.

    Raises:
        ExperimentError: A run failed, or the source's weights cannot be had.
    """
    request.validate()
    with workshop() as shop:
        source = find_source(shop, request)
    if source is None:
        trained = _train_source(home, request, progress, session)
        with workshop() as shop:
            source = pipeline.register(shop, trained)
            weights = _fetch(shop, source)
    else:
        with workshop() as shop:
            weights = _fetch(shop, source)
    start = start_of(source)
    keep_weights(home, weights, start["weights_sha256"])
    arms = {"transfer": plan(request, start)} | ({"scratch": plan(request, None)} if request.compare else {})
    progress.line(
        f"{request.target:<10} {request.model_type}: {request.seeds} seeds from {source.name}"
        + (", and as many from scratch" if request.compare else "")
    )
    trained_runs = tuning.train(
        home,
        [run for arm in arms.values() for run in arm],
        progress,
        parallel=request.parallel,
        resume=request.resume,
        session=session,
    )
    found = {result.run.run_id: result for result in trained_runs}
    measure, unit = measured_by(request.model_type)
    curves = {
        name: tuple(_curve(found[run.run_id], measure, unit) for run in runs) for name, runs in arms.items()
    }
    transferred = curves["transfer"]
    paired = None
    if request.compare:
        paired = Paired.of(curves["scratch"], transferred, WIN_RATE)
    best = found[max(transferred, key=lambda curve: curve.best).run_id]
    with workshop() as shop:
        version = pipeline.register(shop, best)
        shop.registry.link(version.model_id, source.model_id, pipeline.TRANSFERRED)
    return TransferResult(
        source_archetype=request.source,
        target_archetype=request.target,
        model_type=request.model_type,
        profile=request.profile,
        source=source.name,
        source_run=source.run_id,
        measure=measure,
        unit=unit,
        transferred=transferred,
        paired=paired,
        registered=version.name,
        run_id=best.run.run_id,
    )


def find_source(shop: pipeline.Workshop, request: TransferRequest) -> Any | None:
    """The newest trained mind of the source: of the registry, else of the ledger, which is registered then.

    Args:
        shop: Registry, store and home folder.
        request: Says whose mind.

    Returns:
        The version, or None if there is none.
    """
    cell = (request.source, request.model_type)
    versions = [v for v in shop.registry.list() if (v.archetype, v.model_type) == cell]
    versions = [v for v in versions if "weights" in v.artifacts]
    if versions:
        found = max(versions, key=lambda v: v.version)
        shop.say(found, f"its weights are the start ({found.run_id})")
        return found
    finished = []
    for record in Ledger(shop.home).runs():
        run, summary = Run(record.settings() or {}), record.done()
        if summary is not None and (run.archetype, run.model_type) == cell:
            finished.append((record.finished_at(), TrainedRun(run, record, summary, True)))
    if not finished:
        return None
    newest = max(finished, key=lambda pair: pair[0])[1]
    return pipeline.register(shop, newest)


def start_of(source: Any) -> dict[str, Any]:
    """What a run's settings say of the weights it starts from.

    Args:
        source: A registered version.
    """
    return {
        "archetype": source.archetype,
        "model_type": source.model_type,
        "run_id": source.run_id,
        "weights_sha256": source.artifacts["weights"]["sha256"],
    }


def keep_weights(home: Path, weights: Path, sha256: str) -> Path:
    """Puts weights where runs find them by their digest.

    Args:
        home: Project folder.
        weights: A file of `policies.model_types.save_weights`.
        sha256: Its digest.
    """
    kept = tuning.start_file(home, sha256)
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside = kept.with_suffix(".writing")
        shutil.copyfile(weights, beside)
        beside.replace(kept)
    return kept


def _train_source(
    home: Path, request: TransferRequest, progress: Progress, session: Session | None
) -> TrainedRun:
    progress.line(
        f"{request.source:<10} {request.model_type}: no trained mind in {home.name}, so it is trained first"
    )
    runs = resolve(
        Request(
            (request.source,),
            (request.model_type,),
            profile=request.profile,
            seed=request.seed,
            epochs=request.epochs,
            overrides=request.overrides,
        )
    )
    # Those that the source itself starts from stand before it.
    return tuning.train(home, runs, progress, resume=request.resume, session=session)[-1]


def _fetch(shop: pipeline.Workshop, source: Any) -> Path:
    stored = source.artifacts["weights"]
    return Path(shop.store.fetch(stored["uri"], stored["sha256"]))


def _curve(trained: TrainedRun, measure: str, unit: str) -> Curve:
    run = trained.run
    try:
        return Curve.of_history(
            trained.record.history(),
            seed=int(run.settings["seed"]),
            run_id=run.run_id,
            score=measure,
            steps=unit,
        )
    except ValueError as error:
        raise ExperimentError(str(error)) from error
