"""Tiny ONNX minds with the inputs and outputs of exported ones, in a known arithmetic."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

Port = tuple[str, int, tuple[int, ...]]


def made(
    model_type: str,
    nodes: Sequence[NodeProto],
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    constants: Sequence[TensorProto],
    manifest: Mapping[str, Any],
) -> bytes:
    """Return an ONNX file with its manifest.

    Args:
        model_type: that the manifest names.
        nodes: of the graph.
        inputs: name, ONNX type and shape behind the batch axis.
        outputs: likewise.
        constants: of the graph.
        manifest: entries that differ, or that these do not have.
    """

    def infos(ports: Sequence[Port]) -> list[Any]:
        return [helper.make_tensor_value_info(name, kind, ["batch", *shape]) for name, kind, shape in ports]

    graph = helper.make_graph(nodes, "tiny", infos(inputs), infos(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    said = {
        "model_type": model_type,
        "inputs": {name: ["batch", *shape] for name, _, shape in inputs},
        "outputs": {name: ["batch", *shape] for name, _, shape in outputs},
        "state": [],
        "choice": None,
        "flops_per_decision": 1000,
        **manifest,
    }
    model.metadata_props.add(key="manifest", value=json.dumps(said))
    return bytes(model.SerializeToString())


def tiny_mind(bias: np.ndarray, broken: str = "") -> bytes:
    """Return an ONNX file: q = 0.01 * obs[:10] + bias, illegal actions -1e4, action = argmax.

    Args:
        bias: ten numbers; the largest legal one decides, since |0.01 * obs| <= 0.02.
        broken: "nan" for q values that are not numbers, "argmin" for wrong actions, "name" for a wrong input,
            "type" for a manifest of another type, "shape" for one that differs from the graph, "old" for the
            manifest of a release that did not name the mask, "leak" for illegal values of their own.
    """
    weights = np.zeros((64, 10), np.float32)
    weights[:10] = 0.01 * np.eye(10, dtype=np.float32)
    bias = np.asarray(bias, np.float32)
    if broken == "nan":
        bias = np.full(10, np.nan, np.float32)
    obs = "state" if broken == "name" else "obs"
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(bias, "bias"),
        numpy_helper.from_array(np.array(0.5, np.float32), "half"),
        numpy_helper.from_array(np.array(-9e3 if broken == "leak" else -1e4, np.float32), "illegal"),
    ]
    nodes = [
        helper.make_node("Gemm", [obs, "weights", "bias"], ["raw"]),
        helper.make_node("Greater", ["action_mask", "half"], ["legal"]),
        helper.make_node("Where", ["legal", "raw", "illegal"], ["q_values"]),
        helper.make_node(
            "ArgMin" if broken == "argmin" else "ArgMax", ["q_values"], ["action"], axis=1, keepdims=0
        ),
    ]
    changed: dict[str, Any] = {"choice": "action"}
    if broken != "old":
        changed |= {"mask": ["action_mask", "q_values"], "illegal": -1e4}
    if broken == "shape":
        changed["inputs"] = {"obs": ["batch", 63], "action_mask": ["batch", 10]}
    return made(
        "skill_dqn" if broken == "type" else "combat_dqn",
        nodes,
        [(obs, TensorProto.FLOAT, (64,)), ("action_mask", TensorProto.FLOAT, (10,))],
        [("q_values", TensorProto.FLOAT, (10,)), ("action", TensorProto.INT64, ())],
        constants,
        changed,
    )


def counter() -> bytes:
    """Return a mind that remembers: `total` is the sum of all `kinds` and `grid` pixels that it was shown.

    It is called a spatial_vit; a type that perceives may take whatever its manifest says.
    """
    return made(
        "spatial_vit",
        [
            helper.make_node("Cast", ["grid"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["kinds"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["pixels", "axes"], ["seen"], keepdims=0),
            helper.make_node("Add", ["seen", "numbers"], ["now"]),
            helper.make_node("Add", ["now", "memory"], ["next_memory"]),
            helper.make_node("Identity", ["next_memory"], ["total"]),
        ],
        [
            ("grid", TensorProto.UINT8, (2, 2)),
            ("kinds", TensorProto.INT64, ()),
            ("memory", TensorProto.FLOAT, ()),
        ],
        [("total", TensorProto.FLOAT, ()), ("next_memory", TensorProto.FLOAT, ())],
        [numpy_helper.from_array(np.array([1, 2], np.int64), "axes")],
        {"mask": None, "state": [["memory", "next_memory"]]},
    )


def tiny_pack() -> bytes:
    """Return a mind of a pack: it takes order 0 at first and, if legal, order 1 from its third decision on.

    Its memory `state_h` counts decisions.
    """
    constants = [
        numpy_helper.from_array(np.array([[1.0]], np.float32), "one"),
        numpy_helper.from_array(np.array([[0, 0.3, 0, 0, 0, 0, 0, 0]], np.float32), "gain"),
        numpy_helper.from_array(np.array([[0.8, 0.1, 0, 0, 0, 0, 0, 0]], np.float32), "start"),
    ]
    nodes = [
        helper.make_node("Add", ["state_h", "one"], ["next_h"]),
        helper.make_node("MatMul", ["next_h", "gain"], ["grown"]),
        helper.make_node("Add", ["grown", "start"], ["raw"]),
        helper.make_node("Mul", ["raw", "action_mask"], ["probabilities"]),
        helper.make_node("ArgMax", ["probabilities"], ["action"], axis=1, keepdims=0),
        helper.make_node("Identity", ["local"], ["seen"]),
    ]
    number = TensorProto.FLOAT
    return made(
        "team_coordination",
        nodes,
        [("local", number, (70,)), ("action_mask", number, (8,)), ("state_h", number, (1,))],
        [
            ("probabilities", number, (8,)),
            ("action", TensorProto.INT64, ()),
            ("next_h", number, (1,)),
            ("seen", number, (70,)),
        ],
        constants,
        {
            "state": [["state_h", "next_h"]],
            "choice": "action",
            "mask": ["action_mask", "probabilities"],
            "illegal": 0.0,
        },
    )


def favourite(action: int) -> np.ndarray:
    """Return a bias under which a mind takes `action` wherever it is legal, else the lowest legal one."""
    bias = -0.1 * np.arange(10, dtype=np.float32)
    bias[action] = 1.0
    return bias
