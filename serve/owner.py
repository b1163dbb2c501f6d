"""Ends the service when it is told to, or when the process that it serves is gone."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from types import FrameType

from serve.janitor import started_ticks
from serve.settings import ServiceError

LAST_RESORT_S = 8.0
"""A main thread that does not react to its owner's end for this long is ended without ceremony."""


class Stop(BaseException):
    """Raised in the main thread when the service must end while it is still starting."""


class StopSignal:
    """Turns SIGINT, SIGTERM and the owner's end into one event.

    Until `armed` is called a signal raises `Stop` in the main thread, so that a start of many seconds can be
    interrupted; afterwards it only sets the event.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._starting = True
        self.install()

    def install(self) -> None:
        """Take the signals; called again after Ray, which takes SIGTERM for itself."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def armed(self) -> None:
        """From now on a signal only ends `wait`."""
        self.install()
        self._starting = False
        if self._event.is_set():
            raise Stop

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; return whether it has come."""
        return self._event.wait(timeout_s)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first = not self._event.is_set()
        self._event.set()
        if self._starting and first:
            raise Stop

    def follow(self, owner_pid: int) -> None:
        """End when a process ends, however it ends.

        A parent-death signal would not do: the kernel sends it when the thread that started the service ends.

        Args:
            owner_pid: the process to follow.

        Raises:
            ServiceError: there is no such process.
        """
        if started_ticks(owner_pid) is None:
            raise ServiceError(f"--owner-pid {owner_pid}: no such process; leave it out to run on its own")
        threading.Thread(target=self._follow, args=(owner_pid,), name="owner", daemon=True).start()

    def _follow(self, owner_pid: int) -> None:
        try:
            descriptor = os.pidfd_open(owner_pid)
        except ProcessLookupError:
            pass
        except OSError:  # a kernel without pidfd
            started = started_ticks(owner_pid)
            while started is not None and started_ticks(owner_pid) == started:
                time.sleep(0.3)
        else:
            select.select([descriptor], [], [])
            os.close(descriptor)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LAST_RESORT_S)
        os._exit(1)  # the janitor removes Ray
