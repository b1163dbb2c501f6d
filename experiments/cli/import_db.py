"""``monster import-db``: archetypes from the monster database of a user's own server."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.cli import common
from experiments.errors import UsageError

if TYPE_CHECKING:
    from envs.databases import Import

RESUME_HINT = "nothing was written; run the same command again"
_SHOWN_MONSTERS, _SHOWN_NOTES, _SHOWN_SKILLS = 20, 20, 15
_WORDS = {
    "monster": "monsters skipped",
    "field": "fields replaced or ignored",
    "skill": "skills or lines left out",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("database", metavar="DB", type=Path, help="rAthena's mob_db.yml")
    parser.add_argument(
        "--skills", type=Path, metavar="FILE", help="mob_skill_db.txt or .yml (default: swings only)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="archetypes file (default: archetypes.yaml beside you)"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="such as poring baphomet")
    parser.add_argument(
        "--rules",
        choices=("auto", "prerenewal", "renewal"),
        default="auto",
        help="what Attack2 and Defense mean (default: told from the file)",
    )
    parser.add_argument(
        "--scale",
        choices=("own", "raw"),
        default="own",
        help="strength: that of our own archetypes, or the database's points (default: %(default)s)",
    )
    parser.add_argument("--all-notes", action="store_true", help="print every note, not only the first ones")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    parser.epilog = (
        "example: monster import-db db/pre-re/mob_db.yml --skills db/pre-re/mob_skill_db.txt --out mine.yaml"
    )


def run(args: argparse.Namespace) -> int:
    """Imports and writes; returns 0 when at least one monster was mapped, otherwise 1."""
    from envs.databases import Settings, import_database
    from envs.databases.archetypes_file import write_archetypes
    from experiments.progress import Progress, silent

    out: Path = args.out or Path("archetypes.yaml")
    for given in (args.database, args.skills):
        if given is not None and out.absolute() == given.absolute():
            raise UsageError(f"--out {out} is a database that is read; give another file")
    progress = Progress(silent) if args.json else common.console()
    settings = Settings(rules=args.rules, scale=args.scale, only=tuple(args.only))
    result = import_database(args.database, args.skills, settings, progress.line)
    if result.entries:
        sources = [str(args.database.name), *([str(args.skills.name)] if args.skills else [])]
        write_archetypes(out, result.entries, " and ".join(sources))
    if args.json:
        common.print_json(_as_json(result, out))
    else:
        _show(result, out, args)
    return 0 if result.entries else 1


def _as_json(result: Import, out: Path) -> dict[str, Any]:
    return {
        "file": str(out) if result.entries else None,
        "rules": "renewal" if result.renewal else "prerenewal",
        "monsters_read": result.monsters_read,
        "mapped": [
            {
                "name": row.name,
                "id": row.mob.id,
                "line": row.mob.line,
                "archetype": row.base,
                "skills": [skill.name for skill in row.skills],
                "seconds_to_kill_raw": round(row.raw_s, 1),
                "seconds_to_kill": round(row.used_s, 1),
            }
            for row in result.rows
        ],
        "notes": [
            {"file": note.file, "line": note.line, "about": note.what, "text": note.text}
            for note in result.notes
        ],
        "note_counts": dict(result.counts),
        "dropped_skills": [
            {"skill": skill, "reason": reason, "monsters": count}
            for (skill, reason), count in result.dropped_skills.most_common()
        ],
    }


def _show(result: Import, out: Path, args: argparse.Namespace) -> None:
    from experiments.progress import table

    header = ["name", "archetype", "level", "hp", "atk", "matk", "range", "skills", "s to kill", "as stored"]
    body = []
    for row in result.rows[:_SHOWN_MONSTERS]:
        stats = result.entries[row.name]["stats"]
        body.append(
            [
                row.name, row.base, row.mob.level, stats["hp"], stats["atk"], stats["matk"], stats["range"],
                ", ".join(skill.name for skill in row.skills) or "-", f"{row.used_s:.0f}", f"{row.raw_s:.0f}",
            ]
        )  # fmt: skip
    for line in table(header, body, right={2, 3, 4, 5, 6, 8, 9}):
        print(line)
    if len(result.rows) > _SHOWN_MONSTERS:
        print(f"... and {len(result.rows) - _SHOWN_MONSTERS} more (--json lists all)")
    bases = Counter(row.base for row in result.rows)
    rules = "renewal" if result.renewal else "pre-renewal"
    print(
        f"\n{len(result.rows)} of {result.monsters_read} monsters mapped ({rules} rules): "
        + ", ".join(f"{count} {base}" for base, count in bases.most_common())
    )
    _show_notes(result, args)
    if result.entries:
        first = next(iter(result.entries))
        print(f"\nwritten: {out}\nnext: monster train --archetypes-file {out} --archetypes {first}")
    else:
        sys.stderr.write("monster: error: no monster could be mapped; the lines above say why\n")


def _show_notes(result: Import, args: argparse.Namespace) -> None:
    if result.dropped_skills:
        print("\nskills dropped (monsters):")
        names = result.dropped_skills.most_common(None if args.all_notes else _SHOWN_SKILLS)
        for (skill, reason), count in names:
            print(f"  {count:>5}  {skill}: {reason}")
        if len(result.dropped_skills) > len(names):
            print(f"         and {len(result.dropped_skills) - len(names)} more kinds")
    if not result.counts:
        return
    said = [f"{count} {_WORDS.get(what, 'about the files')}" for what, count in result.counts.most_common()]
    print(f"\nnotes: {', '.join(said)}")
    # Few of everything: a thousand lines about skills must not hide the monster that was skipped.
    left = dict.fromkeys(result.counts, len(result.notes) if args.all_notes else _SHOWN_NOTES)
    printed = 0
    for note in result.notes:
        if left[note.what] > 0:
            left[note.what] -= 1
            printed += 1
            print(f"  {note}")
    hidden = sum(result.counts.values()) - printed
    if hidden:
        print(f"  and {hidden} more" + ("" if args.all_notes else " (--all-notes)"))
