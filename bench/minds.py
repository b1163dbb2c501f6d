"""What the perception minds learn: against every named baseline, beside what anybody could know.

One run per model type and archetype at a profile, on the supervised trainer. Then, on fights that training
has not seen (test: other seeds, held_out: teams of enemies that never fought in training):

- each question against each baseline: mean errors, and the 95 % interval of their difference, by bootstrap
  over fights on the same rows;
- the metrics of the type, with what nobody can exceed beside them (see `bench.mind_studies`).

Finished cells lie in --out, one file each, and are not made again: a broken-off bench goes on. Exit status 1
if a goal of a cell is not met; each such line is named.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.machine import header
from bench.mind_studies import GOALS, study
from envs import archetypes
from envs.contracts import ARCHETYPES
from policies.model_types import MODEL_TYPES
from policies.perception.data import collect
from policies.perception.evaluation import Comparison, compare, lines
from policies.perception.profiles import resolve_perception_run
from policies.perception.trainer import SupervisedTrainer, train

OUT = Path(__file__).parent / "results" / "minds"
TYPES = [name for name, kind in MODEL_TYPES.items() if kind.algorithm == "supervised"]
STANDARD_RATE = 3e-4
"""The rate that the archetypes' own are relative to."""


def run_cell(name: str, archetype: str, seed: int, profile: str) -> dict[str, Any]:
    """Train one mind and measure it; everything that the table shows, in plain JSON types."""
    rate = archetypes.load(archetype).training.learning_rate
    factor = 1.0 if rate is None else rate / STANDARD_RATE
    run = resolve_perception_run(name, archetype, profile=profile, seed=seed, learning_rate_factor=factor)
    began = time.process_time()
    trainer = SupervisedTrainer(run)
    recorded = time.process_time()
    epochs: list[dict[str, float]] = []
    calibrated = train(trainer, epochs.append)
    trained = time.process_time()
    task, plan = trainer.task, trainer.run.data
    sets = {
        "test": trainer.sets["test"],
        "held_out": collect(task, archetype, plan, trainer.run.seed, held_out=True)["held_out"],
    }
    answers = {which: trainer.answers(rows) for which, rows in sets.items()}
    metrics = {which: task.metrics(answers[which], sets[which], trainer.fitted) for which in sets}
    against = {
        which: [asdict(one) for one in compare(task, answers[which], sets[which], trainer.fitted, seed)]
        for which in sets
    }
    return {
        "type": name,
        "archetype": archetype,
        "seed": seed,
        "profile": profile,
        "record_cpu_s": recorded - began,
        "train_cpu_s": trained - recorded,
        "epochs": len(epochs),
        "best_epoch": trainer.best["epoch"],
        "rows": {which: len(rows["fight"]) for which, rows in {**trainer.sets, **sets}.items()},
        "calibrated": calibrated,
        "metrics": metrics,
        "against": against,
        "study": study(trainer, sets, answers),
        "study_cpu_s": time.process_time() - trained,
    }


def short_of(cell: dict[str, Any]) -> list[str]:
    """What a cell does not reach, one line each."""
    name = f"{cell['type']} {cell['archetype']}"
    found = []
    for which, rows in cell["against"].items():
        for row in rows:
            one = Comparison(**row)
            if not one.better:
                found.append(
                    f"{name}, {which}: {one.question} not better than {one.baseline} "
                    f"({one.low:+.4f} to {one.high:+.4f})"
                )
    for figure, (limit, above) in GOALS.get(cell["type"], {}).items():
        value = cell["study"].get(figure)
        if value is None or not (value >= limit if above else value <= limit):
            word = "at least" if above else "at most"
            found.append(f"{name}: {figure} {value if value is None else round(value, 4)}, {word} {limit}")
    return found


def show(cell: dict[str, Any]) -> None:
    """Print a cell."""
    print(
        f"\n{cell['type']} {cell['archetype']}, seed {cell['seed']}, profile {cell['profile']}: "
        f"{cell['rows']['train']:,} rows in {cell['record_cpu_s']:.0f} CPU s, {cell['epochs']} epochs (best "
        f"{cell['best_epoch']}) in {cell['train_cpu_s']:.0f} CPU s"
    )
    for which, rows in cell["against"].items():
        print("\n".join(lines([Comparison(**row) for row in rows], which)))
    for which, figures in cell["metrics"].items():
        print(f"{which:9} " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    print("          " + ", ".join(f"{name} {value:.3f}" for name, value in cell["study"].items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet; print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.minds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model-types", nargs="+", choices=TYPES, default=TYPES)
    parser.add_argument("--archetypes", nargs="+", choices=ARCHETYPES, default=list(ARCHETYPES))
    parser.add_argument("--profile", choices=("demo", "small", "full"), default="demo")
    parser.add_argument("--seed", type=int, default=1, help="of the runs (default 1)")
    parser.add_argument("--out", type=Path, default=OUT, help="finished cells (default bench/results/minds)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    print(header())
    short = []
    for name in options.model_types:
        for archetype in options.archetypes:
            path = options.out / f"{name}-{archetype}-{options.profile}-{options.seed}.json"
            if not path.exists():
                print(f"{name} {archetype}: training", file=sys.stderr, flush=True)
                cell = run_cell(name, archetype, options.seed, options.profile)
                beside = path.with_suffix(".writing")
                beside.write_text(json.dumps(cell, indent=1) + "\n", encoding="utf-8")
                beside.replace(path)
            cell = json.loads(path.read_text(encoding="utf-8"))
            show(cell)
            short += short_of(cell)
    for line in short:
        print(f"minds: {line}", file=sys.stderr)
    return int(bool(short))


if __name__ == "__main__":
    sys.exit(main())
