"""The HTTP door, driven as an ASGI application without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from serve.engine import DecisionEngine
from serve.models import ServedVersion, load_model
from serve.settings import ServeSettings
from serve.table import ModelTable
from serve.watcher import RegistryReader, RegistryWatcher
from serve.web import DecisionApp
from storage import ArtifactStore
from tests.serve.conftest import Stored
from tests.serve.test_watcher import FakeRegistry
from tests.serve.views import duel

OBSERVATION = [0.0] * 64
Answer = tuple[int, Any, dict[bytes, bytes]]


class Door:
    """One application with its parts, and a way to ask it."""

    def __init__(self, home: Path, store: ArtifactStore, rows: list[ServedVersion], **limits: Any) -> None:
        self.settings = ServeSettings(home=home, **limits)
        self.registry = FakeRegistry(rows=rows)
        self.engine = DecisionEngine(
            self.settings.max_batch_rows, self.settings.max_waiting_rows, self.settings.deadline_s
        )
        self.table = ModelTable(lambda version: load_model(store, version))
        watcher = RegistryWatcher(self.table, self.settings.manifest_path, self._connect, lambda: "dsn")
        self.watcher = watcher
        self.app = DecisionApp(self.settings, self.engine, self.table, watcher)

    async def _connect(self, dsn: str) -> RegistryReader:
        return await self.registry.connect(dsn)

    async def ask(self, method: str, path: str, body: bytes | Any = b"", pieces: int = 1) -> Answer:
        status, content, headers = await self.exchange(method, path, body, pieces)
        return status, json.loads(content), headers

    async def exchange(
        self,
        method: str,
        path: str,
        body: bytes | Any = b"",
        pieces: int = 1,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> tuple[int, bytes, dict[bytes, bytes]]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        step = max(1, -(-len(content) // pieces))
        parts = [content[at : at + step] for at in range(0, len(content), step)] or [b""]
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
        await self.app(scope, receive, send)
        start, end = sent
        assert int(dict(start["headers"])[b"content-length"]) == len(end["body"])
        return start["status"], end["body"], dict(start["headers"])


def run(door: Door, *asked: tuple[Any, ...]) -> list[Answer]:
    async def live() -> list[Answer]:
        await door.watcher.look()
        return [await door.ask(*arguments) for arguments in asked]

    return asyncio.run(live())


@pytest.fixture
def door(tmp_path: Path, store: ArtifactStore, stored: Stored) -> Door:
    return Door(tmp_path, store, [stored("tank", 1, action=2), stored("mage", 7, action=5)])


def test_one_request_gets_the_bare_decision(door: Door) -> None:
    ((status, body, headers),) = run(
        door, ("POST", "/v1/decide", {"archetype": "tank", "observation": OBSERVATION})
    )
    assert status == 200
    assert body.pop("server_ms") >= 0
    assert body == {
        "archetype": "tank",
        "model_type": "combat_dqn",
        "model_version": 1,
        "action": 2,
        "action_name": "attack_weakest",
    }
    assert headers[b"content-type"] == b"application/json"


def test_a_deployed_archetype_of_a_user_s_own_is_answered_for(
    tmp_path: Path, store: ArtifactStore, stored: Stored
) -> None:
    door = Door(tmp_path, store, [stored("mud_ling", 3, action=2)])
    request = {"archetype": "mud_ling", "view": duel(), "unit": "t1"}
    (found, other) = run(
        door, ("POST", "/v1/decide", request), ("POST", "/v1/decide", request | {"archetype": "mudling"})
    )
    assert found[0] == 200 and (found[1]["archetype"], found[1]["model_version"]) == ("mud_ling", 3)
    assert other[0] == 422 and "did you mean 'mud_ling'?" in other[1]["error"]


def test_many_requests_of_two_models_are_answered_in_order(door: Door) -> None:
    mask = [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    requests = [
        {"archetype": "mage", "observation": OBSERVATION},
        {"archetype": "tank", "view": duel(), "unit": "t1"},
        {"archetype": "mage", "observation": OBSERVATION, "action_mask": mask, "explain": True},
    ]
    ((status, body, _),) = run(door, ("POST", "/v1/decide", {"requests": requests}, 5))
    assert status == 200
    first, second, third = body["decisions"]
    assert (first["model_version"], first["action"]) == (7, 5)
    assert (second["model_version"], second["action"]) == (1, 2)
    assert second["order"]["kind"] == "attack"
    assert second["order"]["target"] == "e1"
    assert third["action"] == 0  # 5 is not legal; the bias of 0 is 0, that of 2 is -0.2
    assert third["q_values"][5] == -1e4
    assert door.engine.statistics()["calls"] == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "line"),
    [
        ("GET", "/v1/decide", b"", 405, "/v1/decide answers POST only"),
        ("POST", "/v1/decode", b"{}", 404, "no such path; this service answers /v1/decide, "),
        ("POST", "/v1/decide", b"{", 422, "body: not JSON"),
        ("POST", "/v1/decide", b" " * 2001, 413, "body: 2001 bytes are too many, at most 2000"),
        (
            "POST",
            "/v1/decide",
            {"archetype": "ranged", "observation": OBSERVATION},
            404,
            "no ranged/combat_dqn model is deployed; deployed are: mage/combat_dqn, tank/combat_dqn",
        ),
        (
            "POST",
            "/v1/decide",
            {"archetype": "tank", "model_type": "skill_dqn", "observation": OBSERVATION},
            422,
            "observation: skill_dqn needs a 'view' and 'unit'",
        ),
        (
            "POST",
            "/v1/decide",
            {"archetype": "tank", "version": 5, "observation": OBSERVATION},
            404,
            "version 5 of tank/combat_dqn is not loaded",
        ),
        (
            "POST",
            "/v1/decide",
            {"archetype": "tank", "observation": [0.0] * 63},
            422,
            "observation: expected 64",
        ),
        ("POST", "/v1/candidates", {"archetype": "tank"}, 422, "version: missing"),
        ("POST", "/v1/candidates", {"archetype": "tank", "versions": 1}, 422, "unknown key 'versions'"),
        ("POST", "/v1/candidates", {"archetype": "tank", "version": 9}, 404, "the registry has no version 9"),
    ],
)
def test_wrong_requests_get_one_line_and_the_service_goes_on(
    tmp_path: Path,
    store: ArtifactStore,
    stored: Stored,
    method: str,
    path: str,
    body: Any,
    status: int,
    line: str,
) -> None:
    rows = [stored("tank", 1, action=2), stored("mage", 7, action=5)]
    door = Door(tmp_path, store, rows, max_body_bytes=2000)
    good = ("POST", "/v1/decide", {"archetype": "tank", "observation": OBSERVATION})
    refused, answered = run(door, (method, path, body, 3), good)
    assert refused[0] == status
    assert refused[1].keys() == {"error"}
    assert refused[1]["error"].startswith(line)
    assert "\n" not in refused[1]["error"]
    assert answered[0] == 200


def test_a_full_engine_answers_busy_with_a_hint_when_to_retry(
    tmp_path: Path, store: ArtifactStore, stored: Stored
) -> None:
    door = Door(tmp_path, store, [stored("tank", 1, action=2)], max_waiting_rows=2)
    three = {"requests": [{"archetype": "tank", "observation": OBSERVATION}] * 3}
    ((status, body, headers),) = run(door, ("POST", "/v1/decide", three))
    assert status == 503
    assert body["error"].startswith("busy: 0 decisions wait already (at most 2)")
    assert headers[b"retry-after"] == b"1"


def test_a_candidate_answers_only_those_who_name_its_version(
    tmp_path: Path, store: ArtifactStore, stored: Stored
) -> None:
    door = Door(tmp_path, store, [stored("tank", 1, action=2)])

    async def live() -> list[Answer]:
        await door.watcher.look()
        door.registry.rows = [stored("tank", 2, action=8)]
        request = {"archetype": "tank", "observation": OBSERVATION}
        return [
            await door.ask("POST", "/v1/candidates", {"archetype": "tank", "version": 2}),
            await door.ask("POST", "/v1/decide", request),
            await door.ask("POST", "/v1/decide", request | {"version": 2}),
            await door.ask("GET", "/v1/models"),
        ]

    loaded, deployed, named, models = asyncio.run(live())
    assert loaded[0] == 200
    assert (loaded[1]["model_version"], loaded[1]["provider"]) == (2, "CPUExecutionProvider")
    assert (deployed[1]["model_version"], deployed[1]["action"]) == (1, 2)
    assert (named[1]["model_version"], named[1]["action"]) == (2, 8)
    assert [(m["model_version"], m["deployed"]) for m in models[1]["models"]] == [(1, True), (2, False)]
    contracts = models[1]["contracts"]
    assert contracts["actions"]["skill"] == "skill_v1"
    del contracts["actions"]
    assert contracts == {"view": "view_v1", "observation": "obs_v1", "action": "combat_v1"}


def test_a_damaged_candidate_is_a_conflict(tmp_path: Path, store: ArtifactStore, stored: Stored) -> None:
    door = Door(tmp_path, store, [stored("tank", 2, content=b"no onnx")])
    ((status, body, _),) = run(door, ("POST", "/v1/candidates", {"archetype": "tank", "version": 2}))
    assert status == 409
    assert "not a loadable ONNX file" in body["error"]


def test_health_names_what_is_wrong(door: Door) -> None:
    ((status, body, _),) = run(door, ("GET", "/healthz"))
    assert status == 200
    assert (body["status"], body["models"], body["registry"], body["failures"]) == ("ok", 2, "ok", [])
    assert body["engine"]["decisions"] == 0


def test_an_error_of_ours_is_one_line_too(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(door.engine, "decide", fail)
    ((status, body, _),) = run(
        door, ("POST", "/v1/decide", {"archetype": "tank", "observation": OBSERVATION})
    )
    assert status == 500
    assert body == {"error": "internal error; the service's log has the details"}


def test_the_lifespan_starts_and_stops_the_watcher(door: Door) -> None:
    async def live() -> list[str]:
        inbox = ["lifespan.startup", "lifespan.shutdown"]
        sent: list[str] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": inbox.pop(0)}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message["type"])

        await door.app({"type": "lifespan"}, receive, send)
        return sent

    assert asyncio.run(live()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert len(door.table) == 2
