"""What runs inside a Tune trial: one function that dispatches on the run's kind.

A checkpoint is one folder: ``trainer/`` (all that resuming needs), ``best/`` (weights of the best epoch
so far), ``progress.json`` and ``files.json`` (the size of each file). Files are named, never paths outside
the folder, so that a checkpoint can be moved to another machine.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import checkpoint_store
from experiments.ledger import write_json

if TYPE_CHECKING:
    from experiments.memory import Cut

CHECKPOINTS_PER_RUN = 4
"""Complete checkpoints written in a run, the last one at its end."""


def run_cell(config: dict[str, Any]) -> None:
    """Trains one cell; this is the function that Tune calls.

    Args:
        config: ``cell`` with ``run`` (the resolved settings as JSON text), ``resume_from`` (place of a
            complete checkpoint, or None), ``start_file`` (weights that the run starts from, or None) and,
            where GPUs are shared, ``gpu_bytes`` (what the run may take of its device). Actors are reused, so
            every trial starts by resetting the process.

    Raises:
        ValueError: A kind that no body exists for.
    """
    from envs import archetypes
    from experiments.memory import limit_gpu

    cell = config["cell"]
    run = json.loads(cell["run"])
    body = KINDS.get(run["kind"])
    if body is None:
        raise ValueError(f"run kind {run['kind']!r} has no body; known: {', '.join(KINDS)}")
    reset_process(int(run["trial"]["seed"]))
    if run["trial"].get("device", "cpu") != "cpu":
        # Ray shows a process its own device only, so that it is the first one whatever its number.
        run["trial"]["device"] = "cuda:0"
        limit_gpu(cell.get("gpu_bytes"))
    # The run's own definitions, not those of a file that may have changed or lie on another machine.
    archetypes.define(run.get("archetypes", {}))
    body(run, cell.get("resume_from"), cell.get("start_file"))


def reset_process(seed: int) -> None:
    """Gives a reused actor the state of a fresh one: memory, random generators, threads, CUDA statistics."""
    import numpy as np
    import torch

    from experiments.memory import reset_peak
    from policies.memory import release

    release()  # an algorithm of RLlib is a knot of references, which goes by collection only
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    reset_peak()


def train_rl(run: dict[str, Any], resume_from: str | None, start_file: str | None = None) -> None:
    """Trains a reinforcement-learning cell epoch by epoch and reports each to Tune.

    Args:
        run: Resolved settings.
        resume_from: Place of a checkpoint of an earlier, broken attempt.
        start_file: Weights of another mind that the run starts from.
    """
    from ray import tune

    from policies.training import build_trainer

    # With the trial's own files, so that it is there when the worker's folder has gone.
    guard_folder = Path(tune.get_context().get_trial_dir()) / "nan_guard"
    _carry_out(
        lambda trial: build_trainer(trial, guard_folder=guard_folder), run, resume_from, start_file, _epochs
    )


def train_supervised(run: dict[str, Any], resume_from: str | None, start_file: str | None = None) -> None:
    """Trains a perception cell epoch by epoch and reports each to Tune.

    Args:
        run: Resolved settings.
        resume_from: Place of a checkpoint of an earlier, broken attempt.
        start_file: Weights of another mind that the run starts from.
    """
    from policies.perception.trainer import SupervisedTrainer

    _carry_out(SupervisedTrainer, run, resume_from, start_file, _passes)


Epochs = Iterator[tuple[dict[str, Any], bool]]
"""The metrics of each epoch, and whether a checkpoint is due after it."""


def _carry_out(
    build: Callable[[dict[str, Any]], Any],
    run: dict[str, Any],
    resume_from: str | None,
    start_file: str | None,
    epochs: Callable[[Any, dict[str, Any], dict[str, Any], Path], Epochs],
) -> None:
    """Goes through a trainer's epochs, from where an earlier attempt broke off, and stops it.

    Where memory runs out, a new trainer goes on from the last checkpoint with batches in twice as many parts.

    Raises:
        OutOfMemoryError: Parts of an eighth of the batch still do not fit.
    """
    from ray import tune

    from experiments.memory import Cut
    from policies.memory import is_out_of_memory, release

    # The worker's own folder goes with its Ray session, also when the process is killed.
    work = Path(tempfile.mkdtemp(prefix="trial-", dir=Path.cwd()))
    try:
        start = None
        own = tune.get_checkpoint()
        if own is not None:
            start = checkpoint_store.bring(own.filesystem, own.path, work / "start")
        elif resume_from:
            start = checkpoint_store.bring(*checkpoint_store.open_place(resume_from), work / "start")
        cut = Cut.as_it_stood(run, start)
        while True:
            try:
                _go_on(build, run, start, start_file, epochs, work, cut)
                return
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                cut = cut.further(error, run)
            # Outside the handler: the error's traceback holds the tensors that took the memory.
            release()
            start = _last_complete(work, start)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _last_complete(work: Path, start: Path | None) -> Path | None:
    """Keeps what the broken trainer saved last where the next one will not write; ``start`` if nothing."""
    saved = work / "checkpoint"
    if not (saved / checkpoint_store.FILES).exists():
        return start
    kept = work / "start"
    shutil.rmtree(kept, ignore_errors=True)
    saved.rename(kept)
    # The next trainer shares nothing with files that it did not write.
    shutil.rmtree(work / "trainer", ignore_errors=True)
    return kept


def _go_on(
    build: Callable[[dict[str, Any]], Any],
    run: dict[str, Any],
    start: Path | None,
    start_file: str | None,
    epochs: Callable[[Any, dict[str, Any], dict[str, Any], Path], Epochs],
    work: Path,
    cut: Cut,
) -> None:
    """Trains to the end from a checkpoint, or from the start, with batches cut into so many parts."""
    from ray import tune

    from experiments.memory import peak, with_parts

    progress: dict[str, Any] = {"epoch": 0, "best": None}
    trainer = build(with_parts(run["trial"], cut.parts))
    try:
        if start is not None:
            progress = _restore(trainer, start, work)
        elif start_file:
            _take_up(trainer, run["start_from"], Path(start_file))
        for metrics, due in epochs(trainer, run, progress, work):
            # A supervised trainer may have cut its batches further by itself, in the middle of an epoch.
            metrics = {"accumulate": cut.parts, "out_of_memory": cut.note, **metrics, **peak()}
            progress["accumulate"] = metrics["accumulate"]
            checkpoint = None
            if due:
                folder = _write_checkpoint(trainer, progress, work)
                checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report(metrics, checkpoint=checkpoint)
    finally:
        trainer.stop()


def _take_up(trainer: Any, start: dict[str, Any], file: Path) -> None:
    """Starts a trainer from another mind's weights, if they are those that the run was named after.

    Raises:
        ValueError: The file is not there, or holds other weights.
    """
    from policies.model_types import load_weights

    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "missing"
    if digest == "missing" and "weights_sha256" not in start:
        raise ValueError(
            f"{start['run_id']}, whose weights this run starts from, is not finished; see why it failed"
        )
    if digest != start.get("weights_sha256", digest):
        raise ValueError(
            f"{file} should hold the weights {start['weights_sha256'][:12]} of {start['run_id']} and is "
            f"{digest[:12]}; start the transfer again"
        )
    trainer.start_from(load_weights(file, start["model_type"]))


def _passes(trainer: Any, run: dict[str, Any], progress: dict[str, Any], work: Path) -> Epochs:
    """Epochs of a supervised run, which may stop early; after the last one the best weights, calibrated."""
    from experiments.perceiving import save_fitted
    from policies.model_types import save_weights

    epochs = int(run["trial"]["training"]["epochs"])
    every = max(1, -(-epochs // CHECKPOINTS_PER_RUN))
    while not progress.get("finished"):
        started = time.perf_counter()
        metrics: dict[str, Any] = {}
        if not trainer.over:
            metrics = dict(trainer.train_epoch())
        if trainer.over:
            metrics |= {f"calibration_{name}": value for name, value in trainer.finish().items()}
            save_weights(trainer.model(), work / "best")
            save_fitted(trainer.fitted, work / "best")
            progress["best"] = {"epoch": trainer.best["epoch"], "rank": [trainer.best["score"], 0.0]}
            progress["finished"] = True
        progress["epoch"] = trainer.epoch
        metrics |= _about(run, trainer.epoch, epochs, trainer.best["epoch"], started)
        yield metrics, trainer.epoch % every == 0 or bool(progress.get("finished"))


def _about(run: dict[str, Any], epoch: int, epochs: int, best: int | None, started: float) -> dict[str, Any]:
    """What every report says of itself."""
    return {
        "epoch": epoch,
        "epochs": epochs,
        "archetype": run["archetype"],
        "model_type": run["model_type"],
        "best_epoch": best,
        "epoch_s": time.perf_counter() - started,
    }


def _epochs(trainer: Any, run: dict[str, Any], progress: dict[str, Any], work: Path) -> Epochs:
    """Yields the metrics of each epoch and whether a checkpoint is due after it."""
    epochs = int(run["trial"]["training"]["epochs"])
    every = max(1, -(-epochs // CHECKPOINTS_PER_RUN))
    for epoch in range(progress["epoch"] + 1, epochs + 1):
        started = time.perf_counter()
        metrics = dict(trainer.train_epoch())
        # The first third explores: its policies are not worth the fights that selection costs, unless
        # somebody wants to see how it learns.
        if 3 * epoch > epochs or run["selection"].get("every_epoch"):
            score = _select(trainer, run, progress, epoch, work)
            metrics["selection_win_rate"], metrics["selection_reward"] = score
        progress["epoch"] = epoch
        best = progress["best"]["epoch"] if progress["best"] else None
        metrics |= _about(run, epoch, epochs, best, started)
        yield metrics, epoch % every == 0 or epoch == epochs


def _select(
    trainer: Any, run: dict[str, Any], progress: dict[str, Any], epoch: int, work: Path
) -> tuple[float, float]:
    """Plays the selection fights greedily and keeps the weights if none before were better."""
    from policies.model_types import save_weights

    # A copy: playing switches a model to evaluation mode, and the trainer's own must stay as it is.
    model = copy.deepcopy(trainer.model()).cpu()
    win_rate, reward = _selection_score(model, run)
    # Ties go to the later epoch: it has seen more fights.
    rank = [win_rate, reward]
    if progress["best"] is None or rank[0] >= progress["best"]["rank"][0]:
        save_weights(model, work / "best")
        progress["best"] = {"epoch": epoch, "rank": rank}
    return win_rate, reward


def _selection_score(model: Any, run: dict[str, Any]) -> tuple[float, float]:
    """Win rate and mean reward of greedy play on the selection fights.

    They are fought where the mind will be judged and paid by its archetype's published weights, wherever and
    by whatever weights it learns.
    """
    from experiments.evaluation import play_fights
    from experiments.heads import play_head, torch_mind
    from experiments.seeds import Purpose
    from policies.model_types import MODEL_TYPES

    plan, archetype = run["selection"], run["archetype"]
    of: dict[str, Any] = {"purpose": Purpose.SELECTION, "opponent": plan["opponent"]}
    if run["model_type"] == "combat_dqn":
        score = play_fights(archetype, torch_policy(model), plan["fights"], plan["seed"], **of)
    else:
        head = str(MODEL_TYPES[run["model_type"]].head)
        score = play_head(
            archetype,
            head,
            torch_mind(model),
            plan["fights"],
            plan["seed"],
            scenario=plan.get("scenario"),
            **of,
        )
    return score.win_rate, score.average_reward


def torch_policy(model: Any) -> Callable[[Any, Any], Any]:
    """Plays a torch model greedily through its inference form, as the exported file will.

    Args:
        model: A policy model that owns ``inference_form()``.
    """
    import numpy as np
    import torch

    form = model.inference_form().eval()

    def choose(obs: Any, mask: Any) -> Any:
        with torch.no_grad():
            _, action = form(torch.from_numpy(obs), torch.from_numpy(mask.astype(np.float32)))
        return action.numpy()

    return choose


def rehearse(trainer: Any, run: dict[str, Any], work: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Goes through a whole run as a trial does, but reports to its caller in place of Tune.

    Args:
        trainer: At its start.
        run: Resolved settings.
        work: An empty folder.

    Yields:
        ``epoch`` with the metrics after each epoch, ``checkpoint`` after each checkpoint.
    """
    epochs = _passes if run["kind"] == "supervised" else _epochs
    progress: dict[str, Any] = {"epoch": 0, "best": None}
    for metrics, due in epochs(trainer, run, progress, work):
        yield "epoch", metrics
        if due:
            _write_checkpoint(trainer, progress, work)
            yield "checkpoint", {}


def _write_checkpoint(trainer: Any, progress: dict[str, Any], work: Path) -> Path:
    from policies.model_types import save_weights

    folder = work / "checkpoint"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    # Saved in a place that stays, so that the next one can share what has not changed, and linked from there.
    trainer.save(work / "trainer")
    shutil.copytree(work / "trainer", folder / "trainer", copy_function=_link)
    if progress["best"] is not None:
        shutil.copytree(work / "best", folder / "best")
    else:
        save_weights(trainer.model(), folder / "best")
    write_json(folder / checkpoint_store.PROGRESS, progress)
    write_json(folder / checkpoint_store.FILES, checkpoint_store.list_files(folder))
    return folder


def _link(source: str, target: str) -> None:
    """Share a file that is never changed in place; copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _restore(trainer: Any, checkpoint: Path, work: Path) -> dict[str, Any]:
    trainer.restore(checkpoint / "trainer")
    progress: dict[str, Any] = json.loads(
        (checkpoint / checkpoint_store.PROGRESS).read_text(encoding="utf-8")
    )
    if progress["best"] is not None:
        shutil.copytree(checkpoint / "best", work / "best", dirs_exist_ok=True)
    return progress


KINDS: dict[str, Callable[[dict[str, Any], str | None, str | None], None]] = {
    "rl": train_rl,
    "supervised": train_supervised,
}
"""Body per kind of run."""
