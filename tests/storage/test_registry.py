from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from storage import AsyncRegistry, ModelVersion, Registry, RegistryError
from storage.database import connect
from storage.session import LoopThread

A, B, C = "a" * 64, "b" * 64, "c" * 64


def file(sha256: str, suffix: str = ".onnx") -> dict[str, Any]:
    return {"uri": f"store:{sha256}{suffix}", "sha256": sha256, "bytes": 10}


def register(registry: Registry, run_id: str = "run-1", weights: str = A, **changes: Any) -> ModelVersion:
    values: dict[str, Any] = {
        "artifacts": {"weights": file(weights, ".safetensors")},
        "metrics": {"val_loss": 0.25},
        "contracts": {"observation": "obs_v1"},
        "lineage": {"seed": 1},
        "source_revision": "abc",
    }
    values.update(changes)
    return registry.register("tank", "combat_dqn", run_id, **values)


def passed(registry: Registry, run_id: str, weights: str = A) -> ModelVersion:
    model = register(registry, run_id, weights)
    registry.mark_exported(model.model_id, {"onnx_fp32": file(B)})
    return registry.mark_validated(model.model_id, {"win_rate": 0.8}, "pass", [])


def sql(loop: LoopThread, registry: Registry, query: str) -> list[Any]:
    async def work() -> list[Any]:
        connection = await connect(registry.dsn)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    return loop.run(work())


def test_a_mind_goes_from_trained_to_deployed(registry: Registry) -> None:
    model = register(registry)
    assert (model.version, model.state, model.artifact_uri, model.gate) == (1, "trained", None, None)
    assert model.artifacts == {"weights": file(A, ".safetensors")}
    assert (model.contracts, model.lineage) == ({"observation": "obs_v1"}, {"seed": 1})

    model = registry.mark_exported(model.model_id, {"onnx_fp32": file(B), "onnx_fp16": file(C)})
    assert (model.state, model.artifact_uri, model.sha256) == ("exported", f"store:{B}.onnx", B)
    assert set(model.artifacts) == {"weights", "onnx_fp32", "onnx_fp16"}

    model = registry.mark_validated(model.model_id, {"win_rate": 0.8}, "pass", ["won enough"])
    assert (model.state, model.gate, model.gate_reasons) == ("validated", "pass", ("won enough",))
    assert model.metrics == {"val_loss": 0.25, "win_rate": 0.8}
    assert registry.deployed() == []

    model = registry.deploy("tank", "combat_dqn")
    assert (model.state, model.is_deployed) == ("deployed", True)
    assert registry.deployed() == [model] == registry.list(deployed=True)
    assert registry.get("tank", "combat_dqn", 1) == model


def test_the_query_of_the_specification_works_as_written(registry: Registry, loop: LoopThread) -> None:
    registry.register(
        "mage",
        "combat_dqn",
        "run-0",
        artifacts={},
        metrics={"val_loss": float("nan")},
        contracts={},
        lineage={},
        source_revision="",
    )
    register(registry)
    rows = sql(
        loop,
        registry,
        "SELECT archetype, model_type, version, is_deployed, metrics->>'val_loss' AS val_loss "
        "FROM ml_models ORDER BY archetype, model_type;",
    )
    assert [tuple(row) for row in rows] == [
        ("mage", "combat_dqn", 1, False, None),
        ("tank", "combat_dqn", 1, False, "0.25"),
    ]


def test_versions_count_for_each_kind_and_a_repeated_call_registers_once(registry: Registry) -> None:
    first = register(registry, "run-1", A)
    assert register(registry, "run-1", A) == first
    assert register(registry, "run-1", B).version == 2  # the run went on: other weights
    assert register(registry, "run-2", B).version == 3
    other = registry.register(
        "mage", "combat_dqn", "run-1", artifacts={}, metrics={}, contracts={}, lineage={}, source_revision=""
    )
    assert other.version == 1


def test_a_run_finds_its_newest_version(registry: Registry) -> None:
    assert registry.find_run("run-1") is None
    register(registry, "run-1", A)
    newest = register(registry, "run-1", B)
    register(registry, "run-2", C)
    assert registry.find_run("run-1") == newest


def test_writers_at_once_get_versions_without_a_gap(registry: Registry, loop: LoopThread) -> None:
    async def all_at_once() -> list[int]:
        opened = await AsyncRegistry.open(registry.dsn, max_size=8)
        calls = [
            opened.register(
                "tank",
                "combat_dqn",
                f"run-{number}",
                artifacts={},
                metrics={},
                contracts={},
                lineage={},
                source_revision="",
            )
            for number in range(16)
        ]
        models = await asyncio.gather(*calls)
        await opened.close()
        return sorted(model.version for model in models)

    assert loop.run(all_at_once()) == list(range(1, 17))


def test_deploying_replaces_and_going_back_is_deploying_the_old_one(registry: Registry) -> None:
    passed(registry, "run-1", A)
    passed(registry, "run-2", B)
    assert registry.deploy("tank", "combat_dqn", 1).version == 1
    assert registry.deploy("tank", "combat_dqn").version == 2  # the newest validated
    assert [(m.version, m.state) for m in registry.list()] == [(1, "validated"), (2, "deployed")]
    registry.deploy("tank", "combat_dqn", 1)
    registry.deploy("tank", "combat_dqn", 1)  # again changes nothing
    assert [m.version for m in registry.deployed()] == [1]


def test_deployments_at_once_leave_exactly_one(registry: Registry, loop: LoopThread) -> None:
    versions = [passed(registry, f"run-{number}", A).version for number in range(6)]

    async def all_at_once() -> None:
        opened = await AsyncRegistry.open(registry.dsn, max_size=6)
        await asyncio.gather(*(opened.deploy("tank", "combat_dqn", version) for version in versions * 3))
        await opened.close()

    loop.run(all_at_once())
    assert len(registry.deployed()) == 1


@pytest.mark.parametrize("gate", ["fail", "undecided"])
def test_the_gate_blocks_deployment_and_says_why(registry: Registry, gate: str) -> None:
    model = register(registry)
    registry.mark_exported(model.model_id, {"onnx_fp32": file(B)})
    registry.mark_validated(model.model_id, {}, gate, ["won 0.62, needs 0.70"])
    for version in (None, 1):
        with pytest.raises(RegistryError, match=f"gate is {gate}: won 0.62"):
            registry.deploy("tank", "combat_dqn", version)
    assert registry.deployed() == []


def test_what_is_not_validated_cannot_be_deployed(registry: Registry) -> None:
    register(registry)
    with pytest.raises(RegistryError, match="not yet measured"):
        registry.deploy("tank", "combat_dqn", 1)
    with pytest.raises(RegistryError, match="no validated version"):
        registry.deploy("tank", "combat_dqn")
    with pytest.raises(RegistryError, match="no version 7"):
        registry.deploy("tank", "combat_dqn", 7)


def test_states_come_in_order(registry: Registry) -> None:
    model = register(registry)
    with pytest.raises(RegistryError, match="export it first"):
        registry.mark_validated(model.model_id, {}, "pass", [])
    with pytest.raises(RegistryError, match="exported without"):
        registry.mark_exported(model.model_id, {"weights": file(B)})
    with pytest.raises(RegistryError, match="mark_exported"):
        register(registry, "run-9", artifacts={"onnx_fp32": file(B)})


def test_files_can_be_exported_anew_until_they_were_measured(registry: Registry) -> None:
    model = register(registry)
    registry.mark_exported(model.model_id, {"onnx_fp32": file(B)})
    assert registry.mark_exported(model.model_id, {"onnx_fp32": file(C)}).sha256 == C
    registry.mark_validated(model.model_id, {}, "pass", [])
    assert registry.mark_exported(model.model_id, {"onnx_fp32": file(C)}).state == "validated"
    with pytest.raises(RegistryError, match="register a new version"):
        registry.mark_exported(model.model_id, {"onnx_fp32": file(B)})


def test_a_deployed_version_keeps_its_pass(registry: Registry) -> None:
    model = passed(registry, "run-1")
    registry.deploy("tank", "combat_dqn")
    assert registry.mark_validated(model.model_id, {"win_rate": 0.9}, "pass", []).state == "deployed"
    with pytest.raises(RegistryError, match="deploy another version first"):
        registry.mark_validated(model.model_id, {}, "fail", [])


def test_bad_input_gives_one_line(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="archetype 'Tank!'"):
        registry.register(
            "Tank!", "combat_dqn", "r", artifacts={}, metrics={}, contracts={}, lineage={}, source_revision=""
        )
    with pytest.raises(RegistryError, match="no run id"):
        register(registry, "")
    with pytest.raises(RegistryError, match="artefact 'weights' needs"):
        register(registry, artifacts={"weights": {"uri": "store:x", "sha256": "short"}})
    with pytest.raises(RegistryError, match="no model 99"):
        registry.mark_exported(99, {"onnx_fp32": file(B)})
    with pytest.raises(RegistryError, match="gate 'good'"):
        registry.mark_validated(1, {}, "good", [])
    with pytest.raises(RegistryError, match="no version 5"):
        registry.get("tank", "combat_dqn", 5)


def test_lists_are_filtered_and_ordered(registry: Registry) -> None:
    passed(registry, "run-1", A)
    passed(registry, "run-2", B)
    registry.register(
        "mage",
        "movement_ppo",
        "run-3",
        artifacts={},
        metrics={},
        contracts={},
        lineage={},
        source_revision="",
    )
    registry.deploy("tank", "combat_dqn", 2)

    def names(**choice: Any) -> list[str]:
        return [model.name for model in registry.list(**choice)]

    assert names() == ["mage/movement_ppo v1", "tank/combat_dqn v1", "tank/combat_dqn v2"]
    assert names(archetype="mage") == ["mage/movement_ppo v1"]
    assert names(model_type="combat_dqn", deployed=False) == ["tank/combat_dqn v1"]
    assert names(archetype="healer") == []


ONNX = f'artifacts = \'{{"onnx_fp32": {{"uri": "store:{B}.onnx", "sha256": "{B}"}}}}\''


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("is_deployed = true", "ml_models_deployed"),
        ("state = 'exported'", "ml_models_artifact"),
        ("state = 'validated', gate = 'pass'", "ml_models_artifact"),
        (ONNX, "ml_models_artifact"),
        (f"{ONNX}, state = 'deployed', is_deployed = true", "ml_models_deployed_passed"),
        (f"{ONNX}, state = 'validated'", "ml_models_gate"),
        (f"{ONNX}, state = 'finished'", "ml_models_state_check"),
        (ONNX.replace(B, "short") + ", state = 'exported'", "ml_models_sha256"),
        ("gate = 'pass'", "ml_models_gate"),
        ("metrics = '[1]'", "ml_models_metrics_check"),
    ],
)
def test_the_table_itself_refuses_broken_rows(
    registry: Registry, loop: LoopThread, change: str, constraint: str
) -> None:
    register(registry)
    with pytest.raises(asyncpg.CheckViolationError, match=constraint):
        sql(loop, registry, f"UPDATE ml_models SET {change}")


def test_the_table_itself_refuses_a_failed_or_second_deployment(registry: Registry, loop: LoopThread) -> None:
    passed(registry, "run-1", A)
    passed(registry, "run-2", B)
    registry.deploy("tank", "combat_dqn", 1)
    with pytest.raises(asyncpg.UniqueViolationError, match="ml_models_one_deployed"):
        sql(loop, registry, "UPDATE ml_models SET is_deployed = true, state = 'deployed' WHERE version = 2")
    with pytest.raises(asyncpg.CheckViolationError, match="ml_models_deployed_passed"):
        sql(loop, registry, "UPDATE ml_models SET gate = 'fail' WHERE version = 1")
    with pytest.raises(asyncpg.UniqueViolationError, match="ml_models_version"):
        sql(loop, registry, "UPDATE ml_models SET version = 1 WHERE version = 2")


def test_a_deployment_wakes_listeners_up(registry: Registry, loop: LoopThread) -> None:
    passed(registry, "run-1")

    async def listen() -> str:
        connection = await connect(registry.dsn)
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await connection.add_listener("ml_models", lambda *message: heard.set_result(message[3]))
        other = await AsyncRegistry.open(registry.dsn)
        await other.deploy("tank", "combat_dqn")
        text = await asyncio.wait_for(heard, 10.0)
        await other.close()
        await connection.close()
        return text

    assert loop.run(listen()) == "tank/combat_dqn"


def test_a_reader_without_tables_is_told_how_to_make_them(new_database: str, loop: LoopThread) -> None:
    async def read() -> None:
        opened = await AsyncRegistry.open(new_database, apply_migrations=False)
        try:
            await opened.deployed()
        finally:
            await opened.close()

    with pytest.raises(Exception, match="to make its tables"):
        loop.run(read())


def test_connections_that_the_server_closes_are_made_anew(registry: Registry, loop: LoopThread) -> None:
    register(registry)
    for _ in range(3):
        sql(
            loop,
            registry,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()",
        )
        assert len(registry.list()) == 1


def test_lineage_is_kept_once_and_runs_from_old_to_new(registry: Registry) -> None:
    source, other = register(registry), register(registry, "run-2", B)
    child = register(registry, "run-3", C)
    for _ in range(2):
        registry.link(child.model_id, source.model_id, "transferred from")
    registry.link(child.model_id, other.model_id, "distilled from")
    assert registry.parents(child.model_id) == [("transferred from", source), ("distilled from", other)]
    assert registry.parents(source.model_id) == []
    with pytest.raises(RegistryError, match="registered after it"):
        registry.link(source.model_id, child.model_id, "trained from")
    with pytest.raises(RegistryError, match="no model"):
        registry.link(child.model_id + 1000, child.model_id, "trained from")
    with pytest.raises(RegistryError, match="is none of"):
        registry.link(child.model_id, source.model_id, "stolen from")
