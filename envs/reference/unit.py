"""A unit of the reference: its numbers by name, and its row in the simulation's table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs import archetypes
from envs.contracts.layout import NUM_SKILL_FIELDS
from envs.contracts.vocabulary import ARCHETYPES, MAX_TEAM_SIZE, NUM_SKILL_SLOTS
from envs.simulation.state import STATISTICS, STYLES

TIERS = {"passive": (False, 50), "classic": (True, 100), "veteran": (True, 500)}
"""Traditional AI: (starts fights, per cent applied to its skill chances)."""

NO_ORDER = (0, -1, -1, 0, 0)
LONG_AGO = -300  # a tick so early that no memory of hits reaches it


@dataclass
class Cast:
    """A skill on its way: slot, ms left, whom it is aimed at, and the cell fixed when it started."""

    slot: int
    left: int
    target: Unit
    x: int
    y: int


class Unit:
    """A monster at the start of a fight; times are ms left, distances cells."""

    def __init__(
        self,
        archetype: str,
        index: int,
        team: int,
        slot: int,
        tier: str,
        *,
        obeys: bool,
        hp_percent: int = 100,
    ) -> None:
        config = archetypes.load(archetype)
        stats = config.stats
        self.index, self.team, self.slot, self.archetype = index, team, slot, archetype
        self.base = config.base  # which of the six it counts as
        self.skills = config.skills
        self.x = self.y = 0
        self.hp = self.max_hp = max(stats.hp * hp_percent // 100, 1)
        self.sp = self.max_sp = stats.sp
        self.atk, self.matk, self.defence, self.mdef = stats.atk, stats.matk, stats.def_, stats.mdef
        self.hit, self.flee, self.range, self.speed = stats.hit, stats.flee, stats.range, stats.speed_ms
        self.attack_delay, self.attack_motion = stats.attack_delay_ms, stats.attack_motion_ms
        self.basic_magic = config.basic_magic_percent
        self.preferred_distance = config.preferred_distance

        self.target: Unit | None = None
        self.action_clock = self.move_lock = self.act_lock = 0
        self.cast: Cast | None = None
        self.cooldowns = [0] * NUM_SKILL_SLOTS
        self.guard = self.power = self.stun = self.stun_immune = self.slow = self.taunt = 0
        self.taunted_by: Unit | None = None
        self.shield = self.shield_left = 0
        self.shield_by: Unit | None = None

        self.last_action = -1
        self.order: tuple[int, ...] = NO_ORDER
        self.obeys = obeys
        self.style = self.next_style = "script"
        self.switch_tick = -1  # when the next style takes over
        self.last_step_tick = LONG_AGO
        self.aggressive, self.skill_chance = TIERS[tier]
        self.leash = 30
        self.last_attacker: Unit | None = None
        self.killer: Unit | None = None
        self.killer_spell = False
        self.last_victim: Unit | None = None
        self.last_hit_tick = LONG_AGO
        self.held_off_at = [LONG_AGO] * MAX_TEAM_SIZE  # per enemy slot
        self.stats = dict.fromkeys(STATISTICS, 0)

    @property
    def alive(self) -> bool:
        """Has hit points left."""
        return self.hp > 0

    @property
    def ready(self) -> bool:
        """May swing or use a skill this instant: one clock serves both."""
        return self.action_clock <= 0 and self.act_lock <= 0

    @property
    def bound(self) -> bool:
        """Taunted by a living enemy, whom it has to fight."""
        return self.taunt > 0 and self.taunted_by is not None and self.taunted_by.alive

    def hostile(self, other: Unit) -> bool:
        """Whether `other` is an enemy."""
        return self.team != other.team

    def distance(self, other: Unit) -> int:
        """Chebyshev distance in cells."""
        return max(abs(self.x - other.x), abs(self.y - other.y))

    def skill_rows(self) -> np.ndarray:
        """Skills as a game would send them, int32 `(6, 9)`."""
        return archetypes.skill_rows(archetypes.load(self.archetype))[:, :NUM_SKILL_FIELDS]

    def row(self) -> list[int]:
        """All columns of the simulation's unit table, public then private."""
        cast = [-1, 0, -1, 0, 0]
        if self.cast is not None:
            cast = [self.cast.slot, self.cast.left, self.cast.target.index, self.cast.x, self.cast.y]
        return [
            self.x, self.y, self.hp, self.max_hp, self.sp, self.max_sp,
            self.atk, self.matk, self.defence, self.mdef, self.hit, self.flee,
            self.range, self.speed, self.attack_delay, self.attack_motion,
            ARCHETYPES.index(self.base), self.team, _index(self.target),
            self.action_clock, self.move_lock, self.act_lock, *cast, *self.cooldowns,
            self.guard, self.power, self.stun, self.stun_immune,
            self.slow, self.taunt, _index(self.taunted_by), self.shield, self.shield_left, self.last_action,
            _index(self.last_attacker), _index(self.killer), int(self.killer_spell), self.leash,
            self.last_hit_tick, _index(self.last_victim), _index(self.shield_by), int(self.obeys),
            self.skill_chance, int(self.aggressive), *self.order, *self.preferred_distance, self.basic_magic,
            *self.held_off_at,
            STYLES.index(self.style), STYLES.index(self.next_style), self.switch_tick,
            self.last_step_tick,
        ]  # fmt: skip


def _index(unit: Unit | None) -> int:
    return -1 if unit is None else unit.index
