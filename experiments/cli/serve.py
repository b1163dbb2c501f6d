"""``monster serve``: the service as a process of its own."""

from __future__ import annotations

import argparse
import os
import sys

from experiments.cli import common


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=common.tcp_port, default=8000, help="port (default: %(default)s)")
    common.add_home(parser)
    parser.epilog = "example: monster serve --home runs/demo --port 8000"


def run(args: argparse.Namespace) -> int:
    """Becomes the service process, so that signals reach it directly."""
    from experiments.machine import ROOT

    home = common.check_home(args, must_exist=True)
    command = [
        sys.executable,
        "-P",
        "-m",
        "serve",
        "--home",
        str(home),
        "--host",
        args.host,
        "--port",
        str(args.port),
    ]
    if args.dsn:
        command += ["--dsn", args.dsn]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    print(f"starting the service for {args.home}; it says when it is ready, Ctrl-C stops it", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
