import json
import threading
from pathlib import Path
from typing import Any

import pytest

from envs.contracts import WorldView
from experiments.demo import (
    SAMPLE_REQUEST,
    Phases,
    ServiceStart,
    monster_command,
    next_steps,
    write_sample_request,
)
from experiments.errors import ExperimentError
from experiments.progress import Progress


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
