"""Reading monsters: what is understood, and what every kind of damage to a file says."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs.databases import DatabaseError, import_database
from envs.databases.mob_db import Mob, read_mob_db
from envs.databases.reading import MAX_NOTES, Notes
from tests.envs.databases import HEADER, monster, write_database


def read(path: Path) -> tuple[list[Mob], list[str]]:
    notes = Notes()
    return list(read_mob_db(path, notes)), [str(note) for note in notes.kept]


def test_fields_and_the_database_s_own_defaults(tmp_path: Path) -> None:
    full = monster(
        Sp=30, Defense=20, MagicDefense=5, Agi=7, Int=9, Dex=11, AttackRange=2, WalkSpeed=250,
        AttackMotion=480, Class="Boss", Ai="04", Drops="[]",
    )  # fmt: skip
    bare = monster(Id=9002, AegisName="STUB", Name=None, Level=None, AttackDelay=None, Ai=None)
    (mob, stub), notes = read(write_database(tmp_path, full, bare))
    assert (mob.id, mob.aegis_name, mob.level, mob.hp, mob.sp, mob.line) == (9001, "MUDLING", 5, 100, 30, 6)
    assert (mob.attack, mob.attack2, mob.defense, mob.magic_defense) == (8, 12, 20, 5)
    assert (mob.agi, mob.int_, mob.dex, mob.attack_range) == (7, 9, 11, 2)
    assert (mob.walk_speed, mob.attack_delay, mob.attack_motion) == (250, 1000, 480)
    assert mob.boss and mob.aggressive and mob.can_attack
    # Absent: level 1, SP 1, 150 ms per cell, behaviour 06, which never attacks.
    assert (stub.name, stub.level, stub.sp, stub.walk_speed) == ("STUB", 1, 1, 150)
    assert not stub.boss and not stub.aggressive and not stub.can_attack and stub.line == 26
    assert notes == []


def test_modes_stand_above_the_behaviour_type(tmp_path: Path) -> None:
    peaceful = monster(Ai="04", Modes="{Aggressive: false}")
    plant = monster(Id=9002, AegisName="PLANT", Ai="06", Modes="{CanAttack: true, Aggressive: maybe}")
    (first, second), notes = read(write_database(tmp_path, peaceful, plant))
    assert not first.aggressive and first.can_attack and second.can_attack and not second.aggressive
    assert notes == [
        "mob_db.yml: line 25: PLANT: mode 'Aggressive' is 'maybe', neither true nor false; it is ignored"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the file is empty"),
        ("# nothing\n", "line 1: the file is empty"),
        ("just words\n", "line 1: the top level is not a mapping"),
        ("- a\n- b\n", "line 1: the top level is not a mapping"),
        ("Body:\n" + monster(), "line 1: the header is missing"),
        (HEADER.replace("MOB_DB", "ITEM_DB") + monster(), "line 2: header type is 'ITEM_DB'; this reads"),
        (HEADER.replace("3", "12") + monster(), "line 3: header version is '12'; versions 1 to 5"),
        (HEADER.replace("3", "new") + monster(), "line 3: header version is 'new'"),
        (HEADER.replace("  Version: 3\n", "") + monster(), "line 2: header version is missing"),
        ("Header: [1]\nBody: []\n", "line 1: the header is a list"),
        (HEADER.replace("Body:\n", ""), "line 5: the list 'Body' is missing; add 'Body:'"),
        (HEADER.replace("Body", "Bodi") + monster(), "did you mean the key 'Bodi' to be 'Body'?"),
        (HEADER + "  Id: 1\n", "line 6: 'Body' is not a list"),
        (HEADER + monster() + "Body:\n" + monster(), "line 15: 'Body' is given twice (first on line 5)"),
        (HEADER + "  - Id: 1\n\t  Hp: 2\n", "line 7: not YAML: a tab indents the line; use spaces"),
        (HEADER + "  - Id: [1\n", "not YAML: "),
        (HEADER + "  - Id: 1\n   Hp: 5\n", "line 7: not YAML: "),
        (HEADER + monster() + "---\nBody: 1\n", "line 15: a second document begins"),
        (HEADER + "  - Id: 1\x00\n", "line 6: the character '\\x00' belongs to no text file"),
        (HEADER + f"  - Id: {'[' * 60}\n", "line 6: nested more than 32 deep"),
        (
            HEADER.replace("Body:\n", "Footer:\n  Imports:\n  - Path: db/re/mob_db.yml\n"),
            "line 7: no Body here, it only imports other files; give one of them: db/re/mob_db.yml",
        ),
    ],
)  # fmt: skip
def test_a_broken_file_is_one_line_with_its_number(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mob_db.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatabaseError) as raised:
        import_database(path)
    assert str(raised.value).startswith(("mob_db.yml: ", str(path))) and "\n" not in str(raised.value)
    assert said in str(raised.value) and "line " in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (monster(Hp="lots"), "line 10: monster MUDLING is skipped: 'Hp' is 'lots', it must be a number"),
        (monster(Hp='"100"'), "line 10: monster MUDLING is skipped: 'Hp' is '100'"),
        (monster(Hp=0), "line 10: monster MUDLING is skipped: 'Hp' is '0'"),
        (monster(Hp=-5), "line 10: monster MUDLING is skipped"),
        (monster(Hp="9" * 400), "line 10: monster MUDLING is skipped"),
        (monster(Hp="[1, 2]"), "line 10: monster MUDLING is skipped: 'Hp' is a list"),
        (monster(Attack="1e3"), "line 11: monster MUDLING is skipped: 'Attack' is '1e3'"),
        (monster(Id="one"), "line 6: monster MUDLING is skipped: 'Id' is 'one'"),
        (monster(Id=None), "line 6: monster MUDLING is skipped: 'Id' is missing"),
        (monster(AegisName=None), "line 6: monster 9001 is skipped: 'AegisName' is missing"),
        (
            monster() + "    Hp: 7\n",
            "line 15: monster MUDLING is skipped: key 'Hp' is given twice (first on line 10)",
        ),
        (monster() + "    ? [a, b]\n    : 1\n", "line 15: monster MUDLING is skipped: a key is a list"),
        ("  - hello\n", "line 6: a monster is skipped: it is 'hello'; an entry is a mapping"),
        ("  -\n", "line 6: a monster is skipped: it is ''"),
    ],
)  # fmt: skip
def test_a_broken_monster_is_skipped_and_the_next_one_read(tmp_path: Path, entry: str, said: str) -> None:
    mobs, notes = read(write_database(tmp_path, entry, monster(Id=9002, AegisName="OTHER")))
    assert [mob.aegis_name for mob in mobs] == ["OTHER"]
    assert len(notes) == 1 and notes[0].startswith(f"mob_db.yml: {said}")


@pytest.mark.parametrize(
    ("fields", "field", "value", "said"),
    [
        ({"WalkSpeed": "fast"}, "walk_speed", 150, "line 15: MUDLING: 'WalkSpeed' is 'fast', no number"),
        ({"Level": "1.5"}, "level", 1, "line 9: MUDLING: 'Level' is '1.5', no number from 0; 1 is taken"),
        ({"Dex": "*x"}, "dex", 1, None),
        ({"Ai": "99"}, "can_attack", True, "line 14: MUDLING: unknown 'Ai' '99'; 01 (passive) is taken"),
        ({"HP": 7}, "hp", 100, "line 15: unknown key 'HP' is ignored; did you mean 'Hp'?"),
        ({"Modes": "[a]"}, "aggressive", False, "line 15: MUDLING: 'Modes' is a list, no mapping"),
    ],
)  # fmt: skip
def test_a_wrong_field_with_a_default_gets_it(
    tmp_path: Path, fields: dict[str, object], field: str, value: object, said: str | None
) -> None:
    header = HEADER.replace("Body", "Extra: &x 5\nBody") if said is None else HEADER
    path = write_database(tmp_path, monster(**fields), header=header)
    (mob,), (note,) = read(path)
    assert getattr(mob, field) == value
    assert note.startswith(f"mob_db.yml: {said or 'line 16: MUDLING: '}") and (said or "an alias" in note)


def test_a_number_given_twice_names_both_lines(tmp_path: Path) -> None:
    mobs, notes = read(write_database(tmp_path, monster(), monster(AegisName="AGAIN")))
    assert [mob.aegis_name for mob in mobs] == ["MUDLING"]
    text = "line 15: monster 9001 is given twice (first on line 6); the second one is skipped"
    assert notes == [f"mob_db.yml: {text}"]


def test_no_usable_monster_is_an_error_that_says_the_first_reason(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"no monster could be read; first: mob_db\.yml: line 10: "):
        import_database(write_database(tmp_path, monster(Hp="x")))
    with pytest.raises(DatabaseError, match="'Body' is empty"):
        import_database(write_database(tmp_path, header=HEADER))


def test_files_that_are_none(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.yml", "no such file"), (tmp_path, "is a folder")):
        with pytest.raises(DatabaseError, match=said):
            import_database(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatabaseError, match="not a regular file"):
        import_database(tmp_path / "pipe")
    with pytest.raises(DatabaseError, match="cannot be read"):
        import_database("a\0b")


def test_a_hundred_megabytes_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mob_db.yml"
    with path.open("wb") as file:
        file.truncate(100 * 2**20)  # a sparse file: nothing is written
    began = time.perf_counter()
    with pytest.raises(DatabaseError, match="line 1: nothing was read, the file has 100 MB"):
        import_database(path)
    assert time.perf_counter() - began < 2.0


def test_what_a_file_within_the_limit_can_cost_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "mob_db.yml"
    path.write_text(HEADER + "  - Id: 1\n    Drops: [" + "a," * 100_000 + "]\n", encoding="utf-8")
    with pytest.raises(DatabaseError, match="line 7: one entry has more than 20,000 values"):
        import_database(path)
    # An alias is never followed, so lists of lists of aliases stay as small as the file.
    bomb = "".join(f"    L{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 20))
    mobs, notes = read(write_database(tmp_path, monster() + "    L0: &l0 [x]\n" + bomb))
    assert [mob.id for mob in mobs] == [9001] and len(notes) == 20


def test_ten_thousand_broken_monsters_are_counted_but_not_all_kept(tmp_path: Path) -> None:
    path = write_database(tmp_path, "  - x\n" * 10_000, monster())
    result = import_database(path)
    assert result.counts["monster"] == 10_000 and len(result.notes) == MAX_NOTES
    assert list(result.entries) == ["mudling"]


def test_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "mob_db.yml"
    path.write_bytes((HEADER + monster(Name="Kuchen")).encode().replace(b"Kuchen", b"K\xfcchen"))
    mobs, notes = read(path)
    assert mobs[0].hp == 100
    assert notes == ["mob_db.yml: line 8: not UTF-8 text; 1 characters of the file were replaced"]
    assert "MUDLING (9001)" in str(import_database(path).entries["mudling"]["character"])
    path.write_bytes((HEADER + monster()).encode("utf-8-sig").replace(b"\n", b"\r\n"))
    assert read(path) == ([read(write_database(tmp_path, monster()))[0][0]], [])
    path.write_text(HEADER + monster(), encoding="utf-16")
    with pytest.raises(DatabaseError, match="line 1: is UTF-16 text; save it as UTF-8"):
        import_database(path)


def test_two_thousand_monsters_take_seconds(tmp_path: Path) -> None:
    entries = [
        monster(Id=n, AegisName=f"M{n}", Drops="[{Item: A, Rate: 1}, {Item: B, Rate: 2}]")
        for n in range(1, 2001)
    ]
    said: list[str] = []
    began = time.perf_counter()
    result = import_database(write_database(tmp_path, *entries), say=said.append)
    assert len(result.entries) == 2000 and time.perf_counter() - began < 10.0
    assert said[0] == "500 monsters read, at line 4996"  # 5 + 499 x 10 + 1


VALUES = st.one_of(
    st.sampled_from(["", "~", "0", "-1", "1e9", "*a", "&a 1", "[", "]", "{a: 1}", "!!python/name:os x"]),
    st.text(max_size=12),
    st.integers().map(str),
)  # fmt: skip
KEYS = st.sampled_from(
    ["Id", "AegisName", "Hp", "Attack", "Ai", "Modes", "Class", "Body", "Header", "Level", "Zzz"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(fields=st.dictionaries(KEYS, VALUES, max_size=5), cut=st.integers(0, 400), noise=st.binary(max_size=6))
def test_no_database_gives_another_error_than_ours(
    tmp_path: Path, fields: dict[str, str], cut: int, noise: bytes
) -> None:
    path = write_database(tmp_path, monster(**fields), monster(Id=9002, AegisName="OTHER"))
    data = path.read_bytes()
    path.write_bytes(data[:cut] + noise + data[cut:])
    try:
        result = import_database(path)
    except DatabaseError as error:
        assert "\n" not in str(error)
    else:
        assert result.monsters_read > 0


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.binary(max_size=200))
def test_no_bytes_give_another_error_than_ours(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mob_db.yml"
    path.write_bytes(data)
    with pytest.raises(DatabaseError):
        import_database(path)
