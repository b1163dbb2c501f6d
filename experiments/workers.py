"""Worker processes for work that is long and independent: each job is done once, and none stops the others.

The processes are started once. They end when they are closed, when their parent dies (its end of the pipe
closes), and they leave Ctrl-C to the parent, which ends them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Job:
    """Something to do.

    Attributes:
        name: For people, such as ``tank movement_ppo``.
        work: A function at the top of a module; its result must pickle.
        arguments: Of the function.
    """

    name: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: Which.
        value: What its function returned; None where it failed.
        error: One line; None where it did not fail.
        seconds: It took.
    """

    job: Job
    value: Any
    error: str | None
    seconds: float


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    job: tuple[int, Job] | None = None
    started: float = field(default_factory=time.monotonic)


class Workers:
    """Some worker processes.

    Args:
        count: So many.
    """

    def __init__(self, count: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._workers = [self._start() for _ in range(max(1, count))]

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Does jobs side by side and gives each outcome as soon as it is there.

        A job that raises, or whose process dies, is an outcome with an error; the others go on.

        Args:
            jobs: In the order in which they are begun.
        """
        waiting = list(enumerate(jobs))[::-1]
        running = 0
        while waiting or running:
            for worker in self._workers:
                if worker.job is None and waiting:
                    worker.job, worker.started = waiting.pop(), time.monotonic()
                    worker.pipe.send((worker.job[1].work, worker.job[1].arguments))
                    running += 1
            ready = wait([worker.pipe for worker in self._workers if worker.job is not None])
            for index, worker in enumerate(self._workers):
                if worker.pipe not in ready or worker.job is None:
                    continue
                running -= 1
                yield self._outcome(index)

    def close(self) -> None:
        """Ends the processes, also in the middle of a job."""
        for worker in self._workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(10)
            if worker.process.is_alive():
                worker.process.kill()

    def _outcome(self, index: int) -> Outcome:
        worker = self._workers[index]
        assert worker.job is not None
        job, worker.job = worker.job[1], None
        seconds = time.monotonic() - worker.started
        try:
            value, error = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(10)
            error = f"its process ended with status {worker.process.exitcode}; too little memory ends one so"
            value = None
            self._workers[index] = self._start()
        return Outcome(job, value, error, seconds)

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True, name="worker")
        process.start()
        theirs.close()
        return _Worker(process, ours)


def _serve(pipe: Connection) -> None:
    """Does what comes through the pipe until its other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    while True:
        try:
            work, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        answer: tuple[Any, str | None]
        try:
            answer = work(*arguments), None
        except Exception as error:  # a job's failure is its own; the next one may do better
            answer = None, one_line(error)
        try:
            pipe.send(answer)
        except OSError:
            return


def one_line(error: BaseException) -> str:
    """An error in one line: our own ones say what to do, of others the kind and the place are named."""
    text = " ".join(str(error).split()) or type(error).__name__
    if type(error).__module__.split(".")[0] in ("experiments", "policies", "storage", "serve", "envs"):
        return text
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" in {os.path.basename(frame[0].filename)}:{frame[0].lineno}" if frame else ""
    return f"{type(error).__name__}{where}: {text}"
