"""Packs: the client carries what their minds remember, and cannot change it."""

from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve.pack import PackStates
from serve.protocol import RequestError
from serve.signature import Port, Signature
from storage import ArtifactStore
from tests.serve.conftest import Stored
from tests.serve.test_web import Door, run
from tests.serve.tiny_onnx import tiny_pack
from tests.serve.views import duel

SHA = "ab" * 32
SIGNATURE = Signature(
    {name: Port(name, (2, 3), np.dtype(np.float32)) for name in ("h", "c")},
    {},
    {"h": "next_h", "c": "next_c"},
)
PACK: dict[str, Any] = {
    "archetype": "tank",
    "model_type": "team_coordination",
    "view": duel(),
    "units": ["t1"],
}


@pytest.fixture
def door(tmp_path: Path, store: ArtifactStore, stored: Stored) -> Door:
    return Door(tmp_path, store, [stored("tank", 4, model_type="team_coordination", content=tiny_pack())])


def test_a_pack_decides_and_remembers(door: Door) -> None:
    request, steps = dict(PACK), []
    for _ in range(3):
        ((status, body, _),) = run(door, ("POST", "/v1/decide", request))
        assert status == 200
        request["state"] = body["state"]
        steps.append(body)
    assert [body["state_step"] for body in steps] == [1, 2, 3]
    assert [body["decisions"][0]["action_name"] for body in steps] == ["free", "free", "focus_0"]
    assert steps[2]["model_version"] == 4
    assert steps[2]["decisions"] == [
        {"unit": "t1", "action": 1, "action_name": "focus_0", "order": {"kind": "script", "target": "e1"}}
    ]
    # Another pack's first decision is not touched by it, and an old state goes on from where it was.
    again, other = run(
        door, ("POST", "/v1/decide", {**PACK, "state": steps[1]["state"]}), ("POST", "/v1/decide", PACK)
    )
    assert again[1]["decisions"] == steps[2]["decisions"] and other[1]["state_step"] == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"units": []}, "units: expected a list of 1 to 5 ids"),
        ({"units": "t1"}, "units: expected a list of 1 to 5 ids"),
        ({"units": [["t1"]]}, "units: every one must be the id"),
        ({"units": ["t9"]}, "view: no unit 't9'"),
        ({"units": ["t1", "t1"]}, "units: a member stands in the list twice"),
        ({"units": ["t1", "e1"]}, "units: the members of a pack must be of one team"),
        ({"unit": "t1"}, "unknown key 'unit'; a pack's request has archetype"),
        ({"view": 3}, "view: expected an object"),
        ({"state": 3}, "state: expected the text of the last answer"),
        ({"state": "no!"}, "state: not base64"),
        ({"state": ""}, "state: this service did not write it"),
        ({"state": base64.b64encode(bytes(200)).decode()}, "state: this service did not write it"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(door: Door, changes: dict[str, Any], line: str) -> None:
    refused, answered = run(door, ("POST", "/v1/decide", PACK | changes), ("POST", "/v1/decide", PACK))
    assert refused[0] == 422 and refused[1]["error"].startswith(line) and "\n" not in refused[1]["error"]
    assert answered[0] == 200


def carried() -> dict[str, np.ndarray]:
    return {"h": np.arange(12, dtype=np.float32).reshape(2, 2, 3), "c": np.full((2, 2, 3), 0.1, np.float32)}


def test_a_state_comes_back_as_it_was_also_after_a_restart(tmp_path: Path) -> None:
    key = tmp_path / "serve" / "state.key"
    text = PackStates(key).write(SHA, ["a", 7], 9, carried(), SIGNATURE)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and len(list(key.parent.iterdir())) == 1
    step, state = PackStates(key).read(text, SHA, ["a", 7], SIGNATURE)
    assert step == 9 and all((state[name] == values).all() for name, values in carried().items())


def test_a_state_that_was_changed_anywhere_is_refused(tmp_path: Path) -> None:
    states = PackStates(tmp_path / "state.key")
    raw = base64.b64decode(states.write(SHA, ["a", 7], 9, carried(), SIGNATURE))
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(RequestError, match="changed on the way") as refused:
            states.read(base64.b64encode(changed).decode(), SHA, ["a", 7], SIGNATURE)
        assert refused.value.status == 422
    with pytest.raises(RequestError, match="changed on the way"):
        PackStates(tmp_path / "other.key").read(base64.b64encode(raw).decode(), SHA, ["a", 7], SIGNATURE)


def test_a_state_of_another_pack_or_model_is_refused(tmp_path: Path) -> None:
    states = PackStates(tmp_path / "state.key")
    text = states.write(SHA, ["a", "b"], 1, carried(), SIGNATURE)
    with pytest.raises(RequestError, match="belongs to another pack"):
        states.read(text, SHA, ["b", "a"], SIGNATURE)
    with pytest.raises(RequestError, match="another version of the model") as refused:
        states.read(text, "cd" * 32, ["a", "b"], SIGNATURE)
    assert refused.value.status == 409
