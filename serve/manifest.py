"""The last list of models that was served well: a service whose database is down starts from it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from serve.models import ServedVersion

_FORMAT = 1


def write_manifest(path: Path, versions: list[ServedVersion]) -> None:
    """Write the list beside and rename it, so that a reader never sees half of it.

    Args:
        path: where it lies; folders are made.
        versions: the deployed versions that are in memory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"format": _FORMAT, "models": [v.to_json() for v in versions]}, indent=1)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def read_manifest(path: Path) -> list[ServedVersion] | None:
    """Return the list, or None where there is none that can be read.

    Args:
        path: where it lies.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != _FORMAT:
            return None
        return [ServedVersion.from_json(row) for row in data["models"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
