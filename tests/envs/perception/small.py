"""A recording written by hand."""

from __future__ import annotations

import numpy as np

from envs.contracts import layout as f
from envs.perception.recording import DEED_FIELDS, TARGET, UNIT_FIELDS, Recording
from envs.simulation import state as s


def small(lengths: list[int], by_kill: list[bool], *, half: int = 1, windows: int | None = None) -> Recording:
    """Fights in which nothing happens: units stand on (10, 10), (20, 10) or one row higher per slot.

    Every unit has 1,000 HP, reach 2 and an attack delay of 1,000 ms; a swing does 50 points.
    """
    fights, n, time = len(lengths), 2 * half, max(lengths) if windows is None else windows
    template = np.zeros((n, s.NUM_COLUMNS), np.int32)
    template[:, f.MAX_HP], template[:, f.RANGE], template[:, f.ATTACK_DELAY] = 1000, 2, 1000
    template[half:, f.TEAM] = 1
    units = np.zeros((time + 1, fights, n, len(UNIT_FIELDS)), np.int16)
    for slot in range(half):
        units[..., slot, :2], units[..., half + slot, :2] = (10, 10 + slot), (20, 10 + slot)
    units[..., [TARGET, 4, 6]] = -1
    deeds = np.zeros((time, fights, n, len(DEED_FIELDS)), np.int16)
    deeds[..., 3] = -1
    return Recording(
        units=units,
        hp=np.full((time + 1, fights, n), 1000, np.int32),
        deeds=deeds,
        damage=np.zeros((time, fights, n, n), np.int32),
        killer=np.full((time, fights, n), -1, np.int8),
        actions=np.zeros((time, fights, 0), np.int16),
        length=np.array(lengths, np.int32),
        by_kill=np.array(by_kill),
        outcome=np.zeros(fights, np.int8),
        seed=np.zeros(fights, np.int64),
        number=np.arange(fights),
        episode=np.zeros(fights, np.int64),
        switch_tick=np.full((fights, n), -1, np.int32),
        template=template,
        skills=np.zeros((n, 6, 10), np.int32),
        swing_points=np.full((n, n), 50, np.int32),
        skill_points=np.zeros((n, 6, n), np.int32),
        blocked=np.zeros((32, 32), bool),
    )
