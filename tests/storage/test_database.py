from __future__ import annotations

import socket

import pytest

from storage import DatabaseError
from storage.database import connect, describe, explain
from storage.session import LoopThread


def refusal(loop: LoopThread, dsn: str) -> str:
    with pytest.raises(DatabaseError) as caught:
        loop.run(connect(dsn))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_server_that_is_not_there(loop: LoopThread) -> None:
    with socket.socket() as bound:  # bound but not listening: nobody else can take the port
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        line = refusal(loop, f"postgresql://me:secret@127.0.0.1:{port}/models")
    assert f"127.0.0.1:{port}/models" in line
    assert "check that the server runs" in line
    assert "secret" not in line


def test_a_database_that_is_not_there(loop: LoopThread, server_dsn: str) -> None:
    line = refusal(loop, server_dsn.replace("/postgres?", "/no_such_database?"))
    assert "no_such_database" in line and "createdb" in line


def test_a_user_that_is_not_there(loop: LoopThread, server_dsn: str) -> None:
    line = refusal(loop, server_dsn.replace("postgres@", "stranger@"))
    assert "stranger" in line and "correct user" in line


@pytest.mark.parametrize("dsn", ["postgresql://host:port/db", "postgresql://host/db?sslmode=perhaps"])
def test_a_malformed_address(loop: LoopThread, dsn: str) -> None:
    assert "postgresql://user:password@host:5432/database" in refusal(loop, dsn)


def test_an_address_is_shown_without_its_password() -> None:
    assert describe("postgresql://me:secret@db.example/models") == "at db.example:5432/models"
    assert describe("postgresql://postgres@/postgres?host=%2Ftmp%2Fx") == "of this machine"


def test_our_own_errors_pass_unchanged() -> None:
    error = DatabaseError("as it is")
    assert explain(error, "postgresql://h/d") is error
