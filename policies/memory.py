"""When memory runs out: how it is recognised, what is given back, and how far a batch is cut."""

from __future__ import annotations

import ctypes
import gc
import logging

import torch

logger = logging.getLogger(__name__)

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


def more_parts(error: BaseException, who: str, batch_rows: int, parts: int, first: int) -> int:
    """Twice as many parts of a batch, after memory ran out; says so in the log.

    Args:
        error: What was raised; another error is raised again.
        who: Whose batch, for people.
        batch_rows: Rows of a whole batch.
        parts: Into which it was cut.
        first: Parts that the settings ask for.

    Raises:
        OutOfMemoryError: An eighth of the first parts, or single rows, still do not fit.
    """
    if not is_out_of_memory(error):
        raise error
    if parts >= min(MOST_CUTS * first, batch_rows):
        raise OutOfMemoryError(
            f"{who}: out of memory even with batches of {batch_rows} rows in {parts} parts; give a smaller "
            "batch_size, fewer runs at a time, or a device with more memory"
        ) from error
    logger.warning("out of memory: batches of %d rows are now worked on in %d parts", batch_rows, 2 * parts)
    return 2 * parts


def release() -> None:
    """Give back what nothing holds any more; outside the handler, whose traceback holds tensors."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    # The C library keeps freed memory for itself; only glibc has a word for giving it back.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
