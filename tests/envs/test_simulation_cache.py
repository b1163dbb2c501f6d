"""Compiled kernels are kept per source: an edit never meets an old machine code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from envs.simulation import cache, world

ROOT = Path(__file__).resolve().parents[2]


def test_the_folder_is_set_before_any_kernel_is_made() -> None:
    assert world.cache is cache
    code = "from envs.simulation import world; import numba; print(numba.config.CACHE_DIR)"
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(f"kernels-{cache.source_hash()}")


def test_a_user_s_folder_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/elsewhere")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/elsewhere", raising=False)
    cache.configure()
    assert numba.config.CACHE_DIR == "/elsewhere"  # type: ignore[attr-defined]


def test_the_hash_follows_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("simulation", "contracts"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rules.py").write_text("a = 1\n")
    monkeypatch.setattr(cache, "_HERE", tmp_path / "simulation")
    monkeypatch.setattr(cache, "_CONTRACTS", tmp_path / "contracts")
    hashes = {cache.source_hash()}
    for name in ("simulation", "contracts"):
        (tmp_path / name / "rules.py").write_text("a = 2\n")
        hashes.add(cache.source_hash())
    (tmp_path / "contracts" / "more.py").write_text("")
    hashes.add(cache.source_hash())
    assert len(hashes) == 4
