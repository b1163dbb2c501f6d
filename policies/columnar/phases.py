"""Where the time of an epoch goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

NAMES = (
    "env",  # the simulation's step
    "act",  # the network's pass for acting, and drawing actions
    "store",  # columns of a round, replay's add, advantages
    "build",  # batches
    "forward",
    "backward",
    "optimize",  # clipping and the optimizer's step
    "prioritize",
    "sync",  # target network, weights to env runners
)
"""Phases; what is left of an epoch is `other`."""
KERNEL_AND_TORCH = ("env", "act", "forward", "backward", "optimize")
"""Phases that do the work itself; the lane adds the others."""
SUPERVISED = ("build", "forward", "backward", "optimize", "validate")
"""Phases of an epoch over recorded rows."""
Item = TypeVar("Item")


def seconds_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """Seconds by phase, `other` included, from the metrics of an epoch of either trainer."""
    return {
        name.removeprefix("seconds_"): float(value)
        for name, value in metrics.items()
        if name.startswith("seconds_")
    }


class Phases:
    """Seconds per phase, added up.

    Args:
        names: of the phases.
    """

    def __init__(self, names: Iterable[str] = NAMES) -> None:
        self.seconds = dict.fromkeys(names, 0.0)
        self.clock: Callable[[], float] = time.perf_counter
        """Benchmarks put `time.thread_time` here, which other processes do not disturb."""

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time of a block to a phase."""
        started = self.clock()
        yield
        self.seconds[name] += self.clock() - started

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Hand items on, and add the time of waiting for each to a phase."""
        iterator = iter(items)
        while True:
            started = self.clock()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.seconds[name] += self.clock() - started
            yield item

    def add(self, name: str, seconds: float) -> None:
        """Add seconds to a phase."""
        self.seconds[name] += seconds

    def since(self, before: dict[str, float]) -> dict[str, float]:
        """Seconds per phase since a copy of `seconds` was taken."""
        return {name: seconds - before[name] for name, seconds in self.seconds.items()}
