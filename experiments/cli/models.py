"""``monster models``: the nine model types, and what each costs to serve and to train."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from typing import Any

from experiments.cli import common

PROFILES = ("demo", "small", "full")
SERVED_LIMIT = 6e9
"""Bytes that all 54 models may take on the reference GPU."""
TRAINING_LIMIT = 11e9
"""Bytes that training one of them may take."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "--profile", choices=PROFILES, default="full", help="size of the networks (default: %(default)s)"
    )
    parser.add_argument(
        "--model-types", "--model-type", nargs="+", metavar="NAME", help="such as spatial_vit (default: all)"
    )
    parser.add_argument("--no-latency", action="store_true", help="do not trace and time the networks")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.epilog = "example: monster models --profile full"


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit code."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    from policies.costs import measure
    from policies.model_types import MODEL_TYPES, model_type

    torch.set_num_threads(1)
    names = [model_type(name).name for name in args.model_types or MODEL_TYPES]
    rows = []
    for name in names:
        if sys.stderr.isatty():
            print(f"\r\033[Kmeasuring {name}", end="", file=sys.stderr, flush=True)
        rows.append(measure(name, args.profile, latency=not args.no_latency))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    if args.json:
        common.print_json([asdict(row) for row in rows])
        return 0
    for line in _lines(rows, args.profile):
        print(line)
    return 0


def _lines(rows: list[Any], profile: str) -> list[str]:
    from envs.contracts.vocabulary import ARCHETYPES
    from experiments.machine import processor
    from experiments.progress import table

    header = [
        "model type", "parameters", "FP32 MB", "FP16 MB", "MFLOP", "batch 1", "batch 8", "batch 64",
        "rows", "training MB",
    ]  # fmt: skip
    body = [
        [
            row.model_type, f"{row.parameters:,}", _mega(row.fp32_bytes), _mega(row.fp16_bytes),
            f"{row.flops / 1e6:.2f}", *(_time(row.latency_ms.get(batch)) for batch in (1, 8, 64)),
            f"{row.training_rows:,}", _mega(row.training_bytes),
        ]
        for row in rows
    ]  # fmt: skip
    served = len(ARCHETYPES) * sum(row.fp16_bytes for row in rows)
    largest = max(rows, key=lambda row: row.training_bytes)
    return [
        *table(header, body, right=set(range(1, len(header)))),
        f"profile {profile}; MFLOP: of one decision; batch: ms of a call, float32, ONNX Runtime, one thread",
        f"of {processor()}; training: weights, gradients, Adam, target networks and the activations of",
        "that many rows, float32",
        f"{len(ARCHETYPES) * len(rows)} models ({len(rows)} types x {len(ARCHETYPES)} archetypes) in FP16: "
        f"{served / 1e9:.3f} GB of {SERVED_LIMIT / 1e9:.0f} GB",
        f"the hungriest to train, {largest.model_type}: {largest.training_bytes / 1e9:.2f} GB of "
        f"{TRAINING_LIMIT / 1e9:.0f} GB",
    ]


def _mega(count: int) -> str:
    return f"{count / 1e6:,.2f}"


def _time(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.3f}"
