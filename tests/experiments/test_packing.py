"""Plans of experiments: what fits where, how near to the bound, and what does not fit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments import demands
from experiments.demands import Demand, share_class
from experiments.errors import UsageError
from experiments.matrix import Request, Run, check_names, resolve
from experiments.packing import Plan, Room, lower_bound, make_plan, plan_for, room_for
from experiments.progress import Progress


def demand(name: str, share: float, seconds: float, cpus: int = 1, stage: str = "core") -> Demand:
    return Demand(name, "tank", "combat_dqn", stage, share, cpus, 1e9, seconds, "measured")


def check_room(plan: Plan) -> None:
    """Never more than one device's shares on a device, and never more CPUs or runs than there are."""
    for run in plan.placed:
        beside = plan.beside(run.start_s)
        assert len(beside) <= plan.room.parallel
        assert sum(other.demand.cpus for other in beside) <= plan.room.cpus
        for device in range(plan.room.devices):
            assert sum(other.demand.share for other in beside if other.device == device) <= 1.0 + 1e-9


@pytest.fixture(scope="module")
def full() -> list[Run]:
    return resolve(Request(*check_names(None, None), profile="full", device="cuda"))


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_54_full_runs_come_within_a_tenth_of_the_bound(full: list[Run], devices: int) -> None:
    plan = plan_for(full, room_for(full, 8 * devices, devices, 11.0))
    assert len({run.demand.run_id for run in plan.placed}) == 54
    check_room(plan)
    assert plan.lower_bound_s <= plan.makespan_s <= 1.1 * plan.lower_bound_s
    assert plan.peak_memory_bytes <= 11.0e9
    # One process is reused for one request only.
    assert len({run.demand.share for run in plan.placed}) <= 4


def test_a_hundred_drawn_experiments_are_packed_within_three_times_the_bound() -> None:
    # Shares, CPUs and places: three kinds of room, each of which alone would at most double the bound.
    import random

    draw = random.Random(3)
    for _ in range(100):
        runs = [
            demand(
                f"r{k}", draw.choice([0.125, 0.25, 0.5, 1.0]), draw.uniform(1, 100), draw.choice([1, 1, 2])
            )
            for k in range(draw.randint(1, 60))
        ]
        plan = make_plan(runs, Room(draw.randint(1, 4), 16, 12, 11.0))
        check_room(plan)
        assert len(plan.placed) == len(runs)
        assert plan.lower_bound_s - 1e-6 <= plan.makespan_s <= 3.0 * plan.lower_bound_s


def test_a_plan_by_hand() -> None:
    # Half a device for 4 s, half for 3 s, then a whole one for 2 s, which starts when the longer half ends.
    runs = [demand("a", 0.5, 4.0), demand("b", 0.5, 3.0), demand("c", 1.0, 2.0)]
    plan = make_plan(runs, Room(1, 4, 4, 11.0))
    assert [(run.demand.run_id, run.device, run.start_s) for run in plan.placed] == [
        ("a", 0, 0.0), ("b", 0, 0.0), ("c", 0, 4.0),
    ]  # fmt: skip
    assert plan.makespan_s == 6.0 and plan.most_at_once == 2 and plan.peak_memory_bytes == 2e9
    assert plan.lower_bound_s == 5.5  # 0.5 x 4 + 0.5 x 3 + 1 x 2 on one device
    # Two devices: the whole one need not wait.
    assert make_plan(runs, Room(2, 4, 4, 11.0)).makespan_s == 4.0


def test_the_bound_by_hand() -> None:
    # Three runs of more than half a device on two devices: two of them follow each other, at least 3 + 2.
    runs = [demand(name, 1.0, seconds) for name, seconds in (("a", 4.0), ("b", 3.0), ("c", 2.0))]
    assert lower_bound(runs, Room(2, 9, 9, 11.0)) == 5.0
    assert lower_bound([demand(n, 0.0, 6.0) for n in "abc"], Room(0, 2, 2)) == 9.0  # 18 s of CPU on two
    assert lower_bound([demand("a", 0.0, 6.0), demand("b", 0.0, 1.0)], Room(0, 2, 2)) == 6.0  # the longest
    assert lower_bound([], Room(0, 1, 1)) == 0.0


def test_stages_go_in_order_unless_that_costs_time() -> None:
    def order(plan: Plan) -> list[str]:
        return [run.demand.run_id for run in plan.placed]

    even = [demand("late", 0.0, 5.0, stage="coordination"), demand("first", 0.0, 5.0, stage="core")]
    plan = make_plan(even, Room(0, 1, 1))
    assert plan.order == "stages" and order(plan) == ["first", "late"]
    # Two short core runs, then a long one: started last it ends at 12 s, started first at 10 s.
    long = [*(demand(n, 0.0, 2.0) for n in "abcd"), demand("long", 0.0, 8.0, stage="coordination")]
    plan = make_plan(long, Room(0, 2, 2))
    assert plan.order == "longest first" and order(plan)[0] == "long" and plan.makespan_s == 8.0


@pytest.mark.parametrize(
    ("memory_gb", "busy", "share"),
    [
        (0.5, 0.01, 0.125),
        (1.4, 0.01, 0.25),
        (0.5, 0.3, 0.5),
        (5.5, 0.1, 0.5),
        (5.6, 0.1, 1.0),
        (0.5, 3.0, 1.0),
    ],
)
def test_a_share_is_the_larger_of_memory_and_time_rounded_up(
    memory_gb: float, busy: float, share: float
) -> None:
    assert share_class("run", memory_gb * 1e9, 11.0, busy) == share


def test_what_fits_nowhere_is_refused_with_the_arithmetic(full: list[Run]) -> None:
    (run,) = [r for r in full if r.run_id.startswith("tank-pattern_recognition")]
    with pytest.raises(UsageError, match=r"fits no device: 4\.\d\d GB .* against 3\.00 GB; give a smaller"):
        plan_for([run], room_for([run], 1, 1, 3.0))
    with pytest.raises(UsageError, match=r"needs 3 CPUs .* and 2 are there"):
        make_plan([demand("wide", 0.0, 1.0, cpus=3)], Room(0, 2, 2))
    with pytest.raises(UsageError, match=r"needs a share of 0.5 of one GPU and there are 0 GPUs"):
        make_plan([demand("gpu", 0.5, 1.0)], Room(0, 2, 2))


def test_memory_is_what_the_costs_of_a_type_say() -> None:
    from policies import costs

    (run,) = resolve(Request(("tank",), ("combat_dqn",), profile="full", device="cuda"))
    measured = costs.measure("combat_dqn", "full", latency=False)
    # 0.45 GB of CUDA context, and a quarter more than the tensors take.
    assert demands.gpu_memory_bytes(run) == pytest.approx(0.45e9 + 1.25 * measured.training_bytes, rel=0.01)
    (half,) = resolve(Request(("tank",), ("combat_dqn",), profile="full", device="cuda", batch_size=128))
    less = 1.25 * measured.activation_bytes / 2
    assert demands.gpu_memory_bytes(run) - demands.gpu_memory_bytes(half) == pytest.approx(less, rel=0.01)


def test_a_network_of_another_shape_is_measured() -> None:
    laid = {"combat_dqn": {"model": {"hidden_dims": [64, 64]}}}
    usual, wide = (
        resolve(Request(("tank",), ("combat_dqn",), device="cuda", overrides=over))[0] for over in ({}, laid)
    )
    assert demands.gpu_memory_bytes(usual) != demands.gpu_memory_bytes(wide)


def test_a_homes_own_runs_say_how_long_their_kind_takes(tmp_path: Path) -> None:
    from experiments.ledger import Ledger

    home = tmp_path
    run, other = resolve(Request(("tank", "mage"), ("combat_dqn",), epochs=10))
    record = Ledger(home).run(run.run_id)
    record.begin(run.settings)
    record.model_folder.mkdir()
    record.finish({"train_s": 20.0})
    (need,) = demands.demands([other], home=home)
    assert (need.seconds, need.source) == (20.0, "ledger")
    assert demands.demands([other])[0].source == "measured"


# The same through Ray, with GPUs that are only counted


def short_run(number: int) -> Run:
    """A run that sleeps: what happens is seen from the marks that it leaves."""
    return Run(
        {
            "kind": "sleep", "archetype": "tank", "model_type": "combat_dqn", "profile": "demo",
            "seed": number, "trial": {"seed": number, "device": "cpu", "training": {"epochs": 1}},
        }
    )  # fmt: skip


def sleeping(marks: Path, lengths: dict[int, float]) -> Callable[[dict[str, Any]], None]:
    """What Tune calls in place of ``run_cell``: the same with one more kind of run, known to workers only."""

    def run_cell(config: dict[str, Any]) -> None:
        import json
        import os
        import tempfile
        import time
        from pathlib import Path

        import ray
        from ray import tune

        from experiments import trainable

        def sleep(run: dict[str, Any], resume_from: str | None, start_file: str | None) -> None:
            started = time.time()
            time.sleep(lengths[run["seed"]])
            folder = Path(tempfile.mkdtemp())
            (folder / "best").mkdir()
            (folder / "progress.json").write_text(json.dumps({"epoch": 1, "best": None}))
            about = {"epoch": 1, "epochs": 1, "archetype": "tank", "model_type": "combat_dqn", "epoch_s": 1.0}
            mark = {
                "run": run["seed"], "start": started, "end": time.time(), "pid": os.getpid(),
                "device": ray.get_gpu_ids()[0], "share": config["cell"]["share"],
            }  # fmt: skip
            (marks / f"{run['seed']}.json").write_text(json.dumps(mark))
            tune.report(about, checkpoint=tune.Checkpoint.from_directory(folder))

        trainable.KINDS["sleep"] = sleep
        trainable.run_cell(config)

    return run_cell


@pytest.mark.ray
def test_ray_keeps_to_the_plan_and_reuses_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import tuning

    # 18 runs in two classes: 2 s at half a device, and at a quarter.
    lengths = {number: 2.0 for number in range(18)}
    runs = [short_run(number) for number in lengths]
    needs = [
        dataclasses.replace(demand(run.run_id, 0.5 if k % 3 == 0 else 0.25, lengths[k]), run_id=run.run_id)
        for k, run in enumerate(runs)
    ]
    plan = make_plan(needs, Room(2, 8, 8, 11.0))
    marks = tmp_path / "marks"
    marks.mkdir()
    monkeypatch.setattr("experiments.trainable.run_cell", sleeping(marks, lengths))
    trained = tuning.train(tmp_path / "home", runs, Progress(lambda line: None), plan=plan)
    assert len(trained) == 18

    seen = [json.loads(path.read_text()) for path in sorted(marks.iterdir())]
    assert len(seen) == 18
    shares = {run.run_id: need.share for run, need in zip(runs, needs, strict=True)}
    assert {mark["share"] for mark in seen} == set(shares.values()) == {0.25, 0.5}
    most = 0.0
    for moment in (mark["start"] for mark in seen):
        beside = [mark for mark in seen if mark["start"] <= moment < mark["end"]]
        for device in {mark["device"] for mark in beside}:
            assert sum(mark["share"] for mark in beside if mark["device"] == device) <= 1.0
        most = max(most, sum(mark["share"] for mark in beside))
    planned = max(sum(run.demand.share for run in plan.beside(p.start_s)) for p in plan.placed)
    assert planned == 2.0 and most >= 0.9 * planned
    assert len({mark["pid"] for mark in seen}) < len(seen)
