"""ONNX graphs of inference forms: traced once per shape of network, filled with weights, halved.

Tracing costs seconds and does not depend on the weights, so one trace serves the six archetypes. It is made
with placeholder weights that are all different: whatever place the exporter puts a weight, turned or not, is
found again by its numbers.
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
import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
from onnxconverter_common import float16

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


class GraphError(RuntimeError):
    """A graph that cannot hold a network's weights; its text names them."""


def fp32_graph(network: Any) -> ModelProto:
    """The inference form of a network as ONNX, float32.

    Raises:
        GraphError: The exporter left no place for some weights.
    """
    config = json.dumps(to_plain(network.config), sort_keys=True)
    traced, places = _traced(type_of(network), config)
    proto = onnx.load_model_from_string(traced)
    weights = {name: value.detach().cpu().numpy() for name, value in served_parameters(network).items()}
    for initializer in proto.graph.initializer:
        if initializer.name not in places:
            continue
        name, axes, shape = places[initializer.name]
        values = np.ascontiguousarray(weights[name].transpose(axes).reshape(shape))
        # Cleared first: a tensor may hold its numbers in another field than the one that from_array fills.
        initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def fp16_graph(proto: ModelProto, whole: tuple[str, ...]) -> ModelProto:
    """A float32 graph with its large products in float16, float32 outside.

    Args:
        proto: From `fp32_graph`; left untouched.
        whole: Weights, by the beginnings of their names in the network, whose layers stay float32.

    Raises:
        ValueError: The graph cannot be halved.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    keep = _whole_nodes(copy.graph, tuple(WEIGHT_PREFIX + name for name in whole))
    with _quiet():
        halved: ModelProto = float16.convert_float_to_float16(
            copy, keep_io_types=True, node_block_list=keep, op_block_list=[]
        )
    _drop_round_trips(halved)
    for value in (*halved.graph.input, *halved.graph.output):
        assert value.type.tensor_type.elem_type != TensorProto.FLOAT16, value.name
    onnx.checker.check_model(halved, full_check=True)
    return halved


def forget_traces() -> None:
    """Trace anew from now on."""
    _traced.cache_clear()


Places = dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]]
"""Initializer -> (weight, order of its axes, shape)."""


@functools.lru_cache(maxsize=32)
def _traced(model_type: str, config: str) -> tuple[bytes, Places]:
    """Trace a network of this shape, and find where its weights went. Serialized, so that no one changes
    it."""
    with torch.random.fork_rng(devices=[]):
        network = build_network(model_type, json.loads(config)).eval()
    # All different and none zero or one: the exporter folds zero biases away and merges equal tensors, and
    # with them goes the place for the real ones. Positive, because a variance or temperature may be among
    # them.
    generator = torch.Generator().manual_seed(0)
    state = network.state_dict()
    with torch.no_grad():
        for value in state.values():
            if value.dtype.is_floating_point:
                value.copy_(torch.rand(value.shape, generator=generator) + 0.01)
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
            verbose=False,
        )
    assert program is not None
    proto = ModelProto()
    proto.CopyFrom(program.model_proto)
    _strip(proto, model_type)
    return proto.SerializeToString(deterministic=True), _places(proto, network)


def _places(proto: ModelProto, network: Any) -> Places:
    """Where each served weight lies in a graph that was traced with placeholders."""
    weights = {
        name: value.numpy()
        for name, value in served_parameters(network).items()
        if value.dtype.is_floating_point
    }
    by_content: dict[tuple[int, float], list[str]] = {}
    for name, value in weights.items():
        by_content.setdefault(_mark(value), []).append(name)
    places: Places = {}
    for initializer in proto.graph.initializer:
        if initializer.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(initializer)
        for name in by_content.get(_mark(values), []):
            axes = _turned(weights[name], values)
            if axes is not None:
                places[initializer.name] = (name, axes, values.shape)
                break
    missing = sorted(weights.keys() - {name for name, _, _ in places.values()})
    if missing:
        raise GraphError(
            f"the traced graph has no place for the weights {', '.join(missing)}: they are not served "
            "(leave them out by `served_prefixes`), or the exporter computed with them while it traced"
        )
    return places


def _mark(values: np.ndarray) -> tuple[int, float]:
    """Equal for the same numbers in another order."""
    return values.size, float(np.sort(values, axis=None).astype(np.float64) @ np.arange(1, values.size + 1))


def _turned(weight: np.ndarray, values: np.ndarray) -> tuple[int, ...] | None:
    """The order of axes in which a weight has these numbers; None if in no order."""
    orders = {tuple(range(weight.ndim)), tuple(reversed(range(weight.ndim)))}
    for first in range(weight.ndim - 1):
        swapped = list(range(weight.ndim))
        swapped[first], swapped[first + 1] = swapped[first + 1], swapped[first]
        orders.add(tuple(swapped))
    for axes in sorted(orders):
        if np.array_equal(weight.transpose(axes).reshape(values.shape), values):
            return axes
    return None


def _whole_nodes(graph: GraphProto, prefixes: tuple[str, ...]) -> list[str]:
    """Names of the nodes that stay float32: those of the given weights, those of exact operators, and
    everything behind the last product that is halved."""
    for number, node in enumerate(graph.node):
        node.name = node.name or f"node_{number}"
    producers = {name: node for node in graph.node for name in node.output}
    weights = {initializer.name for initializer in graph.initializer}
    whole_weights = {name for name in weights if prefixes and name.startswith(prefixes)}
    keep = {
        node.name
        for node in graph.node
        if node.op_type in WHOLE_OPERATORS or whole_weights.intersection(node.input)
    }
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
    return sorted(keep)


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


def _drop_round_trips(proto: ModelProto) -> None:
    """Join float32 nodes directly: the converter casts to float16 and back between any two of them."""
    graph = proto.graph
    outputs = {output.name: output for output in graph.output}
    for last in [
        node for node in graph.node if _casts_to(node, TensorProto.FLOAT16) and node.output[0] in outputs
    ]:
        # A float32 node gives this output; the converter halves it at the door all the same.
        outputs[last.output[0]].type.tensor_type.elem_type = TensorProto.FLOAT
        for node in graph.node:
            node.output[:] = [last.output[0] if name == last.input[0] else name for name in node.output]
            node.input[:] = [last.output[0] if name == last.input[0] else name for name in node.input]
        graph.node.remove(last)
    consumers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    dropped: list[NodeProto] = []
    for down in graph.node:
        if not _casts_to(down, TensorProto.FLOAT16):
            continue
        ups = consumers.get(down.output[0], [])
        back = [up for up in ups if _casts_to(up, TensorProto.FLOAT) and up.output[0] not in outputs]
        for up in back:
            for node in consumers.get(up.output[0], []):
                node.input[:] = [down.input[0] if name == up.output[0] else name for name in node.input]
        dropped += back
        if ups and len(back) == len(ups):
            dropped.append(down)
    for node in dropped:
        graph.node.remove(node)


def _casts_to(node: NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and any(
        attribute.name == "to" and attribute.i == kind for attribute in node.attribute
    )


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
