"""Export of every model type: does the file equal torch, how large is it, and how long does it take.

For each type one network of the profile per archetype, with weights as they are drawn and biases that are not
zero; 200 recorded decisions of its own world at batches of 1, 3 and 64 in both formats, masks and carried
state included. The first archetype of a type pays for the trace. `--processes 2` shares the types out.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.machine import header
from envs.contracts import ARCHETYPES
from envs.contracts.vocabulary import MODEL_TYPES

ROWS = 200


def export_type(name: str, profile: str, archetypes: Sequence[str]) -> list[dict[str, Any]]:
    """Export one type for each archetype; one dictionary of figures each."""
    import torch

    from experiments.recording import record_decisions
    from policies.export import ExportRefusedError, export_onnx
    from policies.model_types import build_network
    from policies.profiles import profile_values

    torch.set_num_threads(1)
    found = []
    for number, archetype in enumerate(archetypes):
        torch.manual_seed(number)
        network = build_network(name, profile_values(name, profile)[0]["model"])
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn(parameter.shape))
        network.eval()
        recorded = record_decisions(network, archetype, seed=0, steps=ROWS)
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="export-") as folder:
            try:
                report = export_onnx(network, Path(folder), {"archetype": archetype}, recorded)
            except ExportRefusedError as error:
                found.append({"type": name, "archetype": archetype, "refused": str(error)})
                continue
        row: dict[str, Any] = {"type": name, "archetype": archetype, "s": time.perf_counter() - started}
        for precision, file in (("fp32", report.fp32), ("fp16", report.fp16)):
            row[f"{precision}_mb"] = file.bytes / 1e6
            row[f"{precision}_error"] = file.agreement.relative_error
            row[f"{precision}_agreement"] = file.agreement.action_agreement
        found.append(row)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Export; print the table; exit status 1 if a file was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.exports",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", choices=("demo", "small", "full"), default="demo")
    parser.add_argument("--model-types", nargs="+", choices=MODEL_TYPES, default=list(MODEL_TYPES))
    parser.add_argument("--archetypes", nargs="+", choices=ARCHETYPES, default=list(ARCHETYPES))
    parser.add_argument("--processes", type=int, default=2, help="types at a time (default 2)")
    options = parser.parse_args(arguments)
    print(header())
    print(f"profile {options.profile}, {ROWS} recorded decisions, batches 1, 3 and 64")
    print(f"{'model type':<21} {'archetype':<11} {'seconds':>7} {'FP32 MB':>8} {'error':>8} {'FP16 MB':>8} "
          f"{'error':>8} {'choices':>8}")  # fmt: skip
    started, refused = time.perf_counter(), 0
    with concurrent.futures.ProcessPoolExecutor(options.processes) as pool:
        jobs = [
            pool.submit(export_type, name, options.profile, options.archetypes)
            for name in options.model_types
        ]
        for job in jobs:
            for row in job.result():
                if "refused" in row:
                    refused += 1
                    print(f"{row['type']:<21} {row['archetype']:<11} REFUSED {row['refused']}", flush=True)
                    continue
                print(
                    f"{row['type']:<21} {row['archetype']:<11} {row['s']:>7.2f} {row['fp32_mb']:>8.3f} "
                    f"{row['fp32_error']:>8.1e} {row['fp16_mb']:>8.3f} {row['fp16_error']:>8.1e} "
                    f"{row['fp16_agreement']:>8.4f}",
                    flush=True,
                )
    count = len(options.model_types) * len(options.archetypes)
    print(f"{count} exports in {time.perf_counter() - started:.1f} s with {options.processes} processes, "
          f"recording included; {refused} refused")  # fmt: skip
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main())
