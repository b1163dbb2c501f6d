"""The paths below `/v2`: metadata, readiness, and tensors in JSON and in binary."""

from __future__ import annotations

import asyncio
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage import ArtifactStore
from tests.serve.conftest import Stored
from tests.serve.test_web import Door, run
from tests.serve.tiny_onnx import counter

INFER = "/v2/models/mage-spatial_vit/infer"


@pytest.fixture
def door(tmp_path: Path, store: ArtifactStore, stored: Stored) -> Door:
    rows = [
        stored("tank", 3, action=2),
        stored("mage", 1, model_type="spatial_vit", content=counter()),
    ]
    return Door(tmp_path, store, rows, max_tensor_bytes=3000, max_requests=8)


def tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def asked(**changes: Any) -> dict[str, Any]:
    """Two rows for the counter; a change replaces an input, None leaves it out."""
    inputs = {
        "grid": tensor("grid", "UINT8", [2, 2, 2], [[[1, 1], [1, 1]], [[2, 2], [2, 2]]]),
        "kinds": tensor("kinds", "INT64", [2], [10, 20]),
        **changes,
    }
    return {"inputs": [value for value in inputs.values() if value is not None]}


def test_the_server_says_that_it_lives_and_what_it_speaks(door: Door) -> None:
    server, live, ready = run(door, ("GET", "/v2"), ("GET", "/v2/health/live"), ("GET", "/v2/health/ready"))
    assert server[:2] == (200, {"name": "mlmonster", "extensions": ["binary_tensor_data"]})
    assert live[:2] == (200, {"live": True}) and ready[:2] == (200, {"ready": True})


def test_a_model_describes_itself(door: Door) -> None:
    found, ready, missing = run(
        door,
        ("GET", "/v2/models/mage-spatial_vit"),
        ("GET", "/v2/models/tank-combat_dqn/versions/3/ready"),
        ("GET", "/v2/models/tank-combat_dqn/versions/4/ready"),
    )
    assert found[1] == {
        "name": "mage-spatial_vit",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "grid", "datatype": "UINT8", "shape": [-1, 2, 2]},
            {"name": "kinds", "datatype": "INT64", "shape": [-1]},
            {"name": "memory", "datatype": "FP32", "shape": [-1]},
        ],
        "outputs": [
            {"name": "total", "datatype": "FP32", "shape": [-1]},
            {"name": "next_memory", "datatype": "FP32", "shape": [-1]},
        ],
        "parameters": {"state": [["memory", "next_memory"]], "choice": None, "mask": None},
    }
    assert ready[:2] == (200, {"name": "tank-combat_dqn", "ready": True})
    assert missing[0] == 404 and missing[1]["ready"] is False


def test_tensors_in_json_come_flat_or_nested_and_state_starts_at_zero(door: Door) -> None:
    flat = asked(grid=tensor("grid", "UINT8", [2, 2, 2], [1, 1, 1, 1, 2, 2, 2, 2])) | {"id": "seven"}
    again = asked(memory=tensor("memory", "FP32", [2], [0.5, 100]))
    first, second, third = run(
        door,
        ("POST", INFER, asked()),
        ("POST", INFER, flat | {"outputs": [{"name": "total"}]}),
        ("POST", "/v2/models/mage-spatial_vit/versions/1/infer", again),
    )
    assert first[1] == {
        "model_name": "mage-spatial_vit",
        "model_version": "1",
        "outputs": [
            tensor("total", "FP32", [2], [14.0, 28.0]),
            tensor("next_memory", "FP32", [2], [14.0, 28.0]),
        ],
    }
    assert second[1]["id"] == "seven" and second[1]["outputs"] == first[1]["outputs"][:1]
    assert third[1]["outputs"][0]["data"] == [14.5, 128.0]


def test_tensors_in_binary(door: Door) -> None:
    def binary(name: str, datatype: str, size: int) -> dict[str, Any]:
        shape = [1, 2, 2] if name == "grid" else [1]
        return {
            "name": name,
            "datatype": datatype,
            "shape": shape,
            "parameters": {"binary_data_size": size},
        }

    request = {
        "inputs": [binary("kinds", "INT64", 8), binary("grid", "UINT8", 4), binary("memory", "FP32", 4)],
        "outputs": [{"name": "next_memory"}, {"name": "total", "parameters": {"binary_data": True}}],
    }
    head = json.dumps(request).encode()
    body = head + struct.pack("<q4Bf", -3, 1, 2, 3, 4, 0.25)
    length = (b"inference-header-content-length", str(len(head)).encode())

    async def live() -> tuple[int, bytes, dict[bytes, bytes]]:
        await door.watcher.look()
        return await door.exchange("POST", INFER, body, 3, [length])

    status, content, headers = asyncio.run(live())
    assert status == 200 and headers[b"content-type"] == b"application/octet-stream"
    end = int(headers[b"inference-header-content-length"])
    memory, total = json.loads(content[:end])["outputs"]
    assert memory["data"] == [7.25]
    assert total["parameters"] == {"binary_data_size": 4} and "data" not in total
    assert struct.unpack("<f", content[end:]) == (7.25,)


def test_a_mask_is_held_to_its_contract(door: Door) -> None:
    def request(mask: list[float]) -> dict[str, Any]:
        obs = tensor("obs", "FP32", [1, 64], [0.0] * 64)
        return {"inputs": [obs, tensor("action_mask", "FP32", [1, 10], mask)]}

    path = "/v2/models/tank-combat_dqn/infer"
    good, none, half = run(
        door,
        ("POST", path, request([1, 0, 1, 0, 0, 0, 0, 0, 0, 0])),
        ("POST", path, request([0] * 10)),
        ("POST", path, request([0.5] * 10)),
    )
    values, action = good[1]["outputs"]
    assert action == tensor("action", "INT64", [1], [2]) and values["data"][1] == -1e4
    assert none[0] == 422 and none[1]["error"].startswith("action_mask: at least one action must be legal")
    assert half[0] == 422 and half[1]["error"].startswith("action_mask: every value must be 0")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "inputs: expected a list"),
    ({"inputs": [1]}, "inputs: expected a list"),
    ({"inputs": [], "id": 3}, "id: expected a text"),
    ({"inputs": []}, "inputs: 'grid' is missing; this model takes grid, kinds"),
    (
        asked(kinds=tensor("kind", "INT64", [2], [1, 2])),
        "inputs: no input 'kind'; this model has grid, kinds",
    ),
    (asked(more=tensor("kinds", "INT64", [2], [1, 2])), "inputs: 'kinds' comes twice"),
    (asked(kinds=tensor("kinds", "FP32", [2], [1, 2])), "kinds: expected datatype INT64, got 'FP32'"),
    (asked(kinds=tensor("kinds", "INT64", [2, 1], [1, 2])), "kinds: expected shape [rows], got [2, 1]"),
    (asked(kinds=tensor("kinds", "INT64", [0], [])), "kinds: expected shape [rows], got [0]"),
    (asked(kinds=tensor("kinds", "INT64", [], [])), "kinds: expected shape [rows], got []"),
    (asked(kinds=tensor("kinds", "INT64", [True], [1])), "kinds: expected shape [rows], got [True]"),
    (asked(kinds=tensor("kinds", "INT64", [9], [0] * 9)), "kinds: 9 rows are too many for one request"),
    (asked(kinds=tensor("kinds", "INT64", [3], [1, 2, 3])), "inputs: different numbers of rows"),
    (
        asked(kinds=tensor("kinds", "INT64", [2], [1])),
        "kinds: data: expected 2 numbers, flat or nested as [2]",
    ),
    (asked(kinds=tensor("kinds", "INT64", [2], [1, 2.0])), "kinds: data: expected whole numbers only"),
    (asked(kinds=tensor("kinds", "INT64", [2], [1, True])), "kinds: data: expected whole numbers only"),
    (asked(kinds=tensor("kinds", "INT64", [2], [1, 2**63])), "kinds: data: a number is outside INT64"),
    (asked(kinds=tensor("kinds", "INT64", [2], "12")), "kinds: data: expected a list of numbers"),
    (asked(grid=tensor("grid", "UINT8", [2, 2, 2], [256] * 8)), "grid: data: a number is outside UINT8"),
    (
        asked(grid=tensor("grid", "UINT8", [2, 2, 2], [[[1, 1], [1]], [[2, 2], [2, 2]]])),
        "grid: data: expected 8 numbers, flat or nested as [2, 2, 2]",
    ),
    (asked(memory=tensor("memory", "FP32", [2], ["1", 2])), "memory: data: expected numbers only"),
    (asked(memory=tensor("memory", "FP32", [2], [1, 1e300])), "memory: value at [1] is inf"),
    (asked(memory=tensor("memory", "FP32", [2], [1, 10**400])), "memory: data: a number is outside FP32"),
    (
        asked(memory=tensor("memory", "FP32", [2], [1, 3e38])) | {"outputs": []},
        "outputs: expected a list of at",
    ),
    (asked() | {"outputs": [{"name": "sum"}]}, "outputs: no output 'sum'; this model has total, next_memory"),
    (
        asked() | {"parameters": {"binary_data_output": 1}},
        "request: binary_data_output: expected true or false",
    ),
    (asked() | {"parameters": []}, "request: parameters: expected an object"),
    (
        asked(kinds=tensor("kinds", "INT64", [2], [1, 2]) | {"parameters": {"binary_data_size": 16}}),
        "kinds: has both data and binary_data_size",
    ),
    (
        asked(
            kinds={"name": "kinds", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}}
        ),
        "kinds: INT64 [2] takes 16 bytes; binary_data_size is 16 and 0 are left in the body",
    ),
]


@pytest.mark.parametrize(("request_", "line"), WRONG)
def test_a_wrong_request_is_refused_in_one_line(door: Door, request_: dict[str, Any], line: str) -> None:
    refused, answered = run(door, ("POST", INFER, request_), ("POST", INFER, asked()))
    assert refused[0] == 422 and refused[1].keys() == {"error"}
    assert refused[1]["error"].startswith(line) and "\n" not in refused[1]["error"]
    assert answered[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "line"),
    [
        ("GET", INFER, 405, f"{INFER} answers POST only"),
        ("POST", "/v2/health/live", 405, "/v2/health/live answers GET only"),
        ("GET", "/v2/models", 404, "no such path"),
        ("GET", "/v2/models/tank-combat_dqn/version/3", 404, "no such path"),
        ("GET", "/v2/models/tank-combat_dqm", 404, "no model 'tank-combat_dqm'"),
        ("GET", "/v2/models/tank-combat_dqn/versions/x", 404, "version 'x': expected a version number"),
        ("GET", "/v2/models/tank-skill_dqn", 404, "no tank/skill_dqn model is deployed"),
        ("POST", "/v2/models/mage-spatial_vit/versions/2/infer", 404, "version 2 of mage/spatial_vit is not"),
    ],
)
def test_a_wrong_path(door: Door, method: str, path: str, status: int, line: str) -> None:
    ((seen, body, _),) = run(door, (method, path))
    assert seen == status and body["error"].startswith(line)


@pytest.mark.parametrize("length", [b"-1", b"x", b"99999", b"\xff", b"9" * 30])
def test_a_header_length_that_is_none_is_refused(door: Door, length: bytes) -> None:
    async def live() -> tuple[int, bytes, dict[bytes, bytes]]:
        await door.watcher.look()
        header = (b"inference-header-content-length", length)
        return await door.exchange("POST", INFER, asked(), headers=[header])

    status, content, _ = asyncio.run(live())
    assert status == 422 and json.loads(content)["error"].startswith("Inference-Header-Content-Length: ")


def test_a_body_over_the_limit_and_an_answer_beyond_all_numbers(door: Door) -> None:
    huge = np.finfo(np.float32).max.item()
    rows = asked(memory=tensor("memory", "FP32", [2], [huge, huge]))
    overflow = asked(
        memory=tensor("memory", "FP32", [2], [huge, huge]), kinds=tensor("kinds", "INT64", [2], [2**62] * 2)
    )
    big, fine, _ = run(door, ("POST", INFER, b" " * 3001), ("POST", INFER, rows), ("POST", INFER, overflow))
    assert big[0] == 413 and big[1]["error"].startswith("body: 3001 bytes are too many, at most 3000")
    assert fine[0] == 200
