"""Errors that the command line shows to a person as one clear line."""

from __future__ import annotations

import errno

FULL_DISK = (
    "the disk is full; free some space and run the same command again, whole checkpoints are kept and used"
)


class ExperimentError(Exception):
    """Work that could not be done; the message is one line: what was seen, why, what to do."""


class UsageError(ExperimentError):
    """A request that cannot be carried out as written; nothing has been started."""


def full_disk(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is a disk or quota that is used up."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error) or "Disk quota exceeded" in str(error):
            return True
        error = error.__cause__
    return False
