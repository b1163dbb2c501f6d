"""The HTTP door: a plain ASGI application over the engine and the model table.

Plain ASGI instead of a framework: routing a few paths and checking a body by hand costs a tenth of a
millisecond less per request than validation by declared models.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from envs.contracts import ACTION_VERSION, ACTION_VERSIONS, OBS_VERSION, VIEW_VERSION, ContractError
from serve.engine import BusyError, DecisionEngine
from serve.inference_door import InferenceDoor, Tensors
from serve.models import ModelError
from serve.pack import PACK_MODEL_TYPE, PackStates, read_pack
from serve.protocol import RequestError, answers, group, read_decisions, read_json, read_model_name
from serve.settings import ServeSettings
from serve.sight import acts, see
from serve.table import ModelTable, UnknownModelError
from serve.watcher import RegistryDownError, RegistryWatcher

logger = logging.getLogger("ray.serve")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Reply = tuple[int, Any]
_JSON = (b"content-type", b"application/json")
_RETRY = (b"retry-after", b"1")


class DecisionApp:
    """Answers `/v1/decide`, `/v1/models`, `/v1/candidates`, `/healthz` and the paths below `/v2`.

    Args:
        settings: limits of the service.
        engine: batches and answers rows.
        table: the loaded models.
        watcher: follows the registry; started and stopped with the application.
    """

    def __init__(
        self, settings: ServeSettings, engine: DecisionEngine, table: ModelTable, watcher: RegistryWatcher
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._table = table
        self._watcher = watcher
        self._routes: dict[str, tuple[str, Callable[[bytes], Awaitable[Reply]]]] = {
            "/v1/decide": ("POST", self._decide),
            "/v1/candidates": ("POST", self._load_candidate),
            "/v1/models": ("GET", self._list_models),
            "/healthz": ("GET", self._health),
        }
        self._inference = InferenceDoor(settings, engine, table)
        self._states = PackStates(settings.state_key_path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            status, body = await self._respond(scope, receive)
            await _send(send, status, body)
        else:  # a WebSocket handshake: refuse it
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._watcher.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._watcher.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _respond(self, scope: Scope, receive: Receive) -> Reply:
        try:
            path = scope["path"]
            route = self._routes.get(path)
            if route is None:
                if path == "/v2" or path.startswith("/v2/"):
                    return await self._infer(scope, receive)
                raise RequestError(f"no such path; this service answers {', '.join(self._routes)}, /v2", 404)
            method, handler = route
            if scope["method"] != method:
                raise RequestError(f"{path} answers {method} only", 405)
            return await handler(await _read_body(receive, self._settings.max_body_bytes))
        except RequestError as error:
            return error.status, {"error": str(error)}
        except UnknownModelError as error:
            return 404, {"error": str(error)}
        except ModelError as error:
            return 409, {"error": str(error)}
        except (BusyError, RegistryDownError) as error:
            return 503, {"error": str(error)}
        except Exception:  # one broken request must not take the replica along
            logger.exception("request to %s failed", scope["path"])
            return 500, {"error": "internal error; the service's log has the details"}

    async def _infer(self, scope: Scope, receive: Receive) -> Reply:
        body = await _read_body(receive, self._settings.max_tensor_bytes)
        headers = dict(scope.get("headers", ()))
        return await self._inference.answer(scope["method"], scope["path"], headers, body)

    async def _decide(self, body: bytes) -> Reply:
        started = time.perf_counter()
        data = read_json(body)
        if data.get("model_type") == PACK_MODEL_TYPE:
            return 200, {**await self._decide_pack(data), "server_ms": _since(started)}
        batch = read_decisions(data, self._settings.max_requests, self._table.archetypes)
        groups = group(batch.requests, lambda r: self._table.resolve(r.archetype, r.model_type, r.version))
        if len(groups) == 1:
            ((model, rows),) = groups.items()
            outputs = [await self._engine.decide(model, batch.rows(rows))]
        else:
            outputs = await asyncio.gather(
                *(self._engine.decide(model, batch.rows(rows)) for model, rows in groups.items())
            )
        decisions: list[Any] = [None] * len(batch.requests)
        for (model, rows), found in zip(groups.items(), outputs, strict=True):
            for row, decision in zip(rows, answers(batch, rows, model.version.version, found), strict=True):
                decisions[row] = decision
        if batch.bare:
            return 200, {**decisions[0], "server_ms": _since(started)}
        return 200, {"decisions": decisions, "server_ms": _since(started)}

    async def _decide_pack(self, data: dict[str, Any]) -> dict[str, Any]:
        try:
            asked = read_pack(data, self._table.archetypes)
        except ContractError as error:
            raise RequestError(str(error)) from None
        model = self._table.resolve(asked.archetype, PACK_MODEL_TYPE, asked.version)
        version, signature = model.version, model.signature
        if asked.state is None:
            step, state = 0, signature.first_state(len(asked.ids))
        else:
            step, state = self._states.read(asked.state, version.sha256, asked.ids, signature)
        sight = see(PACK_MODEL_TYPE, [asked.view] * len(asked.units), asked.units)
        outputs = await self._engine.decide(model, {**sight.inputs, **state})
        acted = acts(PACK_MODEL_TYPE, sight, range(len(asked.units)), outputs)
        carried = {own: outputs[after] for own, after in signature.state.items()}
        return {
            "archetype": asked.archetype,
            "model_type": PACK_MODEL_TYPE,
            "model_version": version.version,
            "decisions": [{"unit": unit, **act} for unit, act in zip(asked.ids, acted, strict=True)],
            "state": self._states.write(version.sha256, asked.ids, step + 1, carried, signature),
            "state_step": step + 1,
        }

    async def _load_candidate(self, body: bytes) -> Reply:
        data = read_json(body)
        unknown = sorted(data.keys() - {"archetype", "model_type", "version"})
        if unknown:
            raise RequestError(f"unknown key {unknown[0]!r}; expected archetype, model_type and version")
        archetype, model_type, version = read_model_name(data, None)
        if version is None:
            raise RequestError("version: missing; give the number of the version to load")
        candidate = await self._watcher.find(archetype, model_type, version)
        model = await self._table.load_candidate(candidate)
        loaded = model.version
        return 200, {
            "archetype": loaded.archetype,
            "model_type": loaded.model_type,
            "model_version": loaded.version,
            "sha256": loaded.sha256,
            "provider": model.provider,
        }

    async def _list_models(self, _: bytes) -> Reply:
        versions = {
            "view": VIEW_VERSION,
            "observation": OBS_VERSION,
            "action": ACTION_VERSION,
            "actions": dict(ACTION_VERSIONS),
        }
        table = self._table
        return 200, {"models": table.describe(), "failures": table.failures, "contracts": versions}

    async def _health(self, _: bytes) -> Reply:
        return 200, {
            "status": "ok",
            "models": len(self._table),
            "failures": self._table.failures,
            "registry": self._watcher.state,
            "engine": self._engine.statistics(),
        }


def _since(started: float) -> float:
    return round(1e3 * (time.perf_counter() - started), 3)


async def _read_body(receive: Receive, limit: int) -> bytes:
    """Read the body to its end, keeping no more than the limit."""
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError("the client went away", 400)
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        if not message.get("more_body", False):
            break
    if size > limit:
        raise RequestError(f"body: {size} bytes are too many, at most {limit}; split the requests", 413)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _send(send: Send, status: int, body: Any) -> None:
    if isinstance(body, Tensors):
        content, headers = body.content, list(body.headers)
    else:
        content, headers = json.dumps(body, separators=(",", ":"), allow_nan=False).encode(), [_JSON]
    headers.append((b"content-length", str(len(content)).encode()))
    if status == 503:
        headers.append(_RETRY)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
