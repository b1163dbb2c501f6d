"""A guard for NaN and infinity: names the first bad tensor and writes down a state that replays the failure.

After the idea of mjlab's nan guard. A dump is a folder: `report.json` (what was found, the run, the update),
`columns.safetensors` (the batch), `weights.safetensors` (what the gradient was computed with) and
`random.safetensors` (torch's random state before it). `policies.training.replay_dump` computes it again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from envs.configuration import to_plain

if TYPE_CHECKING:
    from policies.columnar.learner import ColumnarLearner

REPORT_FILE, COLUMNS_FILE = "report.json", "columns.safetensors"
WEIGHTS_FILE, RANDOM_FILE = "weights.safetensors", "random.safetensors"
# A run that goes bad goes bad in many updates; the first few tell why.
MAX_DUMPS = 3


class NanGuard:
    """Looks for the first tensor that is not finite, and dumps.

    `folder` is where dumps go; None writes none. `random_state` is torch's state before the forward pass.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.dumps = 0
        self.random_state: Tensor | None = None

    def report(self, learner: ColumnarLearner, columns: Mapping[str, Tensor]) -> str:
        """Find the first bad tensor of an update whose gradient was not finite, and dump once.

        Args:
            learner: With the weights that the gradient was computed with.
            columns: The batch.

        Returns:
            One line: what was found, and where the dump lies.
        """
        found = first_bad(learner, columns, self.random_state)
        if self.folder is None or self.dumps >= MAX_DUMPS:
            return found
        self.dumps += 1
        folder = self.folder / f"update-{learner.updates:08d}"
        self._dump(folder, learner, columns, found)
        return f"{found}; replayable state in {folder}"

    def _dump(
        self, folder: Path, learner: ColumnarLearner, columns: Mapping[str, Tensor], found: str
    ) -> None:
        beside = folder.with_name(folder.name + ".writing")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        weights = learner.weights()
        save_file(_plain(columns), beside / COLUMNS_FILE)
        save_file(_plain(weights), beside / WEIGHTS_FILE)
        random = torch.get_rng_state() if self.random_state is None else self.random_state
        save_file({"torch": random.clone()}, beside / RANDOM_FILE)
        report = {
            "found": found,
            "update": learner.updates,
            "scalars": learner.extra_scalars(),
            "loss_scale": learner.loss_scale,
            "run": to_plain(learner.run),
        }
        (beside / REPORT_FILE).write_text(json.dumps(report, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(beside, folder)


def read_dump(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor], Tensor]:
    """A dump's report, columns, weights and random state.

    Raises:
        OSError: No dump there.
    """
    report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
    random = load_file(folder / RANDOM_FILE)["torch"]
    return report, load_file(folder / COLUMNS_FILE), load_file(folder / WEIGHTS_FILE), random


def first_bad(
    learner: ColumnarLearner, columns: Mapping[str, Tensor], random_state: Tensor | None = None
) -> str:
    """Name the first tensor with a number that is not finite: batch, weights, layers in order, gradients.

    Args:
        learner: With the weights that the gradient was computed with.
        columns: The batch.
        random_state: torch's random state before the forward pass, so that dropout falls as it did.

    Returns:
        Such as "column 'obs' has 1 of 16,384 numbers not finite, first in row 3".
    """
    for name, column in columns.items():
        if bad := _describe(column):
            return f"column '{name}' has {bad}"
    for name, weight in learner.weights().items():
        if bad := _describe(weight):
            return f"weight '{name}' has {bad}"
    seen: list[str] = []
    hooks = [
        module.register_forward_hook(_watch(name or "network", seen))
        for name, module in learner.net_module.named_modules()
    ]
    kept = torch.get_rng_state()
    try:
        if random_state is not None:
            torch.set_rng_state(random_state)
        with learner.autocast(), torch.no_grad():
            loss = learner.losses(columns)
    finally:
        torch.set_rng_state(kept)
        for hook in hooks:
            hook.remove()
    if seen:
        return seen[0]
    if bad := _describe(torch.as_tensor(loss.total)):
        return f"the loss has {bad}, though every layer's output is finite"
    for name, parameter in learner.net_module.named_parameters():
        if parameter.grad is not None and (bad := _describe(parameter.grad)):
            return f"the gradient of '{name}' has {bad}, though the loss is finite"
    return "nothing: every tensor is finite when computed again"


def _watch(name: str, seen: list[str]) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        for tensor in output if isinstance(output, tuple) else (output,):
            if isinstance(tensor, Tensor) and not seen and (bad := _describe(tensor)):
                seen.append(f"the output of layer '{name}' ({type(module).__name__}) has {bad}")

    return hook


def _describe(tensor: Tensor) -> str:
    """How many numbers are not finite, or nothing."""
    if not tensor.is_floating_point():
        return ""
    bad = ~torch.isfinite(tensor)
    count = int(bad.sum())
    if count == 0:
        return ""
    where = "" if tensor.dim() == 0 else f", first in row {int(bad.nonzero()[0, 0])}"
    return f"{count:,} of {tensor.numel():,} numbers not finite{where}"


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Clones: safetensors refuses tensors that share storage, as the flat parameters do.
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
