"""The model table: load beside, swap, keep the previous one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from envs.contracts import ARCHETYPES
from serve.models import LoadedModel, ModelError, ServedVersion
from serve.signature import Signature
from serve.table import RETRY_S, ModelTable, UnknownModelError


class Loader:
    """Loads anything but versions whose sha256 says that it is bad."""

    def __init__(self) -> None:
        self.loads: list[str] = []

    def __call__(self, version: ServedVersion) -> LoadedModel:
        self.loads.append(version.name)
        if version.sha256 == "bad":
            raise ModelError(f"{version.name}: damaged")
        return LoadedModel(version, cast(Any, Session()), Signature({}, {}, {}))


class Session:
    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def run(self) -> None:
        raise AssertionError("no decision is asked for here")


def tank(version: int, sha256: str = "good") -> ServedVersion:
    return ServedVersion(str(version), "tank", "combat_dqn", version, "store:x", f"{sha256}", {})


def test_deploying_and_undeploying() -> None:
    table = ModelTable(Loader())
    assert asyncio.run(table.refresh([tank(1)]))
    assert table.resolve("tank", "combat_dqn").version == tank(1)
    assert table.resolve("tank", "combat_dqn", 1).version == tank(1)
    assert not asyncio.run(table.refresh([tank(1)]))
    assert asyncio.run(table.refresh([tank(2)]))
    assert table.served == [tank(2)]
    with pytest.raises(UnknownModelError, match="version 1 of tank/combat_dqn is not loaded"):
        table.resolve("tank", "combat_dqn", 1)
    assert asyncio.run(table.refresh([]))
    with pytest.raises(UnknownModelError, match="no tank/combat_dqn model is deployed; deployed are: none"):
        table.resolve("tank", "combat_dqn")


def test_a_version_that_fails_leaves_the_previous_one_serving_and_is_retried_later() -> None:
    now, loader = [0.0], Loader()
    table = ModelTable(loader, clock=lambda: now[0])
    asyncio.run(table.refresh([tank(1)]))
    before = table.resolve("tank", "combat_dqn")
    for _ in range(3):
        assert not asyncio.run(table.refresh([tank(2, "bad")]))
    assert table.resolve("tank", "combat_dqn") is before
    assert table.failures == ["tank/combat_dqn v2: damaged"]
    assert loader.loads == ["tank/combat_dqn v1", "tank/combat_dqn v2"]
    now[0] += RETRY_S
    asyncio.run(table.refresh([tank(2, "bad")]))
    assert loader.loads[2:] == ["tank/combat_dqn v2"]
    assert asyncio.run(table.refresh([tank(3)]))  # another version is tried at once
    assert table.failures == []
    assert table.resolve("tank", "combat_dqn").version == tank(3)


def test_rolling_back_to_what_still_serves_clears_the_failure() -> None:
    table = ModelTable(Loader())
    asyncio.run(table.refresh([tank(1)]))
    asyncio.run(table.refresh([tank(2, "bad")]))
    asyncio.run(table.refresh([tank(1)]))
    assert table.failures == []
    assert table.served == [tank(1)]


def test_a_candidate_is_reached_by_its_version_only_and_taken_over_when_deployed() -> None:
    loader = Loader()
    table = ModelTable(loader)
    asyncio.run(table.refresh([tank(1)]))
    asyncio.run(table.load_candidate(tank(2)))
    candidate = table.resolve("tank", "combat_dqn", 2)
    assert table.resolve("tank", "combat_dqn").version == tank(1)
    assert [(row["model_version"], row["deployed"]) for row in table.describe()] == [(1, True), (2, False)]
    asyncio.run(table.refresh([tank(2)]))
    assert table.resolve("tank", "combat_dqn") is candidate
    assert loader.loads == ["tank/combat_dqn v1", "tank/combat_dqn v2"]
    assert len(table.describe()) == 1


def test_a_candidate_with_other_bytes_is_loaded_anew() -> None:
    loader = Loader()
    table = ModelTable(loader)
    asyncio.run(table.load_candidate(tank(2)))
    asyncio.run(table.load_candidate(tank(2)))
    asyncio.run(table.load_candidate(replace(tank(2), sha256="other")))
    assert len(loader.loads) == 2
    assert table.resolve("tank", "combat_dqn", 2).version.sha256 == "other"


def test_the_least_recently_used_candidate_gives_way() -> None:
    table = ModelTable(Loader(), max_candidates=2)

    async def fill() -> None:
        await table.load_candidate(tank(1))
        await table.load_candidate(tank(2))
        table.resolve("tank", "combat_dqn", 1)
        await table.load_candidate(tank(3))

    asyncio.run(fill())
    assert [row["model_version"] for row in table.describe()] == [1, 3]


def test_a_candidate_that_fails_raises() -> None:
    table = ModelTable(Loader())
    with pytest.raises(ModelError, match="damaged"):
        asyncio.run(table.load_candidate(tank(4, "bad")))
    assert table.describe() == []


def test_names_that_may_be_asked_for() -> None:
    table = ModelTable(Loader())
    asyncio.run(table.refresh([tank(1), replace(tank(1), archetype="mud_ling")]))
    asyncio.run(table.load_candidate(replace(tank(4), archetype="ant")))
    assert table.archetypes == (*ARCHETYPES, "ant", "mud_ling")
    asyncio.run(table.refresh([]))
    assert table.archetypes == (*ARCHETYPES, "ant")
