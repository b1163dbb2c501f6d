"""`python -P -m serve`: one service from start to stop.

It prints one line of JSON when it answers, and ends on SIGINT, SIGTERM or the end of `--owner-pid`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
from pathlib import Path

from serve.owner import Stop, StopSignal
from serve.settings import ServeSettings, ServiceError

READY_TIMEOUT_S = 60.0
KEPT_LOGS = 20
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(arguments: list[str] | None = None) -> int:
    """Run the service; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=LOG_FORMAT)
    stop = StopSignal()
    try:
        settings = ServeSettings(
            home=options.home.expanduser().absolute(),
            host=options.host,
            port=options.port or free_port(options.host),
            dsn=options.dsn,
            artifacts=options.artifacts,
        ).validate()
        if options.owner_pid is not None:
            stop.follow(options.owner_pid)
        run(settings, stop)
    except Stop:
        return 0
    except ServiceError as error:
        sys.stderr.write(f"serve: error: {error}\n")
        return 1
    return 0


def run(settings: ServeSettings, stop: StopSignal) -> None:
    """Serve until told to stop.

    Args:
        settings: validated settings.
        stop: ends the service.

    Raises:
        ServiceError: the service cannot start.
    """
    from serve import ray_session
    from serve.haproxy import haproxy_environment
    from serve.registry_keeper import RegistryKeeper

    check_port(settings.host, settings.port)
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(
            f"cannot make {settings.home} ({error.strerror}); choose another --home"
        ) from error
    folder = ray_session.make_session_folder()
    dsn_file = folder / "dsn"
    keeper = RegistryKeeper(settings, dsn_file)
    session = None
    try:
        variables = haproxy_environment(folder) | {
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port("127.0.0.1")),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(free_port("127.0.0.1")),
        }
        os.environ.update(variables)  # Ray Serve reads them in this process as well
        problem = keeper.start()
        if problem and not settings.manifest_path.exists():
            raise ServiceError(f"the registry cannot be opened and no model was served before: {problem}")
        try:
            session = ray_session.start_ray(
                num_cpus=1, num_gpus=0, object_store_bytes=100_000_000, variables=variables, folder=folder
            )
        except ray_session.RaySessionError as error:
            raise ServiceError(str(error)) from error
        stop.install()
        models = _deploy(settings, dsn_file)
        url = f"http://{settings.host}:{settings.port}"
        stop.armed()
        ready = {"event": "ready", "url": url, "pid": os.getpid(), "models": models}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        while not stop.wait(3600.0):
            continue
    finally:
        if session is not None:
            session.close()
        else:
            ray_session.discard_session_folder(folder)
        keeper.stop()


def _deploy(settings: ServeSettings, dsn_file: Path) -> int:
    """Start Ray Serve and the application; return how many models it serves."""
    from ray import serve as ray_serve
    from ray.serve.config import HTTPOptions

    from serve.app import APPLICATION, build
    from serve.client import DecisionClient, DecisionError

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    logs = settings.home / "logs" / "serve"
    logs.mkdir(parents=True, exist_ok=True)
    _drop_old_logs(logs)
    quiet = {"enable_access_log": False, "log_level": "INFO"}
    try:
        ray_serve.start(
            http_options=HTTPOptions(host=settings.host, port=settings.port),
            logging_config={**quiet, "log_level": "WARNING"},
        )
        application = build(settings, dsn_file, {**quiet, "logs_dir": str(logs)})
        ray_serve.run(application, name=APPLICATION, route_prefix="/")
    except Exception as error:  # Ray raises many classes; each means that we cannot serve
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1][:300] if lines else type(error).__name__  # Ray puts the traceback before it
        raise ServiceError(f"Ray Serve did not start: {reason}; see {logs}") from error
    with DecisionClient(f"http://{settings.host}:{settings.port}") as client:
        try:
            return int(client.wait_ready(READY_TIMEOUT_S)["models"])
        except DecisionError as error:
            raise ServiceError(f"the service does not answer on its own port: {error}; see {logs}") from error


def _drop_old_logs(folder: Path) -> None:
    files = sorted((f for f in folder.iterdir() if f.is_file()), key=lambda f: f.stat().st_mtime)
    for file in files[:-KEPT_LOGS]:
        file.unlink(missing_ok=True)


def check_port(host: str, port: int) -> None:
    """Raise ServiceError if another program listens on the port."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServiceError(
                f"cannot listen on {host}:{port} ({error.strerror}); is it in use? give another --port"
            ) from error


def free_port(host: str) -> int:
    """Return a TCP port that nothing listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise ServiceError(
                f"cannot listen on {host!r} ({error.strerror}); give --host 127.0.0.1"
            ) from error
        return int(probe.getsockname()[1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -P -m serve",
        description="Serve the deployed models over HTTP on this machine.",
        epilog="example: python -P -m serve --home ./runs --port 8000",
    )
    add = parser.add_argument
    add("--home", type=Path, default=Path("runs"), help="project data folder (default ./runs)")
    add("--host", default="127.0.0.1", help="loopback address to listen on (default 127.0.0.1)")
    add("--port", type=int, default=8000, help="port to listen on, 0 for a free one (default 8000)")
    add("--dsn", help="PostgreSQL DSN of the registry (default: embedded, under --home)")
    add("--artifacts", help="root of the artifact store (default HOME/artifacts)")
    add("--owner-pid", type=int, help="end when this process ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
