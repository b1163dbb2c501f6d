"""rAthena's `mob_db.yml`: monsters by number, with their stats and behaviour."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from envs.configuration import nearest
from envs.databases.documents import Document, Node
from envs.databases.reading import DatabaseError, Notes, read_text, shown, words

VERSIONS = range(1, 6)
"""Versions of the header that are known."""
MOST = 10**12
DEFAULT_SPEED_MS = 150

# Fields with a number: (name, the database's own default, needed to be right).
_NUMBERS = (
    ("Level", 1, False), ("Hp", 1, True), ("Sp", 1, False), ("Attack", 0, True), ("Attack2", 0, True),
    ("Defense", 0, False), ("MagicDefense", 0, False), ("Agi", 1, False), ("Int", 1, False),
    ("Dex", 1, False), ("AttackRange", 0, False), ("WalkSpeed", DEFAULT_SPEED_MS, False),
    ("AttackDelay", 0, False), ("AttackMotion", 0, False),
)  # fmt: skip
_OTHERS = words(
    "Id AegisName Name JapaneseName BaseExp JobExp MvpExp Str Vit Luk Resistance MagicResistance SkillRange"
    " ChaseRange Size Race RaceGroups Element ElementLevel ClientAttackMotion DamageMotion DamageTaken"
    " GroupId Title Ai Class Modes MvpDrops Drops"
)
FIELDS = frozenset(name for name, _, _ in _NUMBERS) | _OTHERS

# Behaviour types of the field `Ai`: which of them look for enemies, and which never attack at all.
_AIS = frozenset(f"{n:02}" for n in (*range(1, 14), 17, *range(19, 22), *range(24, 28))) | {
    "ABR_PASSIVE",
    "ABR_OFFENSIVE",
}
_AGGRESSIVE_AIS = words("04 05 08 09 10 11 12 13 19 20 21 26 27 ABR_OFFENSIVE")
_HARMLESS_AIS = frozenset(("06", "25"))


@dataclass(frozen=True)
class Mob:
    """A monster as its database states it; fields are the database's, absent ones have its defaults."""

    line: int
    id: int
    aegis_name: str
    name: str
    level: int
    hp: int
    sp: int
    attack: int
    attack2: int
    defense: int
    magic_defense: int
    agi: int
    int_: int
    dex: int
    attack_range: int
    walk_speed: int
    attack_delay: int
    attack_motion: int
    boss: bool
    aggressive: bool
    can_attack: bool


def read_mob_db(path: str | Path, notes: Notes) -> Iterator[Mob]:
    """Read the monsters one by one; what cannot be used is skipped with a note.

    Raises:
        DatabaseError: the file as a whole cannot be read (missing, no YAML, wrong header, no Body, ...).
    """
    source = Path(path).name
    document = Document(read_text(path, notes), source)
    ids: dict[int, int] = {}
    checked = False
    for entry in document.entries("Body"):
        if not checked and "Header" in document.top:
            check_header(document, "MOB_DB", VERSIONS)
            checked = True
        mob = _mob(entry, source, notes)
        if mob is None:
            continue
        if mob.id in ids:
            text = f"monster {mob.id} is given twice (first on line {ids[mob.id]}); the second one is skipped"
            notes.add(source, mob.line, "monster", text)
            continue
        ids[mob.id] = mob.line
        yield mob
    check_header(document, "MOB_DB", VERSIONS)
    if not document.streamed_line:
        raise DatabaseError(_no_body(document))


def check_header(document: Document, kind: str, versions: range) -> None:
    """Check `Header: {Type, Version}`.

    Raises:
        DatabaseError: it is missing, or of another type or version.
    """
    source, header = document.source, document.top.get("Header")
    wanted = f"Header: {{Type: {kind}, Version: {versions[-1]}}}"
    if header is None:
        raise DatabaseError(f"{source}: line 1: the header is missing; a database begins with {wanted}")
    if header.problem or not isinstance(header.value, dict):
        line, reason = header.problem or (header.line, f"the header is {header.describe()}")
        raise DatabaseError(f"{source}: line {line}: {reason}; it must be {wanted}")
    seen = header.get("Type")
    if seen is None or seen.text != kind:
        line, found = (seen.line, seen.describe()) if seen else (header.line, "missing")
        raise DatabaseError(f"{source}: line {line}: header type is {found}; this reads {kind} files")
    seen = header.get("Version")
    number = None if seen is None else whole(seen)
    if seen is None or number is None or number not in versions:
        line, found = (seen.line, seen.describe()) if seen else (header.line, "missing")
        raise DatabaseError(
            f"{source}: line {line}: header version is {found}; versions {versions[0]} to {versions[-1]} of "
            f"{kind} can be read, nothing was imported"
        )


def whole(node: Node) -> int | None:
    """The whole number that a scalar states, None if it states none."""
    text = node.text
    if text is None or node.quoted or not re.fullmatch(r"[-+]?[0-9]{1,18}", text, re.ASCII):
        return None
    return int(text)


def _no_body(document: Document) -> str:
    footer = document.top.get("Footer")
    imports = footer.get("Imports") if footer is not None else None
    if imports is not None and isinstance(imports.value, list):
        paths = [
            node.text for entry in imports.value if (node := entry.get("Path")) is not None and node.text
        ]
        return (
            f"{document.source}: line {imports.line}: no Body here, it only imports other files; "
            f"give one of them: {', '.join(paths[:4])}"
        )
    keys = [name for name in document.top if name not in ("Header", "Footer")]
    hint = (
        f"; did you mean the key {shown(keys[0])} to be 'Body'?" if keys else "; add 'Body:' and the monsters"
    )
    line = document.top[keys[0]].line if keys else document.text.count("\n") + 1
    return f"{document.source}: line {line}: the list 'Body' is missing{hint}"


class _UnusableError(Exception):
    """A monster that must be skipped: (line, reason)."""


def _mob(entry: Node, source: str, notes: Notes) -> Mob | None:
    """Read one entry; None and a note where it cannot be used."""
    try:
        return _read(entry, source, notes)
    except _UnusableError as error:
        line, reason = error.args
        named = entry.get("AegisName") or entry.get("Id")
        who = f"monster {named.text}" if named is not None and named.text else "a monster"
        notes.add(source, line, "monster", f"{who} is skipped: {reason}")
        return None


def _read(entry: Node, source: str, notes: Notes) -> Mob:
    if not isinstance(entry.value, dict):
        raise _UnusableError(
            entry.line, f"it is {entry.describe()}; an entry is a mapping that begins with '- Id:'"
        )
    if entry.problem:
        raise _UnusableError(*entry.problem)
    for key, node in entry.value.items():
        if key not in FIELDS:
            meant = "" if notes.full else _meant(key)
            notes.add(source, node.line, "field", f"unknown key {shown(key)} is ignored{meant}")
    id_node, aegis = entry.get("Id"), entry.get("AegisName")
    number = None if id_node is None else whole(id_node)
    if id_node is None or number is None or not 0 < number < 2**31:
        found = "missing" if id_node is None else f"{id_node.describe()}, no number from 1"
        raise _UnusableError(id_node.line if id_node else entry.line, f"'Id' is {found}")
    if aegis is None or not aegis.text:
        raise _UnusableError(aegis.line if aegis else entry.line, "'AegisName' is missing or no name")
    values = _values(entry, aegis.text, source, notes)
    ai, modes = _ai(entry, aegis.text, source, notes), _modes(entry, aegis.text, source, notes)
    name, kind = entry.get("Name"), entry.get("Class")
    return Mob(
        line=entry.line, id=number, aegis_name=aegis.text,
        name=name.text if name is not None and name.text else aegis.text,
        level=values["Level"], hp=values["Hp"], sp=values["Sp"], attack=values["Attack"],
        attack2=values["Attack2"], defense=values["Defense"], magic_defense=values["MagicDefense"],
        agi=values["Agi"], int_=values["Int"], dex=values["Dex"], attack_range=values["AttackRange"],
        walk_speed=values["WalkSpeed"], attack_delay=values["AttackDelay"],
        attack_motion=values["AttackMotion"],
        boss=(kind is not None and kind.text == "Boss") or modes.get("Mvp", False),
        aggressive=modes.get("Aggressive", ai in _AGGRESSIVE_AIS),
        can_attack=modes.get("CanAttack", ai not in _HARMLESS_AIS),
    )  # fmt: skip


def _values(entry: Node, who: str, source: str, notes: Notes) -> dict[str, int]:
    """The numbers of an entry; a wrong one is fatal where it decides how strong the monster is."""
    values: dict[str, int] = {}
    for key, default, needed in _NUMBERS:
        node = entry.get(key)
        value = default if node is None else whole(node)
        least = 1 if key == "Hp" else 0
        if value is not None and least <= value <= MOST:
            values[key] = value
        elif node is not None and needed:
            raise _UnusableError(node.line, f"'{key}' is {node.describe()}, it must be a number from {least}")
        elif node is not None:
            values[key] = default
            text = f"{who}: '{key}' is {node.describe()}, no number from {least}; {default} is taken"
            notes.add(source, node.line, "field", text)
    return values


def _meant(key: str) -> str:
    close = nearest(key, sorted(FIELDS)).split(" (valid", 1)[0]
    return close if len(close) > 1 else ""


def _ai(entry: Node, who: str, source: str, notes: Notes) -> str:
    """The behaviour type, in two digits; 06 (never attacks) where none is given, as in the database."""
    node = entry.get("Ai")
    if node is None:
        return "06"
    text = (node.text or "").upper()
    text = text.zfill(2) if text.isascii() and text.isdigit() else text
    if text in _AIS:
        return text
    notes.add(source, node.line, "field", f"{who}: unknown 'Ai' {node.describe()}; 01 (passive) is taken")
    return "01"


def _modes(entry: Node, who: str, source: str, notes: Notes) -> dict[str, bool]:
    node = entry.get("Modes")
    if node is None:
        return {}
    if not isinstance(node.value, dict) or node.problem:
        text = f"{who}: 'Modes' is {node.describe()}, no mapping with each key once; it is ignored"
        notes.add(source, node.line, "field", text)
        return {}
    modes = {}
    for name, value in node.value.items():
        word = (value.text or "").lower()
        if word in ("true", "false"):
            modes[name] = word == "true"
        else:
            text = f"{who}: mode {shown(name)} is {value.describe()}, neither true nor false; it is ignored"
            notes.add(source, value.line, "field", text)
    return modes
