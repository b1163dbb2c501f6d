"""The memory of the house: PostgreSQL (embedded or given), the registry of minds, and their files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .artifacts import Artifact, ArtifactStore
    from .config import StorageConfig
    from .errors import ArtifactError, DatabaseError, RegistryError, StorageError
    from .models import ModelVersion
    from .registry import AsyncRegistry
    from .session import Registry, open_database, open_registry

__all__ = [
    "Artifact",
    "ArtifactError",
    "ArtifactStore",
    "AsyncRegistry",
    "DatabaseError",
    "ModelVersion",
    "Registry",
    "RegistryError",
    "StorageConfig",
    "StorageError",
    "open_database",
    "open_registry",
]

_HOMES = {
    "Artifact": "artifacts",
    "ArtifactError": "errors",
    "ArtifactStore": "artifacts",
    "AsyncRegistry": "registry",
    "DatabaseError": "errors",
    "ModelVersion": "models",
    "Registry": "session",
    "RegistryError": "errors",
    "StorageConfig": "config",
    "StorageError": "errors",
    "open_database": "session",
    "open_registry": "session",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: the supervisor and the command line need no asyncpg."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
