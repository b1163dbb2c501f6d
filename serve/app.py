"""The Ray Serve application: one deployment whose replica holds every deployed model.

One replica with all models instead of a deployment per model: an interpreter costs 200 MB, a mind a few.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import serve as ray_serve

import serve
from serve.engine import DecisionEngine
from serve.models import LoadedModel, ServedVersion, load_model
from serve.settings import ServeSettings, ServiceError
from serve.table import ModelTable
from serve.watcher import RegistryReader, RegistryWatcher, dsn_from
from serve.web import DecisionApp
from storage import ArtifactStore

APPLICATION = "monster"
MAX_ONGOING_REQUESTS = 1024


class DecisionService:
    """The replica: engine, model table and registry watcher behind one ASGI application.

    Args:
        settings: of the service.
        dsn_file: file in which the main process keeps the registry's current DSN.
        package_file: `serve.__file__` of the main process; a replica that imported another package of that
            name refuses to start.
    """

    def __init__(self, settings: ServeSettings, dsn_file: Path, package_file: str) -> None:
        if serve.__file__ != package_file:
            raise ServiceError(
                f"the replica imported {serve.__file__}, the service {package_file}; "
                "remove the other package from PYTHONPATH"
            )
        _close_internal_door()
        store = ArtifactStore(settings.artifact_root)

        def load(version: ServedVersion) -> LoadedModel:
            return load_model(store, version)

        self._engine = DecisionEngine(settings.max_batch_rows, settings.max_waiting_rows, settings.deadline_s)
        self._table = ModelTable(load, settings.max_candidates)
        self._watcher = RegistryWatcher(
            self._table, settings.manifest_path, _connect, dsn_from(dsn_file), settings.poll_s
        )
        self._settings = settings

    async def __serve_build_asgi_app__(self) -> DecisionApp:  # Ray Serve's name
        """Give Ray Serve the HTTP application."""
        return DecisionApp(self._settings, self._engine, self._table, self._watcher)


async def _connect(dsn: str) -> RegistryReader:
    from storage import AsyncRegistry

    # A reader needs no right to change tables: the main process brought them up to date.
    return await AsyncRegistry.open(dsn, apply_migrations=False, max_size=1)


def _close_internal_door() -> None:
    """Bind Ray Serve's replica-to-replica gRPC server to loopback.

    Ray Serve 2.60 opens it on all interfaces (replica.py, `_on_initialized`) even where nothing uses it, and
    has no setting for the address. The name is private; tests/serve/test_service.py fails if it moves.
    """
    from ray.serve._private import replica

    add_port: Any = replica.add_port_to_grpc_server
    if getattr(add_port, "loopback", False):
        return

    def add_loopback_port(server: Any, address: str) -> int:
        return int(add_port(server, address.replace("[::]", "127.0.0.1")))

    add_loopback_port.loopback = True  # type: ignore[attr-defined]
    replica.add_port_to_grpc_server = add_loopback_port


def build(settings: ServeSettings, dsn_file: Path, logging_config: dict[str, Any] | None = None) -> Any:
    """Return the application, to be handed to `ray.serve.run`.

    Args:
        settings: of the service.
        dsn_file: file in which the caller keeps the registry's current DSN.
        logging_config: Ray Serve's logging settings of the replica.
    """
    deployment = ray_serve.deployment(
        name="decisions",
        num_replicas=1,
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        ray_actor_options={"num_cpus": 1},
        health_check_period_s=5,
        graceful_shutdown_timeout_s=2,
        logging_config=logging_config,
    )(ray_serve.ingress()(DecisionService))
    assert serve.__file__ is not None
    return deployment.bind(settings, dsn_file, serve.__file__)
