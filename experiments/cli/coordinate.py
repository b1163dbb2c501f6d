"""``monster coordinate``: a pack that learns to fight together."""

from __future__ import annotations

import argparse
import sys

from experiments.cli import common

RESUME_HINT = "run the same command again to continue from the last checkpoint"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("--archetype", required=True, metavar="NAME", help="of the pack's first member")
    parser.add_argument(
        "--pack-size", type=int, choices=(3, 4, 5), default=5, help="members (default: %(default)s)"
    )
    parser.add_argument(
        "--episodes",
        type=common.positive_int,
        default=1000,
        help="fights to learn from, rounded up to whole epochs (default: %(default)s)",
    )
    parser.add_argument(
        "--fights", type=common.positive_int, default=500, help="of the evaluation (default: %(default)s)"
    )
    parser.add_argument(
        "--profile", choices=("demo", "small", "full"), default="demo", help="size (default: demo)"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON; progress goes to stderr")
    common.add_archetypes_file(parser)
    common.add_seed(parser)
    common.add_home(parser)
    parser.epilog = "example: monster coordinate --archetype mage --pack-size 5 --episodes 1000"


def run(args: argparse.Namespace) -> int:
    """Trains, registers and measures the pack; returns the exit code."""
    from experiments import coordination, pipeline, tuning
    from experiments.machine import cpu_count
    from experiments.matrix import check_names
    from experiments.progress import Progress

    common.use_archetypes_file(args)
    check_names([args.archetype], None)
    planned = coordination.plan(
        args.archetype, args.pack_size, args.episodes, profile=args.profile, seed=args.seed
    )
    home = common.check_home(args)
    out = sys.stderr if args.json else sys.stdout
    progress = Progress(lambda line: print(line, file=out, flush=True))
    progress.line(
        f"{args.archetype:<10} pack of {args.pack_size}: {planned.epochs} epochs, "
        f"{planned.env_steps:,} decisions"
    )
    with common.stoppable():
        trained = tuning.train(home, [planned], progress)[0]
        with common.workshop(args, home, progress, args.seed) as shop:
            version = pipeline.register(shop, trained)
        score = coordination.measure(trained, args.fights, args.seed, cpu_count())
    values = {
        "archetype": args.archetype,
        "pack_size": args.pack_size,
        "epochs": planned.epochs,
        "env_steps": planned.env_steps,
        "run_id": planned.run_id,
        "registered": version.name,
        "opponent": "classic",
        **score.as_dict(),
    }
    if args.json:
        common.print_json(values)
        return 0
    progress.line(
        f"{version.name} against the traditional AI, {args.pack_size}v{args.pack_size}: win rate "
        f"{score.win_rate:.3f} ({score.win_rate_low:.3f}-{score.win_rate_high:.3f}, n = {score.n})"
    )
    return 0
