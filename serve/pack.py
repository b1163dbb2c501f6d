"""Decisions of a whole pack: its minds remember, and the client carries what they remember.

The state travels as signed text, so that the service keeps nothing between two requests and yet never runs
on numbers that it did not write itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.contracts import MAX_TEAM_SIZE, WorldView
from envs.contracts import layout as f
from serve.protocol import RequestError, read_model_name
from serve.signature import Signature

PACK_MODEL_TYPE = "team_coordination"
_KEYS = ("archetype", "model_type", "version", "view", "units", "state")
_KEY_BYTES = 32
_MAC_BYTES = 32
_HEAD = struct.Struct("<4sI32s32s")
_MAGIC = b"MPS1"


@dataclass(frozen=True)
class PackRequest:
    """One checked request for a pack.

    Attributes:
        archetype: whose pack it is.
        version: a version number, None for the deployed one.
        view: the fight.
        ids: of the members, in the pack's order.
        units: their indices in the view.
        state: what the last answer gave, None for the first decision.
    """

    archetype: str
    version: int | None
    view: WorldView
    ids: list[Any]
    units: list[int]
    state: str | None


def read_pack(data: Mapping[str, Any], archetypes: Collection[str]) -> PackRequest:
    """Check a decoded body.

    Args:
        data: the body.
        archetypes: names that may be asked for.

    Raises:
        RequestError: naming the key that is wrong.
        ContractError: the view is none, or lacks a member.
    """
    unknown = sorted(data.keys() - set(_KEYS))
    if unknown:
        raise RequestError(f"unknown key {unknown[0]!r}; a pack's request has {', '.join(_KEYS)}")
    archetype, _, version = read_model_name(dict(data), archetypes)
    if "view" not in data:
        raise RequestError("view: missing; a pack is asked by 'view' and 'units'")
    view = WorldView.from_json(data["view"])
    ids = data.get("units")
    if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_TEAM_SIZE:
        raise RequestError(f"units: expected a list of 1 to {MAX_TEAM_SIZE} ids, the pack in its own order")
    if any(isinstance(one, bool) or not isinstance(one, str | int) for one in ids):
        raise RequestError("units: every one must be the id of a unit of the view")
    units = [view.unit_index(one) for one in ids]
    if len(set(units)) != len(units):
        raise RequestError("units: a member stands in the list twice")
    if len({int(view.units[unit, f.TEAM]) for unit in units}) != 1:
        raise RequestError("units: the members of a pack must be of one team")
    state = data.get("state")
    if state is not None and not isinstance(state, str):
        raise RequestError("state: expected the text of the last answer, or nothing for a first decision")
    return PackRequest(archetype, version, view, ids, units, state)


class PackStates:
    """Writes and reads carried states.

    Args:
        key_file: the service's own key; made at the first use, readable by its user only.
    """

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        self._key: bytes | None = None

    def write(
        self, sha256: str, ids: list[Any], step: int, state: Mapping[str, np.ndarray], signature: Signature
    ) -> str:
        """Return a state as text.

        Args:
            sha256: of the model that it belongs to.
            ids: of the members.
            step: decisions so far.
            state: float32 (member, ...) by name.
            signature: of the model.
        """
        arrays = [np.ascontiguousarray(state[name], "<f4").tobytes() for name in signature.state]
        content = b"".join([_HEAD.pack(_MAGIC, step, bytes.fromhex(sha256), _digest(ids)), *arrays])
        return base64.b64encode(content + self._mac(content)).decode()

    def read(
        self, text: str, sha256: str, ids: list[Any], signature: Signature
    ) -> tuple[int, dict[str, np.ndarray]]:
        """Return decisions so far and the state by name, `(member, ...)`.

        Args:
            text: as `write` gave it.
            sha256: of the model that shall go on.
            ids: of the members.
            signature: of the model.

        Raises:
            RequestError: not ours or changed (422), of another pack (422) or of another model (409).
        """
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise RequestError("state: not base64; send the text of the last answer as it came") from None
        content, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(content) < _HEAD.size or not hmac.compare_digest(mac, self._mac(content)):
            raise RequestError("state: this service did not write it, or it was changed on the way")
        magic, step, model, members = _HEAD.unpack_from(content)
        if magic != _MAGIC or members != _digest(ids):
            raise RequestError("state: belongs to another pack; 'units' must keep their order in a fight")
        if model != bytes.fromhex(sha256):
            raise RequestError(
                "state: another version of the model wrote it; leave 'state' out to begin anew, or name "
                "that 'version'",
                409,
            )
        found, at = {}, _HEAD.size
        for name in signature.state:
            shape = (len(ids), *signature.inputs[name].shape)
            count = int(np.prod(shape))
            found[name] = np.frombuffer(content, "<f4", count, at).reshape(shape).astype(np.float32)
            at += 4 * count
        return step, found

    def _mac(self, content: bytes) -> bytes:
        if self._key is None:
            self._key = _own_key(self._key_file)
        return hmac.digest(self._key, content, hashlib.sha256)


def _digest(ids: list[Any]) -> bytes:
    return hashlib.sha256(json.dumps(ids).encode()).digest()


def _own_key(path: Path) -> bytes:
    """The key in a file; a file that is not there yet is written beside and put in place, once."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(beside, path)
        except FileExistsError:  # another replica was first
            pass
        finally:
            beside.unlink()
        key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise RuntimeError(f"{path} is damaged: {len(key)} bytes instead of {_KEY_BYTES}; remove it")
    return key
