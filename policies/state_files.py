"""State in files: nested plain values as JSON with their arrays beside, folders that appear whole.

No pickles: what is read executes no code.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

ARRAY_MARK = "__array__"


class CheckpointError(RuntimeError):
    """A folder that cannot be resumed from; its text says why and what to do."""


@contextlib.contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """A folder written beside its place; it takes the place when the block ends without an error.

    Args:
        folder: The place; what lies there is replaced.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unique = uuid.uuid4().hex[:8]
    beside = folder.with_name(f"{folder.name}.writing-{unique}")
    beside.mkdir()
    try:
        yield beside
        if folder.exists():
            # A folder cannot be replaced in one step: between the two renames the old one lies beside, where
            # `put_back` finds it after a kill.
            old = folder.with_name(f"{folder.name}.old-{unique}")
            os.rename(folder, old)
            try:
                os.rename(beside, folder)
            except OSError:
                os.rename(old, folder)
                raise
            shutil.rmtree(old)
        else:
            os.rename(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def put_back(folder: Path) -> None:
    """Undo the first half of a replacement that a kill cut in two."""
    if not folder.exists():
        for old in sorted(folder.parent.glob(f"{folder.name}.old-*"))[:1]:
            os.rename(old, folder)


def check_same_run(
    saved: dict[str, Any], ours: dict[str, Any], folder: Path, free: Sequence[tuple[str, ...]]
) -> None:
    """Refuse a state that a run with other settings saved.

    Args:
        saved: The run's plain form in the checkpoint.
        ours: The same of the run that wants to go on.
        folder: For the message.
        free: Settings, as paths of keys, that may differ.

    Raises:
        CheckpointError: Another one differs.
    """
    different = sorted(_differences(saved, ours) - {".".join(path) for path in free})
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


def optimizer_state(state: dict[str, Any]) -> dict[str, Any]:
    """JSON turns the parameter numbers into text and numpy the tensors into arrays; turn them back."""
    moments = {
        int(parameter): {name: torch.from_numpy(np.array(value)) for name, value in values.items()}
        for parameter, values in state["state"].items()
    }
    return {"state": moments, "param_groups": state["param_groups"]}


def take_arrays(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
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
        return {str(key): take_arrays(element, arrays) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [take_arrays(element, arrays) for element in value]
    return value


def put_arrays(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Undo `take_arrays`."""
    if isinstance(value, dict):
        if ARRAY_MARK in value:
            return arrays[value[ARRAY_MARK]]
        return {key: put_arrays(element, arrays) for key, element in value.items()}
    if isinstance(value, list):
        return [put_arrays(element, arrays) for element in value]
    return value
