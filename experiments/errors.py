"""Errors that the command line shows to a person as one clear line."""

from __future__ import annotations


class ExperimentError(Exception):
    """Work that could not be done; the message is one line: what was seen, why, what to do."""


class UsageError(ExperimentError):
    """A request that cannot be carried out as written; nothing has been started."""
