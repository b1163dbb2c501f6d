"""What can go wrong in the memory of the house; every message is one line that names a remedy."""

from __future__ import annotations


class StorageError(RuntimeError):
    """Anything that storage refuses or cannot do; the message is one line for people."""


class DatabaseError(StorageError):
    """The database cannot be started, reached or used."""


class RegistryError(StorageError):
    """The registry refuses a change, or does not hold what was asked for."""


class ArtifactError(StorageError):
    """An artefact is missing, damaged or not what the registry says it is."""


def one_line(error: BaseException | str) -> str:
    """Return an error's text on one line, or its class name when it has no text."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
