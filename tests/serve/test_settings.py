"""Settings refuse what could only fail later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serve.settings import ServeSettings, ServiceError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_loopback_addresses_are_fine(host: str) -> None:
    settings = ServeSettings(home=Path("/h"), host=host).validate()
    assert settings.artifact_root == "/h/artifacts"
    assert settings.manifest_path == Path("/h/serve/manifest.json")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"host": "0.0.0.0"}, "host '0.0.0.0' is not a loopback address; .*use 127.0.0.1"),
        ({"host": "game.example"}, "host 'game.example' is not a loopback address"),
        ({"port": 0}, "port 0 is outside 1..65535"),
        ({"port": 70000}, "port 70000 is outside"),
        ({"max_batch_rows": 0}, "max_batch_rows is 0, it must be at least 1"),
        ({"max_waiting_rows": 100}, "max_waiting_rows 100 is less than max_requests 1024"),
        ({"deadline_s": 0.0}, "must be positive"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, Any], line: str) -> None:
    with pytest.raises(ServiceError, match=line):
        ServeSettings(home=Path("/h"), **values).validate()
