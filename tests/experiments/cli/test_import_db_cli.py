"""``monster import-db`` and ``--archetypes-file`` as a person meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import cli
from tests.envs.databases import HEADER, monster, skill, write_database, write_skills


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_archetypes: None) -> Path:
    """A working folder with a database of two monsters, one of which is broken, and a skill list."""
    monkeypatch.chdir(tmp_path)
    write_database(tmp_path, monster(), monster(Id=2, AegisName="TWO", Hp="x"))
    write_skills(tmp_path, skill(), skill(info="M@XX_GLORP", number=70_000), "9001,too,short\n")
    return tmp_path


def test_the_summary_names_what_was_mapped_and_what_was_skipped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["import-db", "mob_db.yml", "--skills", "mob_skill_db.txt", "--out", "mine.yaml"]) == 0
    said = capsys.readouterr().out
    assert "mudling  defensive" in said and "1 of 1 monsters mapped (pre-renewal rules): 1 defensive" in said
    assert "    1  glorp: unknown skill" in said
    assert "mob_db.yml: line 19: monster TWO is skipped: 'Hp' is 'x', it must be a number from 1" in said
    assert "mob_skill_db.txt: line 4: 3 columns, 19 are needed" in said
    assert "next: monster train --archetypes-file mine.yaml --archetypes mudling" in said
    assert sorted(p.name for p in folder.iterdir()) == ["mine.yaml", "mob_db.yml", "mob_skill_db.txt"]


def test_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import-db", "mob_db.yml", "--skills", "mob_skill_db.txt", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (mapped,) = result["mapped"]
    assert (mapped["name"], mapped["archetype"], mapped["line"]) == ("mudling", "defensive", 6)
    assert mapped["skills"] == ["fireattack"] and result["file"] == "archetypes.yaml"
    assert result["dropped_skills"] == [{"skill": "glorp", "reason": "unknown skill", "monsters": 1}]
    assert [(n["file"], n["line"], n["about"]) for n in result["notes"]] == [
        ("mob_db.yml", 19, "monster"), ("mob_skill_db.txt", 4, "skill"), ("mob_skill_db.txt", 3, "skill"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.yml"], "none.yml: no such file"),
        (["."], "is a folder; give the file in it"),
        (["mob_db.yml", "--skills", "none.txt"], "none.txt: no such file"),
        (["mob_db.yml", "--only", "mudlin"], "no monster is named 'mudlin'; did you mean 'mudling'?"),
        (["mob_db.yml", "--out", "mob_db.yml"], "--out mob_db.yml is a database that is read"),
        (["mob_db.yml", "--out", "mob_db.yml/x"], "cannot be written"),
        (["mob_db.yml", "--rules", "own"], "invalid choice: 'own'"),
        (["empty.yml"], "empty.yml: line 1: the file is empty"),
        (["old.yml"], "old.yml: line 3: header version is '99'"),
    ],
)
def test_a_mistake_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    (folder / "empty.yml").write_text("")
    (folder / "old.yml").write_text(HEADER.replace("3", "99") + monster())
    try:
        code = cli.main(["import-db", *arguments])
    except SystemExit as left:
        code = int(str(left.code))
    error = capsys.readouterr().err
    assert code == 2 and error.startswith("monster: error: ") and said in error and error.count("\n") == 1
    assert not (folder / "archetypes.yaml").exists()


def test_nothing_mapped_is_a_failure_that_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_database(folder, monster(Ai="06"))
    assert cli.main(["import-db", "mob_db.yml"]) == 1
    assert "no monster could be mapped" in capsys.readouterr().err
    assert not (folder / "archetypes.yaml").exists()


def test_the_plan_of_a_training_knows_the_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import-db", "mob_db.yml", "--out", "mine.yaml"]) == 0
    capsys.readouterr()
    plan = ["train", "--model-types", "combat_dqn", "--archetypes-file", "mine.yaml", "--dry-run", "--json"]
    plan += ["--archetypes"]
    assert cli.main([*plan, "mudling", "tank"]) == 0
    assert [row["archetype"] for row in json.loads(capsys.readouterr().out)["runs"]] == ["tank", "mudling"]
    assert cli.main([*plan, "mudlin"]) == 2
    assert "unknown archetype 'mudlin'; did you mean 'mudling'?" in capsys.readouterr().err
    (folder / "mine.yaml").write_text("mudling: {base: tnak}\n")
    assert cli.main([*plan, "mudling"]) == 2
    assert "mine.yaml: mudling: base: 'tnak' is not an archetype" in capsys.readouterr().err


def test_without_a_file_the_option_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--dry-run", "--archetypes", "mudling"]) == 2
    assert "monsters of your own need --archetypes-file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    ["train", "evaluate", "export", "deploy", "demo", "rewards", "watch", "registry list", "registry show x"],
)
def test_every_command_with_archetypes_takes_the_file(folder: Path, command: str) -> None:
    words = [*command.split(), "--archetypes-file", "mine.yaml"]
    assert cli.build_parser(words[0]).parse_args(words).archetypes_file == Path("mine.yaml")


def test_a_monster_of_one_s_own_can_be_watched(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import-db", "mob_db.yml", "--out", "mine.yaml"]) == 0
    words = [
        "watch",
        "--archetypes-file",
        "mine.yaml",
        "--archetype",
        "mudling",
        "--script",
        "--scenario",
        "1v1",
    ]
    assert cli.main([*words, "--out", "fight.html"]) == 0
    assert "mudling" in (folder / "fight.html").read_text(encoding="utf-8")
