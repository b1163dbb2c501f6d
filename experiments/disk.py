"""What training writes, estimated before it starts; a disk that is too small is refused."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from experiments.errors import UsageError
from experiments.matrix import Run
from experiments.tuning import CHECKPOINTS_KEPT

FLOAT_BYTES = 4
COPIES_OF_WEIGHTS = 5
"""In one checkpoint: weights, two moments of Adam, a target network, and the best epoch's weights."""
REPLAY_ROW_BYTES = 300
"""Of one decision in a replay buffer: 64 floats of observation, action, mask, reward, flags, priority."""
WRITING = 2
"""Checkpoints of a run at work beside those that are kept: its own copy, and the one on its way."""
RESERVE_BYTES = 500_000_000
"""For logs, the ledger, weights of finished runs and the database."""


def checkpoint_bytes(run: Run) -> int:
    """Estimates the size of one checkpoint of a run."""
    import torch

    from policies.model_types import build_network

    trial = run.settings["trial"]
    with torch.device("meta"):  # counts parameters without their memory
        network = build_network(run.model_type, trial["model"])
    weights = sum(parameter.numel() for parameter in network.parameters()) * FLOAT_BYTES
    rows = trial["training"].get("buffer_capacity", 0) if trial.get("checkpoint_replay", True) else 0
    return COPIES_OF_WEIGHTS * weights + rows * REPLAY_ROW_BYTES


def needed_bytes(runs: Sequence[Run], parallel: int) -> int:
    """Estimates what training takes of the disk at most.

    Args:
        runs: Those that are not finished.
        parallel: Of them at the same time.
    """
    sizes = sorted((checkpoint_bytes(run) for run in runs), reverse=True)
    return CHECKPOINTS_KEPT * sum(sizes) + WRITING * sum(sizes[:parallel]) + RESERVE_BYTES * bool(sizes)


def check_space(place: str, runs: Sequence[Run], parallel: int) -> None:
    """Refuses to start on less disk than the plan needs.

    Args:
        place: Where checkpoints go: a folder that exists, or a URI, of which nobody knows how much is free.
        runs: Those that are not finished.
        parallel: Of them at the same time.

    Raises:
        UsageError: Too little is free; nothing has been written.
    """
    if "://" in place:
        return
    need, free = needed_bytes(runs, parallel), shutil.disk_usage(place).free
    if free < need:
        raise UsageError(
            f"training {len(runs)} runs needs about {need / 1e9:.1f} GB for checkpoints, and {place} has"
            f" {free / 1e9:.1f} GB free; free some, give a larger disk by --home or --storage-path, or give"
            " --no-replay-in-checkpoints"
        )
