import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.contracts import WorldView
from experiments import demo, demo_jobs, pipeline
from experiments.cli.demo import enough
from experiments.demo import Phases
from experiments.demo_jobs import Told
from experiments.errors import ExperimentError
from experiments.ledger import Ledger
from experiments.matrix import Request
from experiments.next_steps import SAMPLE_REQUEST, monster_command, next_steps, write_sample_request
from experiments.progress import Progress
from experiments.service_start import ServiceStart
from experiments.workers import Outcome
from tests.experiments.models import FakeRegistry, figures_of


class FakeHandle:
    def __init__(self) -> None:
        self.stopped = threading.Event()

    def stop(self) -> None:
        self.stopped.set()


def test_a_ready_service_is_handed_over_and_stopped(tmp_path: Path) -> None:
    handle = FakeHandle()
    service = ServiceStart(tmp_path, None, lambda home, **options: handle)
    assert service.ready() is handle and not handle.stopped.is_set()
    service.stop()
    assert handle.stopped.is_set()


def test_a_service_that_is_still_coming_up_is_stopped_when_it_is_there(tmp_path: Path) -> None:
    handle, may_start = FakeHandle(), threading.Event()

    def start(home: Path, **options: Any) -> FakeHandle:
        may_start.wait(30)
        return handle

    service = ServiceStart(tmp_path, None, start)
    service.stop()  # returns at once
    assert not handle.stopped.is_set()
    may_start.set()
    assert handle.stopped.wait(30)


def test_a_service_that_does_not_start_is_one_clear_error(tmp_path: Path) -> None:
    def start(home: Path, **options: Any) -> FakeHandle:
        raise RuntimeError("port 8000 is taken")

    with pytest.raises(ExperimentError, match="the service did not start: port 8000 is taken"):
        ServiceStart(tmp_path, None, start).ready()


def test_phases_add_up_in_order_also_when_one_fails() -> None:
    lines: list[str] = []
    phases = Phases(Progress(lines.append))
    with phases("train", "training"):
        pass
    with pytest.raises(ValueError), phases("export", "exporting"):
        raise ValueError
    with phases("train", "training again"):
        pass
    assert list(phases.seconds) == ["train", "export"]
    assert [line.split("== ")[1] for line in lines] == ["training", "exporting", "training again"]


def test_the_next_steps_name_the_folder_as_the_user_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert next_steps(tmp_path / "runs" / "demo")[0][1] == "monster serve --home runs/demo --port 8000"
    assert all("--home" in command or "curl" in command for _, command in next_steps(tmp_path))


def test_the_command_is_shown_as_the_user_has_to_type_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monster = tmp_path / ".venv" / "bin" / "monster"
    monster.parent.mkdir(parents=True)
    monster.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(monster), "demo"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert monster_command() == ".venv/bin/monster"
    monkeypatch.setenv("PATH", str(monster.parent))
    assert monster_command() == "monster"


def test_the_sample_request_is_one_that_the_service_reads(tmp_path: Path) -> None:
    write_sample_request(tmp_path, "tank", 0)
    request = json.loads((tmp_path / SAMPLE_REQUEST).read_text())
    view = WorldView.from_json(request["view"])
    assert view.unit_index(request["unit"]) == 0 and view.elapsed_ms == 2000
    assert request["archetype"] == "tank" and len(view.ids) == 6


class FakeClient:
    """Answers as the service would, of the versions that a registry has deployed."""

    def __init__(self, registry: FakeRegistry) -> None:
        self._registry = registry

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def models(self) -> list[dict[str, Any]]:
        return [
            {"archetype": v.archetype, "model_type": v.model_type, "model_version": v.version}
            for v in self._registry.list()
            if v.is_deployed
        ]

    def infer(self, archetype: str, model_type: str, inputs: Any, version: int | None = None) -> Any:
        return {"style": np.zeros((1, 6), np.float32)}


class FakeWorkers:
    """Does jobs here, one after the other, and lets one of them fail."""

    def __init__(self, count: int) -> None:
        pass

    def __enter__(self) -> "FakeWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, jobs: Any) -> Any:
        for job in jobs:
            if job.work is demo_jobs.export:
                broken = "movement" in job.name
                files: dict[str, Any] = {
                    name: {"parity": {}, "manifest": {"state": []}} for name in ("onnx_fp32", "onnx_fp16")
                }
                yield Outcome(job, Told(files, ()), "it does not match" if broken else None, 1.5)
            elif job.work is demo_jobs.evaluate:
                yield Outcome(job, Told({**FIGURES, "points_over_best_low": 12.0}, ()), None, 2.5)
            else:
                rows = {name: figures_of(0.4, 1000) for name in ("random", "mirror")}
                yield Outcome(job, Told(rows, ("played",)), None, 0.5)


FIGURES = {**figures_of(0.9), "looks": 3}
TIMES = {f"latency_p{n}_ms": 3.0 for n in (50, 95, 99)} | {"latency_requests": 250, "latency_device": "cpu"}
PARITY = {"fp32_error": 1e-7, "fp16_error": 1e-3, "fp16_action_agreement": 1.0}


def test_what_fails_on_the_way_is_a_row_and_the_others_are_deployed_and_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = FakeRegistry()
    lines: list[str] = []
    progress = Progress(lines.append)
    types = ("movement_ppo", "skill_dqn", "team_coordination", "pattern_recognition")
    request = Request(("tank",), types)

    def train(home: Path, runs: Any, progress: Progress, **_: Any) -> None:
        for run in runs:
            if run.model_type != "team_coordination":
                record = Ledger(home).run(run.run_id)
                record.model_folder.mkdir(parents=True)
                record.begin(run.settings)
                record.finish({"train_s": 9.0, "final": {"loss": 0.1}, "epochs": 3})
        raise ExperimentError("1 of 4 runs failed, first tank-team: no memory")

    def register(shop: Any, trained: Any) -> Any:
        run = trained.run
        return registry.register(
            run.archetype, run.model_type, run.run_id, artifacts={"weights": {}}, metrics={"loss": 0.1},
            contracts={}, lineage={"settings": {"profile": "demo"}}, source_revision="r",
        )  # fmt: skip

    @contextlib.contextmanager
    def workshop(home: Path, dsn: Any, progress: Progress, seed: int) -> Any:
        yield pipeline.Workshop(home, registry, None, progress, seed)

    def slow_skill(shop: Any, version: Any, metrics: Any, url: str) -> Any:
        late = {"latency_p95_ms": 16.0} if version.model_type == "skill_dqn" else {}
        return {**metrics, **TIMES, **late}

    class Handle(FakeHandle):
        url = "http://127.0.0.1:1"

        def client(self) -> FakeClient:
            return FakeClient(registry)

    handle = Handle()
    monkeypatch.setattr(demo, "train", train)
    monkeypatch.setattr(demo, "_warm_up", lambda archetypes: None)
    monkeypatch.setattr(demo, "Workers", FakeWorkers)
    monkeypatch.setattr(pipeline, "open_workshop", workshop)
    monkeypatch.setattr(pipeline, "register", register)
    monkeypatch.setattr(pipeline, "time_decisions", slow_skill)
    monkeypatch.setattr(pipeline, "gate_inputs", lambda version, metrics: {**metrics, **PARITY})
    monkeypatch.setattr(pipeline, "served_rows", lambda shop, version: {"window": np.zeros((4, 50, 16))})

    options = demo.DemoOptions(tmp_path, request, parallel=2)
    report = demo.run_demo(options, progress, lambda home, **_: handle)

    rows = {model["model_type"]: model for model in report["models"]}
    assert list(rows) == list(types)
    assert [row["gate"] for row in rows.values()] == ["fail", "fail", "fail", "pass"]
    assert rows["movement_ppo"]["reasons"] == ["export: it does not match"]
    assert rows["team_coordination"]["reasons"] == ["train: 1 of 4 runs failed, first tank-team: no memory"]
    assert rows["skill_dqn"]["reasons"] == ["P95 latency 16.00 ms is not below 15.00"]
    assert [name for name, row in rows.items() if row["deployed"]] == ["pattern_recognition"]
    assert rows["pattern_recognition"]["fight"]["outputs"] == {"style": [6]}
    seconds = rows["pattern_recognition"]["seconds"]
    assert (seconds["train"], seconds["export"], seconds["evaluate"]) == (9.0, 1.5, 2.5)
    assert handle.stopped.is_set() and (tmp_path / "report.html").exists()
    assert any("movement_ppo failed: it does not match" in line for line in lines)


def test_eight_of_nine_are_enough() -> None:
    def models(passed: int, total: int) -> list[dict[str, str]]:
        return [{"gate": "pass" if n < passed else "fail"} for n in range(total)]

    assert enough(models(48, 54)) and not enough(models(47, 54))
    assert enough(models(8, 9)) and enough(models(1, 1)) and not enough(models(5, 6))
