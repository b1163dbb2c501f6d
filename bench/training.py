"""Training speed: the columnar lane beside RLlib's own, its phases, and other projects' trainers.

Every figure is env steps per CPU second of one core, sampling and learning together, with the same network,
batch and gradient steps per env step on both sides. A lane's CPU time is that of the thread that works
(`time.thread_time`; torch has one thread); both lanes are built first and take turns, and the ratio is that
of the medians. Peers run in processes of their own, one after the other, and count all their threads and
children.

`outside` is the share of CPU time that is neither the simulation's step, nor the network's forward and
backward passes, nor the optimizer: what the lane adds. Exit status 1 if a ratio or a share misses its floor.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.machine import describe, header
from bench.peers.base import ROOT
from policies.columnar.phases import KERNEL_AND_TORCH, NAMES, seconds_of
from policies.profiles import resolve_run
from policies.training import AnyTrainer, build_trainer

COMBAT = {"id": "MLMonster/Combat-v0", "archetype": "aggressive", "opponent": "classic"}
CONTROL = {"id": "MLMonster/Control-v0", "archetype": "aggressive", "opponent": "classic"}
PACK = {"factory": "policies.columnar.pack_rows:make", "archetype": "aggressive", "scenario": "3v3"}
FORMATS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"precision": "bf16"},
    "fp32 compiled": {"compiled": True},
    "bf16 compiled": {"precision": "bf16", "compiled": True},
}
OUTSIDE = 0.25
"""The lane adds at most this share."""
WARM_UP_EPOCHS = 2
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
"""Where `make peers` puts the trainers that cannot lie beside RLlib."""
IN_VENV = ("ml_monster", "sb3")


@dataclass(frozen=True)
class Case:
    """One algorithm with one network.

    Attributes:
        name: of the algorithm.
        model_type: whose profile is the base.
        env: what is played.
        network: what the row calls it.
        model: laid over the profile's network.
        training: laid over the profile's settings.
        profile: the base.
        floor: least ratio to the stock lane; 0 where the stock lane is not run.
    """

    name: str
    model_type: str
    env: dict[str, Any]
    network: str
    model: dict[str, Any]
    training: dict[str, Any]
    profile: str = "demo"
    floor: float = 0.0


PPO = {"num_envs": 1024, "rollout_length": 32, "minibatch_size": 4096, "passes": 6, "rounds_per_epoch": 1}
DQN = {
    "num_envs": 16, "rollout_length": 16, "updates_per_round": 32, "rounds_per_epoch": 4,
    "learning_starts": 1024, "buffer_capacity": 50_000,
}  # fmt: skip
SAC = {
    "num_envs": 16, "rollout_length": 16, "updates_per_round": 64, "rounds_per_epoch": 1,
    "learning_starts": 1024, "buffer_capacity": 50_000,
}  # fmt: skip
TEAM = {"num_envs": 64, "rollout_length": 32, "rounds_per_epoch": 1}
SMALL_HEADS = {"shared_dims": [], "actor_dims": [64, 64], "critic_dims": [64, 64]}
BESIDE_STOCK = (
    Case("ppo", "movement_ppo", COMBAT, "2 x 64", SMALL_HEADS, PPO, floor=3.5),
    Case("dqn", "combat_dqn", COMBAT, "2 x 64", {"hidden_dims": [64, 64]}, DQN, floor=6.0),
    Case("sac", "soft_actor_critic", CONTROL, "2 x 64", {"hidden_dims": [64, 64]}, SAC, floor=1.8),
    Case("team_ppo", "team_coordination", PACK, "demo", {}, TEAM, floor=5.0),
)
SAMPLING_FLOORS = {"team_ppo": 20.0}
"""Least ratio of sampling alone."""
ALONE = tuple(
    Case(name, model_type, env, profile, {}, training, profile)
    for profile in ("demo", "full")
    for name, model_type, env, training in (
        # Rounds of equal size: the full profile's own would take minutes on one core.
        ("ppo", "movement_ppo", COMBAT, {"rounds_per_epoch": 1, "num_envs": 256, "rollout_length": 32}),
        ("dqn", "combat_dqn", COMBAT, {"rounds_per_epoch": 2, "learning_starts": 2000}),
        ("sac", "soft_actor_critic", CONTROL, {"rounds_per_epoch": 1, "learning_starts": 1000}),
        (
            "team_ppo",
            "team_coordination",
            PACK,
            {"rounds_per_epoch": 1, "num_envs": 32, "rollout_length": 32},
        ),
    )
)


@dataclass(frozen=True)
class Speed:
    """One lane's figures of a case.

    Attributes:
        steps_per_s: env steps per CPU second, median of the repeats; `low` and `high` their range.
        sampling_per_s: the same for acting alone, without learning.
        updates_per_step: gradient steps per env step.
        phases: seconds of CPU time per env step and phase, columnar lane only.
        outside: share of CPU time that the lane adds, columnar lane only.
    """

    steps_per_s: float
    low: float
    high: float
    sampling_per_s: float
    updates_per_step: float
    phases: dict[str, float]
    outside: float | None


@dataclass(frozen=True)
class Row:
    """A case with both lanes."""

    case: Case
    columnar: Speed
    stock: Speed | None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Columnar over stock, end to end."""
        return self.columnar.steps_per_s / self.stock.steps_per_s if self.stock else None

    @property
    def sampling_ratio(self) -> float | None:
        """Columnar over stock, acting alone."""
        return self.columnar.sampling_per_s / self.stock.sampling_per_s if self.stock else None


class Lane:
    """A trainer whose epochs are timed."""

    def __init__(self, case: Case, sampler: str) -> None:
        run = resolve_run(
            case.model_type,
            case.env,
            profile=case.profile,
            sampler=sampler,
            overrides={"model": case.model, "training": {**case.training, "epochs": 1000}},
        )
        self.trainer: AnyTrainer = build_trainer(run)
        self.rates: list[float] = []
        self.sampling: list[float] = []
        self.updates_per_step = 0.0
        self.phases = dict.fromkeys(NAMES, 0.0)
        self.cpu_s = 0.0
        self.columnar = sampler == "columnar"
        if self.columnar:
            self._algorithm.phases.clock = time.thread_time
        self.steps = 0
        self.last: dict[str, float] = {}
        for _ in range(WARM_UP_EPOCHS):
            self.last = self.trainer.train_epoch()
        while self.last["updates"] == 0:
            self.last = self.trainer.train_epoch()

    @property
    def _algorithm(self) -> Any:
        trainer: Any = self.trainer
        return trainer.algorithm

    def repeat(self) -> None:
        """One timed epoch."""
        before = self.last
        started = time.thread_time()
        self.last = self.trainer.train_epoch()
        spent = time.thread_time() - started
        steps = self.last["env_steps"] - before["env_steps"]
        self.rates.append(steps / spent)
        self.updates_per_step = (self.last["updates"] - before["updates"]) / steps
        self.steps += int(steps)
        self.cpu_s += spent
        spent_in = seconds_of(self.last)
        for name in NAMES:
            self.phases[name] += spent_in.get(name, 0.0)

    def sample_alone(self) -> None:
        """One timed round of acting; the trainer cannot go on, as its buffer has missed the round."""
        started = time.thread_time()
        if self.columnar:
            rollout = self._algorithm.runner.sample()
            steps = int(rollout.valid.sum()) // self._algorithm.runner.members
        else:
            episodes = self._algorithm.env_runner_group.local_env_runner.sample()
            steps = sum(episode.env_steps() for episode in episodes)
        self.sampling.append(steps / (time.thread_time() - started))

    def speed(self) -> Speed:
        """The figures so far."""
        worked = sum(self.phases[name] for name in KERNEL_AND_TORCH)
        return Speed(
            statistics.median(self.rates),
            min(self.rates),
            max(self.rates),
            statistics.median(self.sampling),
            self.updates_per_step,
            {name: seconds / self.steps for name, seconds in self.phases.items()} if self.columnar else {},
            1.0 - worked / self.cpu_s if self.columnar else None,
        )


def measure(case: Case, repeats: int, say: Callable[[str], None]) -> Row:
    """Both lanes of a case in turns; the stock lane only where the case has a floor."""
    say(f"{case.name} {case.network}: building")
    columnar = Lane(case, "columnar")
    stock = Lane(case, "stock") if case.floor else None
    for number in range(repeats):
        say(f"{case.name} {case.network}: repeat {number + 1} of {repeats}")
        columnar.repeat()
        if stock is not None:
            stock.repeat()
    for _ in range(2 * repeats):
        columnar.sample_alone()
        if stock is not None:
            stock.sample_alone()
    row = Row(case, columnar.speed(), stock.speed() if stock else None)
    columnar.trainer.stop()
    if stock is not None:
        stock.trainer.stop()
    gc.collect()
    return row


def peers(steps: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Our lane and every peer on the same tasks; peers that are not installed say so."""
    from bench.training_peers import PEERS
    from bench.training_peers.base import ask, tasks

    found = []
    for task in tasks(steps):
        for name, peer in PEERS.items():
            if task.algorithm not in peer.algorithms:
                continue
            say(f"{task.algorithm} with {task.num_envs} envs: {name}")
            python = str(PEERS_PYTHON) if name not in IN_VENV and PEERS_PYTHON.exists() else sys.executable
            found.append({"task": asdict(task), **asdict(ask(peer, task, python))})
    return found


def formats(say: Callable[[str], None]) -> dict[str, float]:
    """Milliseconds of CPU time per update of the full combat network at batch 256, by way of computing it."""
    found = {}
    for name, settings in FORMATS.items():
        say(f"full dqn, {name}")
        run = resolve_run(
            "combat_dqn",
            COMBAT,
            profile="full",
            overrides={"training": {"learning_starts": 3000, "rounds_per_epoch": 2, "updates_per_round": 2}},
            **settings,
        )
        trainer: Any = build_trainer(run)
        for _ in range(WARM_UP_EPOCHS):
            trainer.train_epoch()
        columns = trainer.algorithm.replay.sample(256, 0.5).columns
        spent = []
        for _ in range(9):
            started = time.thread_time()
            trainer.algorithm.learner.update_columns(columns)
            spent.append(time.thread_time() - started)
        trainer.stop()
        found[name] = statistics.median(spent) * 1e3
    return found


def missed(rows: Sequence[Row]) -> list[str]:
    """What stays under its floor."""
    found = []
    for row in rows:
        name = f"{row.case.name} {row.case.network}"
        if row.ratio is not None and row.ratio < row.case.floor:
            found.append(f"{name}: {row.ratio:.2f} x stock, floor {row.case.floor}")
        floor = SAMPLING_FLOORS.get(row.case.name)
        if floor and row.sampling_ratio is not None and row.sampling_ratio < floor:
            found.append(f"{name}: sampling {row.sampling_ratio:.1f} x stock, floor {floor}")
        if row.columnar.outside is not None and row.columnar.outside > OUTSIDE:
            found.append(
                f"{name}: {row.columnar.outside:.0%} outside kernel and torch, at most {OUTSIDE:.0%}"
            )
    return found


def print_rows(rows: Sequence[Row]) -> None:
    """The table of both lanes and the table of phases."""
    print(
        f"\n{'algorithm':<9} {'network':<7} {'updates/step':>12} {'columnar':>9} {'range':>17} {'stock':>7} "
        f"{'ratio':>6} {'sampling':>9} {'stock':>7} {'ratio':>6} {'outside':>7}"
    )
    for row in rows:
        c, s = row.columnar, row.stock
        stock = f"{s.steps_per_s:>7,.0f} {row.ratio:>6.1f}" if s else f"{'-':>7} {'-':>6}"
        sampling = f"{s.sampling_per_s:>7,.0f} {row.sampling_ratio:>6.1f}" if s else f"{'-':>7} {'-':>6}"
        print(
            f"{row.case.name:<9} {row.case.network:<7} {c.updates_per_step:>12.4f} {c.steps_per_s:>9,.0f} "
            f"{f'{c.low:,.0f}-{c.high:,.0f}':>17} {stock} {c.sampling_per_s:>9,.0f} {sampling} "
            f"{c.outside or 0.0:>7.0%}"
        )
    print("\nCPU time by phase, microseconds per env step")
    print(f"{'algorithm':<9} {'network':<7} " + " ".join(f"{name:>10}" for name in NAMES))
    for row in rows:
        values = " ".join(f"{row.columnar.phases[name] * 1e6:>10.2f}" for name in NAMES)
        print(f"{row.case.name:<9} {row.case.network:<7} {values}")


def print_peers(found: Sequence[dict[str, Any]]) -> None:
    """The table of trainers."""
    print("\nTrainers on the same task, MLP 2 x 64, env steps per CPU second")
    ours: dict[str, float] = {}
    for row in found:
        task = row["task"]
        key = json.dumps(task, sort_keys=True)
        title = (
            f"{task['algorithm']} {task['num_envs']} x {task['rollout_length']}, batch {task['minibatch']}"
        )
        rate = row["env_steps"] / row["cpu_seconds"] if row["cpu_seconds"] else None
        if row["peer"] == "ml_monster" and rate:
            ours[key] = rate
        beside = f"{ours[key] / rate:>6.1f}" if rate and key in ours else f"{'-':>6}"
        shown = f"{rate:>10,.0f}" if rate else f"{'-':>10}"
        print(f"{title:<30} {row['peer']:<15} {row['version']:<10} {shown} {beside}  {row['note']}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; print tables or one JSON object."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", default=None, help="algorithms (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="timed epochs of each lane (default 5)")
    parser.add_argument("--no-full", action="store_true", help="leave the full networks out")
    parser.add_argument("--no-peers", action="store_true", help="leave the other projects' trainers out")
    parser.add_argument(
        "--peer-steps", type=int, default=200_000, help="env steps of a peer's PPO (default 200,000)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    cases = [case for case in (*BESIDE_STOCK, *ALONE) if options.only is None or case.name in options.only]
    if options.no_full:
        cases = [case for case in cases if case.profile != "full"]
    rows = [measure(case, options.repeats if case.profile == "demo" else 2, say) for case in cases]
    ways = {} if options.no_full else formats(say)
    others = [] if options.no_peers else peers(options.peer_steps, say)
    if options.json:
        print(
            json.dumps(
                {
                    "machine": describe(),
                    "rows": [asdict(row) for row in rows],
                    "formats": ways,
                    "peers": others,
                }
            )
        )
    else:
        print(header())
        print(f"{options.repeats} repeats, medians")
        print_rows(rows)
        if ways:
            print("\nFull combat network, batch 256: CPU milliseconds per update")
            print(", ".join(f"{name} {value:.1f}" for name, value in ways.items()))
        if others:
            print_peers(others)
    short = missed(rows)
    for line in short:
        print(f"training: {line}", file=sys.stderr)
    return int(bool(short))


if __name__ == "__main__":
    sys.exit(main())
