"""The whole matrix on a GPU, a bounded time per cell: speed, time to the gate, memory, packing, projection.

Each cell trains in a process of its own, as a trial of `monster train` does, for --seconds after its first
epoch. Per model type it prints

- throughput: env steps per second (acting minds), rows per second (perception minds);
- time to the gate: training seconds until the lower 95 % bound of the win rate against the traditional AI is
  above 0.70, looked at after every slice; a perception mind shows its score on validation fights;
- peak memory on the device beside the estimate that shares are made from (`policies.costs`);
- the projected time of a whole run: its env steps (its rows and passes) at the speed seen, and what a
  perception mind records first;
- packing: what several processes of the same cell do together, relative to one of them.

The last lines project all 54 runs, one after the other and packed as measured. Without a GPU the same path
runs at a tiny size on the CPU: its figures say nothing of a GPU, and it says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.machine import header
from envs.contracts import ARCHETYPES, MODEL_TYPES
from experiments.matrix import Request, Run, resolve
from experiments.statistics import wilson_interval
from policies.model_types import model_type

TARGET = 0.70
"""Win rate of the gate, by the lower bound."""
FIGHTS = 512
"""Fights of one look at the win rate."""
SLICE: dict[str, Any] = {"rounds_per_epoch": 4, "epochs": 100_000}
"""A slice is short, so that a bounded time ends in time; speeds do not depend on it."""
TINY: dict[str, Any] = {
    "num_envs": 8, "rollout_length": 8, "rounds_per_epoch": 1, "updates_per_round": 2, "batch_size": 16,
    "minibatch_size": 64, "sequence_length": 8, "warm_start_fights": 4, "passes": 1,
}  # fmt: skip
EARLY_START = 2_000
"""Stored decisions before the first gradient step: a bounded time must not be spent on filling a buffer."""
TINY_FIGHTS, FULL_FIGHTS = 8, 40
"""Fights per composition that a perception mind learns from here; its plan's number only scales the time."""
CONTEXT_BYTES = 0.45e9
"""What a process takes on a device before its first tensor (a CUDA context and its libraries)."""


def settings_of(name: str, archetype: str, profile: str, device: str, precision: str) -> tuple[Run, Run]:
    """The run as it is resolved, and the same with slices for epochs."""
    tiny = device == "cpu"
    lane = {} if precision == "fp32" else {"precision": precision}
    plain = Request((archetype,), (name,), profile=profile, device=device, lane=lane, from_scratch=True)
    whole = resolve(plain)[0]
    training = whole.settings["trial"]["training"]
    if whole.settings["kind"] == "supervised":
        fights = min(TINY_FIGHTS if tiny else FULL_FIGHTS, whole.settings["trial"]["data"]["fights"])
        laid: dict[str, Any] = {
            "data": {"fights": fights},
            "training": {"epochs": 100_000, "patience": 100_000},
        }
    else:
        changed = {**SLICE, **(TINY if tiny else {})}
        laid = {"training": {key: value for key, value in changed.items() if training.get(key)}}
        if "learning_starts" in training:
            laid["training"]["learning_starts"] = min(
                training["learning_starts"], 64 if tiny else EARLY_START
            )
    return whole, resolve(replace(plain, overrides={name: laid}))[0]


def work(
    name: str, archetype: str, profile: str, device: str, precision: str, seconds: float
) -> dict[str, Any]:
    """Train one cell for a bounded time in this process; figures in plain JSON types."""
    import torch

    torch.set_num_threads(1)
    whole, sliced = settings_of(name, archetype, profile, device, precision)
    kind = _supervised if whole.settings["kind"] == "supervised" else _acting
    found = kind(whole, sliced, seconds)
    if torch.cuda.is_available():
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
    return found


def _acting(whole: Run, sliced: Run, seconds: float) -> dict[str, Any]:
    from policies.profiles import load_run
    from policies.training import Trainer

    trainer = Trainer(load_run(sliced.settings["trial"]))
    trainer.train_epoch()
    spent, steps, updates, best = 0.0, 0.0, 0.0, 0.0
    gate: float | None = None
    last = (float(trainer.algorithm.env_steps), 0.0)
    while spent < seconds:
        seen = trainer.train_epoch()
        spent += seen["epoch_s"]
        steps, updates = steps + seen["env_steps"] - last[0], updates + seen["updates"] - last[1]
        last = (seen["env_steps"], seen["updates"])
        if gate is None:
            fights = trainer.evaluate(FIGHTS if whole.settings["trial"]["device"] != "cpu" else 16)
            n = int(fights["episodes"])
            best = max(best, fights["win_rate"])
            if wilson_interval(fights["win_rate"] * n, n)[0] > TARGET:
                gate = spent
    trainer.stop()
    per_second = steps / spent
    assert whole.env_steps is not None
    return {
        "rate": per_second,
        "unit": "env steps/s",
        "updates_per_s": updates / spent,
        "gate_s": gate,
        "seen": f"win rate {best:.2f}",
        "projected_s": whole.env_steps / per_second,
    }


def _supervised(whole: Run, sliced: Run, seconds: float) -> dict[str, Any]:
    from policies.perception.task import count_rows
    from policies.perception.trainer import SupervisedTrainer

    began = time.perf_counter()
    trainer = SupervisedTrainer(sliced.settings["trial"])
    recorded = time.perf_counter() - began
    trainer.train_epoch()
    spent, rows, score = 0.0, 0.0, 0.0
    while spent < seconds:
        seen = trainer.train_epoch()
        spent += seen["epoch_s"]
        rows += trainer.loader.batches * trainer.loader.batch_size
        score = trainer.best["score"]
    trainer.stop()
    trial, short = whole.settings["trial"], sliced.settings["trial"]
    more = trial["data"]["fights"] / short["data"]["fights"]
    per_second = rows / spent
    passes = trial["training"]["epochs"] * count_rows(trainer.sets["train"]) * more
    return {
        "rate": per_second,
        "unit": "rows/s",
        "gate_s": None,
        "seen": f"score {score:.2f}",
        "recorded_s": recorded * more,
        "projected_s": passes / per_second + recorded * more,
    }


def together(count: int, arguments: Sequence[str]) -> list[dict[str, Any]]:
    """Run so many processes of a cell at the same time."""
    command = [sys.executable, "-m", "bench.gpu", "--worker", *arguments]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    found = []
    try:
        for process in processes:
            out, _ = process.communicate()
            if process.returncode:
                raise SystemExit(f"bench.gpu: {' '.join(arguments)} ended with status {process.returncode}")
            found.append(json.loads(out.splitlines()[-1]))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
    return found


def show(name: str, one: Mapping[str, Any], packed: Mapping[int, float], estimate: float) -> str:
    """One line of the table."""
    peak = one.get("peak_bytes")
    memory = "      -" if peak is None else f"{peak / 1e9:7.2f}"
    gate = "-" if one["gate_s"] is None else f"{one['gate_s']:.0f} s"
    gains = " ".join(f"{count}:{gain:.2f}" for count, gain in packed.items()) or "-"
    return (
        f"{name:21} {one['rate']:>12,.0f} {one['unit']:11} {gate:>8} {one['seen']:15} {memory} "
        f"{estimate / 1e9:8.2f} {one['projected_s'] / 60:10.1f}  {gains}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every model type; print the table and the projection."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model-types", nargs="+", choices=MODEL_TYPES, default=list(MODEL_TYPES))
    parser.add_argument("--archetypes", nargs="+", choices=ARCHETYPES, default=["mage"])
    parser.add_argument("--profile", choices=("demo", "small", "full"), help="full on a GPU, else demo")
    parser.add_argument("--seconds", type=float, help="of training per cell (60 on a GPU, else 1)")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument(
        "--processes", nargs="*", type=int, help="of one cell at once (2 4 on a GPU, else none)"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    given = parser.parse_args(arguments)
    if given.worker:
        name, archetype = given.model_types[0], given.archetypes[0]
        print(json.dumps(work(name, archetype, given.profile, given.device, given.precision, given.seconds)))
        return 0

    import torch

    from policies.costs import measure

    device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    gpu = device == "cuda"
    profile = given.profile or ("full" if gpu else "demo")
    seconds = given.seconds or (60.0 if gpu else 1.0)
    counts = given.processes if given.processes is not None else ([2, 4] if gpu else [])
    print(header())
    print(
        f"{torch.cuda.get_device_name()}, {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB"
        if gpu
        else "no GPU: the same path at a tiny size, whose figures say nothing of a GPU"
    )
    print(f"profile {profile}, {given.precision}, {seconds:.0f} s per cell, one run of each\n")
    print(
        f"{'model type':21} {'throughput':>24} {'gate':>8} {'':15} {'peak GB':>7} {'estimate':>8} "
        f"{'run, min':>10}  processes:throughput"
    )
    alone = packed_s = 0.0
    for name in given.model_types:
        estimate = measure(name, profile, latency=False).training_bytes + (CONTEXT_BYTES if gpu else 0)
        for archetype in given.archetypes:
            cell = [
                "--model-types", name, "--archetypes", archetype, "--profile", profile, "--device", device,
                "--precision", given.precision, "--seconds", str(seconds),
            ]  # fmt: skip
            one = together(1, cell)[0]
            packed = {
                count: sum(other["rate"] for other in together(count, cell)) / one["rate"] for count in counts
            }
            print(
                show(
                    f"{name}" if len(given.archetypes) == 1 else f"{name[:11]} {archetype}",
                    one,
                    packed,
                    estimate,
                )
            )
            share = len(ARCHETYPES) / len(given.archetypes)
            alone += share * one["projected_s"]
            packed_s += share * one["projected_s"] / max([1.0, *packed.values()])
    kinds = {model_type(name).algorithm for name in given.model_types}
    print(
        f"\nall {len(given.model_types) * len(ARCHETYPES)} runs ({', '.join(sorted(kinds))}): "
        f"{alone / 3600:.2f} h one after the other, {packed_s / 3600:.2f} h packed as measured; "
        "the reference is 150 to 200 h on a 12 GB card"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
