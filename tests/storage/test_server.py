from __future__ import annotations

from pathlib import Path

import pytest

from storage import DatabaseError
from storage.lease import acquire_lease
from storage.server import check_major


def make(folder: Path, name: str, version: str) -> None:
    (folder / name).mkdir()
    (folder / name / "PG_VERSION").write_text(f"{version}\n")


def test_data_of_this_version_and_no_data_are_accepted(tmp_path: Path) -> None:
    check_major(tmp_path, 18)
    make(tmp_path, "pg18", "18")
    make(tmp_path, "pg17", "17")  # moved on already
    check_major(tmp_path, 18)


def test_data_of_another_version_are_never_hidden_by_an_empty_start(tmp_path: Path) -> None:
    make(tmp_path, "pg17", "17")
    with pytest.raises(DatabaseError, match="made by PostgreSQL 17 and this release brings 18"):
        check_major(tmp_path, 18)


def test_a_folder_whose_name_lies_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "pg18", "16")
    with pytest.raises(DatabaseError, match="holds data of PostgreSQL 16"):
        check_major(tmp_path, 18)


def test_a_folder_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pg18").mkdir()
    with pytest.raises(DatabaseError, match="not a readable database directory"):
        check_major(tmp_path, 18)


def test_the_client_hears_the_servers_refusal_in_one_line(tmp_path: Path) -> None:
    make(tmp_path, "pg17", "17")
    with pytest.raises(DatabaseError, match="made by PostgreSQL 17") as caught:
        acquire_lease(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_client_hears_why_a_damaged_database_does_not_start(tmp_path: Path) -> None:
    make(tmp_path, "pg18", "18")
    (tmp_path / "pg18").chmod(0o700)
    with pytest.raises(DatabaseError, match=r"does not start: .*postgresql\.conf") as caught:
        acquire_lease(tmp_path)
    assert "\n" not in str(caught.value)
