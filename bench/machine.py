"""The machine and the versions that a figure was measured with; every benchmark prints them first."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

LIBRARIES = ("numpy", "numba", "gymnasium", "torch", "ray", "onnxruntime", "onnxruntime-gpu")


def describe() -> dict[str, object]:
    """Return processor, cores, memory (bytes), system, and versions of Python, ours and the libraries."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "load_1_minute": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: version for name in ("ml-monster", *LIBRARIES) if (version := _version(name))},
    }


def header() -> str:
    """Return `describe` as two lines for people."""
    seen = describe()
    versions = seen["versions"]
    assert isinstance(versions, dict)
    memory = seen["memory_bytes"]
    assert isinstance(memory, int)
    return (
        f"{seen['processor']}, {seen['usable_cores']} of {seen['cores']} cores, {memory / 2**30:.0f} GiB, "
        f"{seen['system']}, load {seen['load_1_minute']}\n"
        f"Python {seen['python']}, " + ", ".join(f"{name} {version}" for name, version in versions.items())
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
