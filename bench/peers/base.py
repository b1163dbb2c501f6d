"""What a peer adapter offers, and running one in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

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


def ask(peer: Peer, python: str, seconds: float, repeats: int, timeout_s: float = 600.0) -> Row:
    """Measure a peer in a process of its own; a peer that is missing or fails gives a row that says so."""
    # The thread counts must stand in the environment before numpy, torch or XLA load.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    command = [python, "-m", "bench.peers", peer.name, "--seconds", str(seconds), "--repeats", str(repeats)]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return _row(peer, note=f"gave no result within {timeout_s:g} s")
    except OSError as error:
        return _row(peer, note=f"{python}: {error.strerror}")
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
        rate = Rate(**answer["rate"]) if answer["rate"] else None
        return _row(peer, answer["version"], rate, answer["note"])
    except (IndexError, KeyError, TypeError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return _row(peer, note=f"failed with exit status {done.returncode}: {last}")


def answer(peer: Peer, rate: Rate | None, note: str = "") -> str:
    """One JSON line with a peer's result, for `ask`."""
    found = version(peer.package)
    return json.dumps({"version": found, "rate": asdict(rate) if rate else None, "note": note})


def _row(peer: Peer, found: str = "", rate: Rate | None = None, note: str = "") -> Row:
    return Row(peer.name, peer.package, found, peer.what, peer.beside, peer.batch, rate, note)
