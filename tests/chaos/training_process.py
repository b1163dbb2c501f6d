"""A training run in a process that can be killed at any time, and what is left of it by its hashes."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

# Imported here so that the server which processes are forked from has done it once.
import policies.columnar.dqn
import policies.columnar.ppo
import policies.columnar.sac  # noqa: F401
from policies.training import build_trainer
from tests.policies.tiny_runs import steady, tiny_run

EPOCHS = 12
# Long enough that a kill hits an epoch, an update or a checkpoint, and not the wait for the next one.
ROUNDS = {"dqn": 40, "ppo": 20, "sac": 40, "team_ppo": 10}
HISTORY, RESULT, LOG = "history.jsonl", "result.json", "log.txt"


class TrainingProcess:
    """Starts the run in a new process, as often as it takes, and kills it.

    Args:
        algorithm: dqn, ppo or sac.
        folder: Checkpoints, history and the result go here.
        address: Of the Ray that the process joins.
    """

    def __init__(self, algorithm: str, folder: Path, address: str) -> None:
        self.algorithm, self.folder, self.address = algorithm, folder, address
        folder.mkdir()
        self.context: Any = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([__name__])

    def start(self, *, reused: bool) -> None:
        """Start, or go on from the last whole checkpoint.

        Args:
            reused: Let the process train something else first, so that its global state is dirty.
        """
        arguments = (self.algorithm, str(self.folder), self.address, reused)
        self.process = self.context.Process(target=train, args=arguments)
        self.process.start()

    def epochs(self) -> int:
        """Epochs that the history holds."""
        path = self.folder / HISTORY
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def writing(self) -> bool:
        """Whether a checkpoint is being written."""
        return any(".writing-" in entry.name for entry in os.scandir(self.folder))

    def kill_after(self, epoch: int, seconds: float) -> None:
        """Kill so many seconds after an epoch has ended."""
        self._wait(lambda: self.epochs() >= epoch)
        time.sleep(seconds)
        self._kill()

    def kill_while_writing(self, epoch: int) -> None:
        """Kill while a checkpoint is half written, some time after an epoch has ended."""
        self._wait(lambda: self.epochs() >= epoch)
        while True:
            self._wait(self.writing)
            # Held still, so that it cannot finish between the look and the kill.
            os.kill(self.process.pid, signal.SIGSTOP)
            if self.writing():
                self._kill()
                assert self.writing(), "the half-written checkpoint has gone"
                return
            os.kill(self.process.pid, signal.SIGCONT)

    def result(self) -> dict[str, str]:
        """Wait for the end of the run; its hashes."""
        self.process.join(120)
        assert self.process.exitcode == 0, self._said()
        result: dict[str, str] = json.loads((self.folder / RESULT).read_text())
        return result

    def stop(self) -> None:
        """End whatever still runs."""
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        assert self.process.exitcode == -signal.SIGKILL, f"it had ended before: {self._said()}"

    def _wait(self, condition: Any) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert self.process.is_alive(), self._said()
            assert time.monotonic() < deadline, f"nothing happened in 120 s: {self._said()}"
            time.sleep(0.0005)

    def _said(self) -> str:
        path = self.folder / LOG
        return path.read_text()[-3000:] if path.exists() else "it said nothing"


def train(algorithm: str, folder_name: str, address: str, reused: bool) -> None:
    """What the process does: epochs, a checkpoint after each, hashes at the end."""
    folder = Path(folder_name)
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        _train(algorithm, folder, address, reused)
    except BaseException:
        os.write(log, traceback.format_exc().encode())
        raise


def _train(algorithm: str, folder: Path, address: str, reused: bool) -> None:
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    if reused:
        other = build_trainer(tiny_run(algorithm, seed=99))
        other.train_epoch()
        other.stop()
    rounds = {"rounds_per_epoch": ROUNDS[algorithm], "epochs": EPOCHS}
    trainer: Any = build_trainer(tiny_run(algorithm, seed=5, training=rounds))
    history: list[dict[str, float]] = []
    whole = sorted(path for path in folder.glob("checkpoint-*") if "." not in path.name)
    for left_over in folder.glob("checkpoint-*.*"):
        shutil.rmtree(left_over)
    if whole:
        trainer.restore(whole[-1])
        lines = (folder / HISTORY).read_text().splitlines()
        history = [json.loads(line) for line in lines[: trainer.epoch]]
    (folder / HISTORY).write_text("".join(json.dumps(entry) + "\n" for entry in history))
    while trainer.epoch < EPOCHS:
        history.append(steady(trainer.train_epoch()))
        with (folder / HISTORY).open("a") as file:
            file.write(json.dumps(history[-1]) + "\n")
        trainer.save(folder / f"checkpoint-{trainer.epoch:04d}")
        shutil.rmtree(folder / f"checkpoint-{trainer.epoch - 2:04d}", ignore_errors=True)
    (folder / RESULT).write_text(json.dumps(hashes(trainer, history)))
    trainer.stop()


def hashes(trainer: Any, history: list[dict[str, float]]) -> dict[str, str]:
    """SHA-256 of the weights, the optimizer, the replay buffer and the metrics of every epoch."""
    state = trainer.algorithm.learner.get_columnar_state()
    moments = [value for entry in state["optimizer"]["state"].values() for value in entry.values()]
    found = {
        "weights": _digest([value.numpy() for _, value in sorted(state["weights"].items())]),
        "optimizer": _digest([value.numpy() for value in moments]),
        "metrics": hashlib.sha256(json.dumps(history, sort_keys=True).encode()).hexdigest(),
    }
    replay = getattr(trainer.algorithm, "replay", None)
    if replay is not None:
        scalars = json.dumps(replay.scalars, sort_keys=True).encode()
        rings = [ring for _, ring in sorted(replay.rings.items())]
        found["replay"] = _digest([*rings, replay.leaves, np.frombuffer(scalars, np.uint8)])
    return found


def _digest(arrays: list[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
