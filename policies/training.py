"""Training of combat_dqn: one object that trains an epoch at a time, saves, restores and gives the network.

RLlib is loaded when a trainer is built, not when this module is imported.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from policies import checkpoint
from policies.combat_dqn import CombatDQN
from policies.profiles import CombatDQNRun, load_run

if TYPE_CHECKING:
    from policies.columnar.dqn import ColumnarDQN

# The smallest object store that Ray accepts: one process hands nothing over.
OBJECT_STORE_BYTES = 80 * 1024 * 1024


def seed_everything(seed: int) -> None:
    """Set the random states of Python, numpy (the global one, which RLlib shuffles with) and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def ensure_ray() -> None:
    """Start a small local Ray if this process has none: RLlib puts its configuration into Ray's object store.

    Inside a Tune trial Ray runs already and nothing happens. A Ray started here ends with the process.
    """
    import ray

    if not ray.is_initialized():
        ray.init(
            num_cpus=1,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


def build_combat_dqn(run: Mapping[str, Any] | CombatDQNRun) -> CombatDQNTrainer:
    """Make a trainer.

    Args:
        run: The resolved run; `policies.profiles.combat_dqn_run` composes one.

    Returns:
        A trainer at the start of its run.

    Raises:
        ConfigError: A setting that cannot be used.
        ValueError: An environment that the columnar lane cannot read.
    """
    return CombatDQNTrainer(load_run(run))


class CombatDQNTrainer:
    """Trains one combat mind on the columnar lane, on one thread of torch.

    Args:
        run: What to train.
    """

    def __init__(self, run: CombatDQNRun) -> None:
        from policies.columnar.dqn import ColumnarDQNConfig

        self.run = run
        ensure_ray()
        torch.set_num_threads(1)
        seed_everything(run.seed)
        self.algorithm = cast("ColumnarDQN", ColumnarDQNConfig.of_run(run).build_algo())
        # Building draws from the global states as RLlib pleases; training starts from a known one.
        seed_everything(run.seed)
        self.epoch = 0

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch.

        Returns:
            By name: epoch; reward (mean shaped, unscaled), episode_length (decisions), win_rate (strict: won
            by kill) and reward_terms/* over the last finished episodes; loss, q_mean, q_max, td_error of this
            epoch's updates (NaN before the first); epsilon, learning_rate; env_steps, updates,
            skipped_updates and episodes so far; env_steps_per_s, updates_per_s, epoch_s and seconds_* of each
            phase in this epoch.

        Raises:
            DivergedError: The gradient stayed NaN or infinite.
        """
        algorithm = self.algorithm
        steps_before, updates_before = algorithm.env_steps, algorithm.learner.updates
        phases_before = dict(algorithm.phase_seconds)
        started = time.perf_counter()
        algorithm.train()
        epoch_s = time.perf_counter() - started
        self.epoch += 1
        steps, updates = algorithm.env_steps, algorithm.learner.updates
        metrics = {
            "epoch": self.epoch,
            **algorithm.runner.episodes.means(),
            **algorithm.learner.take_figures(),
            "epsilon": algorithm.learner.net_module.current_epsilon(steps),
            "learning_rate": algorithm.learner.optimizer.param_groups[0]["lr"],
            "env_steps": steps,
            "updates": updates,
            "skipped_updates": algorithm.learner.skipped_updates,
            "episodes": algorithm.runner.episodes.finished,
            "env_steps_per_s": (steps - steps_before) / epoch_s,
            "updates_per_s": (updates - updates_before) / epoch_s,
            "epoch_s": epoch_s,
        }
        phases = {name: seconds - phases_before[name] for name, seconds in algorithm.phase_seconds.items()}
        phases["other"] = epoch_s - sum(phases.values())
        return metrics | {f"seconds_{name}": seconds for name, seconds in phases.items()}

    def model(self) -> CombatDQN:
        """The network that is being trained; shared, so copy it before training on."""
        return self.algorithm.learner.net_module.net

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write everything that an exact resumption needs; the folder appears whole or not at all.

        Args:
            folder: Where to; replaced if it exists.

        Returns:
            The folder.
        """
        return checkpoint.save(self, Path(folder))

    def restore(self, folder: str | os.PathLike[str]) -> None:
        """Go on from a saved state: what follows equals a run that was never interrupted, bit for bit.

        Args:
            folder: Written by `save` for a run with the same settings; more epochs are allowed.

        Raises:
            CheckpointError: Not a checkpoint, or one of a run with other settings.
        """
        checkpoint.restore(self, Path(folder))

    def stop(self) -> None:
        """Close the environments and let RLlib clean up."""
        self.algorithm.stop()
