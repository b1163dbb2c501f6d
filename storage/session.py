"""The registry for code that is not asynchronous: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from .config import StorageConfig
from .lease import acquire_lease
from .models import ModelVersion
from .registry import AsyncRegistry, Models, Parents

Result = TypeVar("Result")


class LoopThread:
    """An event loop in a daemon thread: connections belong to one loop, whoever asks."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ml-monster-storage", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the loop and wait for its result; an interrupt cancels it.

        Args:
            coroutine: What to run.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Stop the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._loop.close()


class Registry:
    """Registry of trained minds; the methods are those of `AsyncRegistry`, waited for."""

    def __init__(self, registry: AsyncRegistry, loop: LoopThread) -> None:
        self._registry = registry
        self._loop = loop

    @property
    def dsn(self) -> str:
        """PostgreSQL address, for other processes; the embedded one holds as long as this is open."""
        return self._registry.dsn

    def register(
        self,
        archetype: str,
        model_type: str,
        run_id: str,
        *,
        artifacts: Mapping[str, Mapping[str, Any]],
        metrics: Mapping[str, Any],
        contracts: Mapping[str, Any],
        lineage: Mapping[str, Any],
        source_revision: str,
    ) -> ModelVersion:
        """Register a trained mind; see `AsyncRegistry.register`."""
        return self._loop.run(
            self._registry.register(
                archetype,
                model_type,
                run_id,
                artifacts=artifacts,
                metrics=metrics,
                contracts=contracts,
                lineage=lineage,
                source_revision=source_revision,
            )
        )

    def mark_exported(self, model_id: int, artifacts: Mapping[str, Mapping[str, Any]]) -> ModelVersion:
        """Add the ONNX files of a version; see `AsyncRegistry.mark_exported`."""
        return self._loop.run(self._registry.mark_exported(model_id, artifacts))

    def mark_validated(
        self, model_id: int, metrics: Mapping[str, Any], gate: str, reasons: Sequence[str]
    ) -> ModelVersion:
        """Record what validation measured; see `AsyncRegistry.mark_validated`."""
        return self._loop.run(self._registry.mark_validated(model_id, metrics, gate, reasons))

    def deploy(self, archetype: str, model_type: str, version: int | None = None) -> ModelVersion:
        """Make a version the one that services answer with; see `AsyncRegistry.deploy`."""
        return self._loop.run(self._registry.deploy(archetype, model_type, version))

    def list(
        self, archetype: str | None = None, model_type: str | None = None, deployed: bool | None = None
    ) -> Models:
        """Return the versions that match; see `AsyncRegistry.list`."""
        return self._loop.run(self._registry.list(archetype, model_type, deployed))

    def deployed(self) -> Models:
        """Return the deployed versions."""
        return self._loop.run(self._registry.deployed())

    def get(self, archetype: str, model_type: str, version: int) -> ModelVersion:
        """Return one version; see `AsyncRegistry.get`."""
        return self._loop.run(self._registry.get(archetype, model_type, version))

    def find_run(self, run_id: str) -> ModelVersion | None:
        """Return the newest version that a training run produced, or None."""
        return self._loop.run(self._registry.find_run(run_id))

    def link(self, child_id: int, parent_id: int, relation: str) -> None:
        """Record that a version was made from an older one; see `AsyncRegistry.link`."""
        self._loop.run(self._registry.link(child_id, parent_id, relation))

    def parents(self, model_id: int) -> Parents:
        """Return what a version was made from; see `AsyncRegistry.parents`."""
        return self._loop.run(self._registry.parents(model_id))


@contextlib.contextmanager
def open_database(config: StorageConfig) -> Iterator[str]:
    """Give the address of the configured database, keeping the embedded server alive meanwhile.

    Args:
        config: Where the database is.

    Raises:
        DatabaseError: The embedded server cannot be started.
    """
    if config.dsn is not None:
        yield config.dsn
        return
    with acquire_lease(config.postgres_folder) as lease:
        yield lease.dsn


@contextlib.contextmanager
def open_registry(config: StorageConfig) -> Iterator[Registry]:
    """Open the registry: the database runs, its tables are of this release.

    Args:
        config: Where the database is.

    Raises:
        DatabaseError: The database cannot be started or reached, or is newer than this release.
    """
    with open_database(config) as dsn:
        loop = LoopThread()
        try:
            registry = loop.run(AsyncRegistry.open(dsn))
            try:
                yield Registry(registry, loop)
            finally:
                loop.run(registry.close())
        finally:
            loop.close()
