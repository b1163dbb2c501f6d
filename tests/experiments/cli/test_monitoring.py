"""`monster status` and `monster tensorboard` as a user starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from experiments.cli import main
from experiments.ledger import Ledger
from experiments.monitoring.curves import Curve

ROOT = Path(__file__).resolve().parents[3]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=5) as answer:
        return json.load(answer)


def test_status_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = Ledger(tmp_path).run("one")
    record.begin({"archetype": "mage", "model_type": "combat_dqn", "trial": {"training": {"epochs": 3}}})
    record.add_epoch({"epoch": 1, "epochs": 3, "loss": float("nan")})
    assert main(["status", "--home", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["run_id"], row["state"], row["epoch"], row["epochs"]) == ("one", "stopped", 1, 3)
    assert row["metrics"]["loss"] is None


def test_status_of_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--home", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["tensorboard", "--home", str(tmp_path), "--port", str(port)]) == 1
    assert "give another --port" in capsys.readouterr().err


def test_tensorboard_shows_the_curves_of_a_home(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "logs" / "tensorboard" / "mage-run")
    for epoch in (1, 2):
        curve.add(epoch, {"val_loss": 1.0 / epoch})
    port = free_port()
    arguments = ["tensorboard", "--home", str(tmp_path), "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        address = f"http://127.0.0.1:{port}/data/plugin/scalars"
        limit = time.monotonic() + 60
        tags: Any = {}
        while "mage-run" not in tags:
            assert time.monotonic() < limit and process.poll() is None
            time.sleep(0.3)
            try:
                tags = get(f"{address}/tags")
            except OSError:
                continue
        assert list(tags["mage-run"]) == ["learning/val_loss"]
        points = get(f"{address}/scalars?run=mage-run&tag=learning/val_loss")
        assert [(step, value) for _, step, value in points] == [(1, 1.0), (2, 0.5)]
    finally:
        process.terminate()
        process.communicate(timeout=20)
