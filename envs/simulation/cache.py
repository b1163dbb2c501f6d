"""Where compiled kernels are kept between runs.

Numba notices a change of the file a kernel stands in, but not of the files it calls or takes
constants from. So the folder's name carries a hash of all sources that enter the kernels.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numba

_HERE = Path(__file__).parent
_CONTRACTS = _HERE.parent / "contracts"


def source_hash() -> str:
    """Hash of every source file that the compiled kernels depend on, 16 hex digits."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted([*_HERE.glob("*.py"), *_CONTRACTS.glob("*.py")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def configure() -> None:
    """Point numba at a cache folder for this exact source, unless the user chose one."""
    if not os.environ.get("NUMBA_CACHE_DIR"):
        # mypy knows the settings that numba makes at import time as no attributes.
        # `Any`: numba makes its settings at import time, so type checkers see none of them.
        settings: Any = numba.config
        settings.CACHE_DIR = str(_HERE / "__pycache__" / f"kernels-{source_hash()}")


configure()
