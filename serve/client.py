"""Python client of the service: one kept connection, standard library only."""

from __future__ import annotations

import http.client
import json
import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import numpy as np

_HEADERS = {
    "Content-Type": "application/json",
    # Ray Serve then needs no task that watches for our hanging up: a tenth of a millisecond less.
    "x-request-disconnect-disabled": "?1",
}

_HEADER_LENGTH = "Inference-Header-Content-Length"
_DTYPES: dict[str, Any] = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8"), "UINT8": np.dtype("u1")}
_DATATYPES = {dtype: datatype for datatype, dtype in _DTYPES.items()}


class DecisionError(RuntimeError):
    """The service refused or could not be reached; the message is its own line.

    Args:
        message: one line.
        status: HTTP status, None if there was no answer. 503 means: retry after a moment.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class DecisionClient:
    """Asks a service for decisions. Not thread safe: give each thread its own.

    Args:
        url: such as `http://127.0.0.1:8000`.
        timeout_s: longest wait for an answer.
    """

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise DecisionError(
                f"{url!r} is not the address of a service; give one like http://127.0.0.1:8000"
            )
        self.url = url
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout_s)

    def __enter__(self) -> DecisionClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        self._connection.close()

    def decide(self, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return one decision for each request, in order.

        Args:
            requests: each with `archetype` and either `view` and `unit` or `observation`; numpy arrays and
                world views are sent as they are.

        Raises:
            DecisionError: the service refused, is busy (status 503) or cannot be reached.
        """
        if not requests:
            return []
        answer = self._ask("POST", "/v1/decide", {"requests": list(requests)})
        decisions: list[dict[str, Any]] = answer["decisions"]
        return decisions

    def decide_one(self, **request: Any) -> dict[str, Any]:
        """Return one decision: `decide_one(archetype="tank", view=view, unit="m1")`.

        Raises:
            DecisionError: as for `decide`.
        """
        return self._ask("POST", "/v1/decide", request)

    def decide_pack(
        self,
        archetype: str,
        view: Any,
        units: Sequence[Any],
        state: str | None = None,
        version: int | None = None,
    ) -> dict[str, Any]:
        """Decide for a whole pack, whose members' minds remember.

        Args:
            archetype: whose pack it is.
            view: the fight, a `WorldView` or its JSON.
            units: ids of the members, in the same order throughout a fight.
            state: `state` of the last answer; None for the first decision of a fight.
            version: a given version; the deployed one unless given.

        Returns:
            `decisions`, one for each member, `state` to send with the next decision, and `state_step`.

        Raises:
            DecisionError: as for `decide`; 409: the state is of another version of the model.
        """
        request = {"archetype": archetype, "model_type": "team_coordination", "view": view, "units": units}
        given = {"state": state, "version": version}
        request |= {name: value for name, value in given.items() if value is not None}
        return self._ask("POST", "/v1/decide", request)

    def infer(
        self, archetype: str, model_type: str, inputs: Mapping[str, np.ndarray], version: int | None = None
    ) -> dict[str, np.ndarray]:
        """Ask any model by its own inputs; tensors travel in binary.

        Args:
            archetype: of the model.
            model_type: one of the nine.
            inputs: by name, `(row, ...)`; floats and booleans are sent as float32, uint8 as it is, other
                whole numbers as int64. Carried state may be left out: it is zeros then.
            version: a given version; the deployed one unless given.

        Returns:
            The outputs by name, `(row, ...)`.

        Raises:
            DecisionError: as for `decide`; 404: no such model is in memory.
        """
        tensors, tail = [], []
        for name, values in inputs.items():
            array = _tensor(np.asarray(values))
            size = {"binary_data_size": array.nbytes}
            datatype = _DATATYPES[array.dtype]
            tensors.append(
                {"name": name, "datatype": datatype, "shape": list(array.shape), "parameters": size}
            )
            tail.append(array.tobytes())
        request = {"inputs": tensors, "parameters": {"binary_data_output": True}}
        head = json.dumps(request, separators=(",", ":")).encode()
        chosen = "" if version is None else f"/versions/{version}"
        path = f"/v2/models/{archetype}-{model_type}{chosen}/infer"
        headers = {**_HEADERS, "Content-Type": "application/octet-stream", _HEADER_LENGTH: str(len(head))}
        status, length, raw = self._exchange("POST", path, b"".join([head, *tail]), headers)
        end = int(length) if status == 200 and length else len(raw)
        answer = self._read(status, raw[:end])
        found, at = {}, end
        for tensor in answer["outputs"]:
            dtype = _DTYPES[tensor["datatype"]]
            count = math.prod(tensor["shape"])
            found[tensor["name"]] = np.frombuffer(raw, dtype, count, at).reshape(tensor["shape"]).copy()
            at += count * dtype.itemsize
        return found

    def describe(self, archetype: str, model_type: str, version: int | None = None) -> dict[str, Any]:
        """Return names, types and shapes of a model's inputs and outputs, and its state pairs.

        Args:
            archetype: of the model.
            model_type: one of the nine.
            version: a given version; the deployed one unless given.

        Raises:
            DecisionError: 404: no such model is in memory.
        """
        chosen = "" if version is None else f"/versions/{version}"
        return self._ask("GET", f"/v2/models/{archetype}-{model_type}{chosen}")

    def models(self) -> list[dict[str, Any]]:
        """Return the models in the service's memory."""
        rows: list[dict[str, Any]] = self._ask("GET", "/v1/models")["models"]
        return rows

    def load_candidate(self, archetype: str, model_type: str, version: int) -> dict[str, Any]:
        """Load an undeployed version; requests that name the version then reach it.

        Raises:
            DecisionError: unknown version (404), not servable (409), registry down (503).
        """
        body = {"archetype": archetype, "model_type": model_type, "version": version}
        return self._ask("POST", "/v1/candidates", body)

    def health(self) -> dict[str, Any]:
        """Return the service's own account of its state."""
        return self._ask("GET", "/healthz")

    def wait_ready(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until the service answers; return its state.

        Raises:
            DecisionError: it did not within the time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.health()
            except DecisionError as error:
                if time.monotonic() >= deadline:
                    raise DecisionError(
                        f"{self.url} is not ready after {timeout_s:.0f} s: {error}"
                    ) from error
            time.sleep(0.05)

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body, default=_plain, separators=(",", ":")).encode()
        status, _, raw = self._exchange(method, path, content, _HEADERS)
        return self._read(status, raw)

    def _read(self, status: int, raw: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = None
        if status != 200 or not isinstance(answer, dict):
            line = answer.get("error") if isinstance(answer, dict) else None
            shown = " ".join(raw.decode("utf-8", "replace").split())[:200]
            raise DecisionError(line or f"{self.url} answered {status}: {shown}", status)
        return answer

    def _exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, str | None, bytes]:
        """Send and receive; a kept connection that the server closed meanwhile is opened anew, once.

        Returns:
            Status, length of the JSON if binary tensors follow it, and the body.
        """
        for kept in (self._connection.sock is not None, False):
            try:
                self._connection.request(method, path, content, headers)
                response = self._connection.getresponse()
                return response.status, response.getheader(_HEADER_LENGTH), response.read()
            except (http.client.HTTPException, OSError) as error:
                self._connection.close()
                stale = isinstance(error, http.client.RemoteDisconnected | ConnectionError)
                if not (kept and stale):
                    reason = " ".join(str(error).split()) or type(error).__name__
                    raise DecisionError(
                        f"{self.url} does not answer ({reason}); start the service with: monster serve"
                    ) from error
        raise AssertionError("unreachable: the second attempt returns or raises")


def _tensor(values: np.ndarray) -> np.ndarray:
    """The numbers in a type that a model can take, contiguous."""
    if values.dtype.kind in "fb":
        return np.ascontiguousarray(values, "<f4")
    return np.ascontiguousarray(values, "u1" if values.dtype == np.uint8 else "<i8")


def _plain(value: Any) -> Any:
    """Let numpy values and world views through as JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if hasattr(value, "to_json"):
        return value.to_json()
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")
