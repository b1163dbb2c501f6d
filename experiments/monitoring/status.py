"""The state of every run of a home, from the ledger: how far it is, what it last reported, how long ago."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.ledger import Ledger, RunRecord, write_json
from experiments.monitoring.drivers import Driver, drivers

STATES = ("running", "waiting", "failed", "stopped", "pruned", "finished")
STATE_FILE = "state.json"
"""What the driver last knew of a run, beside its files in the ledger."""


@dataclass(frozen=True)
class RunState:
    """One run as it stands.

    Attributes:
        run_id: Name in the ledger.
        archetype: Of the mind.
        model_type: Of the mind.
        profile: Its size.
        state: ``running`` (a command on this machine trains it), ``waiting`` (its turn comes), ``failed`` (an
            error ended it), ``stopped`` (nobody trains it any more), ``pruned`` (a search gave it up),
            ``finished``. The command that began a failed or stopped run goes on with it.
        epoch: Epochs done; those of the last checkpoint may be fewer.
        epochs: Epochs planned.
        age_s: Seconds since the last report, or since the run began.
        left_s: Seconds that it will still take at the pace of its last epochs; None where nothing is known.
        metrics: The last report.
        pid: Process of the command that trains it; None where there is none.
        message: What ended a failed run.
    """

    run_id: str
    archetype: str
    model_type: str
    profile: str
    state: str
    epoch: int
    epochs: int
    age_s: float
    left_s: float | None
    metrics: dict[str, Any]
    pid: int | None
    message: str | None


def run_states(home: Path) -> list[RunState]:
    """Every run of a home that has begun, running ones first.

    Args:
        home: Project folder.
    """
    alive = drivers(home)
    found = [_state_of(record, alive) for record in Ledger(home).runs()]
    return sorted(found, key=lambda run: (STATES.index(run.state), run.age_s, run.run_id))


def _state_of(record: RunRecord, alive: Sequence[Driver]) -> RunState:
    settings, history, done = record.settings() or {}, record.history(), record.done()
    driver = next((driver for driver in alive if record.run_id in driver.run_ids), None)
    last = history[-1] if history else {}
    changed = _changed(record)
    epochs = int(settings.get("trial", {}).get("training", {}).get("epochs", last.get("epochs", 0)))
    known = _known(record)
    if done is not None:
        state = "finished"
    elif record.stopped() is not None:
        state = "pruned"
    elif known.get("state") == "failed" and (driver is None or known["driver"] == driver.pid):
        state = "failed"
    elif driver is None:
        state = "stopped"
    else:
        state = "running" if known.get("driver") == driver.pid else "waiting"
    epoch = int(last.get("epoch", 0))
    paces = [row["epoch_s"] for row in history[-5:] if row.get("epoch_s")]
    left = (epochs - epoch) * sum(paces) / len(paces) if paces and state == "running" else None
    return RunState(
        record.run_id,
        str(settings.get("archetype", "?")),
        str(settings.get("model_type", "?")),
        str(settings.get("profile", "?")),
        state,
        epoch,
        epochs,
        max(0.0, time.time() - changed),
        left,
        last,
        driver.pid if driver else None,
        known.get("message") if state == "failed" else None,
    )


def _changed(record: RunRecord) -> float:
    paths = [record.folder / name for name in ("done.json", "history.jsonl", "run.json")]
    return next(path.stat().st_mtime for path in paths if path.exists())


def _known(record: RunRecord) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads((record.folder / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return known


def note_state(record: RunRecord, state: str, message: str | None = None) -> None:
    """Notes that this process's experiment has started a run, or that an error has ended it.

    Args:
        record: Of the run.
        state: ``running`` or ``failed``.
        message: What the error says.
    """
    write_json(record.folder / STATE_FILE, {"state": state, "driver": os.getpid(), "message": message})
