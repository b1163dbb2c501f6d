"""Archetypes files: written by an import, read back by every command.

One mapping from name to archetype, in the schema of `envs/data/archetypes/*.yaml` with `base` beside it:
what an entry leaves out (reward, training, scenario, partners, ...) is its base archetype's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs.databases.documents import Document, Node
from envs.databases.reading import DatabaseError, read_text, shown
from envs.yaml_file import plain_scalar

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
"""A name that folders, the registry and the service take."""

_HEADER = """\
# Archetypes read from {source}.
# Each entry names the archetype it is based on; what it leaves out (reward, training, scenario, partners)
# is that one's. The keys are explained in docs/import-db.md. Use it with --archetypes-file.
"""


def write_archetypes(path: str | Path, entries: Mapping[str, Mapping[str, Any]], source: str) -> None:
    """Write an archetypes file, beside its place and then renamed.

    Args:
        path: the file; replaced if it exists.
        entries: plain values by name.
        source: what the file says it comes from.

    Raises:
        DatabaseError: the file cannot be written.
    """
    path = Path(path)
    lines = [_HEADER.format(source=" ".join(source.split()))]
    for name, entry in entries.items():
        lines.append(f"\n{name}:\n")
        for key, value in entry.items():
            if key == "skills" and value:
                lines.append("  skills:\n")
                lines += [f"    - {_flow(skill)}\n" for skill in value]
            else:
                lines.append(f"  {key}: {_flow(value)}\n")
    beside = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text("".join(lines), encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise DatabaseError(f"{path}: cannot be written: {error.strerror}; give another --out") from None


def read_archetypes(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read an archetypes file as plain values by name; the values themselves are checked when they are used.

    Raises:
        DatabaseError: no such file, not YAML, no mapping of names to mappings, a name or key twice, or a name
            that cannot be one.
    """
    document = Document(read_text(path), Path(path).name)
    found: dict[str, dict[str, Any]] = {}
    for name, node in document.items():
        if not NAME.fullmatch(name):
            raise DatabaseError(
                f"{document.source}: line {node.line}: {shown(name)} is no name; use lower-case letters, "
                "digits and _, at most 63, beginning with a letter"
            )
        if not isinstance(node.value, dict):
            raise DatabaseError(
                f"{document.source}: line {node.line}: {name} is {node.describe()}, no mapping with 'base'"
            )
        found[name] = _plain(node, document.source, name)
    return found


def _plain(node: Node, source: str, key: str) -> Any:
    if node.problem:
        line, reason = node.problem
        raise DatabaseError(f"{source}: line {line}: {reason} (in {key})")
    if isinstance(node.value, dict):
        return {name: _plain(value, source, f"{key}.{name}") for name, value in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(value, source, key) for value in node.value]
    if node.value is None:
        raise DatabaseError(f"{source}: line {node.line}: {key} is an alias; write its value out")
    return node.value if node.quoted else plain_scalar(node.value)


def _flow(value: Any) -> str:
    """A value on one line, valid as YAML: JSON but for keys and plain words."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(element)}" for key, element in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_]*", value) and plain_scalar(value) == value:
        return value
    return json.dumps(value, ensure_ascii=True)
