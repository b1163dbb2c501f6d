"""The private Ray: our packages in its workers, one private folder, nothing left behind."""

from __future__ import annotations

import os
import site
import time
from pathlib import Path

import pytest

from serve import janitor, ray_session

FOREIGN = "raise ImportError('the package of the folder that the program was started in')\n"


def test_a_checkout_leads_the_python_path_and_stands_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(ray_session.PACKAGE_ROOT)
    monkeypatch.setattr(site, "getsitepackages", lambda: ["/elsewhere"])
    environment = ray_session.package_environment({"PYTHONPATH": f"/mine{os.pathsep}{root}", "HOME": "/h"})
    assert environment == {"PYTHONPATH": f"{root}{os.pathsep}/mine", "HOME": "/h"}


def test_installed_packages_need_no_python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(ray_session.PACKAGE_ROOT)])
    assert ray_session.package_environment({"PYTHONPATH": "/mine"}) == {"PYTHONPATH": "/mine"}


def test_a_session_folder_is_private_and_names_its_owner() -> None:
    folder = ray_session.make_session_folder()
    try:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "token").stat().st_mode & 0o777 == 0o600
        assert len(str(folder)) <= 30  # sockets below it end at 107 characters
        assert janitor.sweep_dead_sessions(folder.parent) == [] or folder.exists()  # we are alive
        assert folder.exists()
    finally:
        ray_session.discard_session_folder(folder)
    assert not folder.exists()


def test_workers_run_our_packages_wherever_the_program_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    for name in ("envs", "serve", "policies", "experiments", "storage"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(FOREIGN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ".")
    home_token = Path.home() / ".ray" / "auth_token"
    token_before = home_token.stat().st_mtime if home_token.exists() else None

    def where() -> dict[str, str]:
        import importlib

        names = ("envs", "serve", "policies", "experiments", "storage")
        found = {name: str(importlib.import_module(name).__file__) for name in names}
        return {**found, "cwd": os.getcwd(), "node": ray.util.get_node_ip_address()}

    with ray_session.ray_session(num_cpus=1, num_gpus=0, object_store_bytes=80_000_000) as session:
        assert os.environ["PYTHONPATH"] == "."
        assert janitor.MARKER not in os.environ  # else the janitor would kill what this process starts
        assert Path.cwd() == tmp_path
        seen = ray.get(ray.remote(where).remote())
        assert janitor.session_processes(session.folder)
    assert seen.pop("cwd") == str(session.folder / "work")
    assert seen.pop("node") == "127.0.0.1"
    assert {Path(file).parent.parent for file in seen.values()} == {ray_session.PACKAGE_ROOT}
    assert not ray.is_initialized()
    assert not session.folder.exists()
    deadline = time.monotonic() + 10
    while janitor.session_processes(session.folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert janitor.session_processes(session.folder) == []
    assert (home_token.stat().st_mtime if home_token.exists() else None) == token_before
    session.close()
