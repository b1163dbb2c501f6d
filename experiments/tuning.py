"""One Tuner over all runs of an experiment, with a ledger of our own beside it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import checkpoint_store
from experiments.errors import FULL_DISK, ExperimentError, UsageError, full_disk
from experiments.ledger import Ledger, RunRecord
from experiments.matrix import Run
from experiments.packing import Plan, plan_for, room_for
from experiments.progress import Progress

CHECKPOINTS_KEPT = 2
"""The ledger's pointer may name the older one for a moment, so the last alone would not do."""

_EXPERIMENT = re.compile(r"experiment-\d+")

_DRIVER_VARIABLES = {
    # Ctrl-C must end the whole command; Tune's own handler would only stop this fit().
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The first epochs of minds that act report no score yet, which a scheduler then waits for.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_THRESHOLD_S": "10",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}
WORKER_VARIABLES = {
    # A trial's clean-up after an early stop may take longer than Tune's 2 s, which would mark it as failed.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    "OMP_NUM_THREADS": "1",
}
"""Environment of every process of a trial."""


@dataclass(frozen=True)
class TrainedRun:
    """A run that is finished.

    Attributes:
        run: Its resolved settings.
        record: Its folder in the ledger, with history and weights.
        summary: What the completion marker says: final metrics, best epoch, wall time.
        reused: Whether it had been finished before this command.
    """

    run: Run
    record: RunRecord
    summary: dict[str, Any]
    reused: bool


def start_file(home: Path, sha256: str) -> Path:
    """Where weights lie that runs start from.

    Args:
        home: Project folder.
        sha256: Digest of the file.
    """
    return Path(home).absolute() / "transfer" / "weights" / f"{sha256}.safetensors"


def states(home: Path, runs: Sequence[Run]) -> dict[str, str]:
    """Tells per run id what the ledger knows: ``done``, ``epoch 12/40`` or ``new``."""
    ledger, known = Ledger(home), {}
    for run in runs:
        record = ledger.run(run.run_id)
        latest = record.latest()
        known[run.run_id] = "new"
        if record.done() is not None:
            known[run.run_id] = "done"
        elif latest is not None:
            known[run.run_id] = f"epoch {latest[1]}/{run.epochs}"
    return known


def train(
    home: Path,
    runs: Sequence[Run],
    progress: Progress,
    *,
    parallel: int = 1,
    resume: bool = True,
    storage: str | None = None,
    plan: Plan | None = None,
    scheduler: Callable[[], Any] | None = None,
    reuse_processes: bool = True,
    session: Callable[[], AbstractContextManager[Any]] | None = None,
) -> list[TrainedRun]:
    """Trains every run that is not finished, in one Tune experiment.

    Args:
        home: Project folder; the ledger and Tune's own files go there.
        runs: Resolved cells.
        progress: Where lines for people go.
        parallel: Trials at the same time, one CPU each, where no plan is given.
        resume: Reuse finished runs and continue broken ones; otherwise all start anew.
        storage: Path or URI of the place for checkpoints; ``<home>/tune`` unless given.
        plan: Which runs go together, of all that are not finished; made by CPUs alone if not given.
        scheduler: Makes a scheduler of Tune that may stop runs early and marks those in the ledger; they are
            left alone then. Without one such runs go on like broken ones.
        reuse_processes: A process does one run after the other; otherwise each run starts its own.
        session: Starts and stops Ray in place of ``local_ray`` (tests share one Ray).

    Returns:
        One entry per finished run, in the order given: all but those that the scheduler stopped.

    Raises:
        UsageError: The ledger holds other settings than a run's name stands for.
        ValueError: The plan lacks a run that is not finished.
        ExperimentError: One or more runs failed; what finished stays in the ledger.
    """
    ledger = Ledger(home)
    open_runs, reused = [], set()
    for run in runs:
        record = ledger.run(run.run_id)
        if not resume:
            record.clear()
        _check_settings(run, record)
        if record.done() is not None:
            reused.add(run.run_id)
            progress.line(f"{run.archetype:<10} {run.model_type}: reusing the finished run {run.run_id}")
        elif scheduler is None or record.stopped() is None:
            open_runs.append(run)
    others = len(ledger.runs()) - sum(ledger.run(run.run_id).settings() is not None for run in runs)
    if others and reused != {run.run_id for run in runs}:
        new = sum(ledger.run(run.run_id).settings() is None for run in open_runs)
        progress.line(
            f"{len(reused)} finished runs are reused, {len(open_runs) - new} go on and {new} are new;"
            f" {others} runs of this home have other settings or code and stay as they are"
        )
    if open_runs:
        if plan is None:
            plan = plan_for(open_runs, room_for(open_runs, parallel), home)
        unplanned = {run.run_id for run in open_runs} - {placed.demand.run_id for placed in plan.placed}
        _check_sources(runs, ledger)
        if unplanned:
            raise ValueError(
                f"the plan lacks {', '.join(sorted(unplanned))}; plan every run that is to be done"
            )
        room = plan.room
        start = session or (lambda: local_ray(room.cpus, room.devices))
        with start():
            place = checkpoint_store.of_project(home, storage)
            _fit(
                home,
                place,
                open_runs,
                ledger,
                progress,
                plan,
                scheduler,
                done=len(reused),
                total=len(runs),
                reuse_processes=reuse_processes,
            )
    trained = []
    for run in runs:
        record = ledger.run(run.run_id)
        summary = record.done()
        if scheduler is not None and record.stopped() is not None:
            continue
        if summary is None:
            raise ExperimentError(
                f"run {run.run_id} did not finish; run the same command again to continue it"
            )
        trained.append(TrainedRun(run, record, summary, run.run_id in reused))
    return trained


@contextlib.contextmanager
def local_ray(cpus: int, gpus: int = 0) -> Iterator[None]:
    """Runs a small Ray on this machine and takes it down again.

    Args:
        cpus: CPUs that Ray may hand out: trials at the same time, each with its env runners and learners.
        gpus: GPUs that Ray may hand out in shares; it counts them, also those that are not there.
    """
    from serve.ray_session import RaySessionError, ray_session

    # Ray's start puts its own handler of SIGTERM in place and its end removes it; the command's own one,
    # which stops everything in order, must hold throughout.
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with ray_session(num_cpus=cpus, num_gpus=gpus, variables=WORKER_VARIABLES):
            handle_sigterm(handler)
            yield
    except RaySessionError as error:
        raise ExperimentError(str(error)) from error
    finally:
        handle_sigterm(handler)


def handle_sigterm(handler: Any) -> None:
    """Puts a handler of SIGTERM in place, where Python can: in the main thread, for a handler it knows."""
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _fit(
    home: Path,
    storage: str,
    runs: Sequence[Run],
    ledger: Ledger,
    progress: Progress,
    plan: Plan,
    scheduler: Callable[[], Any] | None,
    *,
    done: int,
    total: int,
    reuse_processes: bool,
) -> None:
    os.environ.update(_DRIVER_VARIABLES)  # Tune reads some of them when it is imported
    from ray import tune

    from experiments.monitoring.callback import MonitoringCallback
    from experiments.trainable import run_cell
    from experiments.tune_callback import LedgerCallback
    from experiments.turns import InTurn

    cells = []
    by_id = {run.run_id: run for run in runs}
    needs = {placed.demand.run_id: placed.demand for placed in plan.placed}
    for run in (by_id[run_id] for run_id in needs if run_id in by_id):
        record = ledger.run(run.run_id)
        resume_from = _resume_from(run, record, progress)
        record.begin(run.settings)
        cells.append(
            {
                "run_id": run.run_id,
                "run": run.json,
                "resume_from": resume_from,
                "start_file": _start_file(home, ledger, run),
                "after": run.source_id,
                "share": needs[run.run_id].share,
                "helpers": run.helpers,
                "gpu_bytes": plan.gpu_bytes(run.run_id),
            }
        )
    name = _experiment_folder(ledger, storage)
    callback = LedgerCallback(ledger, progress, done, total, storage, needs)
    tuner = tune.Tuner(
        tune.with_resources(run_cell, _resources),
        param_space={"cell": tune.grid_search(cells)},
        tune_config=tune.TuneConfig(
            reuse_actors=reuse_processes,
            scheduler=scheduler() if scheduler else None,
            search_alg=InTurn(max_concurrent=plan.room.parallel),
            trial_dirname_creator=_trial_folder,
            trial_name_creator=_trial_folder,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=storage,
            verbose=0,
            callbacks=[callback, MonitoringCallback(home, runs, progress)],
            checkpoint_config=tune.CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT),
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )
    # Tune warns of files that its own loggers would have written; the ledger replaces them.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    results = tuner.fit()
    failed = [results[i] for i in range(len(results)) if results[i].error]
    if failed:
        first = failed[0].config["cell"]["run_id"] if failed[0].config else "unknown"
        if any(full_disk(result.error) for result in failed):
            raise ExperimentError(f"{len(failed)} of {total} runs failed, first {first}: {FULL_DISK}")
        raise ExperimentError(
            f"{len(failed)} of {total} runs failed, first {first}: {_last_line(failed[0].error)};"
            " run the same command again to continue them"
        )


def _start_file(home: Path, ledger: Ledger, run: Run) -> str | None:
    """Where a run's first weights lie, or will lie once the run that it starts from is finished."""
    from policies.model_types import WEIGHTS_FILE

    if run.source_id is not None:
        return str(ledger.run(run.source_id).model_folder / WEIGHTS_FILE)
    start = run.settings.get("start_from")
    return str(start_file(home, start["weights_sha256"])) if start else None


def _resources(config: dict[str, Any]) -> Any:
    """What one trial asks Ray for: its own process with a share of a GPU, and a CPU for each helper."""
    from ray import tune

    cell = config["cell"]
    own = {"CPU": 1.0} | ({"GPU": float(cell["share"])} if cell["share"] else {})
    return tune.PlacementGroupFactory([own] + [{"CPU": 1.0}] * int(cell["helpers"]))


def _trial_folder(trial: Any) -> str:
    return str(trial.config["cell"]["run_id"])


def _check_sources(runs: Sequence[Run], ledger: Ledger) -> None:
    """Refuses a run that would wait for another which is neither finished nor among those to be done."""
    known = {run.run_id for run in runs}
    for run in runs:
        source = run.source_id
        if source is not None and source not in known and ledger.run(source).done() is None:
            raise UsageError(
                f"{run.run_id} starts from the weights of {source}, which is neither finished nor asked for;"
                " train that one too"
            )


def _check_settings(run: Run, record: RunRecord) -> None:
    """Refuses a folder of the ledger whose settings are not those that its name stands for."""
    kept = record.settings()
    if kept is not None and Run(kept).hash != run.hash:
        raise UsageError(
            f"{record.folder / 'run.json'} was changed by hand: its settings are not those of the run's name;"
            " put the file back, or start the runs anew with --no-resume"
        )


def _resume_from(run: Run, record: RunRecord, progress: Progress) -> str | None:
    """Place of a run's newest whole checkpoint; says which one it is, and which are not whole."""
    about = f"{run.archetype:<10} {run.model_type}:"
    for place, epoch in record.checkpoints():
        wrong = checkpoint_store.flaw(place)
        if wrong is None:
            progress.line(f"{about} continuing after epoch {epoch}/{run.epochs}")
            return place
        progress.line(f"{about} the checkpoint of epoch {epoch} cannot be used ({wrong})")
    if record.checkpoints():
        progress.line(f"{about} no whole checkpoint is left, so the run starts anew")
    return None


def _experiment_folder(ledger: Ledger, storage: str) -> str:
    """Names the next experiment and removes those that no unfinished run needs any more."""
    names = [name for name in checkpoint_store.folders(storage) if _EXPERIMENT.fullmatch(name)]
    needed = {
        place.rstrip("/").split("/")[-3]
        for record in ledger.runs()
        if record.done() is None
        for place, _ in record.checkpoints()
    }
    for name in set(names) - needed:
        checkpoint_store.remove(storage, name)
    return f"experiment-{max((int(name.split('-')[1]) for name in names), default=0) + 1:04d}"


def _last_line(error: BaseException | None) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
