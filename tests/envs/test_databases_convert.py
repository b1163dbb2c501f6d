"""From a database to archetypes: hand-worked numbers, the rule for the archetype, names, and the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import archetypes
from envs.configuration import ConfigError
from envs.databases import DatabaseError, Import, Settings, import_database
from envs.databases.archetypes_file import read_archetypes, write_archetypes
from envs.databases.mob_db import Mob
from envs.databases.stats import damage_per_second, figures, scaled, seconds_to_kill
from envs.simulation.world import World
from tests.envs.databases import monster, skill, write_database, write_skills


def convert(folder: Path, *entries: str, skills: tuple[str, ...] = (), **settings: Any) -> Import:
    listed = write_skills(folder, *skills) if skills else None
    return import_database(write_database(folder, *entries), listed, Settings(**settings))


def mob_of(folder: Path, **fields: Any) -> Mob:
    return convert(folder, monster(**fields), scale="raw").rows[0].mob


def test_pre_renewal_fields(tmp_path: Path) -> None:
    mob = mob_of(tmp_path, Defense=30, MagicDefense=45, Int=35, Dex=20, Agi=50, AttackRange=0, WalkSpeed=4000)
    stats = figures(mob, renewal=False)
    assert stats.atk == 10  # (8 + 12) / 2
    assert stats.matk == 35 + ((35 / 7) ** 2 + (35 / 5) ** 2) / 2 == 72
    assert stats.def_ == pytest.approx(
        4000 * 0.3 / 6
    )  # 200: lets (4000 + 200) / (4000 + 2000) = 70 % through
    assert stats.mdef == pytest.approx(1000 * 0.45 / 4.5)  # 100: 1100 / 2000 = 55 %
    # Chance 80 + 20 - 50 = 50 %; FLEE at most 40, HIT = 50 + 40 + 5.
    assert (stats.hit, stats.flee) == (95, 40)
    assert (stats.range, stats.speed_ms, stats.attack_delay_ms, stats.attack_motion_ms) == (1, 1000, 1000, 0)


def test_renewal_fields(tmp_path: Path) -> None:
    stats = figures(mob_of(tmp_path, Defense=30, MagicDefense=45, Int=35, Dex=20, Agi=10), renewal=True)
    assert (stats.atk, stats.matk, stats.def_, stats.mdef) == (8, 47, 30, 45)
    assert (stats.hit, stats.flee) == (50 + 20 - 10 + 10 + 5, 10)


def test_which_rules_a_file_follows(tmp_path: Path) -> None:
    weaker = monster(Id=9002, AegisName="B", Attack2=3)  # no larger attack is smaller than the smaller one
    assert not convert(tmp_path, monster()).renewal
    assert convert(tmp_path, monster(), weaker).renewal
    assert not convert(tmp_path, monster(), weaker, rules="prerenewal").renewal
    with pytest.raises(DatabaseError, match="unknown rules 'classic'"):
        Settings(rules="classic")


def test_damage_and_time_to_kill(tmp_path: Path) -> None:
    # ATK 10 per second; FIREATTACK (157 %) in 20 % of the actions, all of them re-usable: 8 + 0.2 x 15.7.
    result = convert(
        tmp_path, monster(Hp=600, Dex=25, Agi=5), skills=(skill(delay=0, rate=2000),), scale="raw"
    )
    row = result.rows[0]
    stats = figures(row.mob, renewal=False)
    assert damage_per_second(stats, row.skills, defended=False) == pytest.approx(0.8 * 10 + 0.2 * 15.7)
    assert row.raw_s == row.used_s == pytest.approx(600 / 11.14)  # 100 % to hit, no defence
    assert result.entries["mudling"]["stats"]["hp"] == 600


def test_our_own_scale_keeps_shares_and_sets_limits_to_the_time(tmp_path: Path) -> None:
    stats = figures(mob_of(tmp_path, Hp=200, Dex=25, Agi=5), renewal=False)  # 10 damage per second: 20 s
    used = scaled(stats, ())
    assert (used.atk, used.hp) == (250, 5000) and seconds_to_kill(used, ()) == pytest.approx(20)
    weak, strong = (
        scaled(figures(mob_of(tmp_path, Hp=hp, Dex=25, Agi=5), renewal=False), ()) for hp in (10, 10**6)
    )
    assert (weak.hp, strong.hp) == (pytest.approx(11 * 250), pytest.approx(40 * 250))


def test_heals_and_shields_are_shares_of_the_hit_points(tmp_path: Path) -> None:
    lines = (skill(info="M@AL_HEAL", number=28, level=10, target="self"), skill(info="M@PR_KYRIE", number=73))
    entry = convert(tmp_path, monster(Int=50), skills=lines).entries["mudling"]
    heal, shield = entry["skills"]
    hp, matk = entry["stats"]["hp"], entry["stats"]["matk"]
    assert matk * heal["effect"] / 100 == pytest.approx(0.14 * hp, abs=matk / 200)  # whole per cents of MATK
    assert shield["effect"] == round(0.12 * hp)


@pytest.mark.parametrize(
    ("fields", "lines", "base"),
    [
        ({"AttackRange": 4, "Ai": "04"}, (), "ranged"),
        ({"Int": 30}, ("MG_FIREBOLT", "MG_COLDBOLT"), "mage"),
        (
            {"Int": 1},
            ("MG_FIREBOLT", "MG_COLDBOLT"),
            "defensive",
        ),  # MATK 1 against ATK 10: spells are nothing
        ({"Int": 30}, ("MG_FIREBOLT",), "defensive"),
        ({}, ("AL_HEAL",), "support"),
        ({"Ai": "04", "AttackDelay": 1199}, (), "aggressive"),
        ({"Ai": "04", "AttackDelay": 1200}, (), "defensive"),
        ({"Ai": "01"}, (), "defensive"),
    ],
)
def test_the_rule_for_the_archetype(
    tmp_path: Path, fields: dict[str, Any], lines: tuple[str, ...], base: str
) -> None:
    listed = tuple(
        skill(info=f"M@{name}", number=70_000 + n, target="friend") for n, name in enumerate(lines)
    )
    assert convert(tmp_path, monster(**fields), skills=listed or (skill(),)).rows[0].base == base


def test_tanks_are_tough_and_hit_softly_for_their_level(tmp_path: Path) -> None:
    herd = [monster(Id=n, AegisName=f"M{n}", Hp=100 + n, Attack=10 + n % 2) for n in range(1, 8)]
    tank = monster(Id=8, AegisName="WALL", Hp=5000, Attack=1, Attack2=2)
    strong = monster(Id=9, AegisName="BRUTE", Hp=5000, Attack=90, Attack2=90)
    elder = monster(Id=10, AegisName="ELDER", Hp=90_000, Attack=1, Attack2=2, Level=99)  # alone at its level
    bases = {
        row.name: row.base for row in convert(tmp_path, *herd, tank, strong, elder, rules="prerenewal").rows
    }
    assert [name for name, base in bases.items() if base == "tank"] == ["wall"]


def test_preferred_distances_follow_the_reach(tmp_path: Path) -> None:
    def distance(*lines: str, **fields: Any) -> list[int] | None:
        listed = tuple(skill(info=f"M@{name}", number=70_000 + n) for n, name in enumerate(lines))
        entry = convert(tmp_path, monster(**fields), skills=listed or (skill(),)).entries["mudling"]
        return entry.get("preferred_distance")

    assert distance(AttackRange=9) == [7, 12]  # as our own ranged archetype
    assert distance("MG_FIREBOLT", "MG_COLDBOLT", Int=30) == [5, 10]  # as our own mage
    assert distance(AttackRange=3) == [0, 4] and distance(AttackRange=1) is None


def test_names(tmp_path: Path) -> None:
    wanted = ["MUD_LING", "mud ling", "TANK", "9LIVES", "포링", "halberdier", "null"]
    entries = [monster(Id=n, AegisName=name) for n, name in enumerate(wanted, 1)]
    result = convert(tmp_path, *entries)
    names = ["mud_ling", "mud_ling_2", "tank_3", "m_9lives", "mob_5", "halberdier_6", "null"]
    # YAML's null is no name: the last one is skipped.
    assert list(result.entries) == names[:-1] and "'AegisName' is missing" in result.notes[-1].text


def test_a_choice_of_monsters(tmp_path: Path) -> None:
    entries = [monster(Id=n, AegisName=name) for n, name in enumerate(("ANT", "BEE", "CAT"), 1)]
    assert list(convert(tmp_path, *entries, only=("cat", "ANT")).entries) == ["ant", "cat"]
    with pytest.raises(DatabaseError, match="no monster is named 'beee'; did you mean 'bee'"):
        convert(tmp_path, *entries, only=("beee",))


def test_skills_of_groups_and_of_strangers(tmp_path: Path) -> None:
    boss = monster(Id=2, AegisName="BOSS", Class="Boss")
    lines = (
        skill(-1, "b@SM_BASH", 5), skill(-2, "n@MG_FIREBOLT", 19), skill(-3, "a@SM_PROVOKE", 6),
        skill(777, "x@SM_BASH", 5), skill(777, "x@SM_BASH", 5),
    )  # fmt: skip
    result = convert(tmp_path, monster(Id=1, AegisName="ANT"), boss, skills=lines)
    kept = {row.name: [s.name for s in row.skills] for row in result.rows}
    assert kept == {"ant": ["firebolt", "provoke"], "boss": ["bash", "provoke"]}
    assert [str(note) for note in result.notes] == [
        "mob_skill_db.txt: line 5: monster 777 is not in the database or was skipped;"
        " 2 skills of it are left out"
    ]


def test_who_cannot_fight_is_skipped(tmp_path: Path) -> None:
    plant, egg = monster(Ai="06"), monster(Id=2, AegisName="EGG", Attack=0, Attack2=0)
    result = convert(tmp_path, plant, egg, monster(Id=3, AegisName="ANT"))
    assert list(result.entries) == ["ant"]
    first, second = result.notes
    assert (first.line, second.line) == (6, 15)
    assert (
        "MUDLING is skipped: it never attacks" in first.text
        and "EGG is skipped: it does no damage" in second.text
    )


def test_dropped_skills_are_counted_with_lines(tmp_path: Path) -> None:
    result = convert(tmp_path, monster(), skills=(skill(), skill(info="M@XX_GLORP", number=70_000)))
    assert result.dropped_skills == {("glorp", "unknown skill"): 1}
    text = "mob_skill_db.txt: line 3: MUDLING: skill 'glorp' is dropped: unknown skill"
    assert [str(note) for note in result.notes] == [text]


def test_the_file_can_be_read_back_and_used(tmp_path: Path, own_archetypes: None) -> None:
    entries = [
        monster(),
        monster(Id=2, AegisName="BIG", Hp=10**11, Attack=10**9, Attack2=10**9, Defense=99, Name='"O: {x}"'),
        monster(
            Id=3, AegisName="FAR", AttackRange=99, Sp=10**9, WalkSpeed=1, AttackDelay=1, AttackMotion=10**9
        ),
    ]
    every = ("NPC_FIREATTACK", "SM_MAGNUM", "WZ_METEOR", "AL_HEAL", "CR_AUTOGUARD", "NPC_POWERUP", "PR_KYRIE",
             "SM_PROVOKE", "NPC_STUNATTACK", "WZ_QUAGMIRE", "MO_BODYRELOCATION")  # fmt: skip
    lines = tuple(
        skill(mob, f"M@{name}", 70_000 + n, rate=9_999, level=99, cast=10**8, delay=10**8)
        for mob, part in ((9001, every[:6]), (2, every[6:]))
        for n, name in enumerate(part)
    )
    for scale in ("own", "raw"):
        result = convert(tmp_path, *entries, skills=lines, scale=scale)
        path = tmp_path / "mine.yaml"
        write_archetypes(path, result.entries, "mob_db.yml")
        assert read_archetypes(path) == result.entries
        assert archetypes.use_file(path) == ("mudling", "big", "far")  # within the schema's limits
        world = World(4, (("mudling", "big", "far"),) * 2)
        for _ in range(20):
            world.step(np.zeros((4, 0), np.int32))
        assert (world.units[:, :, 2] >= 0).all()
    with pytest.raises(DatabaseError, match="cannot be written"):
        write_archetypes(tmp_path / "mine.yaml" / "x.yaml", {}, "nothing")
    assert sorted(p.name for p in tmp_path.glob("*mine*")) == ["mine.yaml"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mine.yaml: line 1: the file is empty"),
        ("- a\n", "mine.yaml: line 1: the top level is not a mapping"),
        ("Ant: {base: tank}\n", "mine.yaml: line 1: 'Ant' is no name; use lower-case letters"),
        ("ant: tank\n", "mine.yaml: line 1: ant is 'tank', no mapping with 'base'"),
        ("ant: {base: tank}\nant: {base: mage}\n", "line 2: 'ant' is given twice (first on line 1)"),
        ("ant: {base: tank, base: mage}\n", "mine.yaml: line 1: key 'base' is given twice (first on line 1)"),
        ("ant: &a {base: tank}\nbee: {stats: *a}\n", "mine.yaml: line 2: bee.stats is an alias"),
        ("ant: {}\n", "mine.yaml: ant: base: None is not an archetype; one of aggressive"),
        ("ant: {base: tnak}\n", "mine.yaml: ant: base: 'tnak' is not an archetype"),
        ("ant: {base: tank, stats: 5}\n", "mine.yaml: ant: key 'stats' must be a mapping, but"),
        ("ant: {base: tank, stats: {hp: many}}\n", "key 'stats.hp' must be a whole number, but is text"),
        ("ant: {base: tank, stats: {hpp: 5}}\n", "unknown key 'stats.hpp'; did you mean 'hp'"),
        ("ant: {base: tank, partners: [bee]}\n", "mine.yaml: ant: partners: unknown archetype 'bee'"),
        ("tank: {base: tank}\n", "mine.yaml: 'tank' is a built-in name"),
        ("halberdier: {base: tank}\n", "mine.yaml: 'halberdier' is a built-in name"),
        ("ant: {base: tank\n", "not YAML"),
    ],
)  # fmt: skip
def test_a_wrong_archetypes_file_is_one_line(
    tmp_path: Path, own_archetypes: None, text: str, said: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        archetypes.use_file(path)
    assert said in str(raised.value) and "\n" not in str(raised.value)
    assert archetypes.known() == archetypes.ARCHETYPES
