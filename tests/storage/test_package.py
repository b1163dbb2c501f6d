from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import storage


def test_every_public_name_is_there() -> None:
    for name in storage.__all__:
        assert getattr(storage, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = storage.no_such_name


def test_a_name_that_needs_no_database_loads_no_driver() -> None:
    code = "import sys; from storage import ArtifactStore, StorageConfig; sys.exit('asyncpg' in sys.modules)"
    root = Path(storage.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
