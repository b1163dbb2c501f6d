"""The HTTP body of `/v1/decide`: read and checked strictly, answered in plain JSON."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np

from envs.contracts import (
    ARCHETYPES,
    MODEL_TYPES,
    NUM_COMBAT_ACTIONS,
    OBS_SIZE,
    ContractError,
    WorldView,
    check_masks,
    check_observations,
)
from serve.heads import HEADS
from serve.sight import Sight, action_name, acts, see

DEFAULT_MODEL_TYPE = "combat_dqn"
_KEYS = frozenset(
    ("archetype", "model_type", "version", "observation", "action_mask", "view", "unit", "explain")
)
_NUMBERS = {int, float}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_T = TypeVar("_T")


class RequestError(ValueError):
    """The request is wrong; the message is one line for the client.

    Args:
        message: what was seen and what was expected.
        status: HTTP status of the answer.
    """

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class DecisionRequest:
    """One checked request; its row of the batch lies at the same index.

    Attributes:
        archetype: one of the six archetypes, or a user's own that is deployed.
        model_type: one of the nine model types.
        version: a version number, None for the deployed one.
        explain: whether the answer carries q values.
        view: the fight, None if a bare observation came.
        unit: index of the acting unit in the view.
    """

    archetype: str
    model_type: str
    version: int | None
    explain: bool
    view: WorldView | None = None
    unit: int = 0


@dataclass(slots=True)
class DecisionBatch:
    """All requests of one HTTP body as arrays.

    Attributes:
        requests: the checked requests.
        bare: the body was one request, not a list; the answer is then bare too.
        observations: float32 (request, 64), of combat minds only.
        masks: float32 (request, 10), 1 where legal; of combat minds only.
        sights: by model type what the units of its views see, and what orders they have.
        place: row of each request in the sight of its model type, -1 without a view.
    """

    requests: list[DecisionRequest]
    bare: bool
    observations: np.ndarray
    masks: np.ndarray
    sights: dict[str, Sight]
    place: list[int]

    def rows(self, which: list[int]) -> Mapping[str, np.ndarray]:
        """Inputs of the mind that some requests, all for one model type, are for.

        Args:
            which: indices of the requests.
        """
        model_type = self.requests[which[0]].model_type
        if model_type != DEFAULT_MODEL_TYPE:
            places = [self.place[index] for index in which]
            inputs = self.sights[model_type].inputs
            return {name: values[places] for name, values in inputs.items()}
        if len(which) == len(self.requests):
            return {"obs": self.observations, "action_mask": self.masks}
        return {"obs": self.observations[which], "action_mask": self.masks[which]}


def _refuse_constant(name: str) -> NoReturn:
    raise RequestError(f"body: {name} is not a number that JSON knows; every value must be finite")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def read_json(body: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        RequestError: not UTF-8, not JSON, NaN or Infinity, nested too deeply, or not an object.
    """
    try:
        data = _decoder.decode(body.decode("utf-8"))
    except RequestError:
        raise
    except UnicodeDecodeError as error:
        raise RequestError(f"body: not UTF-8 text (byte {error.start}); send JSON") from None
    except json.JSONDecodeError as error:
        raise RequestError(
            f"body: not JSON ({error.msg}, line {error.lineno} column {error.colno})"
        ) from None
    except RecursionError:
        raise RequestError("body: JSON is nested too deeply") from None
    except ValueError:  # an integer of thousands of digits
        raise RequestError("body: a number in the JSON is too long") from None
    if not isinstance(data, dict):
        raise RequestError(f"body: expected a JSON object, got {_kind(data)}")
    return data


def read_decisions(
    data: dict[str, Any], max_requests: int, archetypes: Collection[str] = ARCHETYPES
) -> DecisionBatch:
    """Check a decoded body and compute observations, masks and orders of all its requests at once.

    Args:
        data: one request, or `{"requests": [...]}`.
        max_requests: most requests in one body.
        archetypes: names that may be asked for: the six and all that have a model in memory.

    Raises:
        RequestError: naming the request and the key that is wrong.
    """
    bare = "requests" not in data
    if bare:
        rows: Any = [data]
    else:
        rows = data["requests"]
        extra = sorted(set(data) - {"requests"})
        if extra:
            raise RequestError(f"body: unknown key {extra[0]!r} beside 'requests'")
        if not isinstance(rows, list) or not rows:
            raise RequestError(f"requests: expected a list of at least one request, got {_kind(rows)}")
    if len(rows) > max_requests:
        raise RequestError(
            f"requests: {len(rows)} are too many for one body, at most {max_requests}; split them"
        )
    batch = DecisionBatch(
        requests=[],
        bare=bare,
        observations=np.empty((len(rows), OBS_SIZE), np.float32),
        masks=np.ones((len(rows), NUM_COMBAT_ACTIONS), np.float32),
        sights={},
        place=[-1] * len(rows),
    )
    viewed: dict[str, list[int]] = {}
    given: list[int] = []
    for index, row in enumerate(rows):
        try:
            request = _read_request(row, archetypes)
            batch.requests.append(request)
            if request.view is None:
                _check_list(row["observation"])
                given.append(index)
                if row.get("action_mask") is not None:
                    batch.masks[index] = check_masks([row["action_mask"]], 1)
            else:
                alike = viewed.setdefault(request.model_type, [])
                batch.place[index] = len(alike)
                alike.append(index)
        except (RequestError, ContractError) as error:
            raise _at(index, bare, error) from None
    if given:
        batch.observations[given] = _read_observations(rows, given, bare)
    for model_type, indices in viewed.items():
        views = [view for view in (batch.requests[index].view for index in indices) if view is not None]
        sight = see(model_type, views, [batch.requests[index].unit for index in indices])
        batch.sights[model_type] = sight
        if model_type == DEFAULT_MODEL_TYPE:
            batch.observations[indices] = sight.inputs["obs"]
            batch.masks[indices] = sight.inputs["action_mask"]
    return batch


def _read_request(row: Any, archetypes: Collection[str]) -> DecisionRequest:
    if not isinstance(row, dict):
        raise RequestError(f"expected an object, got {_kind(row)}")
    unknown = row.keys() - _KEYS
    if unknown:
        raise RequestError(_unknown("key", sorted(unknown)[0], tuple(sorted(_KEYS))))
    archetype, model_type, version = read_model_name(row, archetypes)
    if model_type not in HEADS:
        raise RequestError(
            f"model_type: {model_type} perceives and decides nothing; "
            f"ask POST /v2/models/{archetype}-{model_type}/infer"
        )
    if HEADS[model_type].name == "pack":
        raise RequestError(f"model_type: {model_type} is asked for a whole pack, in a body of its own")
    if model_type != DEFAULT_MODEL_TYPE and "observation" in row:
        raise RequestError(
            f"observation: {model_type} needs a 'view' and 'unit'; "
            f"its own inputs are taken by POST /v2/models/{archetype}-{model_type}/infer"
        )
    explain = row.get("explain", False)
    if not isinstance(explain, bool):
        raise RequestError(f"explain: expected true or false, got {_kind(explain)}")
    if ("observation" in row) == ("view" in row):
        seen = "both" if "view" in row else "neither"
        raise RequestError(
            f"expected either 'observation' ({OBS_SIZE} numbers) or 'view' and 'unit', got {seen}"
        )
    request = DecisionRequest(archetype, model_type, version, explain)
    if "view" in row:
        if "action_mask" in row:
            raise RequestError("action_mask: belongs to a bare 'observation'; with a 'view' it is computed")
        request.view = WorldView.from_json(row["view"])
        unit = row.get("unit")
        if isinstance(unit, bool) or not isinstance(unit, str | int):
            raise RequestError(f"unit: expected the id of a unit of the view, got {_kind(unit)}")
        request.unit = request.view.unit_index(unit)
    elif "unit" in row:
        raise RequestError("unit: belongs to a 'view'; a bare 'observation' is one unit's already")
    return request


def read_model_name(row: dict[str, Any], archetypes: Collection[str] | None) -> tuple[str, str, int | None]:
    """Return archetype, model type and version (None for the deployed one) of a request.

    Args:
        row: the request.
        archetypes: names that may be asked for; None leaves it to the registry whether there is such a one.

    Raises:
        RequestError: missing or unknown names, naming the nearest valid one.
    """
    if "archetype" not in row:
        raise RequestError(f"archetype: missing; one of {', '.join(ARCHETYPES)}")
    archetype = row["archetype"]
    named = isinstance(archetype, str) and _NAME.fullmatch(archetype) is not None
    if not named or (archetypes is not None and archetype not in archetypes):
        raise RequestError(_unknown("archetype", archetype, tuple(archetypes or ARCHETYPES)))
    model_type = row.get("model_type", DEFAULT_MODEL_TYPE)
    if model_type not in MODEL_TYPES:
        raise RequestError(_unknown("model type", model_type, MODEL_TYPES))
    version = row.get("version")
    if version is not None and (
        isinstance(version, bool) or not isinstance(version, int) or not 0 < version < 2**31
    ):
        raise RequestError(f"version: expected a version number from 1, got {_shown(version)}")
    return archetype, model_type, version


def _at(index: int, bare: bool, error: Exception) -> RequestError:
    """Say which request of a list is wrong."""
    return RequestError(str(error) if bare else f"requests[{index}]: {error}")


def _read_observations(rows: list[Any], given: list[int], bare: bool) -> np.ndarray:
    """Check all bare observations in one call; only where that fails look for the culprit."""
    try:
        return check_observations([rows[index]["observation"] for index in given])
    except ContractError as whole:
        for index in given:
            try:
                check_observations([rows[index]["observation"]])
            except ContractError as error:
                raise _at(index, bare, error) from None
        raise RequestError(str(whole)) from None


def _check_list(values: Any) -> None:
    # numpy would take "1.5", true and nested one-element lists for numbers.
    if isinstance(values, list) and not set(map(type, values)) <= _NUMBERS:
        odd = next(index for index, value in enumerate(values) if type(value) not in _NUMBERS)
        raise RequestError(f"observation: value {odd} is {_kind(values[odd])}, expected {OBS_SIZE} numbers")
    if not isinstance(values, list):
        raise RequestError(f"observation: expected a list of {OBS_SIZE} numbers, got {_kind(values)}")
    if len(values) != OBS_SIZE:
        raise RequestError(f"observation: expected {OBS_SIZE} numbers, got {len(values)}")


def group(requests: list[DecisionRequest], key: Callable[[DecisionRequest], _T]) -> dict[_T, list[int]]:
    """Return the request indices of each value of `key`, in order."""
    groups: dict[_T, list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(key(request), []).append(index)
    return groups


def answers(
    batch: DecisionBatch, which: list[int], version: int, outputs: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Return the decisions of requests that one model answered, as plain JSON.

    Args:
        batch: the requests.
        which: indices of those that were answered, all of one model type.
        version: version of the model that decided.
        outputs: of the model, rows in the order of `which`.
    """
    model_type = batch.requests[which[0]].model_type
    head = HEADS[model_type]
    seen = [at for at, index in enumerate(which) if batch.place[index] >= 0]
    ordered: dict[int, dict[str, Any]] = {}
    if seen:
        places = [batch.place[which[at]] for at in seen]
        chosen = {head.choice: outputs[head.choice][seen]}
        ordered = dict(zip(seen, acts(model_type, batch.sights[model_type], places, chosen), strict=True))
    found = []
    for at, index in enumerate(which):
        request = batch.requests[index]
        decision: dict[str, Any] = {
            "archetype": request.archetype,
            "model_type": model_type,
            "model_version": version,
        }
        if at in ordered:
            decision.update(ordered[at])
        else:
            action = int(outputs[head.choice][at])
            decision.update(action=action, action_name=action_name(model_type, action))
        if request.explain and head.scores is not None:
            decision[head.scores] = outputs[head.scores][at].tolist()
        found.append(decision)
    return found


def _unknown(what: str, seen: Any, known: tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(str(seen), known, 1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; one of {', '.join(known)}"
    return f"unknown {what} {_shown(seen)}{hint}"


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _kind(value: Any) -> str:
    """Name a JSON value's type in the words of JSON."""
    if value is None:
        return "null"
    names = {bool: "true or false", dict: "an object", list: "a list", str: "a string"}
    if type(value) is list and not value:
        return "an empty list"
    return names.get(type(value), "a number")
