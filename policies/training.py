"""Training by reinforcement: an object that trains an epoch at a time, saves, restores and gives the network.

RLlib is loaded when a trainer is built, not when this module is imported.
"""

from __future__ import annotations

import importlib
import logging
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import nn

from policies import checkpoint
from policies.profiles import load_run
from policies.settings import Run
from policies.transfer import Transfer, transfer

if TYPE_CHECKING:
    from policies.columnar.algorithm import ColumnarAlgorithm

# The smallest object store that Ray accepts: one process hands nothing over.
OBJECT_STORE_BYTES = 80 * 1024 * 1024
# Rounds of several processes lie in the object store for a moment.
SHARED_OBJECT_STORE_BYTES = 512 * 1024 * 1024
# Added to a run's seed for evaluation; seeds of training lie below 2^31.
EVALUATION_SEED = 2**31
CONFIGS = {
    "dqn": "policies.columnar.dqn:ColumnarDQNConfig",
    "ppo": "policies.columnar.ppo:ColumnarPPOConfig",
    "sac": "policies.columnar.sac:ColumnarSACConfig",
    "team_ppo": "policies.columnar.team_ppo:ColumnarTeamPPOConfig",
}
"""RLlib configuration by the name of an algorithm."""


class AnyTrainer(Protocol):
    """What trainers of both lanes do."""

    run: Run
    epoch: int

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch and give its metrics."""

    def model(self) -> nn.Module:
        """The network that is being trained."""

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write a checkpoint."""

    def restore(self, folder: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint."""

    def stop(self) -> None:
        """Release what was taken."""


def seed_everything(seed: int) -> None:
    """Set the random states of Python, numpy (the global one, which RLlib shuffles with) and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def ensure_ray(processes: int = 0) -> None:
    """Start a small local Ray if this process has none: RLlib puts its configuration into Ray's object store.

    Inside a Tune trial Ray runs already and nothing happens. A Ray started here ends with the process.

    Args:
        processes: Env runners and learners that will be started beside this process.
    """
    import ray

    if not ray.is_initialized():
        ray.init(
            num_cpus=1 + processes,
            include_dashboard=False,
            object_store_memory=SHARED_OBJECT_STORE_BYTES if processes else OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


def build_trainer(run: Mapping[str, Any] | Run, *, guard_folder: Path | None = None) -> AnyTrainer:
    """Make a trainer.

    Args:
        run: The resolved run; `policies.profiles.resolve_run` composes one.
        guard_folder: Where a state goes that a NaN can be replayed from; none is written if not given.

    Returns:
        A trainer at the start of its run.

    Raises:
        ConfigError: A setting that cannot be used.
        ValueError: An environment that the columnar lane cannot read.
    """
    checked = load_run(run)
    if checked.sampler == "stock":
        from policies.stock import StockTrainer

        return StockTrainer(checked)
    return Trainer(checked, guard_folder=guard_folder)


def replay_dump(folder: str | os.PathLike[str]) -> str:
    """Compute the update of a NaN guard's dump again.

    Args:
        folder: Written by the guard of a run.

    Returns:
        The guard's finding, one line; the same as in the dump's report if the failure replays.

    Raises:
        OSError: No dump there.
    """
    from policies.columnar.nan_guard import first_bad, read_dump

    report, columns, weights, random_state = read_dump(Path(folder))
    trainer = Trainer(load_run({**report["run"], "env_runners": 0, "learners": 0}))
    try:
        learner = trainer.algorithm.learner
        assert learner is not None
        learner.load_weights(weights)
        learner.set_extra_scalars(report["scalars"])
        learner.loss_scale = float(report["loss_scale"])
        for flat in learner.flat:
            flat.zero_gradient()
        torch.set_rng_state(random_state)
        with learner.autocast():
            loss = learner.losses(columns)
        (cast(torch.Tensor, loss.total) * learner.loss_scale).backward()
        return first_bad(learner, columns, random_state)
    finally:
        trainer.stop()


class Trainer:
    """Trains one mind on the columnar lane, on one thread of torch.

    Args:
        run: What to train.
        guard_folder: Where a state goes that a NaN can be replayed from.
    """

    def __init__(self, run: Run, *, guard_folder: Path | None = None) -> None:
        self.run = run
        ensure_ray(run.env_runners + run.learners)
        torch.set_num_threads(1)
        seed_everything(run.seed)
        module, _, name = CONFIGS[cast(Any, run).algorithm].partition(":")
        config = getattr(importlib.import_module(module), name).of_run(run)
        self.algorithm = cast("ColumnarAlgorithm", config.build_algo())
        self.algorithm.on_learners(
            _guard_learner, [{"folder": guard_folder} for _ in range(max(run.learners, 1))]
        )
        # Building draws from the global states as RLlib pleases; training starts from a known one.
        seed_everything(run.seed)
        self.algorithm.on_learners(_seed_learner)
        self.epoch = 0
        self._last_checkpoint: Path | None = None
        self._learner_phases: dict[str, float] = {}
        self._warm = run.training.warm_start_fights == 0

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch.

        Returns:
            By name: see docs/metrics.md. Figures of updates come with the first one, and are NaN in an epoch
            without any.

        Raises:
            DivergedError: The gradient stayed NaN or infinite.
        """
        if not self._warm:
            # Not when it is built: a trainer that goes on from a checkpoint needs no start.
            self._warm = True
            self.algorithm.warm_start()
        algorithm = self.algorithm
        before, steps_before = dict(algorithm.phases.seconds), algorithm.env_steps
        clock = algorithm.phases.clock
        algorithm.actions.reset()
        started = clock()
        algorithm.train()
        epoch_s = clock() - started
        self.epoch += 1
        steps = algorithm.env_steps
        learner = algorithm.on_learners(_figures)[0]
        phases = algorithm.phases.since(before)
        if algorithm.learner is None:
            # What the first learner did while this process waited for it in `sync`.
            spent = {name: learner["phases"][name] - self._learner_phases.get(name, 0.0) for name in phases}
            self._learner_phases = learner["phases"]
            phases |= {name: phases[name] + seconds for name, seconds in spent.items()}
            phases["sync"] -= sum(spent.values())
        phases["other"] = epoch_s - sum(phases.values())
        metrics = {
            "epoch": self.epoch,
            **algorithm.episode_means(),
            **learner["figures"],
            **algorithm.settings_now(),
            "action_entropy_bits": algorithm.actions.entropy_bits(),
            "env_steps": steps,
            "updates": learner["updates"],
            "skipped_updates": learner["skipped_updates"],
            "env_steps_per_s": (steps - steps_before) / epoch_s,
            "epoch_s": epoch_s,
            "gpu_memory_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        }
        return metrics | {f"seconds_{name}": seconds for name, seconds in phases.items()}

    def start_from(self, source: nn.Module, fresh: tuple[str, ...] | None = None) -> Transfer:
        """Take up another mind's weights before the first epoch, see `policies.transfer.transfer`.

        Args:
            source: A network of the same model type, for instance another archetype's.
            fresh: Parts that start anew all the same; None takes the type's own.

        Returns:
            What moved, what is fresh and what did not fit.

        Raises:
            TransferError: Weights that cannot start this network.
            RuntimeError: Training has begun.
        """
        if self.epoch or self.algorithm.env_steps:
            raise RuntimeError("training has begun; start from other weights before the first epoch")
        shards = [{"source": source, "fresh": fresh} for _ in range(max(self.run.learners, 1))]
        return self.algorithm.on_learners(_start_learner, shards)[0]

    def evaluate(self, episodes: int = 1000, seed: int | None = None) -> dict[str, float]:
        """Play the network as it is greedily, in the run's own environment.

        Args:
            episodes: At least so many.
            seed: Of the environment; one that training does not use if not given.

        Returns:
            As `policies.columnar.evaluation.evaluate`.
        """
        from policies.columnar.evaluation import evaluate

        self.model()  # brings a copy up to date where learning happens in other processes
        learner = self.algorithm.learner
        module = self.algorithm.runner.module if learner is None else learner.net_module
        if seed is None:
            seed = self.run.seed + EVALUATION_SEED
        return evaluate(module, self.run, episodes=episodes, seed=seed)

    def model(self) -> Any:
        """The network that is being trained; shared if it is in this process: copy it before training on."""
        if self.algorithm.learner is not None:
            return self.algorithm.learner.net_module.net
        module = self.algorithm.runner.module
        state = self.algorithm.on_learners(_weights)[0]
        module.net.load_state_dict(
            {name.removeprefix("net."): value for name, value in state.items() if name.startswith("net.")}
        )
        return module.net

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write everything that an exact resumption needs; the folder appears whole or not at all.

        Args:
            folder: Where to; replaced if it exists.

        Returns:
            The folder.
        """
        self._last_checkpoint = checkpoint.save(self, Path(folder))
        return self._last_checkpoint

    def restore(self, folder: str | os.PathLike[str]) -> None:
        """Go on from a saved state: what follows equals a run that was never interrupted, bit for bit.

        Args:
            folder: Written by `save` for a run with the same settings; more epochs are allowed.

        Raises:
            CheckpointError: Not a checkpoint, or one of a run with other settings.
        """
        checkpoint.restore(self, Path(folder))
        self._warm = True
        self._last_checkpoint = Path(folder)

    def last_checkpoint_replay(self) -> Path | None:
        """The replay folder of the last checkpoint, if still there: the next one shares its segments."""
        if self._last_checkpoint is None:
            return None
        folder = self._last_checkpoint / checkpoint.REPLAY_FOLDER
        return folder if folder.is_dir() else None

    def stop(self) -> None:
        """Close the environments and let RLlib clean up."""
        self.algorithm.stop()


def _seed_learner(learner: Any) -> None:
    # Each learner draws noise of its own; the first one draws what a single one would.
    rank = torch.distributed.get_rank() if learner.num_learners > 1 else 0
    seed_everything(learner.run.seed + 1_000_003 * rank)


def _guard_learner(learner: Any, *, folder: Path | None) -> None:
    rank = torch.distributed.get_rank() if learner.num_learners > 1 else 0
    # All learners leave a bad update out together; each may have other rows to show.
    learner.guard.folder = folder / f"learner-{rank}" if folder is not None and rank else folder


def _start_learner(learner: Any, *, source: nn.Module, fresh: tuple[str, ...] | None) -> Transfer:
    done = transfer(source, learner.net_module.net, fresh)
    learner.after_warm_up()
    return done


def _figures(learner: Any) -> dict[str, Any]:
    return {
        "figures": learner.take_figures(),
        "updates": learner.updates,
        "skipped_updates": learner.skipped_updates,
        "phases": learner.phases.seconds,
    }


def _weights(learner: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu() for name, value in learner.net_module.state_dict().items()}
