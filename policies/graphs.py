"""ONNX graphs of inference forms: traced once per shape of network, filled with weights, halved.

Tracing costs seconds and does not depend on the weights, so one trace serves the six archetypes. While the
graph is simplified the weights are inputs of it: nothing is computed from them or merged with them, and each
finds its place again by its name. (What can be computed from weights alone, ONNX Runtime computes once when
it loads the file.)
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
import onnxscript.optimizer
import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from envs.configuration import to_plain
from policies.inference import served_parameters
from policies.model_types import build_network, type_of

OPSET = 20
WEIGHT_PREFIX = "network."
"""Prefix of a network's weights inside the inference form and in the file."""
WHOLE_OPERATORS = (
    "ArgMax",
    "Cast",
    "Clip",
    "CumSum",
    "Div",
    "Equal",
    "Exp",
    "Gather",
    "Greater",
    "LayerNormalization",
    "Less",
    "Log",
    "Pow",
    "Range",
    "ReduceMean",
    "ReduceSum",
    "Reciprocal",
    "Softmax",
    "Softplus",
    "Sqrt",
    "Where",
)
"""Operators that stay float32: sums of many numbers, exponentials, and choices among close values."""


MOVES = ("Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that compute nothing."""


class GraphError(RuntimeError):
    """A graph that cannot hold a network's weights; its text names them."""


def fp32_graph(network: Any) -> ModelProto:
    """The inference form of a network as ONNX, float32.

    Raises:
        GraphError: The exporter left no place for some weights.
    """
    config = json.dumps(to_plain(network.config), sort_keys=True)
    proto = onnx.load_model_from_string(_traced(type_of(network), config))
    for name, value in sorted(served_parameters(network).items()):
        if value.dtype.is_floating_point:
            values = np.ascontiguousarray(value.detach().cpu().numpy())
            proto.graph.initializer.append(numpy_helper.from_array(values, WEIGHT_PREFIX + name))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def fp16_graph(proto: ModelProto, whole: tuple[str, ...]) -> ModelProto:
    """A float32 graph with its large products in float16, float32 outside.

    Each node is either halved or whole; numbers are cast where one kind meets the other, once. (The converter
    of onnxconverter-common casts back and forth between any two whole nodes, and mistakes the types of graphs
    with many of them.)

    Args:
        proto: From `fp32_graph`; left untouched.
        whole: Weights, by the beginnings of their names in the network, whose layers stay float32.
    """
    typed = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    floats = {
        value.name
        for value in (*typed.graph.value_info, *typed.graph.input, *typed.graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    half = ModelProto()
    half.CopyFrom(proto)
    graph = half.graph
    weights = {one.name: one for one in graph.initializer if one.data_type == TensorProto.FLOAT}
    keep = _whole_nodes(graph, tuple(WEIGHT_PREFIX + name for name in whole))
    halved: set[str] = set()  # numbers that are float16 where they are made
    casts: dict[tuple[str, int], str] = {}
    nodes: list[NodeProto] = []

    def as_type(name: str, kind: int) -> str:
        """The name of the same numbers in another format."""
        if (name, kind) not in casts:
            casts[name, kind] = f"{name}.{'half' if kind == TensorProto.FLOAT16 else 'whole'}"
            if name in weights:
                # Too large a weight becomes infinite; the file is refused when it is compared with torch.
                with np.errstate(over="ignore"):
                    values = numpy_helper.to_array(weights[name]).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(values, casts[name, kind]))
            else:
                nodes.append(onnx.helper.make_node("Cast", [name], [casts[name, kind]], to=kind))
        return casts[name, kind]

    for node in proto.graph.node:
        copy = NodeProto()
        copy.CopyFrom(node)
        wanted = TensorProto.FLOAT if node.name in keep else TensorProto.FLOAT16
        for place, name in enumerate(node.input):
            has = TensorProto.FLOAT16 if name in halved else TensorProto.FLOAT
            if has != wanted and (name in floats or name in weights):
                copy.input[place] = as_type(name, wanted)
        if wanted == TensorProto.FLOAT16:
            halved.update(name for name in node.output if name in floats)
        nodes.append(copy)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    left = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(left)
    onnx.checker.check_model(half, full_check=True)
    return half


def forget_traces() -> None:
    """Trace anew from now on."""
    _traced.cache_clear()


@functools.lru_cache(maxsize=32)
def _traced(model_type: str, config: str) -> bytes:
    """Trace a network of this shape, without its weights. Serialized, so that no one changes it."""
    with torch.random.fork_rng(devices=[]):
        network = build_network(model_type, json.loads(config)).eval()
    signature = network.signature()
    batch = torch.export.Dim("batch")
    with _quiet(), _private_compiler_cache():
        program = torch.onnx.export(
            network.inference_form(),
            network.example_inputs(3),
            dynamo=True,
            input_names=list(signature.input_names),
            output_names=list(signature.output_names),
            dynamic_shapes=tuple({0: batch} for _ in signature.inputs),
            external_data=False,
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
        assert program is not None
        proto = ModelProto()
        proto.CopyFrom(program.model_proto)
        weights = {
            WEIGHT_PREFIX + name
            for name, value in served_parameters(network).items()
            if value.dtype.is_floating_point
        }
        _open(proto.graph, weights)
        proto = onnxscript.optimizer.optimize(proto, input_size_limit=1 << 20, output_size_limit=1 << 20)
    kept = [value for value in proto.graph.input if value.name not in weights]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    _strip(proto, model_type)
    return proto.SerializeToString(deterministic=True)


def _open(graph: GraphProto, weights: set[str]) -> None:
    """Make inputs of the weights.

    Raises:
        GraphError: The exporter fixed the batch size, or left no place for some of them.
    """
    for value in graph.input:
        if value.name not in weights and not value.type.tensor_type.shape.dim[0].dim_param:
            raise GraphError(
                f"the traced graph has a fixed batch of '{value.name}': something in the inference form "
                "depends on the number of rows; torch.export.export says what"
            )
    found = {one.name: one for one in graph.initializer if one.name in weights}
    missing = sorted(name.removeprefix(WEIGHT_PREFIX) for name in weights - set(found))
    if missing:
        raise GraphError(
            f"the traced graph has no place for the weights {', '.join(missing)}; if they are not served, "
            "leave them out by `served_prefixes`"
        )
    rest = [one for one in graph.initializer if one.name not in weights]
    del graph.initializer[:]
    graph.initializer.extend(rest)
    # Some exporters list weights as inputs too.
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    for name, one in found.items():
        graph.input.append(onnx.helper.make_tensor_value_info(name, one.data_type, list(one.dims)))


def _whole_nodes(graph: GraphProto, prefixes: tuple[str, ...]) -> set[str]:
    """Names of the nodes that stay float32: those of the given weights, those of exact operators, and
    everything behind the last product that is halved."""
    producers = {name: node for node in graph.node for name in node.output}
    constant = {initializer.name for initializer in graph.initializer}
    whole = {name for name in constant if prefixes and name.startswith(prefixes)}
    keep: set[str] = set()
    for node in graph.node:
        if node.op_type in WHOLE_OPERATORS or whole.intersection(node.input):
            keep.add(node.name)
        if constant.issuperset(node.input):
            # A weight that is only turned is still that weight; what is computed from weights once, when the
            # file is loaded, costs nothing in float32.
            constant.update(node.output)
            if node.op_type not in MOVES:
                keep.add(node.name)
            if whole.intersection(node.input):
                whole.update(node.output)
    products = {"MatMul", "Gemm", "Conv"}
    # From the outputs back until a product that is halved.
    open_names = [output.name for output in graph.output]
    seen: set[str] = set()
    while open_names:
        node = producers.get(open_names.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type in products and node.name not in keep:
            continue
        keep.add(node.name)
        open_names += node.input
    return keep


def _strip(proto: ModelProto, name: str) -> None:
    """Drop the tracer's notes: stack traces hold this machine's paths and make equal weights unequal
    files."""
    graph = proto.graph
    del proto.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    proto.doc_string = graph.doc_string = ""
    graph.name = name
    for number, node in enumerate(graph.node):
        node.name = node.name or f"node_{number}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter about optional packages and axis names away from people."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)


@contextlib.contextmanager
def _private_compiler_cache() -> Iterator[None]:
    """Let torch's compiler, which tracing loads, make its cache where it is removed at once.

    It would otherwise leave a folder of its own in the temporary folder, although nothing is compiled.
    """
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    with tempfile.TemporaryDirectory(prefix="trace-") as folder:
        os.environ[name] = before or folder
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(name, None)
