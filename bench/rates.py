"""How a benchmark of stepping measures: repeats of process time, the median and its range."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Count:
    """What one call of a play did.

    Attributes:
        env_steps: steps of one environment, summed over the batch.
        agent_steps: the same times the agents that acted in it and got an observation each.
        unit_steps: the same times the bodies that the step moved, agents or scripts.
    """

    env_steps: int
    agent_steps: int
    unit_steps: int


@dataclass(frozen=True)
class Rate:
    """Steps per second of process time.

    Attributes:
        env_steps_per_s: median of the repeats; `lowest` and `highest` their range.
        agent_steps_per_s: and unit_steps_per_s: of the median repeat.
    """

    env_steps_per_s: float
    lowest: float
    highest: float
    agent_steps_per_s: float
    unit_steps_per_s: float


def measure_rows(play: Callable[[], int], seconds: float, repeats: int) -> float:
    """Rate of a play that returns how many rows it made, where rows are all there is to count."""

    def counted() -> Count:
        rows = play()
        return Count(rows, rows, rows)

    return measure(counted, seconds, repeats).env_steps_per_s


def measure(play: Callable[[], Count], seconds: float, repeats: int) -> Rate:
    """Play `repeats` stretches of at least `seconds` of process time each."""
    play()  # compiled, allocated, in the cache
    stretches = []
    for _ in range(repeats):
        env = agent = unit = 0
        began = time.process_time()
        while (spent := time.process_time() - began) < seconds:
            done = play()
            env, agent, unit = env + done.env_steps, agent + done.agent_steps, unit + done.unit_steps
        stretches.append((env / spent, agent / spent, unit / spent))
    stretches.sort()
    middle = stretches[(len(stretches) - 1) // 2]
    return Rate(
        statistics.median(rate for rate, _, _ in stretches), stretches[0][0], stretches[-1][0], *middle[1:]
    )
