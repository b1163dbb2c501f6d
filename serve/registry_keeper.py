"""Keeps the registry within reach of the replica: a lease on the embedded server, its DSN in a file."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from serve.settings import ServeSettings

logger = logging.getLogger(__name__)

CHECK_S = 3.0
"""Seconds between two looks at whether the registry still answers."""


class RegistryKeeper:
    """Holds the registry open for the life of the service and reopens it when it went away.

    The embedded server runs as long as somebody holds a lease; the service's main process does, because a
    replica may be restarted. A server that comes back may have another address, hence the file.

    Args:
        settings: of the service.
        dsn_file: where the current DSN is written; empty while the registry is down.
    """

    def __init__(self, settings: ServeSettings, dsn_file: Path) -> None:
        self._settings = settings
        self._dsn_file = dsn_file
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._first = threading.Event()
        self.problem = ""

    def start(self, patience_s: float = 100.0) -> str:
        """Open the registry and go on watching it in a thread.

        Args:
            patience_s: longest wait for the first attempt.

        Returns:
            Empty, or one line that says why the registry is not open (it is tried again).
        """
        self._write("")
        self._thread = threading.Thread(target=self._keep, name="registry-keeper", daemon=True)
        self._thread.start()
        if not self._first.wait(patience_s):
            return f"the model registry did not open within {patience_s:.0f} s"
        return self.problem

    def stop(self) -> None:
        """Let go of the registry."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _keep(self) -> None:
        from storage import StorageConfig, open_registry

        settings = self._settings
        while not self._stop.is_set():
            try:
                config = StorageConfig(home=settings.home, dsn=settings.dsn, artifacts=settings.artifacts)
                with open_registry(config) as registry:
                    self.problem = ""
                    self._write(registry.dsn)
                    self._first.set()
                    while not self._stop.wait(CHECK_S):
                        registry.deployed()
            except Exception as error:  # whatever it is, the service goes on with what it has
                reason = " ".join(str(error).split()) or type(error).__name__
                if reason != self.problem:
                    logger.warning("the model registry is not available: %s", reason)
                self.problem = reason
                self._write(settings.dsn or "")
                self._first.set()
                self._stop.wait(CHECK_S)

    def _write(self, dsn: str) -> None:
        beside = self._dsn_file.with_name(self._dsn_file.name + ".new")
        beside.touch(mode=0o600)  # a DSN may hold a password
        beside.write_text(dsn, encoding="utf-8")
        beside.replace(self._dsn_file)
