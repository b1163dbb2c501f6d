"""One run trained in this process as a trial trains it, with clocks around its parts."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.matrix import Request, Run, resolve
from experiments.profiling.sampler import Sampler, Stack

PHASES = {
    "start": "data, network, buffers",
    "simulation": "steps of the world",
    "acting": "network while acting, drawing actions",
    "replay and loader": "replay, advantages, priorities, batches, augmentation",
    "forward": "network and loss",
    "backward": "gradients",
    "optimizer": "clipping, step, target network",
    "validation": "held-out rows",
    "selection": "fights that choose the best epoch, or calibration",
    "checkpoint": "writing all that resuming needs",
    "the rest": "RLlib's and our own bookkeeping",
}
"""What the time of a run is split into, and what each part is."""
_OF_TRAINER = {
    "env": "simulation",
    "act": "acting",
    "store": "replay and loader",
    "build": "replay and loader",
    "prioritize": "replay and loader",
    "forward": "forward",
    "backward": "backward",
    "optimize": "optimizer",
    "validate": "validation",
    "sync": "the rest",
    "other": "the rest",
}


@dataclass(frozen=True)
class Profile:
    """Where the time of one run went.

    Attributes:
        model_type: Of the mind.
        run_id: Of the run.
        epochs: Trained.
        wall_s: From before the trainer was built until it was stopped.
        phases: Seconds by name of `PHASES`, in that order; they add up to `wall_s`.
        stacks: Seconds by stack.
    """

    model_type: str
    run_id: str
    epochs: int
    wall_s: float
    phases: dict[str, float]
    stacks: dict[Stack, float]


def warm_up(run: Run) -> None:
    """Has a run's code imported and compiled, so that a short profile does not show just that.

    Compiled code fits networks and batches of all sizes, so one epoch of the demo profile will do. Minds that
    learn from recorded rows compile nothing of their own.

    Args:
        run: What will be profiled.
    """
    if run.settings["kind"] == "supervised":
        return
    from policies.training import build_trainer

    device = run.settings["trial"]["device"]
    (small,) = resolve(
        Request((run.archetype,), (run.model_type,), epochs=1, device=device, from_scratch=True)
    )
    trainer = build_trainer(small.settings["trial"])
    try:
        trainer.train_epoch()
    finally:
        trainer.stop()


def profile(run: Run, tell: Callable[[str], None] = lambda line: None) -> Profile:
    """Trains a run from its start to its end and says where the time went.

    Args:
        run: Resolved settings; it acts and learns in this process.
        tell: Is told each epoch.

    Raises:
        ConfigError: Settings that cannot be used.
    """
    from experiments.trainable import reset_process

    settings: dict[str, Any] = dict(run.settings)
    if settings["kind"] == "rl":
        from policies.training import ensure_ray

        ensure_ray()  # a trial finds Ray running
    reset_process(int(settings["trial"]["seed"]))
    with Sampler() as sampler, tempfile.TemporaryDirectory(prefix="profile-") as folder:
        epochs, wall_s, phases = _carry_out(settings, Path(folder), tell)
    return Profile(run.model_type, run.run_id, epochs, wall_s, phases, dict(sampler.seconds))


def _carry_out(
    run: dict[str, Any], work: Path, tell: Callable[[str], None]
) -> tuple[int, float, dict[str, float]]:
    """Trains; gives the epochs, the wall time and the seconds by phase."""
    from experiments.trainable import rehearse

    clock = _clock(str(run["trial"]["device"]))
    phases = dict.fromkeys(PHASES, 0.0)
    epochs, began = 0, clock()
    trainer = _build(run)
    try:
        _phases_of(trainer).clock = clock
        phases["start"] = clock() - began
        since = clock()
        for part, metrics in rehearse(trainer, run, work):
            now = clock()
            if part == "epoch":
                epochs += 1
                tell(f"epoch {metrics['epoch']}/{metrics['epochs']}, {now - since:.1f} s")
                inside = _inside(metrics)
                for name, seconds in inside.items():
                    phases[name] += seconds
                phases["selection"] += max(0.0, now - since - sum(inside.values()))
            else:
                phases["checkpoint"] += now - since
            since = clock()
    finally:
        trainer.stop()
    wall_s = clock() - began
    phases["the rest"] += wall_s - sum(phases.values())
    return epochs, wall_s, phases


def _inside(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Seconds inside the trainer's epoch by name of `PHASES`."""
    from policies.columnar.phases import seconds_of

    found = dict.fromkeys(_OF_TRAINER.values(), 0.0)
    for name, seconds in seconds_of(metrics).items():
        found[_OF_TRAINER[name]] += seconds
    return found


def _build(run: dict[str, Any]) -> Any:
    if run["kind"] == "supervised":
        from policies.perception.trainer import SupervisedTrainer

        return SupervisedTrainer(run["trial"])
    from policies.training import build_trainer

    return build_trainer(run["trial"])


def _phases_of(trainer: Any) -> Any:
    return trainer.algorithm.phases if hasattr(trainer, "algorithm") else trainer.phases


def _clock(device: str) -> Callable[[], float]:
    """A clock that waits for the GPU first, so that each phase pays for what it started there."""
    if device == "cpu":
        return time.perf_counter
    import torch

    def synchronised() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return synchronised
