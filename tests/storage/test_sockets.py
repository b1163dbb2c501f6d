from __future__ import annotations

import stat
from pathlib import Path

from storage.sockets import fits, lease_address, make_socket_folder, remove_socket_folder


def test_the_socket_must_be_short_and_free_of_list_characters() -> None:
    # "/" + name + "/.s.PGSQL.5432" with its 14 characters: 1 + 85 + 14 = 100 bytes are the most.
    assert fits(Path("/" + "x" * 85))
    assert not fits(Path("/" + "x" * 86))
    assert not fits(Path("/" + "ü" * 43))  # 86 bytes
    assert fits(Path("/meine Monster"))
    assert not fits(Path("/a,b"))
    assert not fits(Path('/a"b'))


def test_the_folder_is_made_for_its_owner_alone_and_found_by_its_address(tmp_path: Path) -> None:
    assert lease_address(tmp_path) is None
    folder = make_socket_folder(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    address = lease_address(tmp_path)
    assert address is not None and address.parent == folder


def test_a_home_with_a_long_path_gets_a_short_folder_elsewhere_and_gives_it_back(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 25)
    home.mkdir()
    folder = make_socket_folder(home)
    assert home not in folder.parents
    assert fits(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    again = make_socket_folder(home)  # as after a supervisor that was killed
    assert not folder.exists()
    remove_socket_folder(home)
    assert not again.exists()
    assert lease_address(home) is None


def test_an_address_that_leads_elsewhere_never_gets_a_foreign_folder_removed(tmp_path: Path) -> None:
    foreign = tmp_path / "precious"
    foreign.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    (home / "endpoint").write_text(str(foreign / "lease"))
    remove_socket_folder(home)
    assert foreign.is_dir()
