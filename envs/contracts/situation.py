"""What every head asks of a scene: whom to fight, what is possible within the decision window.

An action is legal if it can take effect within the window (masking by "usable this instant"
broke learning, because the action clock is rarely ready exactly at a decision).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from envs.contracts import layout as f
from envs.contracts.features import Scene
from envs.contracts.vocabulary import DECISION_MS, NUM_SKILL_SLOTS

TICK_MS = 100
FLEE_RADIUS = 12
WALL_CELLS = 3
WALL_PUSH = 6300
HEAL_BELOW_PERCENT = 95
FAR = np.int64(1) << 40

ATTACKS = np.array([f.K_STRIKE, f.K_AREA, f.K_GROUND, f.K_STUN, f.K_SLOW, f.K_DASH])
"""Kinds of skill that are aimed at an enemy in reach."""
WIDE = np.array([f.K_AREA, f.K_GROUND])
"""Kinds that catch every enemy within their radius."""


def first_min(key: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Index of the smallest key among chosen units per row (lowest index on ties), -1 if none."""
    best = np.where(chosen, key, FAR).argmin(axis=1)
    return np.where(chosen.any(axis=1), best, -1)


def near_key(delta: np.ndarray) -> np.ndarray:
    """Sort key of offsets `(..., xy)`: Chebyshev distance, then steps."""
    offset = np.abs(delta)
    return offset.max(axis=-1) * 4096 + offset.sum(axis=-1)


def main_direction(push: np.ndarray) -> np.ndarray:
    """Nearest of eight directions of vectors `(row, 2)`: a part below half of the other one is left out."""
    most = np.abs(push).max(axis=1)
    return np.where(2 * np.abs(push) > most[:, None], np.sign(push), 0)


class Plan:
    """Orders and legality under construction; what is not legal stays a fumble."""

    def __init__(self, rows: int, actions: int) -> None:
        """Begin with `actions` illegal actions per row."""
        self.orders = np.zeros((rows, actions, f.NUM_ORDER_FIELDS), np.int32)
        self.orders[..., f.ORDER_KIND] = f.O_FUMBLE
        self.orders[..., f.ORDER_SKILL] = -1
        self.orders[..., f.ORDER_TARGET] = -1
        self.legal = np.zeros((rows, actions), bool)

    def put(
        self,
        action: int,
        kind: int,
        where: np.ndarray,
        *,
        skill: np.ndarray | int = -1,
        target: np.ndarray | int = -1,
        step: np.ndarray | None = None,
    ) -> None:
        """Make an action legal in the rows of `where` (bool) with its order; `step` is `(row, 2)`."""
        self.legal[where, action] = True
        self.orders[where, action, f.ORDER_KIND] = kind
        for column, value in ((f.ORDER_SKILL, skill), (f.ORDER_TARGET, target)):
            self.orders[where, action, column] = np.broadcast_to(value, where.shape)[where]
        if step is not None:
            self.orders[where, action, f.ORDER_DX :] = step[where]

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Orders int32 `(row, action, 5)` and mask bool `(row, action)`."""
        return self.orders, self.legal


class Situation:
    """A scene with its consequences; all arrays have the row as first axis.

    Attributes:
        foes, team: bool `(row, 10)`, living enemies, and living members of my team (me among them).
        free: alive, and not stunned, casting or bound by a taunt for the whole window.
        clock: a swing or a skill can start within the window; can_walk: a step can.
        ready: bool `(row, 6)`, skill slots that can start within the window.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        own = scene.own
        self.foes = scene.alive & scene.hostile
        self.team = scene.alive & scene.friendly
        taunter = own[:, f.TAUNT_BY]
        taunted = (own[:, f.TAUNT] > DECISION_MS) & (taunter >= 0) & scene.alive[scene.rows, taunter]
        # A cast must end in the window's first tick; a stun that lasts into it holds the cast up.
        last = DECISION_MS - TICK_MS
        held_up = (own[:, f.CAST_LEFT] > last) | (own[:, f.STUN] > last)
        casting = (own[:, f.CAST_SLOT] >= 0) & held_up
        self.alive = own[:, f.HP] > 0
        self.free = self.alive & (own[:, f.STUN] <= DECISION_MS) & ~casting & ~taunted
        self.clock = (own[:, f.ACTION_CLOCK] <= DECISION_MS) & (own[:, f.ACT_LOCK] <= DECISION_MS)
        self.can_walk = own[:, f.MOVE_LOCK] <= DECISION_MS
        self.kind = scene.skills[..., f.KIND]
        cooled = own[:, f.COOLDOWN : f.COOLDOWN + NUM_SKILL_SLOTS] <= DECISION_MS
        rich = own[:, None, f.SP] >= scene.skills[..., f.COST]
        self.ready = (self.kind != f.K_NONE) & cooled & rich & self.clock[:, None]

    def of(self, field: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Value of `field` `(row, 10, ...)` for one unit per row; rows without a unit read unit 0."""
        return field[self.scene.rows, np.maximum(unit, 0)]

    def cell(self, unit: np.ndarray) -> np.ndarray:
        """Cell of one unit per row, `(row, 2)`."""
        return self.of(self.scene.units[..., :2], unit)

    def in_range(self, target: np.ndarray) -> np.ndarray:
        """Whether a target `(row,)` stands within the range of my basic attack; False without one."""
        return (target >= 0) & (self.of(self.scene.distance, target) <= self.scene.own[:, f.RANGE])

    def attackable(self, target: np.ndarray) -> np.ndarray:
        """Whether an attack on a target `(row,)` takes effect: a swing in range, else a step nearer."""
        return self.free & (target >= 0) & np.where(self.in_range(target), self.clock, self.can_walk)

    @cached_property
    def nearest(self) -> np.ndarray:
        """Nearest living enemy, index `(row,)`, -1 if there is none."""
        return first_min(near_key(self.scene.delta), self.foes)

    @cached_property
    def weakest(self) -> np.ndarray:
        """Living enemy with the fewest hit points."""
        return first_min(self.scene.units[..., f.HP], self.foes)

    @cached_property
    def dangerous(self) -> np.ndarray:
        """Living enemy with the highest damage per second per remaining hit point."""
        units = self.scene.units
        rate = (units[..., f.ATK] + units[..., f.MATK]) * 1000 // np.maximum(units[..., f.ATTACK_DELAY], 1)
        return first_min(-(rate * 1000 // (units[..., f.HP] + 500)), self.foes)

    @cached_property
    def health(self) -> np.ndarray:
        """HP shares of all units in thousandths, `(row, 10)`."""
        units = self.scene.units
        return units[..., f.HP] * 1000 // np.maximum(units[..., f.MAX_HP], 1)

    @cached_property
    def others(self) -> np.ndarray:
        """Living members of my team but me, bool `(row, 10)`."""
        others = self.team.copy()
        others[self.scene.rows, self.scene.me] = False
        return others

    def is_open(self, cells: np.ndarray) -> np.ndarray:
        """Whether terrain leaves cells `(row, 2)` within the bounds free, bool `(row,)`."""
        free = np.ones(len(cells), bool)
        for row, blocked in enumerate(self.scene.blocked):
            if blocked is not None:
                x, y = cells[row] - self.scene.bounds[row, :2]
                free[row] = not blocked[y, x]
        return free

    def can_step(self, step: np.ndarray) -> np.ndarray:
        """Whether a `step` `(row, 2)` is due and leads, within the bounds, to another cell that is free."""
        here, low, high = self.scene.own[:, :2], self.scene.bounds[:, :2], self.scene.bounds[:, 2:]
        there = np.clip(here + step, low, high)
        return self.can_walk & (there != here).any(axis=1) & self.is_open(there)

    def retreat_step(self) -> np.ndarray:
        """Direction `(row, 2)` away from enemies within 12 cells, the nearer the more, and off the walls."""
        s = self.scene
        d = s.distance
        weight = np.where(self.foes & (d < FLEE_RADIUS), (FLEE_RADIUS + 1 - d) * 840 // (d + 1), 0)
        push = -(weight[..., None] * s.delta).sum(axis=1)
        here, low, high = s.own[:, :2], s.bounds[:, :2], s.bounds[:, 2:]
        push += WALL_PUSH * ((here - low) < WALL_CELLS) - WALL_PUSH * ((high - here) < WALL_CELLS)
        return main_direction(push)

    def reaches(self, target: np.ndarray) -> np.ndarray:
        """Ready skills whose reach covers the target `(row,)`, bool `(row, 6)`."""
        d = self.of(self.scene.distance, target)
        return self.ready & (d[:, None] <= self.scene.skills[..., f.REACH]) & (target >= 0)[:, None]

    def offensive_slot(self, target: np.ndarray) -> np.ndarray:
        """Ready attacking skill in reach of the target, largest effect x enemies caught; -1 if none."""
        s = self.scene
        usable = self.reaches(target) & np.isin(self.kind, ATTACKS)
        apart = np.abs(s.units[..., :2] - self.cell(target)[:, None]).max(axis=-1)  # (row, 10)
        inside = self.foes[:, None] & (apart[:, None] <= s.skills[..., f.RADIUS, None])  # (row, 6, 10)
        value = s.skills[..., f.EFFECT] * np.where(np.isin(self.kind, WIDE), inside.sum(axis=-1), 1)
        return np.where(usable.any(axis=1), np.where(usable, value, -1).argmax(axis=1), -1)

    @cached_property
    def crowded(self) -> np.ndarray:
        """Slots with an untaunted living enemy within their radius of me, bool `(row, 6)`."""
        untaunted = self.foes & (self.scene.units[..., f.TAUNT] <= 0)
        near = self.scene.distance[:, None] <= self.scene.skills[..., f.RADIUS, None]
        return (untaunted[:, None] & near).any(axis=-1)

    @cached_property
    def taunting(self) -> np.ndarray:
        """Slots with a ready taunt that would draw somebody, bool `(row, 6)`."""
        return self.ready & (self.kind == f.K_TAUNT) & self.crowded

    def protect_target(self) -> tuple[np.ndarray, np.ndarray]:
        """Attacker of the most hurt other member, else the enemy nearest to it; and if there is a ward."""
        s = self.scene
        ward = first_min(self.health, self.others)
        exists = ward >= 0
        attackers = self.foes & (s.units[..., f.TARGET] == ward[:, None]) & exists[:, None]
        attacker = np.where(attackers.any(axis=1), attackers.argmax(axis=1), -1)
        near_ward = first_min(near_key(s.units[..., :2] - self.cell(ward)[:, None]), self.foes)
        return np.where(attacker >= 0, attacker, np.where(exists, near_ward, self.nearest)), exists
