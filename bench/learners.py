"""What the algorithms learn, in how many minutes of one core: combat, skills, control, movement and packs.

Each row is one run on the columnar lane from one seed, its best epoch chosen by greedy selection fights, and
the fights of the last column played greedily on seeds that neither training nor selection has seen:

- combat against `veteran`: PPO on the ten combat actions, each archetype in its own scenario (`ranged` in its
  2v2: one to one a fifth of the fights end in a double kill);
- skill against `veteran`: DQN on the 70 pairs of skill and target, which starts by copying the script; the
  feet are the script's (`ranged` in its 2v2 here too);
- control against `classic`: SAC on the five continuous controls;
- movement: PPO on the nine directions, each archetype in its own movement scenario, whose enemies are made so
  strong that the traditional AI wins half of the fights;
- pack against `classic`: recurrent multi-agent PPO with a central critic, three members (3v3);
- pack5: the same with five members (5v5).

A win is one by kill. Settings stand in `learner_settings.yaml` beside this file. Finished rows lie in --out,
one file each, and are not made again: a broken-off bench goes on. Exit status 1 if a row stays under its
floor: its lower 95 % bound (Wilson) must lie above it, and for combat that must hold for at least five
archetypes, for skill for four.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.machine import header
from envs import archetypes
from envs.configuration import load_yaml
from envs.contracts import ARCHETYPES
from experiments.seeds import Purpose, seed_for
from experiments.statistics import wilson_interval
from policies.profiles import resolve_run
from policies.training import Trainer, build_trainer

SETTINGS = Path(__file__).parent / "learner_settings.yaml"
OUT = Path(__file__).parent / "results" / "learners"
ENVS: dict[str, dict[str, Any]] = {
    "combat": {"id": "MLMonster/Combat-v0", "opponent": "veteran"},
    "skill": {"id": "MLMonster/Skill-v0", "opponent": "veteran"},
    "control": {"id": "MLMonster/Control-v0", "opponent": "classic"},
    "movement": {"id": "MLMonster/Movement-v0", "opponent": "classic"},
    "pack": {"factory": "policies.columnar.pack_rows:make", "scenario": "3v3", "opponent": "classic"},
    "pack5": {"factory": "policies.columnar.pack_rows:make", "scenario": "5v5", "opponent": "classic"},
}
FLOORS = {"combat": 0.70, "skill": 0.70, "control": 0.70, "movement": 0.70, "pack": 0.80, "pack5": 0.70}
NEEDED = {"combat": 5, "skill": 4}
"""Archetypes that must be above the floor, where not all have to."""
SELECTION_FIGHTS = 400


@dataclass(frozen=True)
class Row:
    """One trained mind.

    Attributes:
        task: one of `ENVS`.
        archetype: of the learner, or whose pack it is.
        seed: of the run.
        env_steps: decisions sampled.
        cpu_minutes: process time of training and selection.
        best_epoch: of all epochs.
        n: fights of the evaluation.
        win_rate: share of them won by kill; `low` and `high` its 95 % interval.
    """

    task: str
    archetype: str
    seed: int
    env_steps: int
    cpu_minutes: float
    best_epoch: int
    n: int
    win_rate: float
    low: float
    high: float


def settings_of(task: str, archetype: str) -> dict[str, Any]:
    """A task's settings: those for all archetypes, with this one's laid over them."""
    whole: Mapping[str, Any] = load_yaml(SETTINGS)[task]
    own = (whole.get("archetypes") or {}).get(archetype, {})
    found: dict[str, Any] = {}
    for part in ("model", "training", "reward", "env"):
        found[part] = {**(whole.get(part) or {}), **(own.get(part) or {})}
    return {"model_type": whole["model_type"], "noise": own.get("noise", whole.get("noise")), **found}


def train(task: str, archetype: str, seed: int, fights: int, epochs: int | None = None) -> Row:
    """Train one mind and measure its best epoch.

    Args:
        task: one of `ENVS`.
        archetype: of the learner.
        seed: of the run.
        fights: of the evaluation.
        epochs: fewer than the settings say, for a short look.
    """
    settings = settings_of(task, archetype)
    training = dict(settings["training"])
    if epochs is not None:
        training["epochs"] = epochs
    config = archetypes.load(archetype).training
    run = resolve_run(
        settings["model_type"],
        {**ENVS[task], **settings["env"], "archetype": archetype, "reward": settings["reward"]},
        seed=seed,
        env_seed=seed_for(Purpose.TRAINING, seed, archetype, task),
        noise=settings["noise"] or config.exploration_noise or 0.1,
        overrides={"model": settings["model"], "training": training},
    )
    trainer = build_trainer(run)
    assert isinstance(trainer, Trainer)
    started = time.process_time()
    best, weights, best_epoch, steps = -1.0, None, 0, 0
    total = run["training"]["epochs"]
    for epoch in range(1, total + 1):
        metrics = trainer.train_epoch()
        steps = int(metrics["env_steps"])
        # The first half still explores.
        if 2 * epoch > total and (epoch % max(1, total // 10) == 0 or epoch == total):
            seen = trainer.evaluate(SELECTION_FIGHTS, seed_for(Purpose.SELECTION, seed, archetype, task))
            # Ties go to the later epoch: it has seen more fights.
            if seen["win_rate"] >= best:
                best, best_epoch = seen["win_rate"], epoch
                weights = copy.deepcopy(trainer.model().state_dict())
    minutes = (time.process_time() - started) / 60.0
    if weights is not None:
        trainer.model().load_state_dict(weights)
    result = trainer.evaluate(fights, seed_for(Purpose.EVALUATION, seed, archetype, task))
    trainer.stop()
    n = int(result["episodes"])
    won = round(result["win_rate"] * n)
    return Row(task, archetype, seed, steps, minutes, best_epoch, n, won / n, *wilson_interval(won, n))


def short_of(rows: Sequence[Row]) -> list[str]:
    """Tasks whose floor is not reached."""
    found = []
    for task in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == task]
        above = sum(row.low > FLOORS[task] for row in own)
        needed = min(NEEDED.get(task, len(own)), len(own))
        if above < needed:
            found.append(f"{task}: {above} of {len(own)} above {FLOORS[task]:.2f}, {needed} needed")
    return found


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    print(f"{'task':<8} {'archetype':<11} {'seed':>4} {'env steps':>10} {'CPU min':>7} {'epoch':>5} "
          f"{'n':>5} {'win rate':>8} {'95 % interval':>15} {'floor':>5}")  # fmt: skip
    for row in rows:
        print(
            f"{row.task:<8} {row.archetype:<11} {row.seed:>4} {row.env_steps:>10,} {row.cpu_minutes:>7.1f} "
            f"{row.best_epoch:>5} {row.n:>5} {row.win_rate:>8.3f} {f'{row.low:.3f}-{row.high:.3f}':>15} "
            f"{FLOORS[row.task]:>5.2f}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet; print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.learners",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", choices=tuple(ENVS), default=list(ENVS))
    parser.add_argument("--archetypes", nargs="+", choices=ARCHETYPES, default=list(ARCHETYPES))
    parser.add_argument("--seed", type=int, default=1, help="of the runs (default 1)")
    parser.add_argument("--fights", type=int, default=2000, help="of each evaluation (default 2,000)")
    parser.add_argument(
        "--out", type=Path, default=OUT, help="finished rows (default bench/results/learners)"
    )
    options = parser.parse_args(arguments)
    if options.fights < 1:
        parser.error("--fights must be at least 1")
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for task in options.tasks:
        for archetype in options.archetypes:
            path = options.out / f"{task}-{archetype}-{options.seed}.json"
            if not path.exists():
                print(f"{task} {archetype}: training", file=sys.stderr, flush=True)
                row = train(task, archetype, options.seed, options.fights)
                beside = path.with_suffix(".writing")
                beside.write_text(json.dumps(asdict(row), indent=1) + "\n", encoding="utf-8")
                beside.replace(path)
            rows.append(Row(**json.loads(path.read_text(encoding="utf-8"))))
    print(header())
    show(rows)
    short = short_of(rows)
    for line in short:
        print(f"learners: {line}", file=sys.stderr)
    return int(bool(short))


if __name__ == "__main__":
    sys.exit(main())
