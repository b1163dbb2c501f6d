"""Plans of all 54 full-size runs on 1, 2 and 4 GPUs, against what no plan of their shares can beat.

python -m bench.packing
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.machine import header
from experiments.demands import GIGABYTE
from experiments.matrix import Request, check_names, resolve
from experiments.packing import plan_for, room_for
from experiments.progress import table

CPUS_PER_GPU = 8
"""As many as the reference machine has."""
WITHIN = 1.10


def main(arguments: Sequence[str] | None = None) -> int:
    """Plan; print the table; exit status 1 if a plan is more than a tenth over its bound."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.packing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", choices=("demo", "small", "full"), default="full")
    parser.add_argument("--vram-gb", type=float, default=11.0, help="of one GPU (default: %(default)s)")
    options = parser.parse_args(arguments)
    print(header())
    archetypes, types = check_names(None, None)
    runs = resolve(Request(archetypes, types, profile=options.profile, device="cuda"))
    rows, worst = [], 0.0
    for devices in (1, 2, 4):
        plan = plan_for(runs, room_for(runs, CPUS_PER_GPU * devices, devices, options.vram_gb))
        ratio = plan.makespan_s / plan.lower_bound_s
        worst = max(worst, ratio)
        rows.append(
            [
                devices, plan.room.cpus, len(plan.placed), plan.order, f"{plan.makespan_s / 3600:.1f}",
                f"{plan.lower_bound_s / 3600:.1f}", f"{ratio:.3f}", plan.most_at_once,
                f"{plan.peak_memory_bytes / GIGABYTE:.1f}",
            ]
        )  # fmt: skip
    head = ["GPUs", "CPUs", "runs", "order", "plan h", "bound h", "ratio", "at once", "GB on a GPU"]
    for line in table(head, rows, right={0, 1, 2, 4, 5, 6, 7, 8}):
        print(line)
    print(f"profile {options.profile}; times are computed, not measured on a GPU (experiments/shares.yaml)")
    return int(worst > WITHIN)


if __name__ == "__main__":
    sys.exit(main())
