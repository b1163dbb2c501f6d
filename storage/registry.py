"""The registry of minds over asyncpg: versions, their states, and which of them is deployed.

Every method may be repeated safely: it is tried again when the connection is lost, since the answer to a
change that did happen may be what got lost.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .database import LOST, connect, explain, lost_if_torn, make_pool
from .errors import RegistryError
from .jsonable import to_jsonable
from .migrations import load_migrations, migrate
from .models import GATES, ONNX_FORMS, RELATIONS, ModelVersion

if TYPE_CHECKING:
    from asyncpg import Connection, Pool

Result = TypeVar("Result")

CHANNEL = "ml_models"  # NOTIFY wakes listeners up; the table is the truth
_PATIENCE_S = 8.0  # the embedded server is back about a second after a crash
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIND_REPEATED = """
SELECT * FROM ml_models
WHERE archetype = $1 AND model_type = $2 AND run_id = $3
  AND artifacts -> 'weights' ->> 'sha256' IS NOT DISTINCT FROM $4
ORDER BY version DESC LIMIT 1
"""
_INSERT = """
INSERT INTO ml_models
    (archetype, model_type, run_id, artifacts, metrics, contracts, lineage, source_revision, version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
    (SELECT coalesce(max(version), 0) + 1 FROM ml_models WHERE archetype = $1 AND model_type = $2))
RETURNING *
"""

Models = list[ModelVersion]  # inside the class below, `list` is a method
Parents = list[tuple[str, ModelVersion]]


class AsyncRegistry:
    """Registry of trained minds on one event loop; make it with `AsyncRegistry.open`."""

    def __init__(self, dsn: str, pool: Pool) -> None:
        self.dsn = dsn
        self._pool = pool

    @classmethod
    async def open(cls, dsn: str, *, apply_migrations: bool = True, max_size: int = 4) -> AsyncRegistry:
        """Connect, and bring the tables to this release's schema.

        Args:
            dsn: PostgreSQL address.
            apply_migrations: Whether to make and change tables; a reader without that right says no.
            max_size: Most connections at a time.

        Raises:
            DatabaseError: The server cannot be reached, or its schema is newer than this release.
        """
        connection = await connect(dsn)
        try:
            if apply_migrations:
                await migrate(connection, load_migrations())
        except Exception as error:
            raise explain(error, dsn) from error
        finally:
            connection.terminate()
        return cls(dsn, await make_pool(dsn, max_size))

    async def close(self) -> None:
        """Close the connections."""
        try:
            await asyncio.wait_for(self._pool.close(), timeout=5.0)
        except TimeoutError:
            self._pool.terminate()

    async def register(
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
        """Register a trained mind as the next version of its kind, in state `trained`.

        The same run with the same weights is registered once: a repeated call returns that version.

        Args:
            archetype: Kind of monster.
            model_type: Kind of mind.
            run_id: The training run.
            artifacts: Form -> uri, sha256, bytes; usually `weights`; ONNX files come with `mark_exported`.
            metrics: Named numbers of training; NaN is kept as None.
            contracts: Names of the contracts the model was made for.
            lineage: What it was made from.
            source_revision: Revision of the source code that trained it.

        Raises:
            RegistryError: A malformed name or artefact, or ONNX files given too early.
        """
        for kind, name in (("archetype", archetype), ("model type", model_type)):
            if not _NAME.fullmatch(name):
                raise RegistryError(f"{kind} {name!r} is not a name of lower-case letters, digits and _")
        if not run_id:
            raise RegistryError(f"{archetype}/{model_type} has no run id; name the training run it came from")
        given = _check_artifacts(artifacts)
        if set(given) & set(ONNX_FORMS):
            raise RegistryError(
                f"{archetype}/{model_type} is registered with ONNX files; register it with its weights, "
                "then give the files to mark_exported"
            )
        weights = given.get("weights", {}).get("sha256")
        values = (given, dict(metrics), dict(contracts), dict(lineage), source_revision)

        async def work(connection: Connection) -> ModelVersion:
            # Two writers of one kind take turns, so that versions have no gaps and no clash.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"ml_models/{archetype}/{model_type}"
            )
            record = await connection.fetchrow(
                _FIND_REPEATED,
                archetype,
                model_type,
                run_id,
                weights,
            )
            record = record or await connection.fetchrow(
                _INSERT,
                archetype,
                model_type,
                run_id,
                *values,
            )
            return ModelVersion.from_record(record)

        return await self._transaction(work)

    async def mark_exported(self, model_id: int, artifacts: Mapping[str, Mapping[str, Any]]) -> ModelVersion:
        """Add the ONNX files of a version, which becomes `exported`.

        Args:
            model_id: The version's row.
            artifacts: `onnx_fp32` or `onnx_fp16` or both -> uri, sha256, bytes; other forms are kept.

        Raises:
            RegistryError: No ONNX file given, or a validated version would get other files than it was
                measured with.
        """
        given = _check_artifacts(artifacts)
        if not set(given) & set(ONNX_FORMS):
            raise RegistryError(
                f"model {model_id} is exported without {' or '.join(ONNX_FORMS)}; give the file"
            )

        async def work(connection: Connection) -> ModelVersion:
            model = await _lock(connection, model_id)
            if model.gate is not None:
                changed = [form for form in given if given[form] != model.artifacts.get(form)]
                if changed:
                    raise RegistryError(
                        f"{model.name} is {model.state}: other files ({', '.join(changed)}) would go under "
                        "the gate that the old ones passed; register a new version"
                    )
                return model
            return await _update(
                connection, model_id, "state = 'exported', artifacts = artifacts || $2", given
            )

        return await self._transaction(work)

    async def mark_validated(
        self, model_id: int, metrics: Mapping[str, Any], gate: str, reasons: Sequence[str]
    ) -> ModelVersion:
        """Record what validation measured and what the gate said; the version becomes `validated`.

        Args:
            model_id: The version's row.
            metrics: Named numbers, merged over those of training.
            gate: `pass`, `fail` or `undecided`.
            reasons: Why, one line each.

        Raises:
            RegistryError: The version is not exported, or a deployed one would lose its pass.
        """
        if gate not in GATES:
            raise RegistryError(f"gate {gate!r} is none of {', '.join(GATES)}")
        measured, lines = to_jsonable(dict(metrics)), [str(reason) for reason in reasons]

        async def work(connection: Connection) -> ModelVersion:
            model = await _lock(connection, model_id)
            if model.state == "trained":
                raise RegistryError(f"{model.name} has no exported file to validate; export it first")
            if model.is_deployed and gate != "pass":
                raise RegistryError(
                    f"{model.name} is deployed and would be marked {gate!r}; deploy another version first"
                )
            change = (
                "state = CASE WHEN is_deployed THEN state ELSE 'validated' END, "
                "metrics = metrics || $2, gate = $3, gate_reasons = $4"
            )
            return await _update(connection, model_id, change, measured, gate, lines)

        return await self._transaction(work)

    async def deploy(self, archetype: str, model_type: str, version: int | None = None) -> ModelVersion:
        """Make a version the one that running services answer with; the previous becomes `validated` again.

        Args:
            archetype: Kind of monster.
            model_type: Kind of mind.
            version: Which one; None takes the newest that was validated.

        Raises:
            RegistryError: No such version, or the gate did not pass it.
        """

        async def work(connection: Connection) -> ModelVersion:
            query = "SELECT model_id FROM ml_models WHERE archetype = $1 AND model_type = $2 AND "
            if version is None:
                query += "gate IS NOT NULL ORDER BY version DESC LIMIT 1"
                model_id = await connection.fetchval(query, archetype, model_type)
            else:
                model_id = await connection.fetchval(query + "version = $3", archetype, model_type, version)
            if model_id is None:
                which = "validated version" if version is None else f"version {version}"
                raise RegistryError(f"{archetype}/{model_type} has no {which}; see `monster registry list`")
            # All versions of the kind, so that two deployments take turns instead of clashing.
            await connection.execute(
                "SELECT FROM ml_models WHERE archetype = $1 AND model_type = $2 ORDER BY model_id FOR UPDATE",
                archetype,
                model_type,
            )
            model = await _lock(connection, model_id)
            if model.gate != "pass":
                why = f": {'; '.join(model.gate_reasons)}" if model.gate_reasons else ""
                raise RegistryError(
                    f"{model.name} cannot be deployed, its gate is {model.gate or 'not yet measured'}{why}"
                )
            if model.is_deployed:
                return model
            await connection.execute(
                "UPDATE ml_models SET is_deployed = false, state = 'validated', updated_at = now() "
                "WHERE archetype = $1 AND model_type = $2 AND is_deployed",
                archetype,
                model_type,
            )
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{archetype}/{model_type}")
            change = "is_deployed = true, state = 'deployed', deployed_at = now()"
            return await _update(connection, model_id, change)

        return await self._transaction(work)

    async def list(
        self, archetype: str | None = None, model_type: str | None = None, deployed: bool | None = None
    ) -> Models:
        """Return the versions that match, by archetype, model type and version.

        Args:
            archetype: Kind of monster, None for all.
            model_type: Kind of mind, None for all.
            deployed: Whether deployed, None for both.
        """
        return await self._select(
            "($1::text IS NULL OR archetype = $1) AND ($2::text IS NULL OR model_type = $2) "
            "AND ($3::boolean IS NULL OR is_deployed = $3)",
            archetype,
            model_type,
            deployed,
        )

    async def deployed(self) -> Models:
        """Return the deployed versions, at most one of each kind."""
        return await self._select("is_deployed")

    async def get(self, archetype: str, model_type: str, version: int) -> ModelVersion:
        """Return one version.

        Raises:
            RegistryError: There is no such version.
        """
        found = await self._select(
            "archetype = $1 AND model_type = $2 AND version = $3", archetype, model_type, version
        )
        if not found:
            raise RegistryError(
                f"{archetype}/{model_type} has no version {version}; see `monster registry list`"
            )
        return found[0]

    async def find_run(self, run_id: str) -> ModelVersion | None:
        """Return the newest version that a training run produced, or None.

        Args:
            run_id: The training run.
        """
        found = await self._select("run_id = $1", run_id)
        return max(found, key=lambda model: model.model_id, default=None)

    async def link(self, child_id: int, parent_id: int, relation: str) -> None:
        """Record that a version was made from an older one; a repeated call changes nothing.

        Args:
            child_id: Row of the version that was made.
            parent_id: Row of the version that it was made from.
            relation: `trained from`, `transferred from`, `distilled from` or `collected by`.

        Raises:
            RegistryError: An unknown relation or row, or a parent that is not older than its child.
        """
        if relation not in RELATIONS:
            raise RegistryError(f"relation {relation!r} is none of {', '.join(RELATIONS)}")
        if parent_id >= child_id:
            raise RegistryError(
                f"model {child_id} cannot descend from model {parent_id}, which was registered after it"
            )

        async def work(connection: Connection) -> None:
            for model_id in (parent_id, child_id):
                await _lock(connection, model_id)
            await connection.execute(
                "INSERT INTO model_edges (child_id, parent_id, relation) VALUES ($1, $2, $3) "
                "ON CONFLICT DO NOTHING",
                child_id,
                parent_id,
                relation,
            )

        await self._transaction(work)

    async def parents(self, model_id: int) -> Parents:
        """Return what a version was made from, as (relation, version), the oldest first.

        Args:
            model_id: The version's row.
        """

        async def work(connection: Connection) -> Parents:
            records = await connection.fetch(
                "SELECT relation, ml_models.* FROM model_edges JOIN ml_models ON model_id = parent_id "
                "WHERE child_id = $1 ORDER BY parent_id, relation",
                model_id,
            )
            return [(record["relation"], ModelVersion.from_record(record)) for record in records]

        return await self._transaction(work)

    async def _select(self, condition: str, *values: Any) -> Models:
        async def work(connection: Connection) -> Models:
            query = f"SELECT * FROM ml_models WHERE {condition} ORDER BY archetype, model_type, version"
            return [ModelVersion.from_record(record) for record in await connection.fetch(query, *values)]

        return await self._transaction(work)

    async def _transaction(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Run `work` in a transaction; again when the server went away, until patience ends."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                async with (
                    self._pool.acquire() as connection,
                    lost_if_torn(connection),
                    connection.transaction(),
                ):
                    return await work(connection)
            except LOST as error:
                if time.monotonic() > deadline:
                    raise explain(error, self.dsn) from error
                await asyncio.sleep(0.1)
            except Exception as error:
                raise explain(error, self.dsn) from error


async def _lock(connection: Connection, model_id: int) -> ModelVersion:
    record = await connection.fetchrow("SELECT * FROM ml_models WHERE model_id = $1 FOR UPDATE", model_id)
    if record is None:
        raise RegistryError(f"the registry has no model {model_id}; see `monster registry list`")
    return ModelVersion.from_record(record)


async def _update(connection: Connection, model_id: int, change: str, *values: Any) -> ModelVersion:
    query = f"UPDATE ml_models SET {change}, updated_at = now() WHERE model_id = $1 RETURNING *"
    return ModelVersion.from_record(await connection.fetchrow(query, model_id, *values))


def _check_artifacts(artifacts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the artefacts as plain dictionaries, refusing those that could never be verified."""
    checked = {}
    for form, artifact in artifacts.items():
        entry = artifact if isinstance(artifact, Mapping) else {}
        if not entry.get("uri") or not _SHA256.fullmatch(str(entry.get("sha256"))):
            raise RegistryError(
                f"artefact {form!r} needs uri, sha256 (64 hexadecimal digits) and bytes; "
                "put the file into the artefact store and pass what it returns as to_json()"
            )
        checked[form] = dict(to_jsonable(dict(entry)))
    return checked
