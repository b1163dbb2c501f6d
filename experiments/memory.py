"""Memory of a trial: its limit on a GPU, its peak, and what is done when it runs out."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from policies.memory import MOST_CUTS, OutOfMemoryError, release


@dataclass(frozen=True)
class Cut:
    """Into how many parts a run's batches are cut so that they fit.

    Attributes:
        first: Parts that its settings ask for.
        times: How much further it was cut since: 1, 2, 4 or 8.
        note: One line for people on the last cut; empty before the first.
    """

    first: int
    times: int = 1
    note: str = ""

    @classmethod
    def as_it_stood(cls, run: Mapping[str, Any], checkpoint: Path | None) -> Cut:
        """That of a run's settings, or of the checkpoint it goes on from: a cut run stays cut."""
        first = int(run["trial"]["training"].get("accumulate", 1))
        if checkpoint is None:
            return cls(first)
        progress = json.loads((checkpoint / "progress.json").read_text(encoding="utf-8"))
        return cls(first, max(1, int(progress.get("accumulate", first)) // first))

    @property
    def parts(self) -> int:
        """Parts of a batch, whose gradients are accumulated."""
        return self.first * self.times

    def further(self, error: BaseException, run: Mapping[str, Any]) -> Cut:
        """Halves the parts.

        Args:
            error: That told of too little memory.
            run: The resolved settings.

        Raises:
            OutOfMemoryError: They are an eighth already, or RLlib's own lane, which accumulates nothing.
        """
        trial = run["trial"]
        name = f"{run['archetype']} {run['model_type']}"
        seen = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        batch = trial["training"].get("batch_size") or trial["training"].get("minibatch_size")
        if trial.get("sampler") == "stock":
            raise OutOfMemoryError(
                f"{name}: out of memory ({seen}), and RLlib's own lane cannot accumulate gradients; give a "
                "smaller --batch-size or leave --sampler stock out"
            ) from error
        if self.times >= MOST_CUTS:
            raise OutOfMemoryError(
                f"{name}: out of memory ({seen}) even with batches of {batch} rows in {self.parts} parts; "
                "give a smaller --batch-size, fewer runs with --parallel, or a device with more memory"
            ) from error
        times = 2 * self.times
        note = (
            f"out of memory ({seen}): batches of {batch} rows are now worked on in {self.first * times} "
            "parts, from the last checkpoint on"
        )
        return Cut(self.first, times, note)


def with_parts(trial: Mapping[str, Any], parts: int) -> dict[str, Any]:
    """A trial's settings with batches in so many parts."""
    training = dict(trial["training"])
    if parts != int(training.get("accumulate", 1)):
        training["accumulate"] = parts
    return {**trial, "training": training}


def limit_gpu(gpu_bytes: float | None) -> None:
    """Lets this process take only its part of the device; Ray counts shares and enforces none.

    Args:
        gpu_bytes: Its part with the CUDA context, which torch does not count; None sets no limit.
    """
    if not torch.cuda.is_available():
        return
    # A reused process may have had a smaller part before.
    fraction = 1.0
    if gpu_bytes is not None:
        from experiments.demands import GIGABYTE, table

        usable = gpu_bytes - table()["gpu"]["context_gb"] * GIGABYTE
        fraction = min(1.0, usable / torch.cuda.get_device_properties(0).total_memory)
    torch.cuda.set_per_process_memory_fraction(fraction, 0)


def card_gb() -> float | None:
    """GB that runs may use of the smallest GPU here, a twelfth kept free; None where torch sees none."""
    if not torch.cuda.is_available():
        return None
    smallest = min(
        torch.cuda.get_device_properties(number).total_memory for number in range(torch.cuda.device_count())
    )
    return float(smallest * 11 / 12 / 1e9)


def reset_peak() -> None:
    """Forgets the peak of a reused process's earlier trials."""
    release()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    # Linux sets the peak of resident memory to what is resident now; elsewhere the process's own stays.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak() -> dict[str, int]:
    """Peaks since the trial began: ``peak_gpu_bytes`` of torch's allocator and ``peak_process_bytes``."""
    on_gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return {"peak_gpu_bytes": int(on_gpu), "peak_process_bytes": _peak_process_bytes()}


def _peak_process_bytes() -> int:
    with contextlib.suppress(OSError, StopIteration, IndexError, ValueError):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
