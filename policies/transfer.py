"""A start from another mind's weights: which layers move and which are fresh.

Values are fresh, because archetypes are paid differently; what perceives and what chooses moves
(`policies.model_types.ModelType.fresh`). Networks of other sizes share what fits: a layer moves only where
its shape is the same, and everything else is named in the report.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from policies.model_types import MODEL_TYPES, type_of


class TransferError(ValueError):
    """Weights that cannot start a network; its text says what does not fit and what to do."""


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What a start from other weights did.

    Attributes:
        moved: parameters and buffers taken over, by name.
        fresh: left as the new network has them, because they are meant to be.
        misfit: left as they are, because the source has none of this shape: "name: shape here, shape there".
    """

    moved: tuple[str, ...]
    fresh: tuple[str, ...]
    misfit: tuple[str, ...]

    def __str__(self) -> str:
        """One line for people."""
        line = f"{len(self.moved)} tensors moved, {len(self.fresh)} fresh"
        return f"{line}, {len(self.misfit)} did not fit: {'; '.join(self.misfit)}" if self.misfit else line


def transfer(source: nn.Module, target: nn.Module, fresh: tuple[str, ...] | None = None) -> Transfer:
    """Copy the layers that move from one network into another of the same type.

    Args:
        source: Trained; left untouched.
        target: With fresh weights; it is changed in place, so optimizers and target networks made from it
            must be made, or follow, afterwards.
        fresh: Parts, by the beginnings of their names, that stay as they are; None takes the type's own.

    Returns:
        What was done.

    Raises:
        TransferError: Networks of two types, a part in `fresh` that does not exist, or nothing that moves.
    """
    name = type_of(target)
    if type_of(source) != name:
        raise TransferError(f"{type_of(source)} cannot start {name}; give weights of the same model type")
    theirs, ours = source.state_dict(), target.state_dict()
    prefixes = MODEL_TYPES[name].fresh if fresh is None else fresh
    for prefix in fresh or ():
        if not any(key.startswith(prefix) for key in ours):
            raise TransferError(
                f"{name} has no part '{prefix}'; its parts are {', '.join(sorted(_parts(ours)))}"
            )
    moved, left, misfit = [], [], []
    for key, value in ours.items():
        if prefixes and key.startswith(prefixes):
            left.append(key)
        elif key in theirs and theirs[key].shape == value.shape:
            moved.append(key)
        else:
            there = tuple(theirs[key].shape) if key in theirs else "absent"
            misfit.append(f"{key}: {tuple(value.shape)} here, {there} there")
    if not moved:
        raise TransferError(
            f"nothing of the {name} given fits this one: {'; '.join(misfit) or 'all is fresh'}"
        )
    with torch.no_grad():
        for key in moved:
            _value(target, key).copy_(theirs[key])
    return Transfer(tuple(moved), tuple(left), tuple(misfit))


def _parts(state: dict[str, Tensor]) -> set[str]:
    return {key.partition(".")[0] + "." if "." in key else key for key in state}


def _value(module: Any, key: str) -> Tensor:
    """The parameter or buffer of that name."""
    *path, last = key.split(".")
    for part in path:
        module = getattr(module, part)
    found: Tensor = getattr(module, last)
    return found
