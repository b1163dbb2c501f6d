"""A recording of fights: columnar arrays, one row per decision, and its file."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from envs.contracts import layout as f

UNIT_FIELDS = (
    "x",
    "y",
    "target",  # unit index, -1 none
    "action_clock",  # ms
    "cast_slot",  # -1 none
    "cast_left",  # ms
    "cast_target",
    "cast_x",
    "cast_y",
    "stun",  # ms
    "last_action",
    "style",  # index into STYLES: how the unit's last decision was taken
)
(X, Y, TARGET, ACTION_CLOCK, CAST_SLOT, CAST_LEFT, CAST_TARGET, CAST_X, CAST_Y, STUN, LAST_ACTION, STYLE) = (
    range(len(UNIT_FIELDS))
)
DEED_FIELDS = ("swings", "skills", "steps", "slot")
"""What a unit did in a window: counts, and the skill slot it started (-1 none)."""
(SWINGS, SKILLS, STEPS, SLOT) = range(len(DEED_FIELDS))

SECOND, TWO_SECONDS, FIVE_SECONDS, TEN_SECONDS = 5, 10, 25, 50
"""Horizons in decisions of 200 ms."""


@dataclass(frozen=True)
class Recording:
    """Fights of one composition, from a state to their end.

    State t is what is seen at decision t; window t leads from state t to state t + 1. Behind a fight's
    `length` the state stays as it ended and nothing is done or damaged any more.

    Attributes:
        units: int16 `(state, fight, unit, field)`, fields `UNIT_FIELDS`.
        hp: int32 `(state, fight, unit)`.
        deeds: int16 `(window, fight, unit, field)`, fields `DEED_FIELDS`.
        damage: int32 `(window, fight, source, target)`, hit points after guard and shield.
        killer: int8 `(window, fight, unit)`: who killed the unit in this window, -1 nobody.
        actions: of the learners, int16 `(window, fight, learner)`; control head float32 with 5 parts more.
        length: int32 `(fight,)`, decision windows played.
        by_kill: bool `(fight,)`, a side is dead at the end (both, if `outcome` is a draw).
        outcome: int8 `(fight,)`, see `envs.simulation.state`; 0 if the recording stops earlier.
        seed: int64 `(fight,)`, bits of the seed; with number and episode it names a fight.
        number: int64 `(fight,)`, the fight's number under its seed.
        episode: int64 `(fight,)`.
        switch_tick: int32 `(fight, unit)`, tick at which the style changes, -1 never.
        template: int32 `(unit, column)`, constants of the units (columns of `envs.simulation.state`).
        skills: int32 `(unit, slot, 10)`.
        swing_points: int32 `(source, target)`, mean damage of a swing that hits.
        skill_points: int32 `(source, slot, target)`, mean damage of a skill, 0 if it does none.
        blocked: bool `(y, x)`, cells nobody can walk on.
    """

    units: np.ndarray
    hp: np.ndarray
    deeds: np.ndarray
    damage: np.ndarray
    killer: np.ndarray
    actions: np.ndarray
    length: np.ndarray
    by_kill: np.ndarray
    outcome: np.ndarray
    seed: np.ndarray
    number: np.ndarray
    episode: np.ndarray
    switch_tick: np.ndarray
    template: np.ndarray
    skills: np.ndarray
    swing_points: np.ndarray
    skill_points: np.ndarray
    blocked: np.ndarray

    @property
    def num_fights(self) -> int:
        """Fights in the recording."""
        return len(self.length)

    @property
    def num_units(self) -> int:
        """Units per fight, both sides."""
        return self.hp.shape[2]

    @property
    def num_windows(self) -> int:
        """Decision windows of the longest fight."""
        return len(self.damage)

    @property
    def max_hp(self) -> np.ndarray:
        """Int32 `(unit,)`."""
        return self.template[:, f.MAX_HP]

    @property
    def hostile(self) -> np.ndarray:
        """Whether two units are enemies, bool `(unit, unit)`."""
        team = self.template[:, f.TEAM]
        return team[:, None] != team

    @property
    def alive(self) -> np.ndarray:
        """Bool `(state, fight, unit)`."""
        return self.hp > 0

    def enemies(self, unit: int) -> range:
        """Indices of a unit's enemies, in order of their slots."""
        half = self.num_units // 2
        return range(half, 2 * half) if unit < half else range(half)

    def until(self, windows: int) -> Recording:
        """Only the first so many windows of the arrays, without a copy."""
        return replace(
            self,
            units=self.units[: windows + 1],
            hp=self.hp[: windows + 1],
            deeds=self.deeds[:windows],
            damage=self.damage[:windows],
            killer=self.killer[:windows],
            actions=self.actions[:windows],
        )

    def fights(self, chosen: np.ndarray) -> Recording:
        """Only some fights, `chosen` bool `(fight,)` or their indices; a copy."""
        per_time = {name: getattr(self, name)[:, chosen] for name in PER_WINDOW}
        return replace(self, **per_time, **{name: getattr(self, name)[chosen] for name in PER_FIGHT})

    def save(self, path: str | Path) -> None:
        """Write a compressed `.npz`; it is written beside and renamed, so that no half file is ever seen."""
        path = Path(path)
        beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with beside.open("wb") as file:
                np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


PER_WINDOW = ("units", "hp", "deeds", "damage", "killer", "actions")
PER_FIGHT = ("length", "by_kill", "outcome", "seed", "number", "episode", "switch_tick")


def load(path: str | Path) -> Recording:
    """Read what `Recording.save` wrote.

    Raises:
        ValueError: a file that lacks arrays of a recording.
    """
    with np.load(path, allow_pickle=False) as arrays:
        names = [field.name for field in fields(Recording)]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(f"{Path(path).name}: no recording of fights: {', '.join(missing)} missing")
        return Recording(**{name: arrays[name] for name in names})
