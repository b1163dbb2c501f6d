"""The decision engine: a queue per loaded model, drained into one ONNX Runtime call at a time.

There is no waiting timer. A request is queued and the drain is scheduled for the next turn of the event
loop; whatever else arrived in that turn joins the same call. A lone request thus waits for nothing, and
under load batches grow by themselves. The call itself runs on the event loop: it takes a fraction of a
millisecond, less than handing it to a thread and back.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Answer = tuple[np.ndarray, np.ndarray]


class BusyError(RuntimeError):
    """The engine cannot answer in time; the client should retry after a moment."""


class Runner(Protocol):
    """Anything that decides for a batch; `serve.models.LoadedModel` in the service."""

    def run(self, observations: np.ndarray, masks: np.ndarray) -> Answer:
        """Map (n, 64) float32 and (n, 10) float32 to q values (n, 10) and actions (n,)."""
        ...


@dataclass(slots=True, eq=False)
class _Job:
    """Rows of one caller that wait for a model."""

    observations: np.ndarray  # (row, 64) float32
    masks: np.ndarray  # (row, 10) float32
    future: asyncio.Future[Answer]
    deadline: float  # on the engine's clock, seconds


class DecisionEngine:
    """Batches waiting rows per model and answers them in order of arrival.

    Args:
        max_batch_rows: most rows in one call of a model; larger requests are cut.
        max_waiting_rows: rows that may wait over all models; more are refused with `BusyError`.
        deadline_s: rows that waited longer are refused with `BusyError` instead of answered late.
        clock: monotonic clock in seconds, replaced in tests.
    """

    def __init__(
        self,
        max_batch_rows: int = 256,
        max_waiting_rows: int = 8192,
        deadline_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_batch_rows = max_batch_rows
        self._max_waiting_rows = max_waiting_rows
        self._deadline_s = deadline_s
        self._clock = clock
        # Ordered by the last turn a model had, so that a busy model cannot starve another.
        self._queues: OrderedDict[Runner, deque[_Job]] = OrderedDict()
        self._waiting_rows = 0
        self._scheduled = False
        self.decisions = 0
        self.calls = 0
        self.busy = 0

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for their call."""
        return self._waiting_rows

    def statistics(self) -> dict[str, int]:
        """Counters since the start: decisions answered, model calls, busy answers, rows waiting."""
        return {
            "decisions": self.decisions,
            "calls": self.calls,
            "busy": self.busy,
            "waiting_rows": self._waiting_rows,
        }

    async def decide(self, model: Runner, observations: np.ndarray, masks: np.ndarray) -> Answer:
        """Queue rows for a model and wait for their answer.

        Args:
            model: the loaded model; exactly this one answers, whatever is swapped meanwhile.
            observations: float32 (row, 64).
            masks: float32 (row, 10), 1 where an action is legal.

        Returns:
            q values float32 (row, 10) and actions int64 (row,).

        Raises:
            BusyError: the queue is full or the rows waited past their deadline.
        """
        rows = len(observations)
        if self._waiting_rows + rows > self._max_waiting_rows:
            self.busy += rows
            raise BusyError(
                f"busy: {self._waiting_rows} decisions wait already (at most {self._max_waiting_rows}); "
                "retry in a moment or send fewer requests at once"
            )
        loop = asyncio.get_running_loop()
        deadline = self._clock() + self._deadline_s
        queue = self._queues.setdefault(model, deque())
        step = self._max_batch_rows
        jobs = [
            _Job(observations[at : at + step], masks[at : at + step], loop.create_future(), deadline)
            for at in range(0, rows, step)
        ]
        queue.extend(jobs)
        self._waiting_rows += rows
        self._schedule(loop)
        if len(jobs) == 1:
            return await jobs[0].future
        answers = await asyncio.gather(*(job.future for job in jobs))
        return np.concatenate([q for q, _ in answers]), np.concatenate([action for _, action in answers])

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._drain, loop)

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make one call for the model that waited longest, then give the event loop a turn."""
        self._scheduled = False
        if not self._queues:
            return
        model, queue = self._queues.popitem(last=False)
        jobs = self._take(queue)
        if queue:
            self._queues[model] = queue
        if jobs:
            self._run(model, jobs)
        if self._queues:
            self._schedule(loop)

    def _take(self, queue: deque[_Job]) -> list[_Job]:
        """Take whole jobs from the head until the batch is full; drop cancelled and expired ones."""
        now = self._clock()
        jobs: list[_Job] = []
        rows = 0
        while queue and (not jobs or rows + len(queue[0].observations) <= self._max_batch_rows):
            job = queue.popleft()
            count = len(job.observations)
            self._waiting_rows -= count
            if job.future.done():  # the client went away
                continue
            if now > job.deadline:
                self.busy += count
                job.future.set_exception(
                    BusyError(
                        f"busy: the decision waited longer than {1e3 * self._deadline_s:.0f} ms; "
                        "retry in a moment or send fewer requests at once"
                    )
                )
                continue
            jobs.append(job)
            rows += count
        return jobs

    def _run(self, model: Runner, jobs: list[_Job]) -> None:
        try:
            if len(jobs) == 1:
                q_values, actions = model.run(jobs[0].observations, jobs[0].masks)
            else:
                q_values, actions = model.run(
                    np.concatenate([job.observations for job in jobs]),
                    np.concatenate([job.masks for job in jobs]),
                )
        except Exception as error:  # whatever a model raises belongs to its callers, not to the loop
            for job in jobs:
                job.future.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
            return
        self.calls += 1
        self.decisions += len(actions)
        at = 0
        for job in jobs:
            end = at + len(job.observations)
            job.future.set_result((q_values[at:end], actions[at:end]))
            at = end
