"""Learning curves of both lanes: is the columnar lane the same learner as RLlib's own?

Every task is learned with the same run on `sampler` columnar and stock, from several seeds. A point of a
curve is the mean score of the episodes that ended within one epoch, on a scale where 0 is about what no
learning gives and 1 the best there is; the area under the curve is the mean over the epochs. As control the
columnar lane also runs with a learning rate of nearly zero.

Margin, fixed before the runs were made (settings were chosen on the columnar lane with another seed): both
lanes count as equivalent on a task if the difference of their mean areas is at most 0.10, and two one-sided
tests (Schuirmann 1987) at 5 % each reject a difference of 0.15 or more: the 90 % interval of the difference
(Welch's standard error, Student's t with n - 1 degrees of freedom, which is on the safe side) lies within
+-0.15. Why these: the lanes are known to differ in small ways (`policies/stock.py` lists them), and two
groups of five seeds of one and the same learner easily differ by 0.1 (Henderson et al. 2018, figure 5). A
bootstrap over the wrong state, an action one row off or a mask lost costs most of what learning gains, which
the control measures: the margin must lie well below it.

Finished runs lie in --out, one file each, and are not made again: a broken-off bench goes on. Exit status 1
if lanes are not equivalent.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.curve_tasks import TASKS, Task
from bench.curves_plot import plot
from bench.machine import describe, header
from envs.configuration import merge, to_plain

LANES = ("stock", "columnar", "untrained")
LARGEST_DIFFERENCE, MARGIN = 0.10, 0.15
# 95 % quantiles of Student's t by degrees of freedom.
T_95 = {1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 7: 1.895, 8: 1.860, 9: 1.833}
T_95_MANY = 1.833
NO_LEARNING = 1e-12
OUT = Path(__file__).parent / "results" / "curves"
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "curves.svg"


@dataclass(frozen=True)
class Verdict:
    """What the runs of one task say; areas are on the scale from 0 to 1."""

    task: str
    seeds: int
    stock: float
    columnar: float
    untrained: float
    difference: float
    """Columnar less stock."""
    low: float
    high: float
    """90 % interval of the difference."""

    @property
    def equivalent(self) -> bool:
        """Whether the lanes agree within the margin."""
        return abs(self.difference) <= LARGEST_DIFFERENCE and self.low > -MARGIN and self.high < MARGIN


def settings_of(task: Task, lane: str, seed: int) -> dict[str, Any]:
    """The resolved run of a task."""
    from policies.profiles import resolve_run

    training = dict(task.training)
    if lane == "untrained":
        training |= {"learning_rate": NO_LEARNING}
        if task.model_type == "soft_actor_critic":
            training |= {"critic_learning_rate": NO_LEARNING, "alpha_learning_rate": NO_LEARNING}
    return resolve_run(
        task.model_type,
        task.env,
        overrides={"model": task.model, "training": training},
        seed=seed,
        noise=task.noise,
        sampler="stock" if lane == "stock" else "columnar",
    )


def learn(task: Task, run: Mapping[str, Any]) -> dict[str, Any]:
    """Train one run.

    Returns:
        env_steps and score, one number per epoch each; updates, CPU seconds.
    """
    from policies.training import build_trainer

    trainer: Any = build_trainer(run)
    steps, scores = [], []
    finished, score = 0, task.low
    try:
        started = time.process_time()
        for _ in range(int(run["training"]["epochs"])):
            metrics = trainer.train_epoch()
            log = episodes_of(trainer).get_state()
            ended, finished = int(log["finished"]) - finished, int(log["finished"])
            if ended:
                # An epoch without an end repeats the point before.
                score = float(log[f"rows:{task.score}"][-ended:].mean())
            steps.append(int(metrics["env_steps"]))
            scores.append(score)
        seconds = time.process_time() - started
    finally:
        trainer.stop()
    return {"env_steps": steps, "score": scores, "updates": metrics["updates"], "cpu_s": seconds}


def episodes_of(trainer: Any) -> Any:
    """The `EpisodeLog` of a trainer of either lane."""
    if trainer.run.sampler == "stock":
        from policies.stock_env import stock_env_of

        return stock_env_of(trainer.algorithm.env_runner).episodes
    return trainer.algorithm.runner.episodes


def area(task: Task, scores: Sequence[float]) -> float:
    """Area under a curve on the scale from 0 to 1: the mean over the epochs."""
    return (statistics.fmean(scores) - task.low) / (task.high - task.low)


def difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Difference of means, and its 90 % interval.

    SE^2 = var / n of both added up (Welch 1947); interval = difference +- t(0.95, n - 1) SE, n the smaller.
    """
    gap = statistics.fmean(ours) - statistics.fmean(theirs)
    n = min(len(ours), len(theirs))
    if n < 2:
        return gap, -math.inf, math.inf
    error = math.sqrt(
        statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs)
    ) * T_95.get(n - 1, T_95_MANY)
    return gap, gap - error, gap + error


def judge(name: str, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> Verdict:
    """Compare the lanes of one task.

    Args:
        name: Of the task.
        results: Files' contents by lane.
    """
    areas = {lane: [area(TASKS[name], run["score"]) for run in runs] for lane, runs in results.items()}
    means = {lane: statistics.fmean(found) if found else math.nan for lane, found in areas.items()}
    return Verdict(
        name,
        min(len(areas["stock"]), len(areas["columnar"])),
        means["stock"],
        means["columnar"],
        means["untrained"],
        *difference(areas["columnar"], areas["stock"]),
    )


def run_or_read(name: str, lane: str, seed: int, out: Path) -> dict[str, Any]:
    """One run's result: from its file if it is there with these very settings, else made and written."""
    run = settings_of(TASKS[name], lane, seed)
    path = out / f"{name}-{lane}-{seed}.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        # Settings that came after the file was written stand at their defaults then.
        if merge(run, found["run"]) == run:
            return found
    result = {"task": name, "lane": lane, "seed": seed, **learn(TASKS[name], run)}
    result |= {"run": to_plain(run), "machine": describe()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1), encoding="utf-8")
    partial.replace(path)
    return result


def table(verdicts: Sequence[Verdict], results: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[str]:
    """Lines for people."""
    lines = [
        f"{'task':<14} {'seeds':>5} {'stock':>6} {'columnar':>8} {'untrained':>9} {'difference':>10} "
        f"{'90 % interval':>17} {'CPU s/run stock':>15} {'columnar':>8}  equivalent"
    ]
    for verdict in verdicts:
        seconds = {
            lane: statistics.fmean(run["cpu_s"] for run in results[verdict.task][lane])
            for lane in ("stock", "columnar")
        }
        lines.append(
            f"{verdict.task:<14} {verdict.seeds:>5} {verdict.stock:>6.3f} {verdict.columnar:>8.3f} "
            f"{verdict.untrained:>9.3f} {verdict.difference:>+10.3f} "
            f"{f'[{verdict.low:+.3f}, {verdict.high:+.3f}]':>17} {seconds['stock']:>15.1f} "
            f"{seconds['columnar']:>8.1f}  {'yes' if verdict.equivalent else 'NO'}"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs that are missing; print the table or one JSON object, and draw the curves."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.curves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--task", action="append", choices=sorted(TASKS), help="may be repeated (default all)"
    )
    parser.add_argument("--seeds", type=int, help="runs per task and lane (default: the task's own, 5 to 20)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results (default %(default)s)")
    parser.add_argument("--plot", type=Path, default=PICTURE, help="SVG to write (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args(arguments)
    if options.seeds is not None and options.seeds < 2:
        parser.error("--seeds must be at least 2: one run has no spread to judge a difference by")
    names = options.task or list(TASKS)
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in names:
        results[name] = {lane: [] for lane in LANES}
        for seed in range(options.seeds or TASKS[name].seeds):
            for lane in LANES:
                results[name][lane].append(run_or_read(name, lane, seed, options.out))
    verdicts = [judge(name, results[name]) for name in names]
    if options.json:
        rows = [asdict(verdict) | {"equivalent": verdict.equivalent} for verdict in verdicts]
        print(json.dumps({"machine": describe(), "rows": rows}))
    else:
        print(header())
        print(
            f"area under the learning curve, 0 to 1; equivalent: difference at most {LARGEST_DIFFERENCE:.2f} "
            f"and 90 % interval within +-{MARGIN:.2f}"
        )
        print("\n".join(table(verdicts, results)))
    plot(options.plot, results)
    return int(not all(verdict.equivalent for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
