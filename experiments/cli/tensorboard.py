"""``monster tensorboard``: TensorBoard over the curves of a home."""

from __future__ import annotations

import argparse
import os
import sys

from experiments.cli import common
from experiments.errors import ExperimentError


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--port", type=common.tcp_port, default=6006, help="default: %(default)s")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0: every one (default: %(default)s)",
    )
    common.add_home(parser)
    parser.epilog = "example: monster tensorboard --home runs/demo"


def run(args: argparse.Namespace) -> int:
    """Becomes TensorBoard, so that Ctrl-C and signals reach it; returns only where that fails."""
    home = common.check_home(args, must_exist=True)
    check_port(args.host, args.port)
    folder = home / "logs" / "tensorboard"
    # TensorBoard takes a folder that is still empty and shows what comes.
    folder.mkdir(parents=True, exist_ok=True)
    print(f"TensorBoard of {folder}: http://{args.host}:{args.port} (Ctrl-C ends it)", flush=True)
    os.execv(sys.executable, command(str(folder), args.host, args.port))


def command(folder: str, host: str, port: int) -> list[str]:
    """The command line that shows a folder of curves."""
    return [
        sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--host", host, "--port", str(port),
        # Points of an attempt that broke off are gone from the file; there is nothing to guess.
        "--purge_orphaned_data", "true", "--reload_interval", "5",
    ]  # fmt: skip


def check_port(host: str, port: int) -> None:
    """Sees that nobody listens there yet.

    Raises:
        ExperimentError: The address is taken or is none of this machine.
    """
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ExperimentError(
                f"{host}:{port} cannot be used ({error.strerror}); another TensorBoard may run there:"
                f" give another --port, such as {port + 1 if port < 65535 else 6006}"
            ) from error
