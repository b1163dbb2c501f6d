from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import RegistryError, StorageConfig, open_database, open_registry
from storage.lease import acquire_lease
from storage.session import LoopThread


def test_the_embedded_registry_keeps_what_was_registered(
    tmp_path: Path, wait_until: Callable[..., None], alive: Callable[[int], bool]
) -> None:
    config = StorageConfig(home=tmp_path / "runs")
    with open_registry(config) as registry:
        registry.register(
            "tank",
            "combat_dqn",
            "run-1",
            artifacts={},
            metrics={},
            contracts={},
            lineage={},
            source_revision="",
        )
    with acquire_lease(config.postgres_folder) as lease:
        pids = (lease.server_pid, lease.supervisor_pid)
    wait_until(lambda: not any(map(alive, pids)))
    with open_registry(config) as registry:
        assert [model.name for model in registry.list()] == ["tank/combat_dqn v1"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert [path.name for path in config.home.iterdir()] == ["postgres"]


def test_a_given_address_starts_no_server(tmp_path: Path, new_database: str) -> None:
    config = StorageConfig(home=tmp_path / "runs", dsn=new_database)
    with open_database(config) as dsn:
        assert dsn == new_database
    with open_registry(config) as registry:
        assert registry.list() == []
    assert not (tmp_path / "runs").exists()


def test_the_registry_can_be_used_while_an_event_loop_runs(tmp_path: Path, new_database: str) -> None:
    async def work() -> int:
        with open_registry(StorageConfig(home=tmp_path, dsn=new_database)) as registry:
            return len(registry.list())

    assert asyncio.run(work()) == 0


def test_an_error_passes_through_and_the_thread_ends(tmp_path: Path, new_database: str) -> None:
    before = threading.active_count()
    with (
        pytest.raises(RegistryError, match="no version 1"),
        open_registry(StorageConfig(home=tmp_path, dsn=new_database)) as registry,
    ):
        registry.get("tank", "combat_dqn", 1)
    assert threading.active_count() == before


def test_a_coroutine_is_cancelled_when_its_caller_is_interrupted() -> None:
    loop = LoopThread()
    cancelled = threading.Event()

    async def sleep() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    original = asyncio.run_coroutine_threadsafe

    class Interrupted:
        def __init__(self, future: object) -> None:
            self.future = future

        def result(self) -> None:
            raise KeyboardInterrupt

        def cancel(self) -> None:
            self.future.cancel()  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "run_coroutine_threadsafe", lambda *given: Interrupted(original(*given)))
        with pytest.raises(KeyboardInterrupt):
            loop.run(sleep())
    assert cancelled.wait(10.0)
    loop.close()
