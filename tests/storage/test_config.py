from __future__ import annotations

from pathlib import Path

import pytest

from storage import StorageConfig, StorageError


def test_everything_lies_inside_home_unless_said_otherwise() -> None:
    config = StorageConfig(home=Path("/srv/monsters"))
    assert config.postgres_folder == Path("/srv/monsters/postgres")
    assert config.artifacts_folder == Path("/srv/monsters/artifacts")
    assert StorageConfig(home=Path("/srv"), artifacts="/mnt/a").artifact_store().root == Path("/mnt/a")


def test_a_relative_home_given_as_text_becomes_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert StorageConfig(home="runs").postgres_folder == tmp_path / "runs" / "postgres"  # type: ignore[arg-type]


def test_an_address_of_another_database_is_refused_without_showing_its_password() -> None:
    with pytest.raises(StorageError, match="begins with 'mysql'") as caught:
        StorageConfig(home=Path("."), dsn="mysql://me:secret@host/db")
    assert "secret" not in str(caught.value)


def test_an_artefact_store_that_is_not_a_folder_is_refused() -> None:
    with pytest.raises(StorageError, match="not a folder"):
        StorageConfig(home=Path("."), artifacts="s3://bucket/models")
