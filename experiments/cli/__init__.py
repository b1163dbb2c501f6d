"""The command ``monster``: argument parsing only; every command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from experiments.errors import FULL_DISK, ExperimentError, UsageError, full_disk

COMMANDS = {
    "demo": "the main job end to end: train, validate, export, deploy, serve, report",
    "train": "train cells of the matrix in one Tune experiment",
    "tune": "search settings of one cell with Ray Tune, and keep the best as a settings file",
    "coordinate": "train a pack that fights together, and measure it",
    "transfer": "start one archetype's mind from another's weights, and compare",
    "evaluate": "play evaluation fights and pass the gate",
    "export": "write ONNX files that agree with their torch models",
    "deploy": "mark validated versions as deployed",
    "serve": "answer decisions over HTTP",
    "watch": "play a fight and show it as a page, a film or JSON",
    "import-db": "read the monster database of your own server into archetypes",
    "status": "how far the runs of a project are, and what they last reported",
    "tensorboard": "show the curves of a project's runs in TensorBoard",
    "profile": "where training time goes, per model type",
    "models": "what each model type costs: parameters, bytes, operations, latency, memory",
    "registry": "list and show registered models",
    "rewards": "show how each reward term is distributed, and warn of useless ones",
}

EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Says what was wrong and where help stands, and leaves with the usage exit code."""
        sys.stderr.write(f"monster: error: {message} (see '{self.prog} --help')\n")
        raise SystemExit(EXIT_USAGE)


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Builds the parser; only the wanted command's module is imported.

    Args:
        command: The command about to be run, or None for the overview.
    """
    from experiments.machine import product_version

    parser = _Parser(
        prog="monster",
        description="Trained minds for the monsters of a role-playing game.",
        epilog="example: monster demo --home runs/demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"monster {product_version()}")
    commands = parser.add_subparsers(dest="command", metavar="command", parser_class=_Parser)
    for name, summary in COMMANDS.items():
        child = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == command:
            _module(name).configure(child)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0 done, 1 failed, 2 not understood, 130 interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in argv if not word.startswith("-")), None)
    if command is not None and command not in COMMANDS:
        from difflib import get_close_matches

        close = get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"commands: {', '.join(COMMANDS)}"
        return _fail(f"unknown command '{command}'; {hint}", EXIT_USAGE)
    parser = build_parser(command)
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return EXIT_USAGE
    return _run(args)


def _module(command: str) -> Any:
    """The module of a command; ``import-db`` is ``import_db``."""
    return importlib.import_module(f"experiments.cli.{command.replace('-', '_')}")


def _run(args: argparse.Namespace) -> int:
    module = _module(args.command)
    try:
        return int(module.run(args) or 0)
    except KeyboardInterrupt:
        hint = getattr(module, "RESUME_HINT", "run the same command again")
        sys.stderr.write(f"\nmonster: interrupted; {hint}\n")
        return EXIT_INTERRUPTED
    except UsageError as error:
        return _fail(str(error), EXIT_USAGE)
    except ExperimentError as error:
        return _fail(str(error), EXIT_FAILURE)
    except BrokenPipeError:
        return EXIT_FAILURE
    except Exception as error:
        return _other(error, Path(getattr(args, "home", ".")))


def _other(error: Exception, home: Path) -> int:
    """Words errors of the other rooms; what nobody foresaw leaves its traceback in a file."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"ConfigError", "ContractError"}:
        return _fail(str(error), EXIT_USAGE)
    if kinds & {"StorageError", "ServiceError", "DecisionError", "ExportRefusedError"}:
        return _fail(str(error), EXIT_FAILURE)
    if full_disk(error):
        return _fail(FULL_DISK, EXIT_FAILURE)
    line = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
    try:
        log = home / "logs" / "error.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        line += f" (traceback in {log})"
    except OSError:
        pass
    return _fail(line[:1000], EXIT_FAILURE)


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"monster: error: {' '.join(message.split())}\n")
    return code
