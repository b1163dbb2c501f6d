"""What a result was made on and from: the machine, the versions, the code of the rooms that shape it."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LEARNING_ROOMS = ("envs", "policies")
"""Packages whose code decides what a training run learns."""
PLAYING_ROOMS = ("envs",)
"""Packages whose code decides how a finished model's fights go."""
_LIBRARIES = ("ml-monster", "ray", "torch", "numpy", "numba", "gymnasium", "onnx", "onnxruntime")


def cpu_count() -> int:
    """CPU cores this process may use (a container's or taskset's limit counts)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def product_version() -> str:
    """The installed version of the product, or the source tree's when it is not installed."""
    try:
        return metadata.version("ml-monster")
    except metadata.PackageNotFoundError:
        return "0.5.0"


def describe() -> dict[str, Any]:
    """Describes the machine for a report: processor, cores, memory in GB, system and library versions."""
    versions: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = product_version() if name == "ml-monster" else None
    return {
        "processor": processor(),
        "cpu_cores": cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    """Name of the processor, as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@lru_cache(maxsize=8)
def code_version(rooms: tuple[str, ...] = LEARNING_ROOMS) -> str:
    """Hashes the code of packages: 64 hex digits.

    Python files count by their syntax tree without docstrings, so that a corrected comment does not
    retrain six models; data files count byte by byte.

    Args:
        rooms: Names of packages.
    """
    digest = hashlib.sha256()
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in (".py", ".yaml") and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0")
                digest.update(_meaning(path) + b"\0")
    return digest.hexdigest()


def _meaning(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix != ".py":
        return data
    tree = ast.parse(data)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:]
    return ast.dump(tree).encode()


@lru_cache(maxsize=1)
def source_revision() -> str:
    """Names the source a model was made from: version, git commit where there is one, code hash."""
    parts = [product_version()]
    try:
        command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        # An installed copy inside somebody else's repository must not carry that one's commit.
        if result.returncode == 0 and (ROOT / ".git").exists():
            parts.append("g" + result.stdout.strip())
    except (OSError, subprocess.SubprocessError):
        pass
    return "+".join([*parts, "c" + code_version()[:12]])
