from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.errors import StorageError
from storage.jsonable import encode, to_jsonable


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([[1.0, np.nan], [2.0, -np.inf]]), [[1.0, None], [2.0, None]]),
        ({"a": (1, [float("-inf")]), "b": None}, {"a": [1, [None]], "b": None}),
        ("null\x00byte", "nullbyte"),
    ],
)
def test_every_value_becomes_what_json_can_hold(value: Any, plain: Any) -> None:
    result = to_jsonable(value)
    assert result == plain
    assert type(result) is type(plain)


def test_booleans_stay_booleans_and_the_text_is_strict_json() -> None:
    assert encode({"ok": np.bool_(False), "loss": float("nan")}) == '{"ok": false, "loss": null}'


def test_what_has_no_meaning_in_json_is_named() -> None:
    with pytest.raises(StorageError, match="PosixPath"):
        to_jsonable({"path": Path("x")})
    with pytest.raises(StorageError, match="key 3"):
        to_jsonable({3: "x"})
