"""What the skill head knows of each of its seven slots: the basic attack and six skills.

Every value is a quotient of two whole numbers, divided in double precision and rounded once to
float32, so that other implementations can give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from envs.contracts import layout as f
from envs.contracts.vocabulary import DECISION_MS, NUM_ACTION_SLOTS, NUM_SKILL_SLOTS

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

BASIC_ATTACK_ID = len(f.SKILL_KINDS)
"""Kind index of the basic attack, behind those of `SKILL_KINDS`."""
NUM_SKILL_IDS = BASIC_ATTACK_ID + 1

EFFECT_SCALE = 500
REACH_SCALE = 16
CAST_SCALE = 3000
COOLDOWN_SCALE = 20_000
RADIUS_SCALE = 8
DURATION_SCALE = 10_000
SHIELD_FACTOR = 4

_NAMES: tuple[tuple[str, str], ...] = (
    ("power", "per cent of ATK or MATK / 500, at most 1; a shield: 4 x points / my max HP, at most 1"),
    ("range", "cells / 16, at most 1; 0 = oneself"),
    ("cost", "share of my max SP, at most 1"),
    ("cast", "ms / 3000, at most 1"),
    ("cooldown", "ms / 20000, at most 1; the basic attack: its attack delay"),
    ("radius", "cells / 8, at most 1"),
    ("duration", "ms / 10000, at most 1"),
    ("is_magic", "1: MATK against MDEF"),
    ("is_area", "1: catches everyone within its radius"),
    ("is_heal", "1: restores hit points"),
    ("is_buff", "1: guard, power or shield"),
    ("is_control", "1: taunt, stun or slow"),
    ("ready", "1: can start within the window"),
    ("cooldown_left", "share of the cooldown that is left; the basic attack: of the attack delay"),
    ("sp_suffices", "1: my SP cover the cost"),
)
NUM_SKILL_FEATURES = len(_NAMES)

_AREA = (f.K_AREA, f.K_GROUND, f.K_TAUNT)
_BUFF = (f.K_GUARD, f.K_POWER, f.K_SHIELD)
_HAMPER = (f.K_TAUNT, f.K_STUN, f.K_SLOW)


def describe_skill_features() -> list[dict[str, object]]:
    """Return name, scale and limits of each value of a slot, as plain JSON types; absent slots are zero."""
    return [{"name": name, "scale": scale, "low": 0.0, "high": 1.0} for name, scale in _NAMES]


def skill_features(views: Sequence[WorldView], units: Sequence[int]) -> np.ndarray:
    """Return the features of all slots of the acting units, float32 `(row, 7, 15)`."""
    own, skills = _stacked(views, units)
    return skill_feature_rows(own, skills)


def skill_ids(views: Sequence[WorldView], units: Sequence[int]) -> np.ndarray:
    """Return each slot's kind, int64 `(row, 7)`: 12 the basic attack, an index of `SKILL_KINDS`, 0 absent."""
    return skill_id_rows(_stacked(views, units)[1])


def _stacked(views: Sequence[WorldView], units: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    if len(views) != len(units):
        raise ValueError(f"{len(views)} views but {len(units)} units: one unit index per view")
    own = np.zeros((len(views), f.NUM_UNIT_FIELDS), np.int64)
    skills = np.zeros((len(views), NUM_SKILL_SLOTS, f.NUM_SKILL_FIELDS), np.int64)
    for row, (view, unit) in enumerate(zip(views, units, strict=True)):
        own[row], skills[row] = view.units[unit], view.skills[unit]
    return own, skills


def skill_id_rows(skills: np.ndarray) -> np.ndarray:
    """As `skill_ids`, from skill tables `(row, 6, >= 9)`."""
    kinds = skills[..., f.KIND].astype(np.int64)
    basic = np.full((len(kinds), 1), BASIC_ATTACK_ID, np.int64)
    return np.concatenate([basic, kinds], axis=1)


def skill_feature_rows(own: np.ndarray, skills: np.ndarray) -> np.ndarray:
    """As `skill_features`, from unit rows `(row, >= 43)` and skill tables `(row, 6, >= 9)`."""
    own, skills = np.asarray(own, np.int64), np.asarray(skills, np.int64)
    out = np.zeros((len(own), NUM_ACTION_SLOTS, NUM_SKILL_FEATURES), np.float64)
    clock = (own[:, f.ACTION_CLOCK] <= DECISION_MS) & (own[:, f.ACT_LOCK] <= DECISION_MS)

    delay = np.maximum(own[:, f.ATTACK_DELAY], 1)
    out[:, 0, 0] = 100 / EFFECT_SCALE
    out[:, 0, 1] = _share(own[:, f.RANGE], REACH_SCALE)
    out[:, 0, 4] = _share(own[:, f.ATTACK_DELAY], COOLDOWN_SCALE)
    out[:, 0, 12] = clock
    out[:, 0, 13] = _share(np.maximum(own[:, f.ACTION_CLOCK], 0), delay)
    out[:, 0, 14] = 1

    kind = skills[..., f.KIND]
    max_hp, max_sp = np.maximum(own[:, None, f.MAX_HP], 1), np.maximum(own[:, None, f.MAX_SP], 1)
    shield = _share(SHIELD_FACTOR * skills[..., f.EFFECT], max_hp)
    cooldown = np.maximum(own[:, f.COOLDOWN : f.COOLDOWN + NUM_SKILL_SLOTS], 0)
    rich = own[:, None, f.SP] >= skills[..., f.COST]
    slot = out[:, 1:]
    slot[..., 0] = np.where(kind == f.K_SHIELD, shield, _share(skills[..., f.EFFECT], EFFECT_SCALE))
    slot[..., 1] = _share(skills[..., f.REACH], REACH_SCALE)
    slot[..., 2] = _share(skills[..., f.COST], max_sp)
    slot[..., 3] = _share(skills[..., f.CAST_TIME], CAST_SCALE)
    slot[..., 4] = _share(skills[..., f.COOLDOWN_TIME], COOLDOWN_SCALE)
    slot[..., 5] = _share(skills[..., f.RADIUS], RADIUS_SCALE)
    slot[..., 6] = _share(skills[..., f.DURATION], DURATION_SCALE)
    slot[..., 7] = skills[..., f.MAGIC]
    slot[..., 8] = np.isin(kind, _AREA)
    slot[..., 9] = kind == f.K_HEAL
    slot[..., 10] = np.isin(kind, _BUFF)
    slot[..., 11] = np.isin(kind, _HAMPER)
    slot[..., 12] = clock[:, None] & (cooldown <= DECISION_MS) & rich
    slot[..., 13] = _share(cooldown, np.maximum(skills[..., f.COOLDOWN_TIME], 1))
    slot[..., 14] = rich
    slot[kind == f.K_NONE] = 0
    return out.astype(np.float32)


def _share(value: np.ndarray, whole: np.ndarray | int) -> np.ndarray:
    return np.minimum(value, whole) / whole
