"""Follows the registry: deployments are picked up within seconds, without a restart.

The registry is the only truth. While it cannot be asked the service goes on with what it has; a service
that starts then takes the last-good manifest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from serve.manifest import read_manifest, write_manifest
from serve.models import ModelError, ServedVersion
from serve.table import ModelTable, UnknownModelError
from storage import RegistryError

if TYPE_CHECKING:
    from storage import ModelVersion

logger = logging.getLogger("ray.serve")

ASK_TIMEOUT_S = 10.0
"""Longest wait for one answer of the registry."""


class RegistryDownError(RuntimeError):
    """The registry cannot be asked now; the message is one line."""


class RegistryReader(Protocol):
    """The read side of `storage.AsyncRegistry`."""

    async def deployed(self) -> Sequence[ModelVersion]:
        """Return all deployed versions."""
        ...

    async def get(self, archetype: str, model_type: str, version: int) -> ModelVersion:
        """Return one version, or raise `storage.RegistryError`."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


def dsn_from(file: Path) -> Callable[[], str]:
    """Return a reader of the DSN that the service's main process keeps up to date in a file."""

    def read() -> str:
        try:
            return file.read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    return read


class RegistryWatcher:
    """Polls the registry and keeps the model table and the manifest in step with it.

    Args:
        table: the loaded models.
        manifest: path of the last-good manifest.
        connect: makes a reader for a DSN; raises whatever the database raises.
        current_dsn: the DSN to use now; empty while the database is down.
        poll_s: seconds between two looks.
    """

    def __init__(
        self,
        table: ModelTable,
        manifest: Path,
        connect: Callable[[str], Awaitable[RegistryReader]],
        current_dsn: Callable[[], str],
        poll_s: float = 1.0,
    ) -> None:
        self._table = table
        self._manifest = manifest
        self._connect = connect
        self._current_dsn = current_dsn
        self._poll_s = poll_s
        self._reader: RegistryReader | None = None
        self._reader_dsn = ""
        self._task: asyncio.Task[None] | None = None
        self.state = "starting"

    async def start(self) -> None:
        """Load what is deployed, or what the manifest says, then go on in the background."""
        await self.look()
        if self.state != "ok":
            versions = read_manifest(self._manifest)
            if versions is not None:
                logger.warning(
                    "starting from the last-good manifest, %d models; %s", len(versions), self.state
                )
                await self._table.refresh(versions)
        self._task = asyncio.create_task(self._poll(), name="registry-watcher")

    async def stop(self) -> None:
        """Stop polling and close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._disconnect()

    async def look(self) -> None:
        """Ask once; `state` says how it went."""
        try:
            rows = await self._ask(lambda reader: reader.deployed())
        except RegistryDownError as error:
            if self.state != str(error):
                logger.warning("%s", error)
            self.state = str(error)
            return
        self.state = "ok"
        versions = []
        for row in rows:
            try:
                versions.append(ServedVersion.from_registry(row))
            except ModelError as error:  # the registry's own checks should prevent it
                logger.error("%s", error)
        before = self._table.served
        changed = await self._table.refresh(versions)
        if changed or before != self._table.served or not self._manifest.exists():
            try:
                await asyncio.to_thread(write_manifest, self._manifest, self._table.served)
            except OSError as error:
                logger.error("cannot write the manifest %s (%s)", self._manifest, error)

    async def find(self, archetype: str, model_type: str, version: int) -> ServedVersion:
        """Look a version up in the registry.

        Raises:
            UnknownModelError: the registry has no such version.
            ModelError: it has no ONNX file yet.
            RegistryDownError: the registry cannot be asked.
        """
        row = await self._ask(lambda reader: reader.get(archetype, model_type, version))
        if row is None:
            raise UnknownModelError(
                f"the registry has no version {version} of {archetype}/{model_type}; "
                "see: monster registry list"
            )
        return ServedVersion.from_registry(row)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.look()
            except Exception:  # the loop must outlive whatever one look ran into
                logger.exception("looking at the registry failed")

    async def _ask(self, question: Callable[[RegistryReader], Any]) -> Any:
        """Ask over the kept connection; after any failure the next question connects anew."""
        dsn = self._current_dsn()
        if not dsn:
            await self._disconnect()
            raise RegistryDownError("the model registry is down; serving what is in memory")
        try:
            if self._reader is None or dsn != self._reader_dsn:
                await self._disconnect()
                self._reader = await asyncio.wait_for(self._connect(dsn), ASK_TIMEOUT_S)
                self._reader_dsn = dsn
            return await asyncio.wait_for(question(self._reader), ASK_TIMEOUT_S)
        except RegistryError:
            return None  # it answered: it does not hold what was asked for
        except Exception as error:  # drivers raise many classes, all mean the same here
            await self._disconnect()
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RegistryDownError(f"the model registry does not answer ({reason[:200]})") from error

    async def _disconnect(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            try:
                await asyncio.wait_for(reader.close(), 2.0)
            except Exception:  # it is being thrown away
                logger.debug("closing the registry connection failed", exc_info=True)
