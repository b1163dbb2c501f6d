"""Following the registry, and starting without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from serve.manifest import read_manifest, write_manifest
from serve.models import LoadedModel, ModelError, ServedVersion
from serve.signature import Signature
from serve.table import ModelTable, UnknownModelError
from serve.watcher import RegistryDownError, RegistryReader, RegistryWatcher, dsn_from
from storage import RegistryError


def version(number: int, archetype: str = "tank", sha256: str = "good") -> ServedVersion:
    return ServedVersion(
        f"{archetype}{number}", archetype, "combat_dqn", number, f"store:{sha256}.onnx", sha256, {}
    )


def row(served: ServedVersion) -> Any:
    artifacts = {"onnx_fp32": {"uri": served.uri, "sha256": served.sha256, "bytes": 1}}
    return SimpleNamespace(
        model_id=served.model_id,
        archetype=served.archetype,
        model_type=served.model_type,
        version=served.version,
        artifacts=artifacts,
        contracts={},
    )


def load(served: ServedVersion) -> LoadedModel:
    if served.sha256 == "bad":
        raise ModelError(f"{served.name}: damaged")
    session = cast(Any, SimpleNamespace(get_providers=lambda: ["CPU"], run=None))
    return LoadedModel(served, session, Signature({}, {}, {}))


@dataclass
class FakeRegistry:
    """A database that can be down, and counts who connects."""

    rows: list[ServedVersion] = field(default_factory=list)
    down: bool = False
    connections: list[str] = field(default_factory=list)

    async def connect(self, dsn: str) -> RegistryReader:
        self.connections.append(dsn)
        if self.down:
            raise OSError("connection\nrefused")
        return self

    async def deployed(self) -> list[Any]:
        if self.down:
            raise ConnectionResetError("gone")
        return [row(served) for served in self.rows]

    async def get(self, archetype: str, model_type: str, number: int) -> Any:
        if self.down:
            raise ConnectionResetError("gone")
        for served in self.rows:
            if (served.archetype, served.version) == (archetype, number):
                return row(served)
        raise RegistryError("no such version")

    async def close(self) -> None:
        return None


Setup = tuple[RegistryWatcher, ModelTable, FakeRegistry]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return tmp_path / "serve" / "manifest.json"


def set_up(manifest: Path, dsn: Callable[[], str] = lambda: "dsn", **registry: Any) -> Setup:
    fake, table = FakeRegistry(**registry), ModelTable(load)
    connect: Callable[[str], Awaitable[RegistryReader]] = fake.connect
    return RegistryWatcher(table, manifest, connect, dsn, poll_s=0.01), table, fake


def test_a_deployment_is_picked_up_without_a_restart_and_kept_in_the_manifest(manifest: Path) -> None:
    watcher, table, fake = set_up(manifest, rows=[version(1)])

    async def live() -> None:
        await watcher.start()
        assert table.served == [version(1)]
        fake.rows = [version(2), version(1, "mage")]
        for _ in range(500):
            if read_manifest(manifest) == [version(1, "mage"), version(2)]:
                break
            await asyncio.sleep(0.01)
        await watcher.stop()

    asyncio.run(live())
    assert table.served == [version(1, "mage"), version(2)]
    assert read_manifest(manifest) == [version(1, "mage"), version(2)]
    assert fake.connections == ["dsn"]


def test_a_service_whose_database_is_down_starts_from_its_last_manifest(manifest: Path) -> None:
    write_manifest(manifest, [version(3)])
    watcher, table, fake = set_up(manifest, down=True)

    async def live() -> None:
        await watcher.start()
        assert table.served == [version(3)]
        assert watcher.state == "the model registry does not answer (connection refused)"
        fake.down, fake.rows = False, [version(4)]
        await watcher.look()
        await watcher.stop()

    asyncio.run(live())
    assert watcher.state == "ok"
    assert table.served == [version(4)]


def test_a_registry_that_goes_down_changes_nothing(manifest: Path) -> None:
    watcher, table, fake = set_up(manifest, rows=[version(1)])

    async def live() -> None:
        await watcher.look()
        fake.down = True
        await watcher.look()

    asyncio.run(live())
    assert table.served == [version(1)]
    assert watcher.state == "the model registry does not answer (gone)"


def test_a_version_that_fails_keeps_the_manifest_at_what_is_served(manifest: Path) -> None:
    watcher, table, fake = set_up(manifest, rows=[version(1)])

    async def live() -> None:
        await watcher.look()
        fake.rows = [version(2, sha256="bad")]
        await watcher.look()

    asyncio.run(live())
    assert table.served == [version(1)]
    assert table.failures == ["tank/combat_dqn v2: damaged"]
    assert read_manifest(manifest) == [version(1)]


def test_a_server_that_comes_back_elsewhere_is_followed(manifest: Path, tmp_path: Path) -> None:
    file = tmp_path / "dsn"
    watcher, _, fake = set_up(manifest, dsn_from(file), rows=[version(1)])

    async def live() -> list[str]:
        states = []
        for address in ("", "first", "second"):
            file.write_text(address)
            await watcher.look()
            states.append(watcher.state)
        return states

    assert asyncio.run(live()) == ["the model registry is down; serving what is in memory", "ok", "ok"]
    assert fake.connections == ["first", "second"]
    file.unlink()
    assert dsn_from(file)() == ""


def test_finding_a_candidate(manifest: Path) -> None:
    watcher, _, fake = set_up(manifest, rows=[version(1), version(2)])

    async def live() -> None:
        assert await watcher.find("tank", "combat_dqn", 2) == version(2)
        with pytest.raises(
            UnknownModelError, match="no version 9 of tank/combat_dqn; see: monster registry list"
        ):
            await watcher.find("tank", "combat_dqn", 9)
        fake.down = True
        with pytest.raises(RegistryDownError, match="does not answer"):
            await watcher.find("tank", "combat_dqn", 2)

    asyncio.run(live())


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 9, "models": []}', '{"format": 1, "models": [{}]}']
)
def test_a_manifest_that_cannot_be_read_is_none(manifest: Path, content: str) -> None:
    assert read_manifest(manifest) is None
    manifest.parent.mkdir()
    manifest.write_text(content)
    assert read_manifest(manifest) is None
