"""The paths below `/v2`: any model by its own inputs and outputs, as the Open Inference Protocol has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serve.engine import DecisionEngine, ModelFailedError
from serve.protocol import RequestError
from serve.settings import ServeSettings
from serve.table import ModelTable, UnknownModelError
from serve.tensors import HEADER_LENGTH, describe, model_name, read_model_path, read_request, write_answer

_SERVER = {"name": "mlmonster", "extensions": ["binary_tensor_data"]}
_PATHS = (
    "/v2, /v2/health/live, /v2/health/ready, /v2/models/NAME, /v2/models/NAME/ready, /v2/models/NAME/infer "
    "and the same with /v2/models/NAME/versions/NUMBER"
)


@dataclass(frozen=True)
class Tensors:
    """The body of an answer that is not plain JSON.

    Attributes:
        content: its bytes.
        headers: of the answer, without its length.
    """

    content: bytes
    headers: tuple[tuple[bytes, bytes], ...]


class InferenceDoor:
    """Answers requests below `/v2`.

    Args:
        settings: limits of the service.
        engine: batches and answers rows.
        table: the loaded models.
    """

    def __init__(self, settings: ServeSettings, engine: DecisionEngine, table: ModelTable) -> None:
        self._settings = settings
        self._engine = engine
        self._table = table

    async def answer(
        self, method: str, path: str, headers: Mapping[bytes, bytes], body: bytes
    ) -> tuple[int, Any]:
        """Answer one request.

        Args:
            method: of HTTP.
            path: `/v2` or below.
            headers: by lower-case name.
            body: of the request.

        Returns:
            HTTP status, and plain JSON types or `Tensors`.

        Raises:
            RequestError: no such path, a wrong method or a wrong request.
            UnknownModelError: no such model is in memory.
            BusyError: too many rows wait.
        """
        parts = path.strip("/").split("/")[1:]
        infers = parts[:1] == ["models"] and parts[-1] == "infer" and len(parts) in (3, 5)
        if method != ("POST" if infers else "GET"):
            raise RequestError(f"{path[:120]} answers {'POST' if infers else 'GET'} only", 405)
        if infers:
            return await self._infer(*_named(parts[1:-1]), headers.get(HEADER_LENGTH), body)
        if not parts:
            return 200, _SERVER
        if parts == ["health", "live"]:
            return 200, {"live": True}
        if parts == ["health", "ready"]:
            return 200, {"ready": True}
        if parts[0] == "models" and len(parts) in (3, 5) and parts[-1] == "ready":
            return self._ready(*_named(parts[1:-1]))
        if parts[0] == "models" and len(parts) in (2, 4):
            return self._describe(*_named(parts[1:]))
        raise RequestError(f"no such path; this service answers {_PATHS}", 404)

    def _ready(self, archetype: str, model_type: str, version: int | None) -> tuple[int, Any]:
        name = model_name(archetype, model_type)
        try:
            self._table.resolve(archetype, model_type, version)
        except UnknownModelError as error:
            return 404, {"name": name, "ready": False, "error": str(error)}
        return 200, {"name": name, "ready": True}

    def _describe(self, archetype: str, model_type: str, version: int | None) -> tuple[int, Any]:
        model = self._table.resolve(archetype, model_type, version)
        versions = self._table.versions(archetype, model_type)
        return 200, describe(model_name(archetype, model_type), versions, model.signature)

    async def _infer(
        self, archetype: str, model_type: str, version: int | None, header_length: bytes | None, body: bytes
    ) -> tuple[int, Any]:
        model = self._table.resolve(archetype, model_type, version)
        request = read_request(body, header_length, model.signature, self._settings.max_requests)
        try:
            values = await self._engine.decide(model, request.inputs)
        except ModelFailedError as error:
            raise RequestError(f"{model.version.name} cannot answer these inputs: {error}") from error
        name = model_name(archetype, model_type)
        content, head = write_answer(name, model.version.version, request, model.signature, values)
        if head is None:
            return 200, Tensors(content, ((b"content-type", b"application/json"),))
        kind = (b"content-type", b"application/octet-stream")
        return 200, Tensors(content, (kind, (HEADER_LENGTH, str(head).encode())))


def _named(parts: list[str]) -> tuple[str, str, int | None]:
    """Read `NAME` or `NAME/versions/NUMBER`."""
    if len(parts) == 3 and parts[1] != "versions":
        raise RequestError(f"no such path; this service answers {_PATHS}", 404)
    return read_model_path(parts[0], parts[2] if len(parts) == 3 else None)
