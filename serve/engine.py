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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Rows = Mapping[str, np.ndarray]
"""Inputs of a model by name, each `(row, ...)`."""
Answer = dict[str, np.ndarray]
"""Outputs of a model by name, each `(row, ...)`."""


class BusyError(RuntimeError):
    """The engine cannot answer in time; the client should retry after a moment."""


class ModelFailedError(RuntimeError):
    """A model raised on the rows of this caller; the message is one line."""


class Runner(Protocol):
    """Anything that answers a batch; `serve.models.LoadedModel` in the service."""

    batch_rows: int

    def run(self, inputs: Rows) -> Answer:
        """Answer rows; at most `batch_rows` come at once."""
        ...


@dataclass(slots=True, eq=False)
class _Job:
    """Rows of one caller that wait for a model."""

    inputs: Rows
    rows: int
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

    async def decide(self, model: Runner, inputs: Rows) -> Answer:
        """Queue rows for a model and wait for their answer.

        Args:
            model: the loaded model; exactly this one answers, whatever is swapped meanwhile.
            inputs: every input of the model, each with as many rows.

        Returns:
            Every output of the model, with as many rows.

        Raises:
            BusyError: the queue is full or the rows waited past their deadline.
            ModelFailedError: the model raised on these rows.
        """
        rows = len(next(iter(inputs.values())))
        if self._waiting_rows + rows > self._max_waiting_rows:
            self.busy += rows
            raise BusyError(
                f"busy: {self._waiting_rows} decisions wait already (at most {self._max_waiting_rows}); "
                "retry in a moment or send fewer requests at once"
            )
        loop = asyncio.get_running_loop()
        deadline = self._clock() + self._deadline_s
        queue = self._queues.setdefault(model, deque())
        step = min(self._max_batch_rows, model.batch_rows)
        if rows <= step:
            jobs = [_Job(inputs, rows, loop.create_future(), deadline)]
        else:
            jobs = [
                _Job(
                    {name: values[at : at + step] for name, values in inputs.items()},
                    min(step, rows - at),
                    loop.create_future(),
                    deadline,
                )
                for at in range(0, rows, step)
            ]
        queue.extend(jobs)
        self._waiting_rows += rows
        self._schedule(loop)
        if len(jobs) == 1:
            return await jobs[0].future
        answers = await asyncio.gather(*(job.future for job in jobs))
        return _joined(answers)

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
        jobs = self._take(queue, min(self._max_batch_rows, model.batch_rows))
        if queue:
            self._queues[model] = queue
        if jobs:
            self._run(model, jobs)
        if self._queues:
            self._schedule(loop)

    def _take(self, queue: deque[_Job], most: int) -> list[_Job]:
        """Take whole jobs from the head until the batch is full; drop cancelled and expired ones."""
        now = self._clock()
        jobs: list[_Job] = []
        rows = 0
        while queue and (not jobs or rows + queue[0].rows <= most):
            job = queue.popleft()
            count = job.rows
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
            outputs = model.run(jobs[0].inputs if len(jobs) == 1 else _joined([job.inputs for job in jobs]))
        except Exception as error:  # whatever a model raises belongs to its callers, not to the loop
            if len(jobs) > 1:  # and to none but the one whose rows it could not take
                for job in jobs:
                    self._run(model, [job])
            else:
                reason = " ".join(str(error).split())[:300]
                jobs[0].future.set_exception(ModelFailedError(f"{type(error).__name__}: {reason}"))
            return
        self.calls += 1
        self.decisions += sum(job.rows for job in jobs)
        if len(jobs) == 1:
            jobs[0].future.set_result(outputs)
            return
        at = 0
        for job in jobs:
            end = at + job.rows
            job.future.set_result({name: values[at:end] for name, values in outputs.items()})
            at = end


def _joined(parts: Sequence[Rows]) -> Answer:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
