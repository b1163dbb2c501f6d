"""`WorldView`: what a game server knows about one fight, as JSON and as integer tables."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.contracts import layout as f
from envs.contracts.vocabulary import (
    ARCHETYPES,
    COMBAT_ACTIONS,
    MAX_TEAM_SIZE,
    NUM_SKILL_SLOTS,
    VIEW_VERSION,
    ContractError,
)

_INT_MAX = 2**31 - 1
_STATS = {
    "atk": (f.ATK, 0),
    "matk": (f.MATK, 0),
    "def": (f.DEF, 0),
    "mdef": (f.MDEF, 0),
    "hit": (f.HIT, 0),
    "flee": (f.FLEE, 0),
    "range": (f.RANGE, 1),
    "speed_ms": (f.SPEED, 200),
    "attack_delay_ms": (f.ATTACK_DELAY, 1000),
    "attack_motion_ms": (f.ATTACK_MOTION, 500),
}
_CLOCKS = {"action_ms": f.ACTION_CLOCK, "move_ms": f.MOVE_LOCK, "act_ms": f.ACT_LOCK}
_STATUS = {
    "guard_ms": f.GUARD,
    "power_ms": f.POWER,
    "stun_ms": f.STUN,
    "stun_immune_ms": f.STUN_IMMUNE,
    "slow_ms": f.SLOW,
    "taunt_ms": f.TAUNT,
    "shield": f.SHIELD,
    "shield_ms": f.SHIELD_LEFT,
}
_SKILL = {
    "effect": f.EFFECT,
    "range": f.REACH,
    "cost": f.COST,
    "cast_ms": f.CAST_TIME,
    "cooldown_ms": f.COOLDOWN_TIME,
    "radius": f.RADIUS,
    "duration_ms": f.DURATION,
}
_UNIT_KEYS = {
    "id", "team", "archetype", "x", "y", "hp", "max_hp", "sp", "max_sp", "stats", "target",
    "clocks", "cast", "status", "last_action", "skills",
}  # fmt: skip
_VIEW_KEYS = {"version", "elapsed_ms", "origin", "bounds", "blocked", "units"}


@dataclass(frozen=True)
class WorldView:
    """One fight as its game sees it, at one moment.

    Attributes:
        ids: the game's own unit ids, in order; a unit's index in this tuple is its index everywhere.
        units: int32 `(unit, 43)`, columns of `envs.contracts.layout`; team mates keep their order.
        skills: int32 `(unit, 6, 9)`, skill slots of each unit; kind 0 where absent.
        bounds: (min x, min y, max x, max y) cells that can be walked on.
        origin_x2: twice the fight's centroid at engagement, in cells (so that half cells are whole).
        elapsed_ms: time since engagement.
        blocked: bool `(height, width)` over the bounds, row 0 = min y, True where nobody can walk; None where
            all cells are free. In JSON one string per row, "#" blocked, "." free.
    """

    ids: tuple[Hashable, ...]
    units: np.ndarray
    skills: np.ndarray
    bounds: tuple[int, int, int, int]
    origin_x2: tuple[int, int]
    elapsed_ms: int
    blocked: np.ndarray | None = None

    def unit_index(self, unit_id: Any) -> int:
        """Return the index of a unit. Raises ContractError if the view has no such unit."""
        try:
            return self.ids.index(unit_id)
        except ValueError:
            shown = ", ".join(map(repr, self.ids))
            raise ContractError(f"view: no unit {unit_id!r}; this view has {shown}") from None

    @classmethod
    def from_json(cls, data: Any) -> WorldView:
        """Read a view from plain JSON types.

        Raises:
            ContractError: naming the unit and the key that is missing, unknown, of a wrong type or range.
        """
        view = _mapping(data, "view", _VIEW_KEYS)
        version = view.get("version", VIEW_VERSION)
        if version != VIEW_VERSION:
            raise ContractError(
                f"view: version {version!r} is not supported; this release reads {VIEW_VERSION}"
            )
        rows = view.get("units")
        if not isinstance(rows, list) or not 1 <= len(rows) <= 2 * MAX_TEAM_SIZE:
            raise ContractError(
                f"view: 'units' must be a list of 1 to {2 * MAX_TEAM_SIZE} units (the nearest ones)"
            )
        ids = tuple(_unit_id(row, index) for index, row in enumerate(rows))
        if len(set(ids)) != len(ids):
            raise ContractError("view: two units have the same id")
        units = np.zeros((len(rows), f.NUM_UNIT_FIELDS), np.int32)
        skills = np.zeros((len(rows), NUM_SKILL_SLOTS, f.NUM_SKILL_FIELDS), np.int32)
        for index, row in enumerate(rows):
            _read_unit(row, ids, units[index], skills[index])
        for team in (0, 1):
            if (count := int((units[:, f.TEAM] == team).sum())) > MAX_TEAM_SIZE:
                raise ContractError(
                    f"view: team {team} has {count} units, at most {MAX_TEAM_SIZE} fit; send the nearest ones"
                )
        bounds = _ints(view.get("bounds", (0, 0, 31, 31)), 4, "view: 'bounds'")
        if bounds[0] > bounds[2] or bounds[1] > bounds[3]:
            raise ContractError("view: 'bounds' must be [min x, min y, max x, max y]")
        return cls(
            ids=ids,
            units=units,
            skills=skills,
            bounds=(bounds[0], bounds[1], bounds[2], bounds[3]),
            origin_x2=_origin(view.get("origin"), units),
            elapsed_ms=_int(view, "elapsed_ms", 0, "view"),
            blocked=_blocked(view.get("blocked"), bounds),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the view as plain JSON types; `from_json` reads it back equal."""
        out: dict[str, Any] = {
            "version": VIEW_VERSION,
            "elapsed_ms": self.elapsed_ms,
            "origin": [self.origin_x2[0] / 2, self.origin_x2[1] / 2],
            "bounds": list(self.bounds),
            "units": [self._unit_json(index) for index in range(len(self.ids))],
        }
        if self.blocked is not None:
            out["blocked"] = ["".join("#" if cell else "." for cell in row) for row in self.blocked.tolist()]
        return out

    def _unit_json(self, index: int) -> dict[str, Any]:
        row = self.units[index].tolist()

        def name(field: int) -> Any:
            return self.ids[row[field]] if row[field] >= 0 else None

        cast = None
        if row[f.CAST_SLOT] >= 0:
            cast = {
                "skill": row[f.CAST_SLOT],
                "left_ms": row[f.CAST_LEFT],
                "target": name(f.CAST_TARGET),
                "cell": [row[f.CAST_X], row[f.CAST_Y]],
            }
        skills: list[dict[str, Any] | None] = []
        for slot, skill in enumerate(self.skills[index].tolist()):
            if skill[f.KIND] == f.K_NONE:
                skills.append(None)
                continue
            entry: dict[str, Any] = {"kind": f.SKILL_KINDS[skill[f.KIND]], "magic": bool(skill[f.MAGIC])}
            entry.update({key: skill[column] for key, column in _SKILL.items()})
            entry["cooldown_left_ms"] = row[f.COOLDOWN + slot]
            skills.append(entry)
        while skills and skills[-1] is None:
            skills.pop()
        return {
            "id": self.ids[index],
            "team": row[f.TEAM],
            "archetype": ARCHETYPES[row[f.ARCHETYPE]] if row[f.ARCHETYPE] >= 0 else None,
            "x": row[f.X],
            "y": row[f.Y],
            "hp": row[f.HP],
            "max_hp": row[f.MAX_HP],
            "sp": row[f.SP],
            "max_sp": row[f.MAX_SP],
            "stats": {key: row[column] for key, (column, _) in _STATS.items()},
            "target": name(f.TARGET),
            "clocks": {key: row[column] for key, column in _CLOCKS.items()},
            "cast": cast,
            "status": {key: row[column] for key, column in _STATUS.items()}
            | {"taunted_by": name(f.TAUNT_BY)},
            "last_action": COMBAT_ACTIONS[row[f.LAST_ACTION]] if row[f.LAST_ACTION] >= 0 else None,
            "skills": skills,
        }


def _mapping(data: Any, where: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise ContractError(f"{where}: expected an object, got {type(data).__name__}")
    unknown = sorted(set(map(str, data)) - known)
    if unknown:
        raise ContractError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
    return data


def _int(row: Mapping[str, Any], key: str, default: int | None, where: str, low: int = 0) -> int:
    value = row.get(key, default)
    if value is None:
        raise ContractError(f"{where}: {key!r} is missing")
    if isinstance(value, bool) or not isinstance(value, int):
        raise ContractError(f"{where}: {key!r} must be a whole number, got {value!r}")
    if not low <= value <= _INT_MAX:
        raise ContractError(f"{where}: {key!r} is {value}, must be at least {low} and below 2^31")
    return value


def _ints(value: Any, count: int, where: str) -> list[int]:
    good = isinstance(value, list | tuple) and len(value) == count
    if not good or any(isinstance(v, bool) or not isinstance(v, int) or abs(v) > _INT_MAX for v in value):
        raise ContractError(f"{where} must be {count} whole numbers, got {value!r}")
    return list(value)


def _blocked(value: Any, bounds: list[int]) -> np.ndarray | None:
    """Blocked cells, bool `(height, width)`; None where the game sends none."""
    if value is None:
        return None
    width, height = bounds[2] - bounds[0] + 1, bounds[3] - bounds[1] + 1
    if not isinstance(value, list) or len(value) != height:
        seen = f"{len(value)} entries" if isinstance(value, list) else type(value).__name__
        raise ContractError(
            f"view: 'blocked' must be a list of {height} rows, one per y of the bounds from below, got {seen}"
        )
    for y, row in enumerate(value):
        if not isinstance(row, str) or len(row) != width:
            seen = f"{len(row)} letters" if isinstance(row, str) else type(row).__name__
            raise ContractError(f"view: 'blocked': row {y} must be a string of {width} letters, got {seen}")
        if odd := sorted(set(row) - set("#.")):
            raise ContractError(
                f"view: 'blocked': row {y} has {odd[0]!r}; '#' is a blocked cell, '.' a free one"
            )
    return np.array([[cell == "#" for cell in row] for row in value], bool)


def _origin(value: Any, units: np.ndarray) -> tuple[int, int]:
    """Twice the centroid; the units' own centroid (nearest half cell) where the game gives none."""
    if value is None:
        x, y = np.rint(2 * units[:, [f.X, f.Y]].mean(axis=0)).astype(int)
        return int(x), int(y)
    good = isinstance(value, list | tuple) and len(value) == 2
    if not good or any(
        isinstance(v, bool) or not isinstance(v, int | float) or not abs(v) < 2**30 for v in value
    ):
        raise ContractError(f"view: 'origin' must be two numbers (cells), got {value!r}")
    return round(2 * value[0]), round(2 * value[1])


def _unit_id(row: Any, index: int) -> Hashable:
    data = _mapping(row, f"view: unit {index}", _UNIT_KEYS)
    value = data.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ContractError(f"view: unit {index}: 'id' must be a string or a whole number, got {value!r}")
    return value


def _reference(value: Any, ids: tuple[Hashable, ...], where: str) -> int:
    """Index of a referred unit; -1 for none or for a unit that is out of view."""
    if value is None:
        return -1
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ContractError(f"{where} must be a unit id or null, got {value!r}")
    return ids.index(value) if value in ids else -1


def _read_unit(
    row: Mapping[str, Any], ids: tuple[Hashable, ...], unit: np.ndarray, skills: np.ndarray
) -> None:
    where = f"view: unit {row['id']!r}"
    archetype = row.get("archetype")
    if archetype is not None and archetype not in ARCHETYPES:
        raise ContractError(f"{where}: unknown archetype {archetype!r}; known are {', '.join(ARCHETYPES)}")
    action = row.get("last_action")
    if action is not None and action not in COMBAT_ACTIONS:
        raise ContractError(f"{where}: unknown last_action {action!r}; known are {', '.join(COMBAT_ACTIONS)}")
    unit[f.ARCHETYPE] = -1 if archetype is None else ARCHETYPES.index(archetype)
    unit[f.LAST_ACTION] = -1 if action is None else COMBAT_ACTIONS.index(action)
    unit[f.TEAM] = _int(row, "team", None, where)
    if unit[f.TEAM] > 1:
        raise ContractError(f"{where}: 'team' must be 0 or 1, got {unit[f.TEAM]}")
    unit[f.X] = _int(row, "x", None, where, low=-_INT_MAX // 4)
    unit[f.Y] = _int(row, "y", None, where, low=-_INT_MAX // 4)
    unit[f.MAX_HP] = _int(row, "max_hp", None, where, low=1)
    unit[f.HP] = min(_int(row, "hp", None, where), int(unit[f.MAX_HP]))
    unit[f.MAX_SP] = _int(row, "max_sp", 0, where)
    unit[f.SP] = min(_int(row, "sp", 0, where), int(unit[f.MAX_SP]))
    stats = _mapping(row.get("stats", {}), f"{where}: 'stats'", set(_STATS))
    for key, (column, default) in _STATS.items():
        unit[column] = _int(stats, key, default, f"{where}: stats")
    clocks = _mapping(row.get("clocks", {}), f"{where}: 'clocks'", set(_CLOCKS))
    for key, column in _CLOCKS.items():
        unit[column] = _int(clocks, key, 0, f"{where}: clocks")
    status = _mapping(row.get("status", {}), f"{where}: 'status'", set(_STATUS) | {"taunted_by"})
    for key, column in _STATUS.items():
        unit[column] = _int(status, key, 0, f"{where}: status")
    unit[f.TAUNT_BY] = _reference(status.get("taunted_by"), ids, f"{where}: 'taunted_by'")
    unit[f.TARGET] = _reference(row.get("target"), ids, f"{where}: 'target'")
    _read_cast(row.get("cast"), ids, unit, where)
    _read_skills(row.get("skills", []), unit, skills, where)


def _read_cast(cast: Any, ids: tuple[Hashable, ...], unit: np.ndarray, where: str) -> None:
    unit[f.CAST_SLOT] = unit[f.CAST_TARGET] = -1
    if cast is None:
        return
    data = _mapping(cast, f"{where}: 'cast'", {"skill", "left_ms", "target", "cell"})
    unit[f.CAST_SLOT] = _int(data, "skill", None, f"{where}: cast")
    if unit[f.CAST_SLOT] >= NUM_SKILL_SLOTS:
        raise ContractError(f"{where}: cast: 'skill' must be a slot from 0 to {NUM_SKILL_SLOTS - 1}")
    unit[f.CAST_LEFT] = _int(data, "left_ms", None, f"{where}: cast")
    unit[f.CAST_TARGET] = _reference(data.get("target"), ids, f"{where}: cast: 'target'")
    unit[f.CAST_X], unit[f.CAST_Y] = _ints(data.get("cell", (0, 0)), 2, f"{where}: cast: 'cell'")


def _read_skills(rows: Any, unit: np.ndarray, skills: np.ndarray, where: str) -> None:
    if not isinstance(rows, list | tuple) or len(rows) > NUM_SKILL_SLOTS:
        raise ContractError(f"{where}: 'skills' must be a list of at most {NUM_SKILL_SLOTS} skills")
    known = set(_SKILL) | {"kind", "magic", "cooldown_left_ms"}
    for slot, row in enumerate(rows):
        if row is None:
            continue
        place = f"{where}: skill {slot}"
        data = _mapping(row, place, known)
        kind = data.get("kind")
        if kind not in f.SKILL_KINDS:
            raise ContractError(f"{place}: unknown kind {kind!r}; known are {', '.join(f.SKILL_KINDS)}")
        skills[slot, f.KIND] = f.SKILL_KINDS.index(kind)
        magic = data.get("magic", False)
        if not isinstance(magic, bool):
            raise ContractError(f"{place}: 'magic' must be true or false, got {magic!r}")
        skills[slot, f.MAGIC] = magic
        for key, column in _SKILL.items():
            skills[slot, column] = _int(data, key, 0, place)
        unit[f.COOLDOWN + slot] = _int(data, "cooldown_left_ms", 0, place)
