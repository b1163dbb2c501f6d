"""What an experiment costs beside its runs: 54 tiny real runs through one Tuner, and a process for each run.

Overhead is the wall time of the whole experiment, Ray's start and end included, less the time in which runs
trained and chose their best epoch (`epoch_s` of their own reports), per run. Building trainers, recording a
few fights for the perception minds, checkpoints, Tune and Ray are in it.

    nice python -m bench.overhead
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.machine import header
from experiments import tuning
from experiments.matrix import Request, Run, check_names, resolve
from experiments.progress import Progress, silent

GOAL_S = 3.0
_FEW_FIGHTS = {"fights": 60, "decisions": None, "sizes": {"1v1": 1}}
"""So many that validation and test, a tenth each, have some of every archetype."""
_SMALL_ROUNDS = {"rounds_per_epoch": 1, "num_envs": 32, "rollout_length": 8, "warm_start_fights": 0}
_REPLAY = {**_SMALL_ROUNDS, "updates_per_round": 2, "learning_starts": 256, "n_step": 1}
_TINY: dict[str, dict[str, dict[str, Any]]] = {
    "combat_dqn": {"training": {**_REPLAY, "warm_start_fights": 0}},
    "skill_dqn": {"training": _REPLAY},
    "soft_actor_critic": {"training": _REPLAY},
    "movement_ppo": {"training": {**_SMALL_ROUNDS, "minibatch_size": 128}},
    "team_coordination": {"training": {**_SMALL_ROUNDS, "rollout_length": 16, "minibatch_size": 768}},
    "threat_assessment": {"data": _FEW_FIGHTS},
    "spatial_vit": {"data": _FEW_FIGHTS},
    "temporal_transformer": {"data": _FEW_FIGHTS},
    "pattern_recognition": {"data": _FEW_FIGHTS},
}


def tiny_runs(model_types: Sequence[str] | None, archetypes: Sequence[str] | None) -> list[Run]:
    """One epoch of as little as each type learns from; everything else as `monster train` does it."""
    found_archetypes, found_types = check_names(archetypes, model_types)
    return resolve(Request(found_archetypes, found_types, epochs=1, overrides=_TINY))


def measure(runs: Sequence[Run], *, parallel: int, reuse_processes: bool) -> tuple[float, float]:
    """Wall seconds of one experiment in a home of its own, and seconds of its runs' own epochs."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as home:
        started = time.perf_counter()
        trained = tuning.train(
            Path(home), runs, Progress(silent), parallel=parallel, reuse_processes=reuse_processes
        )
        wall = time.perf_counter() - started
        return wall, sum(float(result.summary["train_s"]) for result in trained)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both ways; print them; exit status 1 if ours misses the goal."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model-types", nargs="+", help="default: all nine")
    parser.add_argument("--archetypes", nargs="+", help="default: all six")
    parser.add_argument(
        "--naive-archetypes", nargs="+", default=["mage"], help="of the naive way, default: %(default)s"
    )
    options = parser.parse_args(arguments)
    print(header())
    runs = tiny_runs(options.model_types, options.archetypes)
    few = tiny_runs(options.model_types, options.naive_archetypes)
    overheads = []
    print(f"{'way':<34} {'runs':>4} {'wall s':>8} {'epochs s':>8} {'overhead s per run':>18}")
    for way, chosen, reuse in (
        ("one Tuner, processes reused", runs, True),
        ("one process for each run (naive)", few, False),
    ):
        wall, epochs = measure(chosen, parallel=1, reuse_processes=reuse)
        overheads.append((wall - epochs) / len(chosen))
        print(f"{way:<34} {len(chosen):>4} {wall:>8.1f} {epochs:>8.1f} {overheads[-1]:>18.2f}", flush=True)
    ours, naive = overheads
    print(f"one at a time; ratio {naive / ours:.1f}; the naive way's {len(few)} runs stand for {len(runs)}")
    print(f"goal: at most {GOAL_S:g} s per run: {'reached' if ours <= GOAL_S else 'MISSED'}")
    return int(ours > GOAL_S)


if __name__ == "__main__":
    sys.exit(main())
