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
    """Exports the newest version of each chosen cell; one that is refused does not stop the others."""
    from experiments import pipeline
    from experiments.errors import ExperimentError

    cells = common.chosen_cells(args)
    home = common.check_home(args, must_exist=True)
    progress = common.console()
    refused = []
    with common.stoppable(), common.workshop(args, home, progress, args.seed) as shop:
        for version in pipeline.newest(shop, *cells, explicit=bool(args.archetypes)):
            try:
                pipeline.export(shop, version)
            except ExperimentError as error:
                progress.line(f"refused: {error}")
                refused.append(f"{version.archetype}/{version.model_type}")
    if refused:
        raise ExperimentError(f"{len(refused)} not exported: {', '.join(refused)}; the reasons stand above")
    return 0
