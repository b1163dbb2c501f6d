"""Checkpoints of a training run: safetensors for weights, npz and JSON for the rest, no pickles.

A checkpoint holds all that resuming needs: weights, optimizer, replay (as segments that the next checkpoint
shares), environments, recurrent states, episode statistics, counters and every random state. It is written
beside its place and renamed, so a folder with the right name is whole.
"""

from __future__ import annotations

import json
import logging
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from envs.configuration import to_plain
from policies.columnar.segments import SegmentError, load_replay, save_replay
from policies.state_files import (
    CheckpointError,
    check_same_run,
    optimizer_state,
    put_arrays,
    put_back,
    replaced,
    take_arrays,
)

if TYPE_CHECKING:
    from policies.columnar.learner import ColumnarLearner
    from policies.training import Trainer

logger = logging.getLogger(__name__)

FORMAT = 2
WEIGHTS_FILE = "weights.safetensors"
REPLAY_FOLDER = "replay"
ARRAYS_FILE = "state.npz"
SCALARS_FILE = "state.json"
# May differ between the saved run and the one that goes on: how long it runs, where, and in how many parts.
FREE_SETTINGS = (("training", "epochs"), ("training", "accumulate"), ("device",), ("checkpoint_replay",))


def save(trainer: Trainer, folder: Path) -> Path:
    """Write a trainer's whole state.

    Args:
        trainer: Between two epochs.
        folder: Where to; replaced if it exists.

    Returns:
        The folder.
    """
    algorithm = trainer.algorithm
    learner = algorithm.on_learners(_learner_state)[0]
    weights = learner.pop("weights")
    state = {
        "format": FORMAT,
        "run": to_plain(trainer.run),
        "epoch": trainer.epoch,
        "learner": learner,
        "algorithm": algorithm.columnar_state(),
        "samplers": algorithm.sampler_states(),
        "random": random_states(),
        "learner_random": algorithm.on_learners(_learner_random_states),
    }
    arrays: dict[str, NDArray[Any]] = {}
    scalars = take_arrays(state, arrays)
    with replaced(folder) as beside:
        save_file(
            {name: value.contiguous().clone() for name, value in weights.items()}, beside / WEIGHTS_FILE
        )
        np.savez(beside / ARRAYS_FILE, **arrays)  # type: ignore[arg-type]
        (beside / SCALARS_FILE).write_text(json.dumps(scalars), encoding="utf-8")
        replay = getattr(algorithm, "replay", None)
        if replay is not None and trainer.run.checkpoint_replay:
            save_replay(replay, beside / REPLAY_FOLDER, trainer.last_checkpoint_replay())
    return folder


def restore(trainer: Trainer, folder: Path) -> None:
    """Bring a trainer into a saved state.

    Args:
        trainer: Built for a run with the same settings; epochs and device may differ.
        folder: Written by `save`.

    Raises:
        CheckpointError: Not a whole checkpoint, another format, or a run with other settings.
    """
    put_back(folder)
    try:
        scalars = json.loads((folder / SCALARS_FILE).read_text(encoding="utf-8"))
        with np.load(folder / ARRAYS_FILE, allow_pickle=False) as stored:
            state = put_arrays(scalars, {name: stored[name] for name in stored.files})
        weights = load_file(folder / WEIGHTS_FILE)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, SafetensorError) as error:
        raise CheckpointError(f"{folder}: not a whole checkpoint ({error}); start the run anew") from error
    if state["format"] != FORMAT:
        raise CheckpointError(
            f"{folder}: format {state['format']}, this release reads {FORMAT}; start the run anew"
        )
    check_same_run(state["run"], to_plain(trainer.run), folder, FREE_SETTINGS)
    algorithm = trainer.algorithm
    learner = {
        **state["learner"],
        "weights": weights,
        "optimizer": optimizer_state(state["learner"]["optimizer"]),
        "sums": {name: torch.from_numpy(np.array(value)) for name, value in state["learner"]["sums"].items()},
    }
    randoms = state["learner_random"]
    algorithm.on_learners(
        _set_learner_state,
        [
            {"state": learner, "random": randoms[min(k, len(randoms) - 1)]}
            for k in range(max(trainer.run.learners, 1))
        ],
    )
    replay = getattr(algorithm, "replay", None)
    if replay is not None and (folder / REPLAY_FOLDER).exists():
        try:
            load_replay(replay, folder / REPLAY_FOLDER)
        except SegmentError as error:
            raise CheckpointError(
                f"{folder}: not a whole checkpoint ({error}); start the run anew"
            ) from error
    elif replay is not None:
        logger.warning(
            "%s holds no replay buffer: the run goes on with an empty one and will not equal one that was "
            "never stopped",
            folder,
        )
    algorithm.set_sampler_states(state["samplers"])
    algorithm.set_columnar_state(state["algorithm"])
    trainer.epoch = int(state["epoch"])
    set_random_states(state["random"])


def _learner_state(learner: ColumnarLearner) -> dict[str, Any]:
    return learner.get_columnar_state()


def _learner_random_states(learner: ColumnarLearner) -> dict[str, Any]:
    return random_states()


def _set_learner_state(
    learner: ColumnarLearner, *, state: Mapping[str, Any], random: Mapping[str, Any]
) -> None:
    learner.set_columnar_state(state)
    set_random_states(random)


def random_states() -> dict[str, Any]:
    """The global random states of this process: torch, numpy (RLlib shuffles with it) and Python."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state().numpy(),
        "numpy": {"name": name, "keys": keys, "rest": [position, has_gauss, cached]},
        "python": {"version": version, "internal": list(internal), "gauss": gauss},
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Take up `random_states`."""
    torch.set_rng_state(torch.from_numpy(np.array(states["torch"])))
    numpy_state = states["numpy"]
    position, has_gauss, cached = numpy_state["rest"]
    np.random.set_state((numpy_state["name"], numpy_state["keys"], position, has_gauss, cached))
    python = states["python"]
    random.setstate((python["version"], tuple(python["internal"]), python["gauss"]))
