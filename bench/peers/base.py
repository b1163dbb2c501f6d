"""What a peer adapter offers, and running one in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.rates import Count, Rate

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Peer:
    """One public environment.

    Attributes:
        name: for the command line.
        package: distribution that has it.
        what: the environment and its setting, one line.
        beside: size of our fight that comes nearest.
        batch: environments stepped together.
        start: makes the environment; each call of what it returns plays some steps.
    """

    name: str
    package: str
    what: str
    beside: str
    batch: int
    start: Callable[[], Callable[[], Count]]


@dataclass(frozen=True)
class Row:
    """A peer's result; `rate` is None where it did not run, and `note` says why."""

    name: str
    package: str
    version: str
    what: str
    beside: str
    batch: int
    rate: Rate | None
    note: str = ""


def version(package: str) -> str:
    """Version of an installed package, empty where it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def last_line(command: list[str], environment: dict[str, str], timeout_s: float) -> dict[str, Any] | str:
    """Run a command on one thread; its last line as a JSON object, or why there is none, in one line."""
    # The thread counts must stand in the environment before numpy, torch or XLA load.
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **threads, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return f"gave no result within {timeout_s:g} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        found = None
    if isinstance(found, dict):
        return found
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return f"failed with exit status {done.returncode}: {last}"


def ask(peer: Peer, python: str, seconds: float, repeats: int, timeout_s: float = 600.0) -> Row:
    """Measure a peer in a process of its own; a peer that is missing or fails gives a row that says so."""
    command = [python, "-m", "bench.peers", peer.name, "--seconds", str(seconds), "--repeats", str(repeats)]
    found = last_line(command, {"JAX_PLATFORMS": "cpu"}, timeout_s)
    if isinstance(found, str):
        return _row(peer, note=found)
    try:
        rate = Rate(**found["rate"]) if found["rate"] else None
        return _row(peer, found["version"], rate, found["note"])
    except (KeyError, TypeError) as error:
        return _row(peer, note=f"gave another answer than a rate: {error!r}")


def answer(peer: Peer, rate: Rate | None, note: str = "") -> str:
    """One JSON line with a peer's result, for `ask`."""
    found = version(peer.package)
    return json.dumps({"version": found, "rate": asdict(rate) if rate else None, "note": note})


def _row(peer: Peer, found: str = "", rate: Rate | None = None, note: str = "") -> Row:
    return Row(peer.name, peer.package, found, peer.what, peer.beside, peer.batch, rate, note)
