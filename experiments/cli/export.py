"""``monster export``: ONNX files that agree with their torch models."""

from __future__ import annotations

import argparse

from experiments.cli import common

RESUME_HINT = "exported versions are kept; run the same command again for the rest"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    common.add_cells(parser)
    common.add_seed(parser)
    common.add_home(parser)
    parser.epilog = "example: monster export --archetypes tank --home runs"


def run(args: argparse.Namespace) -> int:
    """Exports the newest version of each chosen cell; returns the exit code."""
    from experiments import pipeline

    cells = common.chosen_cells(args)
    home = common.check_home(args, must_exist=True)
    progress = common.console()
    with common.stoppable(), common.workshop(args, home, progress, args.seed) as shop:
        for version in pipeline.newest(shop, *cells, explicit=bool(args.archetypes)):
            pipeline.export(shop, version)
    return 0
