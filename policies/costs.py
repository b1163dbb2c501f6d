"""What each model type costs: parameters, bytes, operations, latency on a CPU, memory to train."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.configuration import to_plain
from policies.inference import flops_per_decision, served_parameters
from policies.model_types import build_network, model_type
from policies.profiles import load_profile, profile_values

BATCHES = (1, 8, 64)
FP32_BYTES, FP16_BYTES = 4, 2
ADAM_COPIES = 4
"""Float32 numbers per trained parameter: weight, gradient and two moments of Adam."""
PROBE_ROWS = 8
"""Rows whose kept activations are counted; the batch needs as many times more as it is larger."""


@dataclasses.dataclass(frozen=True)
class Costs:
    """Costs of one model type at one profile.

    Attributes:
        model_type: its name.
        profile: demo, small or full.
        parameters: that are served.
        trained_parameters: with critics and heads that are needed to learn only.
        fp32_bytes: of the served weights; fp16_bytes likewise.
        flops: operations of one decision, a multiply and an add count as two.
        latency_ms: median time of a call on one thread, by batch size; empty if not measured.
        training_rows: rows that go through the network at a time when it learns.
        activation_bytes: kept for the backward pass of so many rows, float32.
        training_bytes: weights, gradients, moments, copies of target networks, and activations.
    """

    model_type: str
    profile: str
    parameters: int
    trained_parameters: int
    fp32_bytes: int
    fp16_bytes: int
    flops: int
    latency_ms: dict[int, float]
    training_rows: int
    activation_bytes: int
    training_bytes: int


def measure(
    name: str, profile: str, *, latency: bool = True, seconds: float = 0.3, repeats: int = 3
) -> Costs:
    """Build a model type and measure what it costs.

    Args:
        name: Of the model type.
        profile: demo, small or full.
        latency: Trace the inference form and time it with ONNX Runtime on one thread.
        seconds: Of calls per batch size and repeat.
        repeats: Of which the median is taken.

    Raises:
        ConfigError: No such type or profile.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(name, profile_values(name, profile)[0]["model"])
    served = sum(value.numel() for value in served_parameters(network).values())
    trained = sum(parameter.numel() for parameter in network.parameters())
    rows = rows_at_a_time(name, profile)
    activations = activation_bytes(network, PROBE_ROWS) * rows // PROBE_ROWS
    copies = trained * copies_of(name)
    return Costs(
        name,
        profile,
        served,
        trained,
        served * FP32_BYTES,
        served * FP16_BYTES,
        flops_per_decision(network),
        latency_ms(network, seconds, repeats) if latency else {},
        rows,
        activations,
        copies * FP32_BYTES + activations,
    )


def rows_at_a_time(name: str, profile: str) -> int:
    """Rows of one pass when a type learns: decisions, sequences of members, or fights."""
    kind = model_type(name)
    if kind.algorithm == "supervised":
        from policies.perception.profiles import resolve_perception_run

        training = resolve_perception_run(name, "tank", profile=profile)["training"]
    else:
        training = to_plain(load_profile(name, profile)["training"])
    return rows_of(kind.algorithm, training)


def rows_of(algorithm: str, training: Mapping[str, Any]) -> int:
    """Rows of one pass of a run.

    Args:
        algorithm: What its type learns by.
        training: Its resolved settings of training.
    """
    if algorithm == "team_ppo":
        rows = training["minibatch_size"] // training["sequence_length"]
    else:
        rows = training.get("minibatch_size") or training["batch_size"]
    return max(1, int(rows) // int(training.get("accumulate", 1)))


def network_memory(name: str, shape: Mapping[str, Any]) -> tuple[int, int, int]:
    """Bytes of weights to moments, bytes kept per row for the backward pass, and operations of a decision.

    Args:
        name: Of the model type.
        shape: Configuration of its network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(name, shape)
    trained = sum(parameter.numel() for parameter in network.parameters())
    kept = activation_bytes(network, PROBE_ROWS) // PROBE_ROWS
    return trained * copies_of(name) * FP32_BYTES, kept, flops_per_decision(network)


def copies_of(name: str) -> int:
    """Float32 numbers per trained parameter: those of Adam, and of a target network where there is one."""
    return ADAM_COPIES + (model_type(name).algorithm in ("dqn", "sac"))


def activation_bytes(network: Any, rows: int) -> int:
    """Bytes that autograd keeps for the backward pass of so many rows, weights left out.

    A network whose training pass is another one than its inference form has `training_pass(rows)`, which
    gives a tensor to go back from.
    """
    pass_: Callable[[int], Tensor] | None = getattr(network, "training_pass", None)
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if pass_ is not None:
            total = pass_(rows)
        else:
            outputs = network.inference_form()(*network.example_inputs(rows))
            total = summed(outputs)
    total.backward()
    network.zero_grad(set_to_none=True)
    return sum(kept.values())


def summed(outputs: Any) -> Tensor:
    """The sum of all outputs that have a gradient."""
    if isinstance(outputs, Tensor):
        return outputs.float().sum()
    values = outputs.values() if isinstance(outputs, Mapping) else outputs
    parts = [value.float().sum() for value in values if value.requires_grad]
    return torch.stack(parts).sum()


def latency_ms(network: Any, seconds: float, repeats: int) -> dict[int, float]:
    """Median milliseconds of a call of the exported float32 form on one thread, by batch size."""
    import onnxruntime

    from policies.graphs import fp32_graph

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        fp32_graph(network).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = network.signature().input_names
    found = {}
    for batch in BATCHES:
        inputs = {
            name: np.ascontiguousarray(value.numpy())
            for name, value in zip(names, network.example_inputs(batch), strict=True)
        }
        session.run(None, inputs)
        times = []
        for _ in range(repeats):
            calls, started = 0, time.perf_counter()
            while (spent := time.perf_counter() - started) < seconds:
                session.run(None, inputs)
                calls += 1
            times.append(1000.0 * spent / calls)
        found[batch] = statistics.median(times)
    return found
