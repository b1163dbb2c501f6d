"""What is trained, what is measured of it, and running a trainer in a process of its own."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Literal

from bench.peers.base import last_line, version

Algorithm = Literal["ppo", "dqn", "sac"]


@dataclass(frozen=True)
class Task:
    """One training, the same for every trainer.

    Attributes:
        algorithm: what learns.
        num_envs: fights side by side.
        rollout_length: decisions per fight and round of sampling.
        minibatch: rows of a gradient step.
        epochs: passes over a rollout (PPO).
        updates_per_step: gradient steps per decision (DQN, SAC).
        env_steps: decisions that are measured, after the warm-up.
        seed: of environment, network and draws.
        lr: Adam's rate.
        gamma: discount per decision.
        gae_lambda: of the advantages (PPO).
        clip: of the probability ratio (PPO).
        hidden: units of each of the two hidden layers.
    """

    algorithm: Algorithm
    num_envs: int
    rollout_length: int
    minibatch: int
    epochs: int = 1
    updates_per_step: float = 0.0
    env_steps: int = 100_000
    seed: int = 1
    lr: float = 3e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    hidden: int = 64

    @property
    def round_steps(self) -> int:
        """Decisions of one round over all fights."""
        return self.num_envs * self.rollout_length

    @property
    def updates_per_round(self) -> int:
        """Gradient steps after each round (DQN, SAC)."""
        return max(1, round(self.updates_per_step * self.round_steps))

    @property
    def learning_starts(self) -> int:
        """Decisions stored before the first gradient step (DQN, SAC)."""
        return 4 * self.minibatch

    @property
    def warm_up_steps(self) -> int:
        """Decisions before the measurement: everything is compiled, allocated and has learned once."""
        if self.algorithm == "ppo":
            return 2 * self.round_steps
        return self.learning_starts + max(2 * self.round_steps, 1024)


CAPACITY = 200_000
"""Transitions that a replay memory keeps (DQN, SAC)."""
EXPLORATION = 0.05
"""Share of random actions (DQN)."""
TARGET_PERIOD = 200
"""Gradient steps between copies into the target network (DQN)."""
TARGET_TAU = 0.005
"""Share of the new weights that the target critics take in each gradient step (SAC)."""
ENTROPY = 0.01
"""Weight of the entropy in the loss (PPO)."""
VALUE_WEIGHT = 0.5
"""Weight of the value loss (PPO)."""
GRAD_NORM = 0.5
"""Largest global gradient norm (PPO)."""
PRIORITY_ALPHA, PRIORITY_BETA = 0.6, 0.4
"""Of prioritized replay (DQN), where the trainer has it."""


@dataclass(frozen=True)
class Result:
    """What a trainer took; without seconds it did not run, and `note` says why.

    Attributes:
        peer: name of the trainer.
        version: of its package, empty where it is missing.
        algorithm: what learned.
        env_steps: decisions of the measured stretch.
        cpu_seconds: process time of it, all threads and child processes.
        wall_seconds: time of it by the clock.
        note: what the trainer does differently.
    """

    peer: str
    version: str
    algorithm: str
    env_steps: int = 0
    cpu_seconds: float | None = None
    wall_seconds: float | None = None
    note: str = ""

    @property
    def rate(self) -> float | None:
        """Decisions per CPU second, sampled and learned from; None where it did not run."""
        return self.env_steps / self.cpu_seconds if self.cpu_seconds else None


def tasks(ppo_steps: int) -> list[Task]:
    """What all trainers are measured on.

    Args:
        ppo_steps: decisions that PPO is measured over; DQN gets a quarter, SAC a fortieth and a twentieth.
    """
    return [
        Task("ppo", 1024, 32, 4096, epochs=4, env_steps=ppo_steps),
        Task("ppo", 64, 128, 2048, epochs=4, env_steps=ppo_steps),
        Task("dqn", 128, 8, 256, updates_per_step=25 / 1024, env_steps=ppo_steps // 4),
        Task("sac", 16, 1, 256, updates_per_step=1.0, env_steps=ppo_steps // 40),
        Task("sac", 16, 4, 256, updates_per_step=0.25, env_steps=ppo_steps // 20),
    ]


class Clock:
    """Measures the stretch of a training that lies between the warm-up and `task.env_steps` later."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.env_steps = 0
        self.cpu_seconds = self.wall_seconds = 0.0
        self._began: tuple[int, float, float] | None = None

    def over(self, env_steps: int) -> bool:
        """Say how many decisions have been sampled and learned from so far.

        Returns:
            Whether the measurement is over; from then on it keeps what it measured.
        """
        if self.env_steps:
            return True
        if self._began is None:
            if env_steps >= self.task.warm_up_steps:
                self._began = (env_steps, _cpu_seconds(), time.perf_counter())
            return False
        first, cpu, wall = self._began
        if env_steps - first < self.task.env_steps:
            return False
        self.env_steps = env_steps - first
        self.cpu_seconds, self.wall_seconds = _cpu_seconds() - cpu, time.perf_counter() - wall
        return True


@dataclass(frozen=True)
class Peer:
    """One trainer.

    Attributes:
        name: for the command line, and of its module.
        package: distribution that has it.
        algorithms: what it can learn with.
    """

    name: str
    package: str
    algorithms: tuple[str, ...]

    def load(self) -> Callable[[Task, Clock], str]:
        """Import the trainer's `run`, which trains until the clock is over and returns the note."""
        run: Callable[[Task, Clock], str] = import_module(f"bench.training_peers.{self.name}").run
        return run


def measure(peer: Peer, task: Task) -> Result:
    """Train in this process, or say why that is not possible."""
    found = version(peer.package)
    if not found:
        return Result(peer.name, "", task.algorithm, note=f"{peer.package} is not installed")
    if task.algorithm not in peer.algorithms:
        return Result(peer.name, found, task.algorithm, note=f"has no {task.algorithm.upper()}")
    clock = Clock(task)
    note = peer.load()(task, clock)
    if not clock.env_steps:
        raise RuntimeError(
            f"{peer.name} ended before {task.env_steps} decisions were measured; see its output"
        )
    return Result(
        peer.name, found, task.algorithm, clock.env_steps, clock.cpu_seconds, clock.wall_seconds, note
    )


def ask(peer: Peer, task: Task, python: str = sys.executable, timeout_s: float = 900.0) -> Result:
    """Train in a process of its own; a trainer that is missing or fails gives a row that says so."""
    answer = last_line(
        [python, "-m", "bench.training_peers", peer.name, json.dumps(asdict(task))],
        # Sample Factory and PufferLib look for a compiler of CUDA or a terminal where there is none to find.
        {"CUDA_VISIBLE_DEVICES": "", "TERM": "dumb"},
        timeout_s,
    )
    if isinstance(answer, str):
        return Result(peer.name, "", task.algorithm, note=answer)
    try:
        return Result(**answer)
    except TypeError as error:
        return Result(peer.name, "", task.algorithm, note=f"gave another answer than a result: {error}")


def task_from(text: str) -> Task:
    """Return the task that a JSON object describes. Raises TypeError on a key that a task has not."""
    given: dict[str, Any] = json.loads(text)
    return Task(**given)


def _cpu_seconds() -> float:
    """Process time of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
