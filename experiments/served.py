"""One fight or answer of each deployed mind through the service.

Combat minds are asked as a game asks, by world views; minds of other heads and those that perceive by the
inputs of their files, which the arena lays out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.latency import Latency


def play_views(client: Any, version: Any, seed: int) -> dict[str, Any]:
    """One fight of a combat mind: world views go out, orders come back.

    Args:
        client: A ``serve.client.DecisionClient``.
        version: A deployed version.
        seed: The user's base seed.

    Returns:
        ``kind``, ``outcome``, ``decisions``, ``reward``, ``model_version``, ``actions``, ``p50_ms``,
        ``p95_ms`` and ``words`` for people.
    """
    from experiments.game_server import play_served_fight

    fight = play_served_fight(client, version.archetype, seed)
    times = Latency.of(fight.times_ms)
    return {
        "kind": "fight",
        "outcome": fight.outcome,
        "decisions": fight.decisions,
        "reward": fight.reward,
        "model_version": fight.model_version,
        "actions": fight.actions,
        "p50_ms": times.p50_ms,
        "p95_ms": times.p95_ms,
        "words": _fought(fight.outcome, fight.decisions, times),
    }


def play_by_inputs(client: Any, version: Any, head: str, seed: int) -> dict[str, Any]:
    """One fight of a mind of any head, which is given its inputs and gives its choice.

    Args:
        client: A ``serve.client.DecisionClient``.
        version: A deployed version.
        head: What its actions mean.
        seed: The user's base seed.

    Returns:
        As `play_views`, without ``actions``.
    """
    from experiments.heads import Mind, play_head
    from experiments.seeds import Purpose

    manifest = version.artifacts["onnx_fp32"]["manifest"]
    times: list[float] = []

    def answer(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        started = time.perf_counter()
        said: dict[str, np.ndarray] = client.infer(version.archetype, version.model_type, given)
        times.append(1e3 * (time.perf_counter() - started))
        return said

    inputs = {name: tuple(shape[1:]) for name, shape in manifest["inputs"].items()}
    mind = Mind(
        inputs, dict(manifest["state"]), manifest["choice"] or next(iter(manifest["outputs"])), answer
    )
    score = play_head(version.archetype, head, mind, 1, seed, purpose=Purpose.PLAY)
    outcome = next(name for name, count in score.outcomes.items() if count)
    seen = Latency.of(times)
    return {
        "kind": "fight",
        "outcome": outcome,
        "decisions": len(times),
        "reward": score.average_reward,
        "model_version": version.version,
        "actions": {},
        "p50_ms": seen.p50_ms,
        "p95_ms": seen.p95_ms,
        "words": _fought(outcome, len(times), seen),
    }


def answer_row(client: Any, version: Any, rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """One recorded situation, of which a perception mind is asked.

    Args:
        client: A ``serve.client.DecisionClient``.
        version: A deployed version.
        rows: By input name; the middle one is sent.

    Returns:
        ``outputs`` (name to shape), ``p50_ms``, ``model_version``, ``words``.

    Raises:
        RuntimeError: An answer that is not finite.
    """
    at = len(next(iter(rows.values()))) // 2
    started = time.perf_counter()
    said = client.infer(
        version.archetype, version.model_type, {name: values[at : at + 1] for name, values in rows.items()}
    )
    took = 1e3 * (time.perf_counter() - started)
    for name, values in said.items():
        if not np.isfinite(values).all():
            raise RuntimeError(f"the service answered with '{name}' not finite; export the version again")
    names = [name for name in said if not name.startswith("next_")]
    return {
        "kind": "answer",
        "outputs": {name: list(said[name].shape[1:]) for name in names},
        "model_version": version.version,
        "p50_ms": took,
        "p95_ms": took,
        "words": f"answered {', '.join(names)} in {took:.1f} ms",
    }


def _fought(outcome: str, decisions: int, times: Latency) -> str:
    return f"{outcome.replace('_', ' ')} after {decisions} served decisions, median {times.p50_ms:.1f} ms"
