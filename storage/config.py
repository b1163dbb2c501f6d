"""Where the memory of the house lies: the one configuration that every user of storage needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .artifacts import ArtifactStore
from .errors import StorageError


@dataclass(frozen=True)
class StorageConfig:
    """Where models are registered and where their files lie.

    Attributes:
        home: Folder of everything that a project keeps (`./runs` unless said otherwise).
        dsn: PostgreSQL address such as `postgresql://ml_user@localhost/ragnarok_ml`; None runs the
            embedded server inside `home`.
        artifacts: Folder of the artefact store; None means `artifacts` inside `home`.
    """

    home: Path
    dsn: str | None = None
    artifacts: str | None = None

    def __post_init__(self) -> None:
        """Accept a string as home, and refuse what could only fail later and less clearly."""
        object.__setattr__(self, "home", Path(self.home).expanduser())
        if self.dsn is not None and not self.dsn.startswith(("postgresql://", "postgres://")):
            raise StorageError(
                f"the database address begins with {self.dsn.split(':', 1)[0][:24]!r}; "
                "give one of the form postgresql://user@host:5432/database"
            )
        if self.artifacts is not None and "://" in self.artifacts:
            raise StorageError(
                f"the artefact store {self.artifacts!r} is not a folder; give a path that every machine "
                "of the project can read, for example a shared mount"
            )

    @property
    def postgres_folder(self) -> Path:
        """Folder of the embedded server: its data, socket and log."""
        return self.home.absolute() / "postgres"

    @property
    def artifacts_folder(self) -> Path:
        """Root of the artefact store."""
        if self.artifacts is None:
            return self.home.absolute() / "artifacts"
        return Path(self.artifacts).expanduser().absolute()

    def artifact_store(self) -> ArtifactStore:
        """Return the artefact store of this configuration."""
        return ArtifactStore(self.artifacts_folder)
