"""Seconds that an evaluation of one mind takes: 2,000 fights by its ONNX file, as the gate plays them.

Wall-clock seconds on one thread of the simulation and one of ONNX Runtime, median of the repeats. Beside
it in the same run, the same mind played by torch. Weights are random unless `--onnx` names a file, so
the fights are as long as those of an untrained mind: longer than a good one's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from bench.machine import describe, header
from envs.contracts import ARCHETYPES
from experiments.evaluation import OnnxPolicy, Policy, play_fights
from experiments.recording import record_steps
from experiments.trainable import torch_policy
from policies.combat_dqn import CombatDQN
from policies.export import export_onnx
from policies.profiles import load_profile


@dataclass(frozen=True)
class Row:
    """Wall-clock seconds of one archetype's evaluation, median and range; torch beside it."""

    archetype: str
    fights: int
    decisions: int
    onnx_s: float
    onnx_s_range: tuple[float, float]
    torch_s: float
    ratio: float


def seconds(archetype: str, policy: Policy, fights: int, repeats: int) -> tuple[list[float], int]:
    """Time `repeats` evaluations; returns the seconds and the decisions of one."""
    spent, decisions = [], 0
    for _ in range(repeats):
        began = time.perf_counter()
        score = play_fights(archetype, policy, fights, 0, threads=1)
        spent.append(time.perf_counter() - began)
        decisions = round(score.episode_length * score.n)
    return spent, decisions


def run(archetypes: Sequence[str], fights: int, repeats: int, onnx: Path | None) -> list[Row]:
    """Measure each archetype."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CombatDQN(load_profile("combat_dqn", "demo")["model"]).eval()
    by_torch = torch_policy(model)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = onnx
        if path is None:
            recorded = record_steps("mage", by_torch, 0)
            path = export_onnx(model, Path(folder), {}, recorded).fp32.path
        by_onnx = OnnxPolicy(path)
        for archetype in archetypes:
            play_fights(archetype, by_onnx, 64, 0, threads=1)  # compiled, in the cache
            spent, decisions = seconds(archetype, by_onnx, fights, repeats)
            beside, _ = seconds(archetype, by_torch, fights, repeats)
            median, other = statistics.median(spent), statistics.median(beside)
            spread = (min(spent), max(spent))
            rows.append(Row(archetype, fights, decisions, median, spread, other, other / median))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table or one JSON object."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.evaluation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--archetypes", nargs="+", default=list(ARCHETYPES), choices=ARCHETYPES, metavar="NAME"
    )
    parser.add_argument("--fights", type=int, default=2000, help="fights of one evaluation (default 2000)")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of each row (default 3)")
    parser.add_argument("--onnx", type=Path, help="an exported mind instead of random weights")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args(arguments)
    if options.fights < 1 or options.repeats < 1:
        parser.error("--fights and --repeats must be at least 1")
    rows = run(options.archetypes, options.fights, options.repeats, options.onnx)
    if options.json:
        print(json.dumps({"machine": describe(), "rows": [asdict(row) for row in rows]}))
        return 0
    print(header())
    print(f"{options.fights:,} fights of one mind; median of {options.repeats} repeats, one thread")
    print(
        f"{'archetype':<11} {'decisions':>10} {'ONNX s':>7} {'range':>13} {'torch s':>8} {'torch / ONNX':>13}"
    )
    for row in rows:
        spread = f"{row.onnx_s_range[0]:.2f} - {row.onnx_s_range[1]:.2f}"
        print(
            f"{row.archetype:<11} {row.decisions:>10,} {row.onnx_s:>7.2f} {spread:>13} "
            f"{row.torch_s:>8.2f} {row.ratio:>13.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
