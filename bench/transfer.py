"""What a start from another archetype's weights is worth: three pairs, three seeds.

- movement, mage to ranged: both hunt through the forest, with other hands;
- movement, aggressive to tank: both dodge, and a tank that learns alone is paid for being hit;
- combat (DQN), aggressive to tank: other skills, other pay; random actions at first and fresh values leave
  little of a start.

Each pair is what `monster transfer` does. A gain is transferred minus from scratch, at equal seeds, settings
and decisions, as a mean over seeds with a 95 % interval by Student's t: of the greedy win rate, averaged
over all epochs, and of the decisions until it first reaches 0.70 (a run that never gets there counts with its
whole length). Runs lie in --home and are not made again: a broken-off bench goes on. Exit status 1 if no
pair's interval lies above zero.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.machine import header
from experiments.ledger import Ledger
from experiments.pipeline import open_workshop
from experiments.progress import Progress, table
from experiments.report.transfer_page import write_transfer_page
from experiments.transfer import TransferRequest, carry_out
from experiments.transfer_result import WIN_RATE, TransferResult, reached_text, result_json

OUT = Path(__file__).parent / "results" / "transfer"


@dataclass(frozen=True)
class Pair:
    """One transfer.

    Attributes:
        model_type: of source and target.
        source: archetype.
        target: archetype.
        epochs: of each run.
    """

    model_type: str
    source: str
    target: str
    epochs: int

    @property
    def name(self) -> str:
        """A name for files and --pairs."""
        return f"{self.model_type}-{self.source}-to-{self.target}"


PAIRS = {
    pair.name: pair
    for pair in (
        Pair("movement_ppo", "mage", "ranged", 24),
        Pair("movement_ppo", "aggressive", "tank", 20),
        Pair("combat_dqn", "aggressive", "tank", 12),
    )
}


def run(pair: Pair, home: Path, seeds: int, progress: Progress, out: Path) -> TransferResult:
    """Transfer one pair, and leave its curves and its page.

    Args:
        pair: what to transfer.
        home: project folder.
        seeds: of each arm.
        progress: where lines go.
        out: folder of curves and pages.
    """
    request = TransferRequest(pair.source, pair.target, pair.model_type, seeds=seeds, epochs=pair.epochs)
    result = carry_out(home, request, lambda: open_workshop(home, None, progress), progress)
    out.mkdir(parents=True, exist_ok=True)
    values = {**result_json(result), "train_s": seconds_of(home, result)}
    (out / f"{pair.name}.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    write_transfer_page(out / f"{pair.name}.html", result, "python -m bench.transfer")
    return result


def seconds_of(home: Path, result: TransferResult) -> float:
    """Seconds that the runs of both arms and the source took, selection fights included."""
    names = [result.source_run, *(curve.run_id for arm in result.arms.values() for curve in arm)]
    done = [Ledger(home).run(name).done() or {} for name in names]
    return sum(float(summary.get("train_s") or 0.0) for summary in done)


def show(results: Sequence[TransferResult]) -> None:
    """Print both tables."""
    rows: list[list[Any]] = []
    for result in results:
        assert result.paired is not None
        gain, saved, unreached = result.paired.area_gain, result.paired.steps_saved, result.paired.unreached
        rows.append(
            [
                result.model_type, result.source_archetype, result.target_archetype, gain.n,
                *_gain(gain, "+.3f"), *_gain(saved, ",.0f"), f"{unreached[0]} / {unreached[1]}",
            ]
        )  # fmt: skip
    titles = [
        "model type", "source", "target", "seeds", "win rate gained", "95 % interval",
        f"steps to {WIN_RATE:.2f} saved", "95 % interval", "never: scratch / transfer",
    ]  # fmt: skip
    for line in table(titles, rows, right={3, 4, 5, 6, 7, 8}):
        print(line)
    print()
    runs = [
        [
            result.model_type, f"{result.source_archetype} to {result.target_archetype}", name,
            curve.seed, f"{curve.area:.3f}", f"{curve.best:.3f}", reached_text(curve),
        ]
        for result in results
        for name, arm in result.arms.items()
        for curve in arm
    ]  # fmt: skip
    titles = ["model type", "pair", "start", "seed", "mean", "best", f"steps to {WIN_RATE:.2f}"]
    for line in table(titles, runs, right={3, 4, 5, 6}):
        print(line)


def _gain(gain: Any, form: str) -> tuple[str, str]:
    if gain.low is None:
        return format(gain.mean, form), "one seed"
    return format(gain.mean, form), f"{format(gain.low, form)} to {format(gain.high, form)}"


def helped(results: Sequence[TransferResult]) -> list[str]:
    """Pairs whose interval of the win rate gained lies above zero."""
    return [
        f"{result.model_type} {result.source_archetype} to {result.target_archetype}"
        for result in results
        if result.paired is not None and (result.paired.area_gain.low or 0.0) > 0.0
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Transfer what is not there yet; print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.transfer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", nargs="+", choices=tuple(PAIRS), default=list(PAIRS))
    parser.add_argument("--seeds", type=int, default=3, help="of each arm (default 3)")
    parser.add_argument(
        "--home", type=Path, default=Path("runs/transfer"), help="runs and registry (default runs/transfer)"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="curves (default bench/results/transfer)")
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds must be at least 2: one seed has no interval")
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True))
    home = options.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(home / "cache" / "torch"))
    results = [run(PAIRS[name], home, options.seeds, progress, options.out) for name in options.pairs]
    print(header())
    show(results)
    spent = sum(seconds_of(home, result) for result in results)
    print(f"\nall runs, sources included: {spent / 60.0:.1f} minutes of training and selection by the clock")
    found = helped(results)
    print(f"interval above zero: {', '.join(found) or 'none'}")
    return int(not found)


if __name__ == "__main__":
    sys.exit(main())
