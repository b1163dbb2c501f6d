"""Our own record of training runs, read before any work starts.

Tune saves its state every ten seconds at best, so after a sudden end it would repeat finished runs.
Each run has a folder ``<home>/training/<run id>`` in which every file is written beside and renamed:

    run.json         the resolved settings; their hash is part of the run id
    history.jsonl    one line of metrics per epoch
    latest.json      epoch and place of the last complete checkpoint, and of the one before
    model/           weights of the best epoch so far, as the policy saved them
    done.json        the completion marker, written last
    stopped.json     in place of it: a search gave the run up, and when
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.checkpoint_store import flaw


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that a reader sees the old file or the whole new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(plain(value), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(beside, path)


def plain(value: Any) -> Any:
    """Turns numpy scalars, tuples and paths into JSON types; NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


@dataclass(frozen=True)
class RunRecord:
    """One run's folder in the ledger.

    Attributes:
        folder: ``<home>/training/<run id>``.
    """

    folder: Path

    @property
    def run_id(self) -> str:
        """Archetype, model type, profile, seed and the start of the settings' hash."""
        return self.folder.name

    @property
    def model_folder(self) -> Path:
        """Where the weights of the best epoch lie."""
        return self.folder / "model"

    def finished_at(self) -> float:
        """When the run was finished, in seconds since the epoch.

        Raises:
            FileNotFoundError: It is not finished.
        """
        return (self.folder / "done.json").stat().st_mtime

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Writes down what the run is about to do; a run that was given up is so no more."""
        (self.folder / "stopped.json").unlink(missing_ok=True)
        write_json(self.folder / "run.json", settings)

    def settings(self) -> dict[str, Any] | None:
        """The resolved settings, or None when the run never began."""
        return _read(self.folder / "run.json")

    def add_epoch(self, metrics: Mapping[str, Any]) -> None:
        """Appends one epoch's metrics; an epoch repeated after a resume replaces nothing, it follows."""
        with (self.folder / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain(metrics), allow_nan=False) + "\n")

    def history(self) -> list[dict[str, Any]]:
        """Metrics per epoch in order; of an epoch that a resume repeated only the last stands."""
        path = self.folder / "history.jsonl"
        rows: dict[int, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue  # the line being written when the process was killed
                rows[int(row["epoch"])] = row
        return [rows[epoch] for epoch in sorted(rows)]

    def set_latest(self, checkpoint: str, epoch: int) -> None:
        """Points at a checkpoint that is completely written.

        Args:
            checkpoint: Its absolute path, or its URI.
            epoch: After which it was written.
        """
        entry = {"checkpoint": checkpoint, "epoch": epoch}
        known = [old for old in self._pointers() if old["checkpoint"] != checkpoint]
        write_json(self.folder / "latest.json", {**entry, "previous": known[0] if known else None})

    def checkpoints(self) -> list[tuple[str, int]]:
        """The last checkpoint and the one before, as far as there are any: place and epoch, newest first."""
        return [(str(entry["checkpoint"]), int(entry["epoch"])) for entry in self._pointers()]

    def latest(self) -> tuple[str, int] | None:
        """Place and epoch of the newest whole checkpoint, or None when there is none."""
        return next((entry for entry in self.checkpoints() if flaw(entry[0]) is None), None)

    def _pointers(self) -> list[dict[str, Any]]:
        data = _read(self.folder / "latest.json")
        return [entry for entry in (data, data.get("previous")) if entry] if data else []

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes the completion marker; nothing of the run is written after it."""
        write_json(self.folder / "done.json", summary)

    def done(self) -> dict[str, Any] | None:
        """The summary of a finished run whose weights are there, otherwise None."""
        return _read(self.folder / "done.json") if self.model_folder.is_dir() else None

    def stop(self, summary: Mapping[str, Any]) -> None:
        """Marks the run as given up: it is neither finished nor broken, and its search leaves it alone."""
        write_json(self.folder / "stopped.json", summary)

    def stopped(self) -> dict[str, Any] | None:
        """When and at which score a search gave the run up, None if none did or it finished after all."""
        return None if self.done() is not None else _read(self.folder / "stopped.json")

    def clear(self) -> None:
        """Forgets the run, so that it starts anew."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    return data if isinstance(data, dict) else None


class Ledger:
    """All runs under one home folder.

    Args:
        home: The project folder given by ``--home``.
    """

    def __init__(self, home: Path) -> None:
        self.folder = Path(home).absolute() / "training"

    def run(self, run_id: str) -> RunRecord:
        """The record of one run, whether or not it has begun."""
        return RunRecord(self.folder / run_id)

    def runs(self) -> list[RunRecord]:
        """Every run that has begun, by name."""
        if not self.folder.is_dir():
            return []
        return [RunRecord(path) for path in sorted(self.folder.iterdir()) if (path / "run.json").exists()]
