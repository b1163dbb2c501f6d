"""Times decisions as a game sees them: single requests over HTTP to the running service."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.statistics import percentile

REQUESTS = 250
WARM_UP_REQUESTS = 30


@dataclass(frozen=True)
class Latency:
    """Round trips of single decisions in milliseconds.

    Attributes:
        requests: How many were timed.
        p50_ms: Median.
        p95_ms: 95th percentile, nearest rank.
        p99_ms: 99th percentile.
        max_ms: The slowest.
    """

    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, times_ms: list[float]) -> Latency:
        """Sums up measured times.

        Args:
            times_ms: At least one round trip.
        """
        return cls(
            len(times_ms),
            percentile(times_ms, 0.50),
            percentile(times_ms, 0.95),
            percentile(times_ms, 0.99),
            max(times_ms),
        )


def measure(
    client: Any,
    archetype: str,
    model_type: str,
    version: int,
    observations: np.ndarray,
    masks: np.ndarray,
    *,
    requests: int = REQUESTS,
    warm_up: int = WARM_UP_REQUESTS,
) -> Latency:
    """Times one version in the service, one decision per request on one connection.

    Args:
        client: A ``serve.client.DecisionClient``.
        archetype: The model's archetype.
        model_type: The model's type.
        version: Its version; a candidate must have been loaded before.
        observations: float32 (rows, 64), used in turn.
        masks: bool (rows, 10).
        requests: Timed requests.
        warm_up: Requests before them that do not count.
    """
    bodies = [
        {
            "archetype": archetype,
            "model_type": model_type,
            "version": version,
            "observation": [round(float(x), 6) for x in observations[i % len(observations)]],
            "action_mask": [int(x) for x in masks[i % len(masks)]],
        }
        for i in range(min(requests, len(observations)))
    ]

    def ask(i: int) -> None:
        client.decide([bodies[i % len(bodies)]])

    return _timed(ask, requests, warm_up)


def measure_inference(
    client: Any,
    archetype: str,
    model_type: str,
    version: int,
    rows: Mapping[str, np.ndarray],
    carried: Sequence[Sequence[str]] = (),
    *,
    requests: int = REQUESTS,
    warm_up: int = WARM_UP_REQUESTS,
) -> Latency:
    """Times one version in the service by its own inputs, one row per request on one connection.

    Args:
        client: A ``serve.client.DecisionClient``.
        archetype: The model's archetype.
        model_type: The model's type.
        version: Its version; a candidate must have been loaded before.
        rows: By input name ``(row, ...)``, used in turn.
        carried: (input, output) pairs of a state that goes along from request to request.
        requests: Timed requests.
        warm_up: Requests before them that do not count.
    """
    count = len(next(iter(rows.values())))
    state: dict[str, np.ndarray] = {}

    def ask(i: int) -> None:
        nonlocal state
        at = i % count
        given = {name: values[at : at + 1] for name, values in rows.items()}
        said = client.infer(archetype, model_type, {**given, **state}, version)
        state = {own: said[after] for own, after in carried}

    return _timed(ask, requests, warm_up)


def _timed(ask: Callable[[int], None], requests: int, warm_up: int) -> Latency:
    """Times `ask`, which is told the number of the request; the first ones do not count."""
    times = []
    for i in range(warm_up + requests):
        started = time.perf_counter()
        ask(i)
        if i >= warm_up:
            times.append(1e3 * (time.perf_counter() - started))
    return Latency.of(times)
