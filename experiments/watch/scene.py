"""The scene: everything the page shows of a fight, as plain values.

Series are columns (one list per unit, one value per state), because equal neighbours then compress and a
browser reads them fast. State 0 is the start; what happened in window k stands under state k.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.contracts import (
    COMBAT_ACTIONS,
    CONTROL_PARTS,
    DECISION_MS,
    MOVEMENT_ACTIONS,
    NUM_SKILL_ACTIONS,
    PACK_ORDERS,
    skill_action_name,
)
from envs.contracts import layout as f
from envs.playback import Frame
from envs.replay import Replay
from envs.simulation import state as s

THREAT_DECISIONS = 10
"""Windows of 200 ms over which the true threat is counted: 2 s."""

OUTCOMES = {
    0: "cut before the end",
    1: "won by kill",
    -1: "lost by kill",
    2: "won on time",
    -2: "lost on time",
    3: "a draw",
}
STATUSES = ("stun", "slow", "taunt", "guard", "power", "shield")
_STATUS_COLUMNS = (f.STUN, f.SLOW, f.TAUNT, f.GUARD, f.POWER, f.SHIELD)


def action_names(head: str) -> list[str]:
    """Names of the actions of a head in their order; of the five numbers for the control head."""
    names = {
        "combat": COMBAT_ACTIONS,
        "movement": MOVEMENT_ACTIONS,
        "pack": PACK_ORDERS,
        "control": CONTROL_PARTS,
    }
    if head == "skill":
        return [skill_action_name(action) for action in range(NUM_SKILL_ACTIONS)]
    return list(names[head])


def build_scene(replay: Replay, frames: Sequence[Frame], *, genuine: bool = True) -> dict[str, Any]:
    """Gather what the page shows.

    Args:
        replay: what was recorded.
        frames: the fight, from `envs.playback.frames`.
        genuine: whether the checksums agreed; False puts a warning on the page.
    """
    tables = np.stack([frame.units for frame in frames])  # (state, unit, column)
    outcome = frames[-1].outcome
    return {
        "title": _title(replay),
        "about": replay.about,
        "genuine": genuine,
        "seed": str(replay.seed),  # may be larger than a browser's whole numbers
        "fight": replay.fight,
        "episode": replay.episode,
        "outcome": outcome,
        "outcome_words": OUTCOMES[outcome],
        "decision_ms": DECISION_MS,
        "ticks": [frame.tick for frame in frames],
        "size": replay.arena.size,
        "terrain": list(replay.arena.terrain) if replay.arena.terrain else None,
        "units": _units(replay, frames[0]),
        "series": _series(tables),
        "events": _events(frames),
        "head": replay.head,
        "actions": action_names(replay.head),
        "order_kinds": list(f.ORDER_KINDS),
        "learners": [_learner(replay, frames, tables, unit) for unit in range(replay.learners)],
        "terms": {
            name: [_short(frame.terms[name]) for frame in frames[1:]] for name in replay.weights
        },
    }  # fmt: skip


def _title(replay: Replay) -> str:
    first, second = replay.names
    if len(first) == 1:
        return f"{first[0]} against {second[0]}"
    helpers = "an ally" if len(first) == 2 else f"{len(first) - 1} allies"
    return f"{first[0]} and {helpers}, {len(first)} v {len(second)}"


def _units(replay: Replay, start: Frame) -> list[dict[str, Any]]:
    half = len(replay.teams[0])
    units = []
    for unit, index in enumerate((*replay.teams[0], *replay.teams[1])):
        fighter, row = replay.fighters[index], start.units[unit]
        units.append(
            {
                "name": fighter.name,
                "base": fighter.base,
                "team": int(unit >= half),
                "learner": unit < replay.learners,
                "hp": int(row[f.MAX_HP]),
                "sp": int(row[f.MAX_SP]),
                "range": fighter.range,
                "speed_ms": fighter.speed_ms,
                "skills": [
                    {
                        "name": skill.name,
                        "kind": skill.kind,
                        "range": skill.range,
                        "radius": skill.radius,
                        "cast_ms": skill.cast_ms,
                        "cooldown_ms": skill.cooldown_ms,
                    }
                    for skill in fighter.skills
                ],
            }
        )
    return units


def _series(tables: np.ndarray) -> dict[str, list[list[int]]]:
    """Columns per unit; `cast` is the slot + 1 (0 none), `status` one bit per entry of `STATUSES`."""
    status = sum((tables[:, :, column] > 0).astype(int) << bit for bit, column in enumerate(_STATUS_COLUMNS))
    casting = tables[:, :, f.CAST_SLOT] >= 0
    columns = {
        "x": tables[:, :, f.X],
        "y": tables[:, :, f.Y],
        "hp": tables[:, :, f.HP],
        "sp": tables[:, :, f.SP],
        "target": np.where(tables[:, :, f.HP] > 0, tables[:, :, f.TARGET], -1),
        "status": status,
        "shield": tables[:, :, f.SHIELD],
        "cast": np.where(casting, tables[:, :, f.CAST_SLOT] + 1, 0),
        "cast_left": np.where(casting, tables[:, :, f.CAST_LEFT], 0),
        "cast_x": np.where(casting, tables[:, :, f.CAST_X], 0),
        "cast_y": np.where(casting, tables[:, :, f.CAST_Y], 0),
    }
    return {name: np.asarray(column).T.tolist() for name, column in columns.items()}


def _events(frames: Sequence[Frame]) -> list[list[Any]]:
    """What happened, as `[state, kind, source, target, amount]`; sources and targets are -1 where unknown.

    Kinds: `hit` and `heal` (hit points), `block` (kept off by a shield), `miss`, `skill` (amount: the slot
    that was started), `death` (source: the killer).
    """
    events: list[list[Any]] = []
    for before, after in itertools.pairwise(frames):
        k, damage = after.decision, after.damage
        for source, target in np.argwhere(damage > 0).tolist():
            events.append([k, "hit", source, target, int(damage[source, target])])
        events += _skills_started(before, after)
        for unit, (old, new) in enumerate(zip(before.units, after.units, strict=True)):
            healed = int(new[f.HP] - old[f.HP] + damage[:, unit].sum())
            if healed > 0 and new[f.HP] > 0:
                events.append([k, "heal", -1, unit, healed])
            held = int(old[f.SHIELD] - new[f.SHIELD])
            if held > 0 and new[f.SHIELD_LEFT] > 0:
                events.append([k, "block", -1, unit, held])
            target = int(new[f.TARGET])
            missed = after.stats[unit, s.S_SWINGS] > 0 and not damage[unit].any() and target >= 0
            if missed and after.units[target, f.SHIELD] >= before.units[target, f.SHIELD]:
                events.append([k, "miss", unit, target, 0])
            if old[f.HP] > 0 >= new[f.HP]:
                events.append([k, "death", int(after.killer[unit]), unit, 0])
    return events


def _skills_started(before: Frame, after: Frame) -> list[list[Any]]:
    """Skills whose cooldown jumped up in this window."""
    waits = slice(f.COOLDOWN, f.GUARD)
    jumped = np.argwhere(after.units[:, waits] > before.units[:, waits])
    return [
        [after.decision, "skill", unit, int(after.units[unit, f.TARGET]), slot]
        for unit, slot in jumped.tolist()
    ]


def _learner(replay: Replay, frames: Sequence[Frame], tables: np.ndarray, unit: int) -> dict[str, Any]:
    """What one learner did, could do and thought; one entry per decision."""
    notes = replay.notes[unit] if replay.notes else None
    played = len(frames) - 1
    chosen = [row[unit] for row in replay.actions[:played]]
    return {
        "unit": unit,
        "chosen": [list(action) if isinstance(action, tuple) else action for action in chosen],
        # Legal actions as text of 0 and 1: short, and a browser has no large whole numbers.
        "legal": [
            "" if replay.head == "control" else "".join("1" if legal else "0" for legal in frame.masks[unit])
            for frame in frames[:-1]
        ],
        "orders": [_order(frame.orders[unit]) for frame in frames[1:]],
        "probabilities": [[_short(p) for p in row] for row in notes.probabilities] if notes else [],
        "values": list(notes.values) if notes else [],
        "predicted_threat": [[_short(v) for v in row] for row in notes.threat] if notes else [],
        "true_threat": true_threat(frames, tables, unit),
    }


def _order(row: np.ndarray) -> list[int]:
    return [int(value) for value in row]


def true_threat(frames: Sequence[Frame], tables: np.ndarray, unit: int) -> list[list[float]]:
    """What each enemy really did to a unit in the 2 s after each state, as shares of its max HP.

    Returns:
        One row per decision with one entry per enemy by its own order. Windows that reach beyond the end
        of the fight hold what came until then.
    """
    half = tables.shape[1] // 2
    enemies = slice(half, 2 * half) if unit < half else slice(0, half)
    damage = np.stack([frame.damage[enemies, unit] for frame in frames])  # (state, enemy)
    total = np.concatenate([np.zeros((1, half)), np.cumsum(damage, axis=0, dtype=np.float64)])
    starts = np.arange(len(frames) - 1)
    ends = np.minimum(starts + THREAT_DECISIONS, len(frames) - 1)
    shares = (total[ends + 1] - total[starts + 1]) / max(1, int(tables[0, unit, f.MAX_HP]))
    return [[_short(value) for value in row] for row in shares]


def _short(value: float) -> float:
    return round(float(value), 4)
