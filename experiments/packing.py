"""The plan of an experiment: which runs work side by side on which device, when, and how long it all takes.

A plan is an order in which runs start as soon as there is room, as Ray starts them; a run that starts from
another one's weights waits for it. The order is stage by stage and longest first within, counting those that
wait, unless that costs time at the end.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.demands import GIGABYTE, Demand, demands, table
from experiments.errors import UsageError
from experiments.matrix import STAGES, Run

STAGE_ORDER_MAY_COST = 1.02
"""Largest makespan, as a multiple of that of longest first, at which stages keep their order."""
_ROOM = 1e-9


@dataclass(frozen=True)
class Room:
    """Where runs have room.

    Attributes:
        devices: GPUs, or 0 to pack by CPUs alone.
        cpus: CPUs that may be handed out.
        parallel: Runs at the same time at most.
        vram_gb: Memory of one GPU that runs may use; None without GPUs.
    """

    devices: int
    cpus: int
    parallel: int
    vram_gb: float | None = None


@dataclass(frozen=True)
class Placed:
    """A run with its place in the plan.

    Attributes:
        demand: What it needs.
        device: Number of its GPU; None without.
        start_s: Expected start, seconds from the beginning.
    """

    demand: Demand
    device: int | None
    start_s: float

    @property
    def end_s(self) -> float:
        """Expected end, seconds from the beginning."""
        return self.start_s + self.demand.seconds


@dataclass(frozen=True)
class Plan:
    """An experiment's plan.

    Attributes:
        room: Where it takes place.
        placed: Every run in the order in which they are handed to Tune.
        order: ``stages`` or ``longest first``.
    """

    room: Room
    placed: tuple[Placed, ...]
    order: str

    @property
    def makespan_s(self) -> float:
        """Expected seconds from the first start to the last end."""
        return max((run.end_s for run in self.placed), default=0.0)

    @property
    def most_at_once(self) -> int:
        """Largest number of runs side by side."""
        return max((len(self.beside(run.start_s)) for run in self.placed), default=0)

    @property
    def peak_memory_bytes(self) -> float:
        """Largest expected memory of one device, or of the machine where runs are packed by CPUs."""
        return max(
            (
                sum(
                    other.demand.memory_bytes
                    for other in self.beside(run.start_s)
                    if other.device == run.device
                )
                for run in self.placed
            ),
            default=0.0,
        )

    def gpu_bytes(self, run_id: str) -> float | None:
        """What a run may take of its GPU; None for one without."""
        share = next(run.demand.share for run in self.placed if run.demand.run_id == run_id)
        return share * self.room.vram_gb * GIGABYTE if share and self.room.vram_gb else None

    def beside(self, moment_s: float) -> list[Placed]:
        """The runs at work at a moment."""
        return [run for run in self.placed if run.start_s <= moment_s < run.end_s]

    @property
    def lower_bound_s(self) -> float:
        """What no plan of these shares can beat, see `lower_bound`."""
        return lower_bound([run.demand for run in self.placed], self.room)


def room_for(runs: Sequence[Run], parallel: int = 1, devices: int = 0, vram_gb: float | None = None) -> Room:
    """The room of one machine: CPUs for so many runs with their env runners and learners.

    Args:
        runs: Resolved cells.
        parallel: Runs at the same time at most.
        devices: GPUs, or 0 to pack by CPUs alone.
        vram_gb: Memory of one GPU that runs may use; None takes the usual of ``shares.yaml``.
    """
    cpus = parallel * (1 + max((run.helpers for run in runs), default=0))
    if devices == 0:
        return Room(0, cpus, parallel)
    return Room(devices, cpus, parallel, vram_gb or float(table()["gpu"]["max_vram_gb"]))


def plan_for(runs: Sequence[Run], room: Room, home: Path | None = None) -> Plan:
    """Plans resolved runs.

    Args:
        runs: Resolved cells.
        room: Where they have room.
        home: Project folder whose finished runs say how long their kind takes here.

    Raises:
        UsageError: A run fits nowhere; the line shows the arithmetic.
    """
    return make_plan(demands(runs, vram_gb=room.vram_gb, home=home), room)


def make_plan(needs: Sequence[Demand], room: Room) -> Plan:
    """Plans runs.

    Args:
        needs: What each run needs.
        room: Where they have room.

    Raises:
        UsageError: A run fits nowhere; the line shows the arithmetic.
    """
    for demand in needs:
        _check(demand, room)
    behind = _seconds_behind(needs)
    longest_first = sorted(needs, key=lambda demand: -demand.seconds - behind[demand.run_id])
    stages = tuple(STAGES)
    by_stage = sorted(longest_first, key=lambda demand: stages.index(demand.stage))
    plans = [
        Plan(room, _place(order, room), name)
        for name, order in (("stages", by_stage), ("longest first", longest_first))
    ]
    staged, longest = plans
    return staged if staged.makespan_s <= STAGE_ORDER_MAY_COST * longest.makespan_s else longest


def lower_bound(needs: Sequence[Demand], room: Room) -> float:
    """Seconds that no plan can beat: work over room, the longest chain, and runs that exclude each other.

    Args:
        needs: What each run needs; shares as they are, rounded up to their classes.
        room: Where they have room.
    """
    if not needs:
        return 0.0
    seconds, behind = [demand.seconds for demand in needs], _seconds_behind(needs)
    bounds = [
        max(demand.seconds + behind[demand.run_id] for demand in needs),
        sum(seconds) / room.parallel,
        sum(demand.cpus * demand.seconds for demand in needs) / room.cpus,
    ]
    if room.devices:
        bounds.append(sum(demand.share * demand.seconds for demand in needs) / room.devices)
        # No two runs of more than half a device share one. Of any k x devices + 1 of them, k + 1 follow each
        # other on one device (Graham 1969): at least the k + 1 shortest of the longest ones.
        alone = sorted((d.seconds for d in needs if d.share > 0.5), reverse=True)
        bounds += [
            sum(alone[k * room.devices - k : k * room.devices + 1])
            for k in range(1, (len(alone) - 1) // room.devices + 1)
        ]
    return max(bounds)


def _seconds_behind(needs: Sequence[Demand]) -> dict[str, float]:
    """By run, how long the longest chain of those takes that wait for it."""
    waiting: dict[str, list[Demand]] = {}
    for demand in needs:
        if demand.after is not None:
            waiting.setdefault(demand.after, []).append(demand)

    def behind(run_id: str) -> float:
        return max((one.seconds + behind(one.run_id) for one in waiting.get(run_id, ())), default=0.0)

    return {demand.run_id: behind(demand.run_id) for demand in needs}


def _check(demand: Demand, room: Room) -> None:
    if demand.cpus > room.cpus:
        raise UsageError(
            f"{demand.run_id} needs {demand.cpus} CPUs (its own and its helpers') and {room.cpus} are there; "
            "give fewer --env-runners and --learners, or a larger machine"
        )
    if demand.share > 1.0 or (room.devices == 0 and demand.share > 0.0):
        raise UsageError(
            f"{demand.run_id} needs a share of {demand.share:g} of one GPU and there are {room.devices} GPUs "
            "with 1 each; use --device cpu or more GPUs"
        )


def _place(order: Sequence[Demand], room: Room) -> tuple[Placed, ...]:
    """Starts runs in order where there is room and what they wait for is done; looks again when one ends."""
    free = [1.0] * room.devices
    cpus, places, now = room.cpus, room.parallel, 0.0
    waiting, open_ids = list(order), {demand.run_id for demand in order}
    running: list[tuple[float, int, Placed]] = []
    placed: list[Placed] = []
    while waiting or running:
        left = []
        for demand in waiting:
            device = _device(demand, free)
            full = places == 0 or demand.cpus > cpus or (demand.share and device is None)
            if full or demand.after in open_ids:
                left.append(demand)
                continue
            run = Placed(demand, device, now)
            placed.append(run)
            heapq.heappush(running, (run.end_s, len(placed), run))
            cpus, places = cpus - demand.cpus, places - 1
            if device is not None:
                free[device] -= demand.share
        waiting = left
        now, _, ended = heapq.heappop(running)
        for run in (ended, *_ending_at(now, running)):
            open_ids.discard(run.demand.run_id)
            cpus, places = cpus + run.demand.cpus, places + 1
            if run.device is not None:
                free[run.device] += run.demand.share
    return tuple(placed)


def _ending_at(moment_s: float, running: list[tuple[float, int, Placed]]) -> list[Placed]:
    ended = []
    while running and running[0][0] <= moment_s:
        ended.append(heapq.heappop(running)[2])
    return ended


def _device(demand: Demand, free: Sequence[float]) -> int | None:
    """The fullest device that still has room: large runs find an empty one the longer."""
    if demand.share == 0.0:
        return None
    fitting = [number for number, room in enumerate(free) if room + _ROOM >= demand.share]
    return min(fitting, key=lambda number: free[number], default=None)
