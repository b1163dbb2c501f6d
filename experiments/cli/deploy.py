"""``monster deploy``: mark validated versions as the ones that services answer with."""

from __future__ import annotations

import argparse

from experiments.cli import common
from experiments.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    common.add_cells(parser)
    parser.add_argument(
        "--version", type=common.positive_int, help="which version (default: the newest validated)"
    )
    common.add_home(parser)
    parser.epilog = "example: monster deploy --archetypes tank --version 2 --home runs"


def run(args: argparse.Namespace) -> int:
    """Deploys what passed the gate; returns the exit code, 1 if any cell was refused."""
    from storage import RegistryError

    archetypes, model_types = common.chosen_cells(args)
    if args.version is not None and len(archetypes) * len(model_types) != 1:
        raise UsageError("--version names one version, so give one archetype and one model type with it")
    home = common.check_home(args, must_exist=True)
    progress = common.console()
    refused = []
    with common.stoppable(), common.workshop(args, home, progress) as shop:
        for archetype in archetypes:
            for model_type in model_types:
                try:
                    version = shop.registry.deploy(archetype, model_type, args.version)
                    shop.say(version, "deployed; running services pick it up without a restart")
                except RegistryError as error:
                    refused.append(str(error))
    if refused:
        from experiments.errors import ExperimentError

        raise ExperimentError(f"{len(refused)} refused: " + " | ".join(refused))
    return 0
