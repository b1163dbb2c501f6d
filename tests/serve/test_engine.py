"""The engine: batches what waits, answers in order, says busy instead of answering late."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from serve.engine import Answer, BusyError, DecisionEngine, ModelFailedError, Rows

CODE = np.arange(10, dtype=np.float32)


class Echo:
    """q = first feature + action index; the action is the feature itself, so that mixed-up rows show."""

    batch_rows = 1000

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, inputs: Rows) -> Answer:
        observations = inputs["obs"]
        assert len(observations) == len(inputs["action_mask"])
        self.batches.append(len(observations))
        return {"q_values": observations[:, :1] + CODE, "action": observations[:, 0].astype(np.int64)}


class Broken(Echo):
    """Cannot answer a batch with a row whose feature is 0."""

    def run(self, inputs: Rows) -> Answer:
        if (inputs["obs"][:, 0] == 0).any():
            raise ValueError("bad\nweights")
        return super().run(inputs)


def rows(first: int, count: int) -> Rows:
    observations = np.zeros((count, 64), np.float32)
    observations[:, 0] = np.arange(first, first + count)
    return {"obs": observations, "action_mask": np.ones((count, 10), np.float32)}


def test_a_lone_request_is_answered_by_a_call_of_its_own() -> None:
    model, engine = Echo(), DecisionEngine()
    answer = asyncio.run(engine.decide(model, rows(7, 1)))
    assert answer["action"].tolist() == [7]
    assert answer["q_values"][0].tolist() == [7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    assert model.batches == [1]


def test_requests_that_wait_together_share_one_call_and_get_their_own_rows() -> None:
    model, engine = Echo(), DecisionEngine()

    async def ask() -> list[list[int]]:
        answers = await asyncio.gather(*(engine.decide(model, rows(10 * k, k)) for k in (1, 2, 3)))
        return [answer["action"].tolist() for answer in answers]

    assert asyncio.run(ask()) == [[10], [20, 21], [30, 31, 32]]
    assert model.batches == [6]
    assert engine.statistics() == {"decisions": 6, "calls": 1, "busy": 0, "waiting_rows": 0}


def test_a_large_request_is_cut_into_calls_and_put_together_again() -> None:
    model, engine = Echo(), DecisionEngine(max_batch_rows=4)
    answer = asyncio.run(engine.decide(model, rows(0, 10)))
    assert answer["action"].tolist() == list(range(10))
    assert answer["q_values"][:, 9].tolist() == [9 + row for row in range(10)]
    assert model.batches == [4, 4, 2]


def test_a_costly_model_is_given_fewer_rows_at_once() -> None:
    model, engine = Echo(), DecisionEngine()
    model.batch_rows = 3

    async def ask() -> None:
        await asyncio.gather(
            engine.decide(model, rows(0, 5)), *(engine.decide(model, rows(k, 1)) for k in (5, 6))
        )

    asyncio.run(ask())
    assert model.batches == [3, 3, 1]


def test_a_small_request_of_another_model_gets_its_turn_between_calls_of_a_large_one() -> None:
    order: list[str] = []

    class Named(Echo):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def run(self, inputs: Rows) -> Answer:
            order.append(self.name)
            return super().run(inputs)

    large, small, engine = Named("large"), Named("small"), DecisionEngine(max_batch_rows=2)

    async def ask() -> None:
        await asyncio.gather(engine.decide(large, rows(0, 6)), engine.decide(small, rows(0, 1)))

    asyncio.run(ask())
    assert order == ["large", "small", "large", "large"]


def test_a_full_queue_is_refused_at_once_and_what_waits_is_still_answered() -> None:
    model, engine = Echo(), DecisionEngine(max_waiting_rows=5)

    async def ask() -> tuple[list[int], str]:
        first = asyncio.create_task(engine.decide(model, rows(0, 4)))
        await asyncio.sleep(0)  # the task queues its rows; the drain comes in the next turn
        with pytest.raises(BusyError) as refused:
            await engine.decide(model, rows(4, 2))
        return (await first)["action"].tolist(), str(refused.value)

    actions, line = asyncio.run(ask())
    assert actions == [0, 1, 2, 3]
    assert line.startswith("busy: 4 decisions wait already (at most 5)")
    assert engine.statistics()["busy"] == 2


def test_rows_past_their_deadline_are_refused_and_never_run() -> None:
    model, now = Echo(), [100.0]
    engine = DecisionEngine(deadline_s=0.5, clock=lambda: now[0])

    async def ask() -> None:
        late = asyncio.create_task(engine.decide(model, rows(0, 3)))
        await asyncio.sleep(0)
        now[0] += 0.6
        with pytest.raises(BusyError, match="longer than 500 ms"):
            await late

    asyncio.run(ask())
    assert model.batches == []
    assert engine.statistics() == {"decisions": 0, "calls": 0, "busy": 3, "waiting_rows": 0}


def test_a_caller_that_went_away_costs_no_call() -> None:
    model, engine = Echo(), DecisionEngine()

    async def ask() -> None:
        gone = asyncio.create_task(engine.decide(model, rows(0, 3)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await engine.decide(model, rows(9, 1))

    asyncio.run(ask())
    assert model.batches == [1]
    assert engine.waiting_rows == 0


def test_a_model_that_raises_fails_its_own_callers_only() -> None:
    engine, good = DecisionEngine(), Echo()

    async def ask() -> list[object]:
        asked = engine.decide(Broken(), rows(0, 1)), engine.decide(good, rows(3, 1))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    failed, answered = asyncio.run(ask())
    assert isinstance(failed, ModelFailedError)
    assert str(failed) == "ValueError: bad weights"
    assert isinstance(answered, dict)
    assert answered["action"].tolist() == [3]


def test_rows_that_a_model_cannot_take_do_not_fail_those_that_shared_their_call() -> None:
    engine, model = DecisionEngine(), Broken()

    async def ask() -> list[object]:
        asked = [engine.decide(model, rows(first, 1)) for first in (4, 0, 5)]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    one, failed, other = asyncio.run(ask())
    assert isinstance(failed, ModelFailedError)
    assert isinstance(one, dict) and isinstance(other, dict)
    assert (one["action"].tolist(), other["action"].tolist()) == ([4], [5])
    assert engine.statistics() == {"decisions": 2, "calls": 2, "busy": 0, "waiting_rows": 0}
