from __future__ import annotations

from pathlib import Path

import pytest

from storage.account import NOBODY, Account, become, choose_account, is_known
from storage.errors import DatabaseError


@pytest.mark.parametrize("data_owner", [None, 0, 1000])
def test_an_ordinary_user_runs_the_server_as_himself(data_owner: int | None) -> None:
    assert choose_account(1000, True, data_owner, namespaces=True) == Account()


def test_a_user_without_a_name_is_mapped_to_one_where_that_is_possible() -> None:
    assert choose_account(1000, False, None, namespaces=True).prefix[-2:] == ("--map-group=65534", "--")
    assert choose_account(1000, False, None, namespaces=False) == Account()
    assert is_known(0)
    assert not is_known(3_999_999_999)


@pytest.mark.parametrize("data_owner", [None, 0])
def test_root_uses_a_user_namespace_and_without_one_the_user_nobody(data_owner: int | None) -> None:
    account = choose_account(0, True, data_owner, namespaces=True)
    assert account.become is None
    assert account.prefix[1:] == ("--user", "--map-user=65534", "--map-group=65534", "--")
    assert choose_account(0, True, data_owner, namespaces=False) == Account(become=NOBODY)


@pytest.mark.parametrize("namespaces", [True, False])
def test_root_leaves_the_data_of_another_user_to_that_user(namespaces: bool) -> None:
    assert choose_account(0, True, 1000, namespaces) == Account(become=1000)


def test_a_user_that_the_machine_does_not_know_is_named_before_anything_changes(tmp_path: Path) -> None:
    owner = tmp_path.stat().st_uid
    with pytest.raises(DatabaseError, match="3999999999"):
        become(3_999_999_999, tmp_path)
    assert tmp_path.stat().st_uid == owner
