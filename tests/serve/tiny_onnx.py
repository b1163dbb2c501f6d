"""Tiny ONNX minds with the inputs and outputs of an exported combat_dqn, in a known arithmetic."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def tiny_mind(bias: np.ndarray, broken: str = "") -> bytes:
    """Return an ONNX file: q = 0.01 * obs[:10] + bias, illegal actions -1e4, action = argmax.

    Args:
        bias: ten numbers; the largest legal one decides, since |0.01 * obs| <= 0.02.
        broken: "nan" for q values that are not numbers, "argmin" for wrong actions, "name" for a wrong input.
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
        numpy_helper.from_array(np.array(-1e4, np.float32), "illegal"),
    ]
    nodes = [
        helper.make_node("Gemm", [obs, "weights", "bias"], ["raw"]),
        helper.make_node("Greater", ["action_mask", "half"], ["legal"]),
        helper.make_node("Where", ["legal", "raw", "illegal"], ["q_values"]),
        helper.make_node(
            "ArgMin" if broken == "argmin" else "ArgMax", ["q_values"], ["action"], axis=1, keepdims=0
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(obs, TensorProto.FLOAT, ["batch", 64]),
            helper.make_tensor_value_info("action_mask", TensorProto.FLOAT, ["batch", 10]),
        ],
        [
            helper.make_tensor_value_info("q_values", TensorProto.FLOAT, ["batch", 10]),
            helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def favourite(action: int) -> np.ndarray:
    """Return a bias under which a mind takes `action` wherever it is legal, else the lowest legal one."""
    bias = -0.1 * np.arange(10, dtype=np.float32)
    bias[action] = 1.0
    return bias
