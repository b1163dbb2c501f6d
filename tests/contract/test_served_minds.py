"""Exported files of all nine model types, loaded and asked by the service without a line of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.contracts import MODEL_TYPES, Order, WorldView, order_row, pack_orders
from experiments.heads import Seat, onnx_mind
from experiments.recording import record_decisions
from policies.export import export_onnx
from policies.model_types import build_network
from policies.profiles import profile_values
from serve.client import DecisionClient, DecisionError
from serve.heads import contracts_of
from serve.models import ServedVersion
from serve.sight import see
from storage import ArtifactStore
from tests.serve.test_web import Door

ROWS = 6


class Asgi(ThreadingHTTPServer):
    """Puts an ASGI application behind a real socket, one request at a time."""

    daemon_threads = True

    def __init__(self, door: Door) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.door = door
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Asgi

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        with self.server.lock:
            status, content, answered = asyncio.run(
                self.server.door.exchange(self.command, self.path, body, headers=headers)
            )
        self.send_response(status)
        for name, value in answered.items():
            self.send_header(name.decode(), value.decode())
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        return None


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, np.ndarray]]]:
    """File and recorded inputs of an untrained net of every type."""
    found = {}
    for name in MODEL_TYPES:
        torch.manual_seed(0)
        network = build_network(name, profile_values(name, "demo")[0]["model"]).eval()
        recorded = record_decisions(network, "tank", seed=1, steps=200)
        folder = tmp_path_factory.mktemp(name)
        report = export_onnx(network, folder, {"archetype": "tank"}, recorded)
        dtypes = {port.name: port.dtype for port in network.signature().inputs}
        inputs = {
            key: np.asarray(values[:ROWS], dtypes[key]) for key, values in recorded.items() if key in dtypes
        }
        found[name] = (report.fp32.path, inputs)
    return found


@pytest.fixture(scope="module")
def client(
    exported: dict[str, tuple[Path, dict[str, np.ndarray]]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DecisionClient]:
    home = tmp_path_factory.mktemp("home")
    store = ArtifactStore(home / "artifacts")
    rows = []
    for name, (path, _) in exported.items():
        file = store.put(path)
        rows.append(ServedVersion(name, "tank", name, 1, file.uri, file.sha256, contracts_of(name)))
    door = Door(home, store, rows)
    asyncio.run(door.watcher.look())
    assert door.table.failures == []
    with Asgi(door) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with DecisionClient(f"http://127.0.0.1:{server.server_port}") as client:
            yield client
        server.shutdown()


@pytest.mark.parametrize("name", MODEL_TYPES)
def test_the_service_answers_as_the_file_does(
    name: str, exported: dict[str, tuple[Path, dict[str, np.ndarray]]], client: DecisionClient
) -> None:
    path, inputs = exported[name]
    mind = onnx_mind(path)
    state = {own: np.zeros((ROWS, *mind.inputs[own]), np.float32) for own in mind.state}
    carried: dict[str, np.ndarray] = {}  # the first state may be left out
    for _ in range(3 if state else 1):
        wanted = mind.answer({**inputs, **state})
        answer = client.infer("tank", name, {**inputs, **carried})
        assert answer.keys() == wanted.keys()
        for key, values in wanted.items():
            assert answer[key].dtype == values.dtype and (answer[key] == values).all(), key
        state = {own: wanted[after] for own, after in mind.state.items()}
        carried = {own: answer[after] for own, after in mind.state.items()}


@pytest.mark.parametrize("name", MODEL_TYPES)
def test_the_service_says_what_a_file_takes(
    name: str, exported: dict[str, tuple[Path, dict[str, np.ndarray]]], client: DecisionClient
) -> None:
    mind = onnx_mind(exported[name][0])
    about = client.describe("tank", name)
    assert {one["name"]: tuple(one["shape"][1:]) for one in about["inputs"]} == mind.inputs
    assert dict(about["parameters"]["state"]) == mind.state
    assert client.describe("tank", name, version=1) == about


def test_a_kind_of_skill_that_there_is_not_is_refused(
    exported: dict[str, tuple[Path, dict[str, np.ndarray]]], client: DecisionClient
) -> None:
    inputs = exported["skill_dqn"][1]
    for wrong in (-1, 13):
        with pytest.raises(DecisionError, match="skill_ids: every value must be from 0 to 12") as refused:
            client.infer("tank", "skill_dqn", {**inputs, "skill_ids": np.full((ROWS, 7), wrong)})
        assert refused.value.status == 422


ARENA = {
    "combat_dqn": "combat",
    "movement_ppo": "movement",
    "skill_dqn": "skill",
    "soft_actor_critic": "control",
}


@pytest.mark.parametrize(("name", "head"), ARENA.items())
def test_a_mind_asked_by_world_view_plays_as_the_mind_in_the_world(
    name: str, head: str, exported: dict[str, tuple[Path, dict[str, np.ndarray]]], client: DecisionClient
) -> None:
    mind, fights = onnx_mind(exported[name][0]), 3
    arguments: dict[str, Any] = {"opponent": "classic", "scenario": "3v3"}
    seat, twin = (Seat(head, "tank", fights, **arguments) for _ in range(2))
    (obs, info), _ = seat.env.reset(seed=5), twin.env.reset(seed=5)
    world, orderly = seat.env.unwrapped, twin.env.unwrapped
    me = world.learner_unit
    for _ in range(25):
        views = [WorldView.from_json(orderly.world_view(k).to_json()) for k in range(fights)]
        wanted = seat.inputs(obs, info, mind.inputs)
        sight = see(name, views, [me] * fights)
        assert all((sight.inputs[key] == values).all() for key, values in wanted.items())
        actions = mind.answer(wanted)[mind.choice]
        requests = [
            {"archetype": "tank", "model_type": name, "view": view, "unit": view.ids[me]} for view in views
        ]
        decisions = client.decide(requests)
        served = np.array([decision["action"] for decision in decisions])
        assert (served == actions).all()
        orders = [
            order_row(view, Order.from_json(decision["order"]))
            for view, decision in zip(views, decisions, strict=True)
        ]
        obs, _, _, _, info = seat.env.step(actions)
        # The twin knows nothing of actions but what it is remembered for: it carries out orders.
        remembered = None if head == "control" else actions
        orderly.step_orders(np.array(orders), remembered)
        if head == "control":
            assert np.array_equal(world.world.obs, orderly.world.obs)
            continue
        state = orderly.get_state()
        assert all(np.array_equal(values, state[key]) for key, values in world.get_state().items())
    seat.env.close()
    twin.env.close()


def test_a_pack_asked_by_world_view_plays_as_the_pack_in_the_world(
    exported: dict[str, tuple[Path, dict[str, np.ndarray]]], client: DecisionClient
) -> None:
    mind = onnx_mind(exported["team_coordination"][0])
    seat = Seat("pack", "tank", 1, opponent="classic")
    obs, info = seat.env.reset(seed=6)
    members = seat.members
    own = {name: np.zeros((members, *mind.inputs[name]), np.float32) for name in mind.state}
    wanted = {name: shape for name, shape in mind.inputs.items() if name not in mind.state}
    carried = None
    for step in range(1, 26):
        view = seat.env.world.view(0)
        answer = mind.answer({**seat.inputs(obs, info, wanted), **own})
        own = {name: answer[after] for name, after in mind.state.items()}
        served = client.decide_pack("tank", view, list(view.ids[:members]), carried)
        carried = served["state"]
        assert served["state_step"] == step
        assert [one["action"] for one in served["decisions"]] == answer["action"].tolist()
        orders, _ = pack_orders([view] * members, list(range(members)))
        for member, one in enumerate(served["decisions"]):
            assert one["unit"] == view.ids[member]
            row = order_row(view, Order.from_json(one["order"]))
            assert row.tolist() == orders[member, one["action"]].tolist()
        obs, _, _, _, info = seat.env.step(answer["action"])
    seat.env.close()
