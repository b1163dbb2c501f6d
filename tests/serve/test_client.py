"""The Python client, against a small server that records what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from envs.contracts import WorldView
from serve.client import DecisionClient, DecisionError
from tests.serve.views import duel


class Script(ThreadingHTTPServer):
    """Answers from a list of (status, body); closes the connection after an answer where told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, Any]] = []
        self.connections = 0
        self.hang_up = False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Script

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, json.loads(content) if content else None))
        status, body = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.server.hang_up

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        return None


@pytest.fixture
def server() -> Iterator[Script]:
    with Script() as script:
        threading.Thread(target=script.serve_forever, args=(0.01,), daemon=True).start()
        yield script
        script.shutdown()


@pytest.fixture
def client(server: Script) -> Iterator[DecisionClient]:
    with DecisionClient(f"http://127.0.0.1:{server.server_port}", timeout_s=5.0) as client:
        yield client


def test_requests_share_one_connection(server: Script, client: DecisionClient) -> None:
    server.answers = [(200, b'{"decisions": [{"action": 1}, {"action": 2}]}'), (200, b'{"action": 3}')]
    first = {"archetype": "tank", "observation": np.zeros(64, np.float32)}
    second = {"archetype": "tank", "view": WorldView.from_json(duel()), "unit": "t1"}
    assert client.decide([first, second]) == [{"action": 1}, {"action": 2}]
    assert client.decide_one(archetype="tank", observation=[0.0] * 64) == {"action": 3}
    assert client.decide([]) == []
    assert server.connections == 1
    (path, body), (_, bare) = server.asked
    assert path == "/v1/decide"
    assert body["requests"][0]["observation"] == [0.0] * 64
    assert WorldView.from_json(body["requests"][1]["view"]).ids == ("t1", "e1")
    assert bare.keys() == {"archetype", "observation"}


def test_the_other_doors(server: Script, client: DecisionClient) -> None:
    server.answers = [(200, b'{"models": [{"archetype": "tank"}]}'), (200, b'{"model_version": 4}')]
    assert client.models() == [{"archetype": "tank"}]
    assert client.load_candidate("tank", "combat_dqn", 4) == {"model_version": 4}
    assert [path for path, _ in server.asked] == ["/v1/models", "/v1/candidates"]
    assert server.asked[1][1] == {"archetype": "tank", "model_type": "combat_dqn", "version": 4}


def test_a_refusal_carries_the_services_own_line_and_status(server: Script, client: DecisionClient) -> None:
    server.answers = [
        (422, b'{"error": "observation: expected 64 numbers, got 3"}'),
        (200, b'{"status": "ok"}'),
    ]
    with pytest.raises(DecisionError, match=r"^observation: expected 64 numbers, got 3$") as refused:
        client.decide_one(archetype="tank", observation=[0.0] * 3)
    assert refused.value.status == 422
    assert client.health() == {"status": "ok"}
    assert server.connections == 1


def test_an_answer_that_is_not_ours_is_shown(server: Script, client: DecisionClient) -> None:
    server.answers = [(502, b"<html>\nbad gateway</html>"), (200, b"[1]")]
    with pytest.raises(DecisionError, match="answered 502: <html> bad gateway</html>"):
        client.health()
    with pytest.raises(DecisionError, match=r"answered 200: \[1\]"):
        client.health()


def test_a_connection_that_the_server_closed_is_opened_anew(server: Script, client: DecisionClient) -> None:
    server.hang_up = True
    server.answers = [(200, b'{"status": "ok"}')] * 2
    assert client.health() == client.health()
    assert server.connections == 2


def test_nobody_there_is_one_clear_line() -> None:
    with DecisionClient("http://127.0.0.1:9", timeout_s=1.0) as client:
        with pytest.raises(
            DecisionError, match=r"does not answer .*refused.*start the service with: monster serve"
        ):
            client.health()
        with pytest.raises(DecisionError, match="is not ready after 0 s"):
            client.wait_ready(0.0)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(DecisionError, match=r"'127\.0\.0\.1:8000' is not the address of a service"):
        DecisionClient("127.0.0.1:8000")
