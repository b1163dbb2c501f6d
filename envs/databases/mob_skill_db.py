"""rAthena's monster skills: `mob_skill_db.txt` with 19 columns, and the variant in YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from envs.databases.documents import Document, Node
from envs.databases.mob_db import check_header, whole
from envs.databases.reading import DatabaseError, Notes, read_text, shown
from envs.databases.skill_names import NAMES_BY_ID

COLUMNS = 19
_NUMBERS = ((0, "MobID"), (3, "SkillID"), (4, "SkillLv"), (5, "Rate"), (6, "CastTime"), (7, "Delay"))
_YAML_NUMBERS = (("Level", 1), ("CastRate", 10_000), ("CastTime", 0), ("CastDelay", 5000))
GROUPS = {-1: "bosses", -2: "all but bosses", -3: "all"}
"""Numbers in place of a monster's: the skill is everyone's of that group."""
_NAME = re.compile(r"[A-Z][A-Z0-9_]{2,}", re.ASCII)


@dataclass(frozen=True)
class SkillEntry:
    """One line of a monster's skill list.

    Attributes:
        mob: number of the monster or of a group, or its AegisName.
        name: such as NPC_FIREATTACK; a number where nothing names it.
        rate: tries in 10,000 that succeed; times in ms.
        target: target, self, friend, master, randomtarget, around...; condition: always, myhpltmaxrate, ...
        values: the condition's values, 0 where none is given.
    """

    line: int
    mob: int | str
    name: str
    level: int
    state: str
    rate: int
    cast_ms: int
    delay_ms: int
    target: str
    condition: str
    values: tuple[int, int]


def read_mob_skills(path: str | Path, notes: Notes) -> Iterator[SkillEntry]:
    """Read a skill list, text or YAML by its content; what cannot be used is skipped with a note.

    Raises:
        DatabaseError: the file as a whole cannot be read.
    """
    source = Path(path).name
    text = read_text(path, notes)
    if not text.strip():
        raise DatabaseError(f"{path}: line 1: the file is empty; give a skill database or leave out --skills")
    if Path(path).suffix in (".yml", ".yaml") or re.search(r"^(Header|Body):", text, re.MULTILINE):
        yield from _from_yaml(Document(text, source), notes)
    else:
        yield from _from_text(text, source, notes)


def _from_text(text: str, source: str, notes: Notes) -> Iterator[SkillEntry]:
    names: dict[int, str] = {}  # as the file itself names its numbers, for lines that name nothing
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.split("//", 1)[0].strip()
        if not line:
            continue
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != COLUMNS:
            reason = f"{len(cells)} columns, {COLUMNS} are needed; the line is skipped: {shown(line)}"
            notes.add(source, number, "skill", reason)
            continue
        numbers = {}
        wrong = None
        for column, name in _NUMBERS:
            value = _number(cells[column])
            if value is None:
                wrong = wrong or f"{name} (column {column + 1}) is {shown(cells[column])}, no number"
            else:
                numbers[name] = value
        if wrong is None and numbers["MobID"] <= 0 and numbers["MobID"] not in GROUPS:
            wrong = f"MobID {numbers['MobID']} is neither a monster's number nor -1, -2 or -3"
        if wrong is not None:
            notes.add(source, number, "skill", f"{wrong}; the line is skipped")
            continue
        skill = numbers["SkillID"]
        given = cells[1].rpartition("@")[2].upper()
        if "@" in cells[1] and _NAME.fullmatch(given):
            names.setdefault(skill, given)
        else:
            given = names.get(skill) or NAMES_BY_ID.get(skill) or str(skill)
        yield SkillEntry(
            number, numbers["MobID"], given, numbers["SkillLv"], _word(cells[2]), numbers["Rate"],
            numbers["CastTime"], numbers["Delay"], _word(cells[9]), _word(cells[10]) or "always",
            (_number(cells[11]) or 0, _number(cells[12]) or 0),
        )  # fmt: skip


def _from_yaml(document: Document, notes: Notes) -> Iterator[SkillEntry]:
    source = document.source
    for entry in document.entries("Body"):
        mob, skills = entry.get("Mob") or entry.get("MobId"), entry.get("Skills")
        if entry.problem or mob is None or not mob.text or not (skills and isinstance(skills.value, list)):
            line = (mob or entry).line
            line, reason = entry.problem or (line, "an entry needs 'Mob' and the list 'Skills'")
            notes.add(source, line, "skill", f"{reason}; the entry is skipped")
            continue
        who = whole(mob)
        for node in skills.value:
            found = _yaml_entry(mob.text if who is None else who, node, source, notes)
            if found is not None:
                yield found
    check_header(document, "MOB_SKILL_DB", range(1, 4))
    if not document.streamed_line:
        raise DatabaseError(f"{source}: line {document.text.count(chr(10)) + 1}: the list 'Body' is missing")


def _yaml_entry(mob: str | int, node: Node, source: str, notes: Notes) -> SkillEntry | None:
    clear, name = node.get("Clear"), node.get("Name")
    if not isinstance(node.value, dict) or node.problem or name is None or not name.text:
        line, reason = node.problem or (node.line, "a skill must be a mapping with 'Name'")
        notes.add(source, line, "skill", f"{reason}; the skill is skipped")
        return None
    if clear is not None and (clear.text or "").lower() == "true":
        return None
    numbers = {}
    for key, default in _YAML_NUMBERS:
        value = node.get(key)
        number = default if value is None else whole(value)
        if number is None and value is not None:
            text = f"{name.text}: '{key}' is {value.describe()}, no number; the skill is skipped"
            notes.add(source, value.line, "skill", text)
            return None
        numbers[key] = default if number is None else number

    def word(key: str, default: str) -> str:
        value = node.get(key)
        return _word(value.text) if value is not None and value.text else default

    values = [whole(v) if (v := node.get(key)) else 0 for key in ("ConditionValue1", "ConditionValue2")]
    return SkillEntry(
        node.line, mob, name.text.upper(), numbers["Level"], word("State", "attack"), numbers["CastRate"],
        numbers["CastTime"], numbers["CastDelay"], word("Target", "target"), word("Condition", "always"),
        (values[0] or 0, values[1] or 0),
    )  # fmt: skip


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[-+]?[0-9]{1,9}", text, re.ASCII) else None


def _word(text: str) -> str:
    """Names of states, targets and conditions in the form of the text file: `MSC_MYHPLTMAXRATE` too."""
    return re.sub(r"^(mss|mst|msc)_", "", text.strip().lower())
