from __future__ import annotations

from storage.errors import ArtifactError, DatabaseError, RegistryError, StorageError, one_line


def test_every_error_of_storage_can_be_caught_as_one() -> None:
    assert all(issubclass(kind, StorageError) for kind in (DatabaseError, RegistryError, ArtifactError))


def test_a_message_of_many_lines_becomes_one_and_an_empty_one_its_class() -> None:
    assert one_line("no\n  such\tfile ") == "no such file"
    assert one_line(TimeoutError()) == "TimeoutError"
