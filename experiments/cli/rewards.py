"""``monster rewards``: the distribution of each reward term, and thresholds of the curriculum's levels."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.cli import common
from experiments.errors import UsageError

if TYPE_CHECKING:
    from experiments.evaluation import Policy
    from experiments.progress import Progress
    from experiments.reward_summary import RewardSummary
    from experiments.rewards import LevelSummary

_SECONDS_BETWEEN_LINES = 5.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument(
        "--archetypes", "--archetype", nargs="+", metavar="NAME", help="such as tank mage (default: all)"
    )
    common.add_archetypes_file(parser)
    parser.add_argument(
        "--opponent", default="classic", help="tier or style of the enemies (default: %(default)s)"
    )
    parser.add_argument(
        "--learner",
        default="script",
        metavar="script|random|FILE.onnx",
        help="who plays: the traditional AI, random legal actions, or an exported combat model",
    )
    parser.add_argument(
        "--fights",
        type=common.positive_int,
        default=500,
        help="fights per archetype, or per archetype and level (default: %(default)s)",
    )
    parser.add_argument(
        "--levels", action="store_true", help="the curriculum: scripted mean and threshold of each level"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.html", help="write a self-contained page")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    common.add_seed(parser)
    parser.epilog = "example: monster rewards --archetypes tank mage --fights 2000 --plot rewards.html"


def run(args: argparse.Namespace) -> int:
    """Plays and describes; returns 1 if a term is not finite, otherwise 0."""
    common.use_archetypes_file(args)
    if args.levels:
        return _levels(args)
    return _terms(args)


def _terms(args: argparse.Namespace) -> int:
    from experiments import rewards

    player, own = _players(args.learner, args.seed)
    chosen = _archetypes(args.archetypes or own)
    if args.plot is not None:
        _check_plot(args.plot)
    for name in chosen:
        rewards.match(name, args.opponent)  # a wrong name stops before any fight
    progress = _progress(args)
    summaries = []
    with common.stoppable():
        for name in chosen:
            summary = rewards.measure(
                name,
                player(name),
                args.fights,
                args.seed,
                opponent=args.opponent,
                learner=args.learner,
                said=_rarely(progress, name, args.fights),
            )
            summaries.append(summary)
            progress.line(
                f"{name:<10} {summary.fights} fights {summary.scenario}"
                f"  reward {summary.total.mean:.1f}  won {summary.win_rate:.1%}"
            )
    if args.plot is not None:
        from experiments.report.rewards_page import write_rewards_page

        write_rewards_page(args.plot, summaries, "monster " + " ".join(sys.argv[1:]), args.seed)
        progress.line(f"plot: {args.plot}")
    if args.json:
        common.print_json([summary.as_dict() for summary in summaries])
    else:
        for summary in summaries:
            _print_terms(summary)
    return int(any(w.kind == "non-finite" for s in summaries for w in s.warnings))


def _levels(args: argparse.Namespace) -> int:
    from experiments import rewards

    if args.learner != "script" or args.opponent != "classic" or args.plot is not None:
        raise UsageError(
            "--levels measures the traditional AI on each level's own opponents; leave out --learner,"
            " --opponent and --plot"
        )
    from envs.curriculum import rules

    chosen, thresholds = _archetypes(args.archetypes), rules().level_thresholds
    progress = _progress(args)
    found = []
    with common.stoppable():
        for name in chosen:
            for number, threshold in enumerate(thresholds, 1):
                said = _rarely(progress, f"{name} level {number}", args.fights)
                found.append(rewards.measure_level(name, number, threshold, args.fights, args.seed, said))
            progress.line(f"{name:<10} {len(thresholds)} levels, {args.fights} fights each")
    if args.json:
        from dataclasses import asdict

        common.print_json([asdict(level) for level in found])
    else:
        _print_levels(found)
    return 0


def _archetypes(names: list[str] | None) -> tuple[str, ...]:
    from experiments.matrix import check_names

    return check_names(names, None)[0]


def _players(learner: str, seed: int) -> tuple[Callable[[str], Policy | None], list[str] | None]:
    """What plays each archetype, and the archetypes a model was made for where its file says so.

    Raises:
        UsageError: A file that is no exported combat model.
    """
    import numpy as np

    from experiments.evaluation import OnnxPolicy, random_policy
    from experiments.seeds import Purpose, seed_for

    if learner == "script":
        return lambda archetype: None, None
    if learner == "random":
        # One generator per archetype: its figures then do not depend on which others are played.
        stream = ("rewards", "random policy")
        return lambda name: random_policy(seed_for(Purpose.SELECTION, seed, name, *stream)), None
    path = Path(learner)
    if not path.is_file():
        raise UsageError(f"--learner {learner}: no such file; give script, random or an exported .onnx file")
    try:
        model = OnnxPolicy(path)
        model(np.zeros((1, 64), np.float32), np.ones((1, 10), bool))
    except Exception as error:  # onnxruntime has a dozen kinds for a file that is no model
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"--learner {learner}: not an exported combat model ({reason}); give one of `monster export`"
        ) from error
    made_of = model.metadata
    return lambda archetype: model, [made_of["archetype"]] if "archetype" in made_of else None


def _check_plot(path: Path) -> None:
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"--plot {path}: cannot be written; give a file in a folder that exists")


def _progress(args: argparse.Namespace) -> Progress:
    from experiments.progress import Progress, silent

    return Progress(silent) if args.json else common.console()


def _rarely(progress: Progress, what: str, fights: int) -> Callable[[int], None]:
    """Progress within one archetype: a line every few seconds, none for a short run."""
    last = time.monotonic()

    def said(played: int) -> None:
        nonlocal last
        if played < fights and time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            progress.line(f"{what}: {played:,} of {fights:,} fights")

    return said


def _print_terms(s: RewardSummary) -> None:
    from experiments.progress import table

    header = ["term", "weight", "mean", "sd", "min", "max", "share", "paid in", "won", "lost"]
    rows: list[list[Any]] = [
        [
            term.name,
            "" if term.weight is None else f"{term.weight:g}",
            *(f"{value:.1f}" for value in (term.mean, term.sd, term.min, term.max)),
            "" if term.share is None else f"{term.share:.1%}",
            f"{term.nonzero:.1%}",
            *("-" if value is None else f"{value:.1f}" for value in (term.mean_won, term.mean_lost)),
        ]
        for term in (*s.terms, s.total)
    ]
    ended = f"{s.won} won, {s.lost} lost, {s.fights - s.won - s.lost} on time"
    print(f"\n{s.archetype} {s.scenario}, {s.learner} against {s.opponent}: {s.fights} fights, {ended}")
    print("\n".join(table(header, rows, right=set(range(1, 10)))))
    for warned in s.warnings:
        print(f"warning ({warned.kind}): {warned.text}")


def _print_levels(found: list[LevelSummary]) -> None:
    from experiments.progress import table

    header = ["archetype", "level", "fights", "teams", "scripted mean", "sd", "win rate", "threshold", ""]
    rows: list[list[Any]] = [
        [
            level.archetype,
            f"{level.level} {level.name}",
            level.fights,
            level.scenario,
            f"{level.scripted_mean:.1f}",
            f"{level.scripted_sd:.1f}",
            f"{level.win_rate:.1%}",
            f"{level.threshold:g}",
            "" if level.warning is None else "warning",
        ]
        for level in found
    ]
    print()
    print("\n".join(table(header, rows, right={2, 4, 5, 6, 7})))
    for level in found:
        if level.warning is not None:
            print(f"warning: {level.warning}")
