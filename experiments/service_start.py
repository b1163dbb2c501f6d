"""The service, started beside other work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError


class ServiceStart:
    """Starts the service beside other work; its start-up is mostly waiting for processes.

    Args:
        home: Project folder.
        dsn: PostgreSQL address, or None.
        start: Starts a service and gives its handle; the real one unless a test brings another.
    """

    def __init__(self, home: Path, dsn: str | None, start: Callable[..., Any] | None = None) -> None:
        self._home, self._dsn, self._start_service = home, dsn, start
        self._handle: Any = None
        self._error: BaseException | None = None
        self._unwanted = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._start, name="service-start", daemon=True)
        self._thread.start()

    def _start(self) -> None:
        try:
            if self._start_service is None:
                from serve.process import start_service

                self._start_service = start_service
            handle = self._start_service(self._home, dsn=self._dsn, owner_pid=os.getpid())
        except BaseException as error:  # handed over to the waiting thread
            self._error = error
            return
        with self._lock:
            self._handle = handle
            unwanted = self._unwanted
        if unwanted:
            handle.stop()

    def ready(self) -> Any:
        """Waits for the service and gives its handle.

        Raises:
            ExperimentError: It did not start.
        """
        self._thread.join()
        if self._error is not None:
            raise ExperimentError(f"the service did not start: {self._error}") from self._error
        return self._handle

    def stop(self) -> None:
        """Stops the service.

        One that is just coming up is not waited for: it ends with this process, which it watches, or as
        soon as it is up, whichever comes first.
        """
        with self._lock:
            self._unwanted = True
            handle = self._handle
        if handle is not None:
            handle.stop()
