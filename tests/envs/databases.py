"""Small databases of our own in the formats that servers use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HEADER = "Header:\n  Type: MOB_DB\n  Version: 3\n\nBody:\n"


def monster(**fields: Any) -> str:
    """One entry of a database, nine lines long without further fields; `None` leaves a field out."""
    values: dict[str, Any] = {
        "Id": 9001, "AegisName": "MUDLING", "Name": "Mudling", "Level": 5, "Hp": 100, "Attack": 8,
        "Attack2": 12, "AttackDelay": 1000, "Ai": "01", **fields,
    }  # fmt: skip
    lines = [f"{key}: {value}" for key, value in values.items() if value is not None]
    return "  - " + "\n    ".join(lines) + "\n"


def write_database(folder: Path, *entries: str, header: str = HEADER) -> Path:
    path = folder / "mob_db.yml"
    path.write_text(header + "".join(entries), encoding="utf-8")
    return path


def skill(
    mob: int = 9001, info: str = "Mudling@NPC_FIREATTACK", number: int = 186, *, state: str = "attack",
    level: int = 1, rate: int | str = 2000, cast: int = 0, delay: int = 5000, target: str = "target",
    condition: str = "always", value: str = "0", more: str = "",
) -> str:  # fmt: skip
    """One line of a skill list, 19 columns."""
    cells = [
        mob, info, state, number, level, rate, cast, delay, "yes", target, condition, value, more, "", "", "",
        "", "", "",
    ]  # fmt: skip
    return ",".join(map(str, cells)) + "\n"


def write_skills(folder: Path, *lines: str) -> Path:
    path = folder / "mob_skill_db.txt"
    path.write_text("// MobID,info,...\n" + "".join(lines), encoding="utf-8")
    return path
