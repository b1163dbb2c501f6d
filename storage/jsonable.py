"""From Python and numpy values to what JSON and PostgreSQL's jsonb can hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .errors import StorageError


def to_jsonable(value: Any) -> Any:
    """Return a value of plain JSON types; NaN and the infinities, which JSON lacks, become None.

    Args:
        value: Nested mappings and sequences of numbers, strings, booleans, None, numpy scalars and arrays.

    Raises:
        StorageError: A value of another type, or a key that is not a string.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value.replace("\x00", "")  # jsonb refuses the character
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise StorageError(f"the key {key!r} is not a string; name every entry by a string")
        return {key: to_jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(entry) for entry in value]
    if hasattr(value, "tolist"):  # numpy, without importing it
        return to_jsonable(value.tolist())
    raise StorageError(f"a {type(value).__name__} cannot be kept as JSON; convert it to numbers or strings")


def encode(value: Any) -> str:
    """Return the JSON text of a value."""
    return json.dumps(to_jsonable(value), allow_nan=False)
