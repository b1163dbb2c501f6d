"""Checkpoints of a training run: safetensors for weights, npz and JSON for the rest, no pickles.

A checkpoint holds all that resuming needs: weights, optimizer, replay, environments, episode statistics,
counters and every random state. It is written beside its place and renamed, so a folder with the right name
is whole.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import uuid
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

if TYPE_CHECKING:
    from policies.training import CombatDQNTrainer

FORMAT = 1
WEIGHTS_FILE = "weights.safetensors"
TARGET_FILE = "target.safetensors"
ARRAYS_FILE = "state.npz"
SCALARS_FILE = "state.json"
ARRAY_MARK = "__array__"
# May differ between the saved run and the one that goes on: how long it runs and where.
FREE_SETTINGS = (("training", "epochs"), ("device",))


class CheckpointError(RuntimeError):
    """A folder that cannot be resumed from; its text says why and what to do."""


def save(trainer: CombatDQNTrainer, folder: Path) -> Path:
    """Write a trainer's whole state.

    Args:
        trainer: Between two epochs.
        folder: Where to; replaced if it exists.

    Returns:
        The folder.
    """
    learner = trainer.algorithm.learner
    state = {
        "format": FORMAT,
        "run": to_plain(trainer.run),
        "epoch": trainer.epoch,
        "updates": learner.updates,
        "skipped_updates": learner.skipped_updates,
        "optimizer": learner.optimizer.state_dict(),
        "replay": trainer.algorithm.replay.get_state(),
        "sampler": trainer.algorithm.runner.sampler_state(),
        "random": _random_states(),
    }
    arrays: dict[str, NDArray[Any]] = {}
    scalars = _take_arrays(state, arrays)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unique = uuid.uuid4().hex[:8]
    beside = folder.with_name(f"{folder.name}.writing-{unique}")
    beside.mkdir()
    try:
        save_file(learner.net_module.net.state_dict(), beside / WEIGHTS_FILE)
        save_file(learner.net_module.target_net.state_dict(), beside / TARGET_FILE)
        np.savez(beside / ARRAYS_FILE, **arrays)  # type: ignore[arg-type]
        (beside / SCALARS_FILE).write_text(json.dumps(scalars), encoding="utf-8")
        if folder.exists():
            # A folder cannot be replaced in one step: between the two renames the old one lies beside.
            old = folder.with_name(f"{folder.name}.old-{unique}")
            os.rename(folder, old)
            os.rename(beside, folder)
            shutil.rmtree(old)
        else:
            os.rename(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def restore(trainer: CombatDQNTrainer, folder: Path) -> None:
    """Bring a trainer into a saved state.

    Args:
        trainer: Built for a run with the same settings; epochs and device may differ.
        folder: Written by `save`.

    Raises:
        CheckpointError: Not a whole checkpoint, another format, or a run with other settings.
    """
    try:
        scalars = json.loads((folder / SCALARS_FILE).read_text(encoding="utf-8"))
        with np.load(folder / ARRAYS_FILE, allow_pickle=False) as stored:
            state = _put_arrays(scalars, {name: stored[name] for name in stored.files})
        weights, target = load_file(folder / WEIGHTS_FILE), load_file(folder / TARGET_FILE)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, SafetensorError) as error:
        raise CheckpointError(f"{folder}: not a whole checkpoint ({error}); start the run anew") from error
    if state["format"] != FORMAT:
        raise CheckpointError(
            f"{folder}: format {state['format']}, this release reads {FORMAT}; start the run anew"
        )
    _check_same_run(state["run"], to_plain(trainer.run), folder)
    learner = trainer.algorithm.learner
    learner.net_module.net.load_state_dict(weights)
    learner.net_module.target_net.load_state_dict(target)
    learner.optimizer.load_state_dict(_optimizer_state(state["optimizer"]))
    learner.updates, learner.skipped_updates = int(state["updates"]), int(state["skipped_updates"])
    trainer.algorithm.replay.set_state(state["replay"])
    trainer.algorithm.runner.set_sampler_state(state["sampler"])
    trainer.epoch = int(state["epoch"])
    _set_random_states(state["random"])


def _check_same_run(saved: dict[str, Any], ours: dict[str, Any], folder: Path) -> None:
    different = sorted(_differences(saved, ours) - {".".join(path) for path in FREE_SETTINGS})
    if different:
        raise CheckpointError(
            f"{folder}: saved by a run with other settings ({', '.join(different)}); "
            "resume with the settings of that run, or start anew"
        )


def _differences(saved: Any, ours: Any, path: str = "") -> set[str]:
    if isinstance(saved, Mapping) and isinstance(ours, Mapping):
        found: set[str] = set()
        for key in saved.keys() | ours.keys():
            found |= _differences(saved.get(key), ours.get(key), f"{path}.{key}" if path else key)
        return found
    return set() if saved == ours else {path}


def _random_states() -> dict[str, Any]:
    name, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state().numpy(),
        "numpy": {"name": name, "keys": keys, "rest": [position, has_gauss, cached]},
        "python": {"version": version, "internal": list(internal), "gauss": gauss},
    }


def _set_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(torch.from_numpy(states["torch"]))
    numpy_state = states["numpy"]
    position, has_gauss, cached = numpy_state["rest"]
    np.random.set_state((numpy_state["name"], numpy_state["keys"], position, has_gauss, cached))
    python = states["python"]
    random.setstate((python["version"], tuple(python["internal"]), python["gauss"]))


def _optimizer_state(state: dict[str, Any]) -> dict[str, Any]:
    """JSON turns the parameter numbers into text and numpy the tensors into arrays; turn them back."""
    moments = {
        int(parameter): {name: torch.from_numpy(np.array(value)) for name, value in values.items()}
        for parameter, values in state["state"].items()
    }
    return {"state": moments, "param_groups": state["param_groups"]}


def _take_arrays(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """The JSON form of nested state; arrays are moved out and leave their name behind."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        name = f"array_{len(arrays)}"
        arrays[name] = value
        return {ARRAY_MARK: name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _take_arrays(element, arrays) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_arrays(element, arrays) for element in value]
    return value


def _put_arrays(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, dict):
        if ARRAY_MARK in value:
            return arrays[value[ARRAY_MARK]]
        return {key: _put_arrays(element, arrays) for key, element in value.items()}
    if isinstance(value, list):
        return [_put_arrays(element, arrays) for element in value]
    return value
