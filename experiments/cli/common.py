"""Options and checks that several commands share."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from experiments.errors import UsageError
from experiments.progress import Progress


def positive_int(text: str) -> int:
    """Reads a whole number of at least 1 from the command line."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number; give one such as 100") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is too small; give at least 1")
    return value


def natural_int(text: str) -> int:
    """Reads a whole number of at least 0 from the command line."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number; give one such as 0") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative; give 0 or more")
    return value


def learning_rate(text: str) -> float:
    """Reads a learning rate in (0, 1]."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number; give one such as 3e-4") from None
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is outside (0, 1]; give one such as 3e-4")
    return value


def tcp_port(text: str) -> int:
    """Reads a TCP port."""
    value = positive_int(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"{value} is no TCP port; give 1 to 65535")
    return value


def add_home(parser: argparse.ArgumentParser, default: str = "runs") -> None:
    """Adds the options that say where a project lives."""
    parser.add_argument(
        "--home", type=Path, default=Path(default), help="project folder (default: ./%(default)s)"
    )
    parser.add_argument(
        "--dsn", help="PostgreSQL address of the registry (default: an embedded server in --home)"
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Adds the base seed."""
    parser.add_argument(
        "--seed", type=natural_int, default=0, help="base seed of everything random (default: 0)"
    )


def add_cells(parser: argparse.ArgumentParser) -> None:
    """Adds the selection of cells of the matrix."""
    parser.add_argument("--all", action="store_true", help="every cell of this release (the default)")
    parser.add_argument("--archetypes", "--archetype", nargs="+", metavar="NAME", help="such as tank mage")
    parser.add_argument("--model-types", "--model-type", nargs="+", metavar="NAME", help="such as combat_dqn")
    parser.add_argument(
        "--stage",
        choices=("core", "advanced", "coordination"),
        help="the model types of one stage, in place of --model-types",
    )
    add_archetypes_file(parser)


def add_archetypes_file(parser: argparse.ArgumentParser) -> None:
    """Adds the file of the user's own archetypes; a command reads it with ``use_archetypes_file``."""
    parser.add_argument(
        "--archetypes-file",
        type=Path,
        metavar="FILE",
        help="archetypes of your own, as monster import-db writes them; name them with --archetypes",
    )


def use_archetypes_file(args: argparse.Namespace) -> None:
    """Makes the names of ``--archetypes-file`` known to this process and those it starts.

    Raises:
        ConfigError: The file cannot be used; the line names file, line or key.
    """
    from envs import archetypes

    if args.archetypes_file is not None:
        archetypes.use_file(args.archetypes_file)


def chosen_cells(args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Checks the selection of cells, with the user's own archetypes where a file names some.

    Raises:
        UsageError: An unknown name, or --all together with names.
    """
    from experiments.matrix import STAGES, check_names

    use_archetypes_file(args)
    if args.all and args.archetypes:
        raise UsageError("--all and --archetypes exclude each other; give one of them")
    if args.stage and args.model_types:
        raise UsageError("--stage and --model-types exclude each other; give one of them")
    return check_names(args.archetypes, STAGES[args.stage] if args.stage else args.model_types)


def check_home(args: argparse.Namespace, must_exist: bool = False) -> Path:
    """Checks the project folder before any work.

    Raises:
        UsageError: It is a file, cannot be made, or does not exist where it must.
    """
    home: Path = args.home.expanduser().absolute()
    if must_exist and args.dsn is None and not home.is_dir():
        raise UsageError(
            f"--home {args.home}: no such folder; train something first or give the right folder"
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--home {args.home} cannot be used ({error.strerror}); give a writable folder"
        ) from error
    # torch makes a cache folder when its exporter or RLlib is loaded; it must not lie outside the project.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(home / "cache" / "torch"))
    return home


def console() -> Progress:
    """Progress that prints."""
    return Progress(lambda line: print(line, flush=True))


def print_json(value: Any) -> None:
    """Prints plain JSON for scripts."""
    from experiments.ledger import plain

    json.dump(plain(value), sys.stdout, indent=1)
    print()


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Lets SIGTERM end a command as cleanly as Ctrl-C does: every ``finally`` runs.

    Raises:
        KeyboardInterrupt: A signal came, also when it hit a library's import, which turns it into an
            error of its own.
    """
    came = []

    def stop(signum: int, frame: FrameType | None) -> None:
        came.append(signum)
        raise KeyboardInterrupt

    # A shell starts background commands with Ctrl-C ignored; that stays so.
    wanted = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN]
    before = {s: signal.signal(s, stop) for s in wanted}
    try:
        yield
    except Exception:
        if came:
            raise KeyboardInterrupt from None
        raise
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def workshop(args: argparse.Namespace, home: Path, progress: Progress, seed: int = 0) -> Iterator[Any]:
    """Opens the registry and the artefact store of a project.

    Yields:
        An ``experiments.pipeline.Workshop``.
    """
    from experiments.pipeline import open_workshop

    with open_workshop(home, args.dsn, progress, seed) as shop:
        yield shop
