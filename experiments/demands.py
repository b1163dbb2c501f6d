"""What a run needs: memory, a share of a device, CPUs and time; the numbers stand in ``shares.yaml``.

On a device a run's share is the larger of its memory over the device's and of one over its knee, the number
of runs like it beyond which a device does no more work per second; it is rounded up to a share class, because
Tune reuses a process for runs with the same resource request only.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import UsageError
from experiments.ledger import Ledger
from experiments.matrix import STAGES, Run

GIGABYTE = 1e9


@dataclass(frozen=True)
class Demand:
    """What one run needs.

    Attributes:
        run_id: Of the run.
        archetype: Its name.
        model_type: Its name.
        stage: core, advanced or coordination.
        share: Of one GPU, a share class; 0 for a run that is not packed onto GPUs.
        cpus: CPUs of the run's own process and of its helpers.
        memory_bytes: Expected peak: on the GPU where it trains there, else of the run's process.
        seconds: Expected time, alone at its share.
        on_gpu: Whether it trains on a GPU, so that the memory is a GPU's.
        after: Id of the run that has to be finished first; None if it needs no other.
        source: Where the time comes from: ``measured`` (the table, whole runs of this size), ``estimated``
            (the table, extrapolated or guessed), ``ledger`` (earlier runs of this home) or ``computed``
            (operations over an assumed throughput).
    """

    run_id: str
    archetype: str
    model_type: str
    stage: str
    share: float
    cpus: int
    memory_bytes: float
    seconds: float
    source: str
    on_gpu: bool = False
    after: str | None = None


@functools.cache
def table() -> dict[str, Any]:
    """The numbers of ``shares.yaml``.

    Raises:
        UsageError: The file is damaged.
    """
    import yaml

    path = Path(__file__).with_name("shares.yaml")
    try:
        found = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"shares.yaml is damaged ({error}): reinstall ml-monster") from error
    if missing := {"gpu", "cpu", "types", "reference_hours"} - set(found):
        raise UsageError(f"shares.yaml is damaged (lacks {', '.join(sorted(missing))}): reinstall ml-monster")
    return found


def demands(runs: Sequence[Run], *, vram_gb: float | None = None, home: Path | None = None) -> list[Demand]:
    """What each run needs.

    Args:
        runs: Resolved cells.
        vram_gb: Memory of one device that runs may use; None packs by CPUs alone.
        home: Project folder whose finished runs say how long their kind takes here.

    Raises:
        UsageError: A run needs more memory than one device has; the line shows the arithmetic.
    """
    seen = _seconds_per_epoch(home) if home is not None else {}
    return [_demand(run, vram_gb, seen) for run in runs]


def _demand(run: Run, vram_gb: float | None, seen: Mapping[tuple[str, str, str], float]) -> Demand:
    on_gpu = run.settings["trial"]["device"] != "cpu"
    work = work_of(run)
    memory = gpu_memory_bytes(run) if on_gpu else cpu_memory_bytes(run)
    measured = seen.get(_kind(run))
    if measured is not None:
        seconds, source = measured * run.epochs, "ledger"
    elif on_gpu:
        seconds, source = work.gpu_seconds, "computed"
    else:
        whole_runs = run.settings["profile"] in table()["types"][run.model_type].get("whole_runs", ())
        seconds, source = work.cpu_seconds, "measured" if whole_runs else "estimated"
    share = 0.0
    if vram_gb is not None:
        busy = work.gpu_busy_seconds / work.gpu_seconds
        share = share_class(run.run_id, gpu_memory_bytes(run), vram_gb, busy)
    stage = next((name for name, types in STAGES.items() if run.model_type in types), "core")
    return Demand(
        run.run_id,
        run.archetype,
        run.model_type,
        stage,
        share,
        1 + run.helpers,
        memory,
        seconds,
        source,
        on_gpu,
        run.source_id,
    )


def share_class(run_id: str, memory_bytes: float, vram_gb: float, busy: float) -> float:
    """The smallest share class that holds a run's memory and the device time that it takes.

    Args:
        run_id: For the message.
        memory_bytes: Expected peak on the device.
        vram_gb: Memory of one device that runs may use.
        busy: Share of its time in which the run keeps the device busy, one over its knee.

    Raises:
        UsageError: More memory than one device has.
    """
    by_memory = memory_bytes / (vram_gb * GIGABYTE)
    if by_memory > 1.0:
        context = table()["gpu"]["context_gb"]
        raise UsageError(
            f"{run_id} fits no device: {memory_bytes / GIGABYTE:.2f} GB ({context} GB CUDA context, then "
            f"weights, gradients, moments and activations) against {vram_gb:.2f} GB; give a smaller "
            "--batch-size, training.accumulate or a device with more memory (hardware.max_vram_gb)"
        )
    wanted = max(by_memory, min(busy, 1.0))
    return min(float(share) for share in table()["gpu"]["share_classes"] if share >= wanted - 1e-9)


def gpu_memory_bytes(run: Run) -> float:
    """Peak on a GPU: CUDA context, then weights to activations with what the allocator leaves unused."""
    gpu = table()["gpu"]
    return float(gpu["context_gb"] * GIGABYTE + gpu["allocator_factor"] * _training_bytes(run))


def cpu_memory_bytes(run: Run) -> float:
    """Peak of a run's process on the CPU: Python with torch and Ray, training, replay or recorded rows."""
    entry = table()["types"][run.model_type]
    training = run.settings["trial"]["training"]
    rows = min(training.get("buffer_capacity", 0), run.env_steps or 0) or work_of(run).rows_recorded
    base = table()["cpu"]["process_gb"] * GIGABYTE
    return float(base + _training_bytes(run) + rows * entry["host_kb_per_row"] * 1e3)


def _training_bytes(run: Run) -> float:
    from policies.costs import rows_of
    from policies.model_types import model_type

    fixed_mb, kb_per_row, _ = _network(run)
    rows = rows_of(model_type(run.model_type).algorithm, run.settings["trial"]["training"])
    return fixed_mb * 1e6 + kb_per_row * 1e3 * rows


def _network(run: Run) -> tuple[float, float, float]:
    """MB of weights to moments, kB of activations per row, and MFLOP of one decision."""
    profile, shape = str(run.settings["profile"]), run.settings["trial"]["model"]
    usual = _usual_shape(run.model_type, profile)
    if all(shape.get(name) == value for name, value in usual.items()):
        fixed, row, mflop = table()["types"][run.model_type]["network"][profile]
        return float(fixed), float(row), float(mflop)
    return _measured_network(run.model_type, json.dumps(shape, sort_keys=True))


@functools.cache
def _usual_shape(model_type: str, profile: str) -> dict[str, Any]:
    from envs.configuration import to_plain
    from policies.profiles import profile_values

    shape = to_plain(profile_values(model_type, profile)[0]["model"])
    return dict(json.loads(json.dumps(shape)))


@functools.cache
def _measured_network(model_type: str, shape: str) -> tuple[float, float, float]:
    """The same of a network whose shape no profile has: built and measured, which takes seconds."""
    from policies.costs import network_memory

    fixed, activation, flops = network_memory(model_type, json.loads(shape))
    return fixed / 1e6, activation / 1e3, flops / 1e6


@dataclass(frozen=True)
class Work:
    """How long a run works, by what it does.

    Attributes:
        rows_recorded: Rows that a perception run records before it learns; 0 for the others.
        cpu_seconds: On one CPU core.
        gpu_busy_seconds: In which it keeps a GPU busy.
        gpu_seconds: With a GPU, its simulation on one CPU core.
    """

    rows_recorded: float
    cpu_seconds: float
    gpu_busy_seconds: float
    gpu_seconds: float


def work_of(run: Run) -> Work:
    """Adds up a run's work from its settings and the measured rates of its type."""
    entry, gpu, epochs = table()["types"][run.model_type], table()["gpu"], run.epochs
    training = run.settings["trial"]["training"]
    mflop = _network(run)[2]
    profile, cpu_table = str(run.settings["profile"]), table()["cpu"]
    if run.settings["kind"] == "supervised":
        data = run.settings["trial"]["data"]
        decisions = data["fights"] * sum(data["sizes"].values()) * cpu_table["decisions_per_fight"]
        decisions = min(decisions, data.get("decisions") or decisions)
        before = decisions * cpu_table["seconds_per_decision"]
        recorded = decisions * entry["rows_per_decision"] / data.get("stride", 1)
        rows = recorded * epochs
        updates = rows / training["batch_size"]
        cpu = before + rows * entry["seconds_per_row"][profile]
    else:
        recorded, (updates, rows) = 0.0, _learned(training)
        selection = cpu_table["selection_s"] * epochs
        cpu = entry["seconds_per_epoch"][profile] * epochs + selection
        before = (run.env_steps or 0) * entry["seconds_per_step"] + selection
    busy = rows * mflop * 1e6 * entry["passes"] / gpu["flops_per_s"]
    # A step of small matrices takes as long as its kernels take to launch, whatever they compute.
    learning = max(busy, updates * entry["gpu_seconds_per_update"])
    return Work(recorded, cpu, busy, before + learning)


def _learned(training: Mapping[str, Any]) -> tuple[float, float]:
    """Gradient steps and rows that go through the network in them."""
    rounds = training["epochs"] * training["rounds_per_epoch"]
    if "updates_per_round" in training:
        updates = rounds * training["updates_per_round"]
        return updates, updates * training["batch_size"]
    rows = rounds * training["num_envs"] * training["rollout_length"] * training["passes"]
    return rows / training["minibatch_size"], rows


def _kind(run: Run) -> tuple[str, str, str]:
    return (
        run.model_type,
        str(run.settings["profile"]),
        str(run.settings["trial"]["device"]).partition(":")[0],
    )


def _seconds_per_epoch(home: Path) -> dict[tuple[str, str, str], float]:
    """Mean time per planned epoch of a home's finished runs, by type, profile and device."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for record in Ledger(home).runs():
        done, settings = record.done(), record.settings()
        if done is None or settings is None or not done.get("train_s") or "trial" not in settings:
            continue
        run = Run(settings)
        found.setdefault(_kind(run), []).append(float(done["train_s"]) / run.epochs)
    return {kind: sum(values) / len(values) for kind, values in found.items()}
