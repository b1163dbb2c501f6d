"""The plan of an experiment for people and programs: order, shares, memory, time, reference schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.demands import GIGABYTE, table
from experiments.packing import Plan
from experiments.progress import table as lay_out


def plan_summary(plan: Plan, profile: str) -> dict[str, Any]:
    """A plan as plain JSON types.

    Args:
        plan: Of the runs that are still to be done.
        profile: Theirs; the reference schedule is one of the full profile.
    """
    room = plan.room
    return {
        "gpus": room.devices,
        "gpu_memory_bytes": None if room.vram_gb is None else room.vram_gb * GIGABYTE,
        "cpus": room.cpus,
        "parallel": room.parallel,
        "order": plan.order,
        "makespan_s": plan.makespan_s,
        "lower_bound_s": plan.lower_bound_s,
        "run_seconds": sum(run.demand.seconds for run in plan.placed),
        "most_at_once": plan.most_at_once,
        "peak_memory_bytes": plan.peak_memory_bytes,
        "reference_s": list(reference_seconds(plan)) if profile == "full" else None,
        "runs": [
            {
                "run_id": run.demand.run_id,
                "stage": run.demand.stage,
                "gpu_share": run.demand.share,
                "device": run.device,
                "cpus": run.demand.cpus,
                "memory_bytes": run.demand.memory_bytes,
                "start_s": run.start_s,
                "seconds": run.demand.seconds,
                "seconds_from": run.demand.source,
                "after": run.demand.after,
            }
            for run in plan.placed
        ],
    }


def reference_seconds(plan: Plan) -> tuple[float, float]:
    """What the reference schedule gives the same runs one after the other on one GPU: from and to."""
    hours = table()["reference_hours"]
    pairs = [hours[run.demand.model_type] for run in plan.placed]
    return 3600.0 * sum(low for low, _ in pairs), 3600.0 * sum(high for _, high in pairs)


def plan_lines(plan: Plan, states: Mapping[str, str], profile: str) -> list[str]:
    """A plan as a table with totals.

    Args:
        plan: Of the runs that are still to be done.
        states: By run id what is there already.
        profile: Theirs.
    """
    gpus = plan.room.devices > 0
    header = [
        "order", "archetype", "model type", "stage", "GPU", "share", "memory", "starts after", "takes",
        "time", "state",
    ]  # fmt: skip
    rows: list[Sequence[Any]] = []
    for number, run in enumerate(plan.placed, 1):
        need = run.demand
        rows.append(
            [
                number, need.archetype, need.model_type, need.stage, run.device,
                f"{need.share:g}" if gpus else f"{need.cpus} CPU", f"{need.memory_bytes / GIGABYTE:.2f} GB",
                hours_minutes(run.start_s), hours_minutes(need.seconds), need.source,
                states.get(need.run_id, "new"),
            ]
        )  # fmt: skip
    lines = lay_out(header, [list(row) for row in rows], right={0, 4, 5, 6, 7, 8}) if rows else []
    return [*lines, *totals(plan, profile)]


def totals(plan: Plan, profile: str) -> list[str]:
    """What a plan comes to, one line each."""
    room = plan.room
    seconds = sum(run.demand.seconds for run in plan.placed)
    where = f"{room.cpus} CPU{'s' * (room.cpus > 1)}"
    memory = f"{plan.peak_memory_bytes / GIGABYTE:.1f} GB of memory"
    if room.devices:
        where = f"{room.devices} GPU{'s' * (room.devices > 1)} of {room.vram_gb:g} GB and {where}"
        memory += " on a GPU"
    lines = [
        f"{len(plan.placed)} to do in {hours_minutes(plan.makespan_s)} on {where}, at most {room.parallel} at"
        f" a time ({plan.most_at_once} in the plan), by {plan.order}; one after the other"
        f" {hours_minutes(seconds)}; no plan of these shares is under {hours_minutes(plan.lower_bound_s)}",
        f"at most {memory} expected",
    ]
    if waiting := sum(run.demand.after is not None for run in plan.placed):
        lines.append(f"{waiting} start from another run's weights and wait for it")
    if any(run.demand.model_type in _stops_early() for run in plan.placed):
        lines.append("perception minds count with all their epochs; they stop when validation gets no better")
    if profile == "full" and plan.placed:
        low, high = reference_seconds(plan)
        whole = table()["reference_hours"]["all"]
        lines.append(
            f"reference schedule on one 12 GB GPU: {low / 3600:.0f} to {high / 3600:.0f} h for these runs"
            f" ({whole[0]} to {whole[1]} h for all 54); this plan: {plan.makespan_s / 3600:.1f} h"
        )
    return lines


def _stops_early() -> set[str]:
    return {name for name, entry in table()["types"].items() if "seconds_per_row" in entry}


def hours_minutes(seconds: float) -> str:
    """Writes a time as ``2 h 05 min``, ``12 min`` or ``40 s``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
