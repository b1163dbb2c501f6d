"""How the suite is spread over processes: one group per file, and one for everything that starts Ray."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before anything imports ONNX Runtime, see policies

# Ray takes seconds to start and most of the machine; two at once on two cores time out.
_STARTS_RAY = re.compile(
    r"^\s*(?:import ray\b|from ray\b|from serve\.(?:process|ray_session|app)\b|from experiments\.tuning\b)"
    r"|start_service\(|ray\.init\(",
    re.MULTILINE,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test a group that `--dist loadgroup` keeps on one worker."""
    groups: dict[Path, str] = {}
    for item in items:
        path = item.path
        if path not in groups:
            source = path.read_text(encoding="utf-8")
            groups[path] = "ray" if _STARTS_RAY.search(source) else str(path)
        group = "ray" if item.get_closest_marker("ray") else groups[path]
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def own_archetypes() -> Iterator[None]:
    """Lets a test bring archetypes of its own; afterwards, as before, only the six are known."""
    from envs import archetypes

    archetypes.forget()
    yield
    archetypes.forget()
