"""Monster skills: both formats, names and numbers, and which six are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs.contracts import layout as f
from envs.databases import DatabaseError
from envs.databases.mob_skill_db import SkillEntry, read_mob_skills
from envs.databases.reading import Notes
from envs.databases.skill_names import NAMES_BY_ID, Meaning, has_no_counterpart, meaning
from envs.databases.skills import map_skills
from tests.envs.databases import skill, write_skills


def read(path: Path) -> tuple[list[SkillEntry], list[str]]:
    notes = Notes()
    return list(read_mob_skills(path, notes)), [str(note) for note in notes.kept]


@pytest.mark.parametrize(
    ("name", "kind", "magic"),
    [
        ("NPC_FIREATTACK", "strike", False), ("MG_FIREBOLT", "strike", True),
        ("NPC_DARKBREATH", "strike", True),
        ("NPC_FIREBREATH", "area", True), ("SM_MAGNUM", "area", False), ("WZ_METEOR", "ground", True),
        ("ASC_METEORASSAULT", "area", False), ("AL_HEAL", "heal", True), ("CR_AUTOGUARD", "guard", False),
        ("PR_KYRIE", "shield", True), ("NPC_POWERUP", "power", False), ("SM_PROVOKE", "taunt", False),
        ("NPC_STUNATTACK", "stun", False), ("MG_FROSTDIVER", "stun", True), ("WZ_QUAGMIRE", "slow", True),
        ("NPC_CURSEATTACK", "slow", False), ("MO_BODYRELOCATION", "dash", False),
        ("CR_SHIELDBOOMERANG", "strike", False), ("AC_SHOWER", "ground", False),
    ],
)  # fmt: skip
def test_names_and_what_they_mean(name: str, kind: str, magic: bool) -> None:
    assert meaning(name) == Meaning(kind, magic)


def test_names_without_a_meaning() -> None:
    for name in ("NPC_SUMMONSLAVE", "AL_TELEPORT", "NPC_EMOTION", "TF_HIDING", "NPC_CHANGEFIRE"):
        assert meaning(name) is None and has_no_counterpart(name)
    for name in ("XX_GLORP", "12345", "", "@"):
        assert meaning(name) is None and not has_no_counterpart(name)


def test_every_name_behind_a_number_is_understood_or_known_to_have_no_counterpart() -> None:
    for name in NAMES_BY_ID.values():
        found = meaning(name)
        assert has_no_counterpart(name) if found is None else found.kind in f.SKILL_KINDS


def test_a_line_of_the_text_form(tmp_path: Path) -> None:
    line = skill(
        rate=500, cast=700, delay=9000, level=3, condition="myhpltmaxrate", value="30", target="self"
    )
    ((entry,), notes) = read(write_skills(tmp_path, line))
    assert notes == [] and entry == SkillEntry(
        2, 9001, "NPC_FIREATTACK", 3, "attack", 500, 700, 9000, "self", "myhpltmaxrate", (30, 0)
    )  # fmt: skip


def test_names_come_from_the_info_column_else_from_the_number(tmp_path: Path) -> None:
    lines = [
        skill(info="Mudling@XX_OWNTHING", number=70_001),
        skill(info="no name here", number=70_001),  # as the file itself named it
        skill(info="Schlamm@Feuer!", number=19),  # the game's own number
        skill(info="", number=70_002),
    ]
    entries, _ = read(write_skills(tmp_path, *lines))
    assert [entry.name for entry in entries] == ["XX_OWNTHING", "XX_OWNTHING", "MG_FIREBOLT", "70002"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("9001,a,b\n", "line 2: 3 columns, 19 are needed; the line is skipped: '9001,a,b'"),
        (skill().replace("\n", ",\n"), "line 2: 20 columns, 19 are needed"),
        (skill().replace("9001", "mud"), "line 2: MobID (column 1) is 'mud', no number; the line is skipped"),
        (skill().replace("9001", "-7"), "line 2: MobID -7 is neither a monster's number nor -1, -2 or -3"),
        (skill(rate="often"), "line 2: Rate (column 6) is 'often', no number"),
        ("\x01\x02\n", None),
    ],
)  # fmt: skip
def test_a_wrong_line_is_skipped_with_its_number(tmp_path: Path, line: str, said: str | None) -> None:
    path = write_skills(tmp_path, line, skill(number=187, info="Mudling@NPC_WINDATTACK"), "\n// the end\n")
    if said is None:
        with pytest.raises(DatabaseError, match=r"line 2: the character .* belongs to no text file"):
            read(path)
        return
    entries, notes = read(path)
    assert [entry.name for entry in entries] == ["NPC_WINDATTACK"] and entries[0].line == 3
    assert len(notes) == 1 and notes[0].startswith(f"mob_skill_db.txt: {said}")


YAML = """\
Header:
  Type: MOB_SKILL_DB
  Version: 1
Body:
  - Mob: MUDLING
    Skills:
      - Index: 0
        Name: MG_FIREBOLT
        Level: 3
        State: ATTACK
        CastRate: 500
        Condition: MSC_MYHPLTMAXRATE
        ConditionValue1: 40
      - Name: AL_HEAL
        Level: many
      - {Name: SM_BASH, Clear: true}
      - just a word
      - {Name: SM_BASH, Name: SM_PROVOKE}
  - Mob: 9002
    Skills: none
"""


def test_the_yaml_form(tmp_path: Path) -> None:
    path = tmp_path / "mob_skill_db.yml"
    path.write_text(YAML, encoding="utf-8")
    entries, notes = read(path)
    assert entries == [
        SkillEntry(7, "MUDLING", "MG_FIREBOLT", 3, "attack", 500, 0, 5000, "target", "myhpltmaxrate", (40, 0))
    ]  # fmt: skip
    assert notes == [
        "mob_skill_db.yml: line 15: AL_HEAL: 'Level' is 'many', no number; the skill is skipped",
        "mob_skill_db.yml: line 17: a skill must be a mapping with 'Name'; the skill is skipped",
        "mob_skill_db.yml: line 18: key 'Name' is given twice (first on line 18); the skill is skipped",
        "mob_skill_db.yml: line 19: an entry needs 'Mob' and the list 'Skills'; the entry is skipped",
    ]
    for text, said in (
        (YAML.replace("MOB_SKILL_DB", "MOB_DB"), "line 2: header type is 'MOB_DB'"),
        (YAML[: YAML.index("Body")], "the list 'Body' is missing"),
        ("", "line 1: the file is empty"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DatabaseError, match=said):
            read(path)


def entries_of(folder: Path, *lines: str) -> list[SkillEntry]:
    return read(write_skills(folder, *lines))[0]


def test_a_skill_in_our_terms(tmp_path: Path) -> None:
    entries = entries_of(tmp_path, skill(info="M@MG_FIREBOLT", level=4, rate=2000, cast=700, delay=4000))
    ((bolt,), dropped) = map_skills(entries, attack_range=1)
    # A strike: 150 % + 7 % per level = 178 %; magic reaches 9 cells; the line's own rate, cast and delay.
    assert (bolt.name, bolt.kind, bolt.magic, bolt.effect, bolt.range) == ("firebolt", "strike", True, 178, 9)
    assert (bolt.chance, bolt.cast_ms, bolt.cooldown_ms, bolt.cost) == (2000, 700, 4000, 10)
    assert dropped == ()
    ((swing,), _) = map_skills(entries_of(tmp_path, skill(delay=100)), attack_range=3)
    assert (swing.range, swing.cooldown_ms) == (3, 1500)  # as far as a swing; never quicker than 1.5 s
    ((storm,), _) = map_skills(entries_of(tmp_path, skill(info="M@WZ_STORMGUST", cast=0)), attack_range=1)
    assert (storm.kind, storm.cast_ms, storm.radius) == ("ground", 800, 2)  # one must be able to step out
    ((quake,), _) = map_skills(entries_of(tmp_path, skill(info="M@WZ_METEOR", target="self")), attack_range=1)
    assert (quake.kind, quake.range) == ("area", 2)  # all around itself


def test_buffs_are_for_oneself_or_for_friends(tmp_path: Path) -> None:
    own = skill(info="M@AL_HEAL", target="self")
    friend = skill(info="M@PR_KYRIE", target="friend", condition="friendhpltmaxrate", value="60", rate=1000)
    (heal, shield), _ = map_skills(entries_of(tmp_path, own, friend), attack_range=1)
    assert (heal.range, heal.friends) == (0, False) and (shield.range, shield.friends) == (8, True)
    assert shield.chance == 500  # a condition that we cannot check counts as met half of the time


def test_conditions_change_how_often(tmp_path: Path) -> None:
    def chance(**fields: str) -> int:
        ((found,), _) = map_skills(entries_of(tmp_path, skill(rate=5000, **fields)), attack_range=1)  # type: ignore[arg-type]
        return found.chance

    assert chance() == 5000
    assert chance(condition="myhpltmaxrate", value="30") == 1500
    assert chance(condition="myhpinrate", value="20", more="80") == 3000
    assert chance(condition="longrangeattacked", value="") == 2500


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (skill(info="M@NPC_SUMMONSLAVE", number=196), "nothing like it in this world"),
        (skill(info="M@XX_GLORP", number=70_000), "unknown skill"),
        (skill(state="idle"), "only in state 'idle', not in a fight"),
        (skill(condition="rudeattacked"), "only on 'rudeattacked', which no fight here meets"),
        (skill(rate=0), "never tried (rate 0)"),
        (skill(rate=-5), "never tried (rate 0)"),
    ],
)
def test_what_is_dropped_says_why(tmp_path: Path, line: str, reason: str) -> None:
    kept, (drop,) = map_skills(entries_of(tmp_path, line), attack_range=1)
    assert kept == () and (drop.reason, drop.line) == (reason, 2)


def test_six_skills_of_many_kinds_are_kept_in_the_list_s_order(tmp_path: Path) -> None:
    names = ["NPC_FIREATTACK", "NPC_WATERATTACK", "NPC_WINDATTACK", "NPC_HOLYATTACK", "SM_BASH", "SM_MAGNUM",
             "NPC_STUNATTACK", "AL_HEAL"]  # fmt: skip
    rates = [900, 800, 700, 600, 500, 10, 20, 30]
    lines = [
        skill(info=f"M@{n}", number=70_000 + i, rate=r)
        for i, (n, r) in enumerate(zip(names, rates, strict=True))
    ]
    kept, dropped = map_skills(entries_of(tmp_path, *lines), attack_range=1)
    # One of each kind first (the rare ones too), then the most frequent strikes.
    assert [s.name for s in kept] == [
        "fireattack",
        "waterattack",
        "windattack",
        "magnum",
        "stunattack",
        "heal",
    ]
    assert [(d.name, d.reason) for d in dropped] == [
        ("holyattack", "a strike beyond the 6 that fit"),
        ("bash", "a strike beyond the 6 that fit"),
    ]


def test_the_same_skill_in_several_states_is_one_with_its_highest_rate(tmp_path: Path) -> None:
    lines = [
        skill(rate=300), skill(info="M@SM_BASH", number=5), skill(rate=900, state="chase"),
        skill(rate=9000, state="idle"),
    ]  # fmt: skip
    kept, dropped = map_skills(entries_of(tmp_path, *lines), attack_range=1)
    assert [(s.name, s.chance) for s in kept] == [("fireattack", 900), ("bash", 2000)] and dropped == ()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    lines=st.lists(
        st.one_of(st.text(max_size=40), st.just(skill().strip()), st.text(",0189-@/ab", max_size=40))
    )
)
def test_no_text_gives_another_error_than_ours(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "mob_skill_db.txt"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    try:
        entries, _ = read(path)
        map_skills(entries, 1)
    except DatabaseError as error:
        assert "\n" not in str(error)
