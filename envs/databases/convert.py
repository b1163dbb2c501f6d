"""From a user's database to archetypes: reads, maps, names, and keeps account of what was left out."""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envs.archetypes import monsters
from envs.configuration import nearest
from envs.contracts.vocabulary import ARCHETYPES
from envs.databases.mob_db import Mob, read_mob_db
from envs.databases.mob_skill_db import SkillEntry, read_mob_skills
from envs.databases.reading import DatabaseError, Note, Notes
from envs.databases.skills import Dropped, Mapped, map_skills
from envs.databases.stats import (
    SCALES,
    Figures,
    damage_per_second,
    figures,
    looks_like_renewal,
    scaled,
    seconds_to_kill,
    skill_entry,
    stat_block,
)

RULE_SETS = ("auto", "prerenewal", "renewal")
PROGRESS_EVERY = 500
BAND = 20
"""Levels that a monster is compared within, to tell who is tough."""


@dataclass(frozen=True)
class Settings:
    """How to import.

    Attributes:
        rules: what `Attack2` and `Defense` mean; `auto` finds out from the file.
        scale: `own`: strength of our archetypes; `raw`: the database's points.
        only: names or AegisNames to import; empty takes all.
    """

    rules: str = "auto"
    scale: str = "own"
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value, known in (("rules", self.rules, RULE_SETS), ("scale", self.scale, SCALES)):
            if value not in known:
                raise DatabaseError(f"unknown {name} {value!r}{nearest(value, known)}")


@dataclass(frozen=True)
class Row:
    """A monster that was imported; times are seconds in which it takes the hit points of its like."""

    name: str
    mob: Mob
    base: str
    skills: tuple[Mapped, ...]
    dropped: tuple[Dropped, ...]
    raw_s: float
    used_s: float


@dataclass(frozen=True)
class Import:
    """What came of a database.

    Attributes:
        entries: archetype entries by name, plain values in the schema of an archetypes file.
        rows: one per entry.
        notes: what was skipped or replaced, in order, with line numbers.
        counts: how many notes there are by what they are about; more than are kept in `notes`, maybe.
        dropped_skills: (skill, reason) and how many monsters lost it so.
        renewal: which rules the numbers were read by.
        monsters_read: monsters of the file, imported or not.
    """

    entries: dict[str, dict[str, Any]]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...]
    counts: Counter[str]
    dropped_skills: Counter[tuple[str, str]]
    renewal: bool
    monsters_read: int


@dataclass
class _Names:
    """Names of our kind, each given once."""

    taken: set[str] = field(default_factory=lambda: {*ARCHETYPES, *monsters()})

    def of(self, mob: Mob) -> str:
        name = plain_name(mob.aegis_name) or f"mob_{mob.id}"
        if name in self.taken:
            name = f"{name}_{mob.id}"
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


def plain_name(text: str) -> str:
    """An AegisName as an identifier of lower-case letters, digits and _ ("" where nothing is left)."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:48]
    return f"m_{name}" if name[:1].isdigit() else name


def import_database(
    database: str | Path,
    skills: str | Path | None = None,
    settings: Settings | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Import:
    """Read a database and map every monster that can fight.

    Args:
        database: `mob_db.yml`.
        skills: `mob_skill_db.txt` or its YAML variant; None imports swings only.
        settings: see there.
        say: receives a line of progress now and then.

    Raises:
        DatabaseError: a file as a whole cannot be read, or a wanted name is not in it.
    """
    settings = settings or Settings()
    notes = Notes()
    mobs: list[Mob] = []
    for mob in read_mob_db(database, notes):
        mobs.append(mob)
        if len(mobs) % PROGRESS_EVERY == 0:
            say(f"{len(mobs)} monsters read, at line {mob.line}")
    if not mobs:
        skipped = next((note for note in notes.kept if note.what == "monster"), None)
        reason = f"; first: {skipped}" if skipped else ": 'Body' is empty"
        raise DatabaseError(f"{Path(database).name}: line 1: no monster could be read{reason}")
    names = _Names()
    named = [(names.of(mob), mob) for mob in mobs]
    chosen = _chosen(named, settings.only, Path(database).name)
    skill_source = Path(skills).name if skills is not None else ""
    lists = _skill_lists(skills, mobs, notes) if skills is not None else {}
    renewal = looks_like_renewal(mobs) if settings.rules == "auto" else settings.rules == "renewal"
    tough = _tough(mobs, renewal)
    entries: dict[str, dict[str, Any]] = {}
    rows: list[Row] = []
    dropped_skills: Counter[tuple[str, str]] = Counter()
    for name, mob in chosen:
        stats = figures(mob, renewal=renewal)
        kept, dropped = map_skills(lists.get(mob.id, ()), stats.range)
        for drop in dropped:
            dropped_skills[drop.name, drop.reason] += 1
            text = f"{mob.aegis_name}: skill '{drop.name}' is dropped: {drop.reason}"
            notes.add(skill_source, drop.line, "skill", text)
        why_not = _cannot_fight(mob, stats, kept)
        if why_not:
            text = f"monster {mob.aegis_name} is skipped: {why_not}"
            notes.add(Path(database).name, mob.line, "monster", text)
            continue
        base = archetype_of(mob, stats, kept, tough=mob.id in tough)
        used = scaled(stats, kept) if settings.scale == "own" else stats
        entries[name] = _entry(mob, base, used, kept)
        rows.append(
            Row(name, mob, base, kept, dropped, seconds_to_kill(stats, kept), seconds_to_kill(used, kept))
        )
        if len(rows) % PROGRESS_EVERY == 0:
            say(f"{len(rows)} of {len(chosen)} monsters mapped")
    return Import(
        entries, tuple(rows), tuple(notes.kept), notes.counts, dropped_skills, renewal, len(mobs)
    )  # fmt: skip


def archetype_of(mob: Mob, stats: Figures, skills: Sequence[Mapped], *, tough: bool) -> str:
    """The archetype a monster is most like, by the first rule that fits.

    Range of 4 cells or more: ranged. Two magic skills that do damage, and MATK of a quarter of ATK or more:
    mage. A skill for friends: support. Tough: tank (see `_tough`). Looks for enemies and swings in less than
    1.2 s: aggressive. Else defensive.
    """
    if mob.attack_range >= 4:
        return "ranged"
    if sum(skill.magic and skill.damages for skill in skills) >= 2 and 4 * stats.matk >= stats.atk:
        return "mage"
    if any(skill.friends for skill in skills):
        return "support"
    if tough:
        return "tank"
    return "aggressive" if mob.aggressive and 0 < mob.attack_delay < 1200 else "defensive"


def _tough(mobs: Sequence[Mob], renewal: bool) -> set[int]:
    """Monsters in the top quarter of HP x what defence multiplies it by, with less than the median ATK.

    Both among the monsters of about the same level (bands of 20); bands of fewer than 4 have none.
    """
    bands: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
    for mob in mobs:
        stats = figures(mob, renewal=renewal)
        toughness = stats.hp * (4000 + 10 * stats.def_) / (4000 + stats.def_)
        bands[mob.level // BAND].append((mob.id, toughness, stats.atk))
    found = set()
    for band in bands.values():
        if len(band) < 4:
            continue
        quarter = statistics.quantiles([toughness for _, toughness, _ in band], n=4, method="inclusive")[2]
        median = statistics.median(atk for _, _, atk in band)
        found |= {number for number, toughness, atk in band if toughness >= quarter and atk < median}
    return found


def _cannot_fight(mob: Mob, stats: Figures, skills: Sequence[Mapped]) -> str:
    """Why a monster cannot be trained, "" if it can."""
    if not mob.can_attack:
        return "it never attacks (its Ai, or 06 where none is given); Modes: {CanAttack: true} changes that"
    if damage_per_second(stats, skills, defended=False) <= 0.01:
        return "it does no damage ('Attack' and 'Attack2' are 0 and no skill of it hurts)"
    return ""


def _entry(mob: Mob, base: str, stats: Figures, skills: Sequence[Mapped]) -> dict[str, Any]:
    block = stat_block(stats)
    name = mob.aegis_name if "\N{REPLACEMENT CHARACTER}" in mob.name else mob.name
    entry: dict[str, Any] = {
        "base": base,
        "character": f"{name[:60]} ({mob.id}), level {mob.level}{', boss' if mob.boss else ''}",
        "stats": block,
        "basic_magic_percent": 0,
    }
    distance = preferred_distance(base, stats.range, skills)
    if distance is not None:
        entry["preferred_distance"] = list(distance)
    entry["skills"] = [skill_entry(skill, block) for skill in skills]
    return entry


def preferred_distance(base: str, attack_range: int, skills: Sequence[Mapped]) -> tuple[int, int] | None:
    """Distance at which a monster is at its best, cells; None leaves its archetype's.

    Ranged: RANGE - 2 to RANGE + 3. Mage: reach of its spells - 4 to + 1. Others with a long weapon:
    0 to RANGE + 1. (Our own: 9 cells give 7 to 12, spells of 9 cells 5 to 10.)
    """
    if base == "ranged":
        return max(attack_range - 2, 1), attack_range + 3
    if base == "mage":
        reach = max((skill.range for skill in skills if skill.magic and skill.damages), default=attack_range)
        return max(reach - 4, 1), reach + 1
    if base != "support" and attack_range > 1:
        return 0, attack_range + 1
    return None


def _chosen(named: Sequence[tuple[str, Mob]], only: Collection[str], source: str) -> list[tuple[str, Mob]]:
    if not only:
        return list(named)
    known = {**{mob.aegis_name.lower(): name for name, mob in named}, **{name: name for name, _ in named}}
    wanted = set()
    for name in only:
        if name.lower() not in known:
            close = nearest(name, sorted(known)).split(" (valid", 1)[0].rstrip(";")
            raise DatabaseError(f"{source}: no monster is named {name!r}{close or '; see its AegisName'}")
        wanted.add(known[name.lower()])
    return [(name, mob) for name, mob in named if name in wanted]


def _skill_lists(path: str | Path, mobs: Sequence[Mob], notes: Notes) -> dict[int, list[SkillEntry]]:
    """Skill lists by monster; those of a group go to each of its members, behind their own."""
    by_name = {mob.aegis_name.lower(): mob.id for mob in mobs}
    numbers = {mob.id for mob in mobs}
    lists: dict[int, list[SkillEntry]] = defaultdict(list)
    groups: list[SkillEntry] = []
    strangers: Counter[int | str] = Counter()
    first: dict[int | str, int] = {}
    for entry in read_mob_skills(path, notes):
        if isinstance(entry.mob, int) and entry.mob < 0:
            groups.append(entry)
            continue
        number = entry.mob if isinstance(entry.mob, int) else by_name.get(entry.mob.lower(), -1)
        if number in numbers:
            lists[number].append(entry)
        else:
            strangers[entry.mob] += 1
            first.setdefault(entry.mob, entry.line)
    for who, count in strangers.items():
        text = f"monster {who!s:.40} is not in the database or was skipped; {count} skills of it are left out"
        notes.add(Path(path).name, first[who], "skill", text)
    for entry in groups:
        for mob in mobs:
            if entry.mob == -3 or mob.boss == (entry.mob == -1):
                lists[mob.id].append(entry)
    return lists
