"""One real service, from start to the end of its owner; the tests run in the order of the file."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from envs.contracts import WorldView, combat_orders
from serve import janitor
from serve.client import DecisionClient, DecisionError
from serve.process import ServiceHandle, start_service
from serve.settings import ServiceError
from storage import ModelVersion, Registry, StorageConfig, open_registry
from tests.serve.tiny_onnx import favourite, tiny_mind
from tests.serve.views import duel

pytestmark = pytest.mark.ray
OBSERVATION = [0.0] * 64


@dataclass
class World:
    """The running service with its registry, and the process that it belongs to."""

    home: Path
    registry: Registry
    handle: ServiceHandle
    owner: subprocess.Popen[bytes]
    folder: Path
    client: DecisionClient

    def add(self, archetype: str, action: int, deploy: bool = True) -> ModelVersion:
        return add_version(self.home, self.registry, archetype, action, deploy)


def add_version(home: Path, registry: Registry, archetype: str, action: int, deploy: bool) -> ModelVersion:
    """Register a tiny mind that prefers an action; deploy it if asked."""
    store = StorageConfig(home).artifact_store()
    file = home / "mind.onnx"
    file.write_bytes(tiny_mind(favourite(action)))
    onnx = store.put(file)
    weights = store.put(file, ".weights")
    row = registry.register(
        archetype,
        "combat_dqn",
        f"run-{archetype}-{action}",
        artifacts={"weights": weights.to_json()},
        metrics={},
        contracts={"observation": "obs_v1", "action": "combat_v1"},
        lineage={},
        source_revision="test",
    )
    row = registry.mark_exported(row.model_id, {"onnx_fp32": onnx.to_json()})
    if deploy:
        registry.mark_validated(row.model_id, {}, "pass", [])
        row = registry.deploy(archetype, "combat_dqn", row.version)
    return row


def session_folder(pid: int) -> Path:
    for folder in Path(tempfile.gettempdir()).glob(f"{janitor.PREFIX}*"):
        owner = folder / janitor.OWNER_FILE
        if owner.exists() and json.loads(owner.read_text())["pid"] == pid:
            return folder
    raise AssertionError(f"no session folder of process {pid}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    foreign = tmp_path_factory.mktemp("foreign")
    for name in ("envs", "serve", "storage"):  # a project that has packages of our names
        (foreign / name).mkdir()
        (foreign / name / "__init__.py").write_text("raise ImportError('not ours')\n")
    owner = subprocess.Popen(["sleep", "600"])
    before = Path.cwd()
    with open_registry(StorageConfig(home)) as registry:
        add_version(home, registry, "tank", 2, True)
        add_version(home, registry, "mage", 5, True)
        os.chdir(foreign)
        try:
            handle = start_service(home, owner_pid=owner.pid)
        finally:
            os.chdir(before)
        try:
            with handle.client() as client:
                yield World(home, registry, handle, owner, session_folder(handle.pid), client)
        finally:
            handle.stop()
            owner.kill()
            owner.wait()


def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_it_is_ready_with_all_deployed_models(world: World) -> None:
    assert world.handle.models == 2
    assert world.client.health()["registry"] == "ok"
    assert [(m["archetype"], m["model_version"]) for m in world.client.models()] == [("mage", 1), ("tank", 1)]


def test_it_answers_observations_and_world_views(world: World) -> None:
    bare = world.client.decide_one(archetype="mage", observation=OBSERVATION)
    assert (bare["action"], bare["action_name"], bare["model_version"]) == (5, "offensive_skill", 1)
    view = WorldView.from_json(duel())
    orders, _ = combat_orders([view], [0])
    seen, other = world.client.decide(
        [
            {"archetype": "tank", "view": view, "unit": "t1"},
            {"archetype": "mage", "observation": OBSERVATION, "action_mask": [1] + [0] * 9, "explain": True},
        ]
    )
    assert seen["action"] == 2
    assert seen["order"]["target"] == "e1"
    assert orders[0, 2].tolist()  # the order is the contract's own, see test_protocol
    assert (other["action"], other["q_values"][1]) == (0, -1e4)


def raw(world: World, body: bytes) -> tuple[int, Any]:
    host, port = world.handle.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("POST", "/v1/decide", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        (b"{", 422, "body: not JSON"),
        (
            json.dumps({"archetype": "tank", "observation": [0.0] * 63}).encode(),
            422,
            "observation: expected 64",
        ),
        (
            b'{"archetype": "tank", "observation": [' + b"NaN," * 63 + b"NaN]}",
            422,
            "body: NaN is not a number",
        ),
        (b'{"archetype": "tnak", "observation": []}', 422, "unknown archetype 'tnak'; did you mean 'tank'?"),
        (
            json.dumps({"archetype": "support", "observation": OBSERVATION}).encode(),
            404,
            "no support/combat_dqn model is deployed",
        ),
        (b"x" * 3_000_000, 413, "body: 3000000 bytes are too many, at most 1048576"),
    ],
)
def test_bad_input_gets_one_line_and_the_service_goes_on(
    world: World, body: bytes, status: int, line: str
) -> None:
    seen, answer = raw(world, body)
    assert seen == status
    assert answer.keys() == {"error"}
    assert answer["error"].startswith(line)
    assert world.client.decide_one(archetype="tank", observation=OBSERVATION)["action"] == 2


def test_a_candidate_answers_by_its_version_only(world: World) -> None:
    row = world.add("tank", 8, deploy=False)
    loaded = world.client.load_candidate("tank", "combat_dqn", row.version)
    assert loaded["model_version"] == row.version == 2
    assert world.client.decide_one(archetype="tank", observation=OBSERVATION, version=2)["action"] == 8
    assert world.client.decide_one(archetype="tank", observation=OBSERVATION)["action"] == 2
    with pytest.raises(DecisionError, match="the registry has no version 99") as refused:
        world.client.load_candidate("tank", "combat_dqn", 99)
    assert refused.value.status == 404


def test_a_new_deployment_is_picked_up_without_a_restart(world: World) -> None:
    row = world.add("tank", 9)
    ask = {"archetype": "tank", "observation": OBSERVATION}
    assert until(lambda: world.client.decide_one(**ask)["model_version"] == row.version, 15)
    assert world.client.decide_one(**ask)["action"] == 9
    manifest = json.loads((world.home / "serve" / "manifest.json").read_text())
    assert {(m["archetype"], m["version"]) for m in manifest["models"]} == {("mage", 1), ("tank", 3)}


def test_it_listens_on_loopback_only(world: World) -> None:
    pids = [world.handle.pid, *janitor.session_processes(world.folder)]
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(os.readlink(descriptor))
            except OSError:
                continue
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                listening.append(fields[1].split(":")[0])
    assert len(listening) > 3
    # 127.0.0.1 as the kernel writes it: little endian words, the second one mapped into IPv6
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert set(listening) <= loopback


def test_its_folder_is_private(world: World) -> None:
    assert world.folder.stat().st_mode & 0o777 == 0o700


def test_a_port_in_use_is_one_clear_line(world: World, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"cannot listen on 127\.0\.0\.1:{port} .*another --port"):
            start_service(tmp_path, port=port)


def test_killing_the_owner_ends_everything_within_ten_seconds(world: World) -> None:
    assert world.handle.running
    world.owner.kill()
    world.owner.wait()
    assert until(lambda: not world.handle.running, 10)
    assert until(lambda: janitor.session_processes(world.folder) == [], 10)
    assert not world.folder.exists()
    with pytest.raises(DecisionError, match="does not answer"):
        world.client.health()
