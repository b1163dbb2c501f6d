from typing import Any

import numpy as np
import pytest

from experiments.latency import Latency, measure


def test_percentiles_of_known_times() -> None:
    seen = Latency.of([float(t) for t in range(1, 101)])
    assert (seen.requests, seen.p50_ms, seen.p95_ms, seen.p99_ms, seen.max_ms) == (
        100,
        50.0,
        95.0,
        99.0,
        100.0,
    )


class FakeClient:
    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def decide(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        assert len(requests) == 1  # a decision per request is what a gate on latency is about
        self.asked += requests
        return [{}]


def test_each_request_is_one_decision_of_the_named_version_and_warm_up_does_not_count() -> None:
    client = FakeClient()
    obs = np.arange(3 * 64, dtype=np.float32).reshape(3, 64) / 192
    masks = np.eye(3, 10, dtype=bool)
    seen = measure(client, "tank", "combat_dqn", 7, obs, masks, requests=5, warm_up=2)
    assert seen.requests == 5 and len(client.asked) == 7
    assert {request["version"] for request in client.asked} == {7}
    assert client.asked[1]["observation"] == pytest.approx(obs[1], abs=1e-6)
    assert client.asked[2]["action_mask"] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
