"""When memory runs out: how it is recognised, what is given back, and how far a batch is cut."""

from __future__ import annotations

import gc

import torch

MOST_CUTS = 8
"""A batch is cut into at most so many times its first number of parts: below, a step is mostly overhead."""


class OutOfMemoryError(RuntimeError):
    """A run does not fit, whatever its batch is cut into; its text says what to change."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or in the process."""
    # torch raises a plain RuntimeError where its allocator for the CPU is refused.
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)
    )


def release() -> None:
    """Give back what nothing holds any more; outside the handler, whose traceback holds tensors."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
