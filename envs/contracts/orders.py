"""From an action of the combat head to a concrete order, and which actions are legal.

An action is legal if it can take effect within the decision window (masking by "usable this
instant" broke learning, because the action clock is rarely ready exactly at a decision). An
illegal action still has a sensible order, so that a learner without masks is not stuck.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.contracts import layout as f
from envs.contracts.features import Scene
from envs.contracts.vocabulary import DECISION_MS, NUM_COMBAT_ACTIONS, NUM_SKILL_SLOTS, ContractError

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

TICK_MS = 100
FLEE_RADIUS = 12
WALL_CELLS = 3
WALL_PUSH = 6300
HEAL_BELOW_PERCENT = 95
FAR = np.int64(1) << 40

_OFFENSIVE = np.array([f.K_STRIKE, f.K_AREA, f.K_GROUND, f.K_STUN, f.K_SLOW, f.K_DASH])
_CONTROL = np.array([f.K_AREA, f.K_GROUND, f.K_STUN, f.K_SLOW])


@dataclass(frozen=True)
class Order:
    """What a game carries out for one decision window (200 ms).

    Attributes:
        kind: `hold` (hit `target` if it is in reach, stay), `move` (one step in `direction`), `attack`
            (walk to `target`, hit it) or `skill` (walk into reach of `target`, use skill slot `skill`).
        skill: slot 0-5 of the acting unit, None but for `skill`.
        target: id of the unit aimed at; a ground-aimed skill takes its cell when the cast starts.
        direction: (dx, dy) in cells, each -1, 0 or 1; None but for `move`.
    """

    kind: str
    skill: int | None = None
    target: Any = None
    direction: tuple[int, int] | None = None

    @classmethod
    def from_row(cls, view: WorldView, row: np.ndarray) -> Order:
        """Name the units of an order row, int32 `(5,)`."""
        kind, skill, target, dx, dy = (int(value) for value in row)
        return cls(
            kind=f.ORDER_KINDS[kind],
            skill=skill if kind == f.O_SKILL else None,
            target=view.ids[target] if target >= 0 else None,
            direction=(dx, dy) if kind == f.O_MOVE else None,
        )

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Order:
        """Read what `to_json` wrote. Raises ContractError on an unknown kind."""
        if data.get("kind") not in f.ORDER_KINDS:
            raise ContractError(
                f"order: unknown kind {data.get('kind')!r}; one of {', '.join(f.ORDER_KINDS)}"
            )
        direction = data.get("direction")
        return cls(
            data["kind"], data.get("skill"), data.get("target"), tuple(direction) if direction else None
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; absent parts are left out."""
        out: dict[str, Any] = {"kind": self.kind}
        if self.skill is not None:
            out["skill"] = self.skill
        if self.target is not None:
            out["target"] = self.target
        if self.direction is not None:
            out["direction"] = list(self.direction)
        return out


def order_row(view: WorldView, order: Order) -> np.ndarray:
    """Return an order as int32 `(5,)`: kind, skill, target index, dx, dy (-1 and 0 where absent)."""
    dx, dy = order.direction or (0, 0)
    target = -1 if order.target is None else view.unit_index(order.target)
    skill = -1 if order.skill is None else order.skill
    return np.array([f.ORDER_KINDS.index(order.kind), skill, target, dx, dy], np.int32)


def combat_orders(views: Sequence[WorldView], units: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the order behind each combat action and whether it is legal.

    Returns:
        orders int32 `(row, 10, 5)` and mask bool `(row, 10)`; action 0 (hold) is always legal.
    """
    return combat_orders_scene(Scene(views, units))


def combat_orders_scene(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """As `combat_orders`, for a scene that is already stacked."""
    return _Planner(scene).plan()


def _first_min(key: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Index of the smallest key among chosen units per row (lowest index on ties), -1 if none."""
    best = np.where(chosen, key, FAR).argmin(axis=1)
    return np.where(chosen.any(axis=1), best, -1)


class _Planner:
    """Works out all ten orders of every row; all arrays have the row as first axis."""

    def __init__(self, scene: Scene) -> None:
        self.s = scene
        own, units = scene.own, scene.units
        self.foes = scene.alive & scene.hostile
        self.team = scene.alive & scene.friendly
        steps = np.abs(scene.delta).sum(axis=-1)
        self.near_key = scene.distance * 4096 + steps
        self.nearest = _first_min(self.near_key, self.foes)
        self.weakest = _first_min(units[..., f.HP], self.foes)
        rate = (units[..., f.ATK] + units[..., f.MATK]) * 1000 // np.maximum(units[..., f.ATTACK_DELAY], 1)
        self.dangerous = _first_min(-(rate * 1000 // (units[..., f.HP] + 500)), self.foes)

        taunter = own[:, f.TAUNT_BY]
        taunted = (own[:, f.TAUNT] > DECISION_MS) & (taunter >= 0) & scene.alive[scene.rows, taunter]
        # A cast must end in the window's first tick; a stun that lasts into it holds the cast up.
        last = DECISION_MS - TICK_MS
        held_up = (own[:, f.CAST_LEFT] > last) | (own[:, f.STUN] > last)
        casting = (own[:, f.CAST_SLOT] >= 0) & held_up
        self.free = (own[:, f.HP] > 0) & (own[:, f.STUN] <= DECISION_MS) & ~casting & ~taunted
        self.clock = (own[:, f.ACTION_CLOCK] <= DECISION_MS) & (own[:, f.ACT_LOCK] <= DECISION_MS)
        self.can_walk = own[:, f.MOVE_LOCK] <= DECISION_MS
        skills = scene.skills
        self.kind = skills[..., f.KIND]
        cooled = own[:, f.COOLDOWN : f.COOLDOWN + NUM_SKILL_SLOTS] <= DECISION_MS
        rich = own[:, None, f.SP] >= skills[..., f.COST]
        self.ready = (self.kind != f.K_NONE) & cooled & rich & self.clock[:, None]

        count = len(scene.rows)
        self.orders = np.zeros((count, NUM_COMBAT_ACTIONS, f.NUM_ORDER_FIELDS), np.int32)
        self.orders[..., f.ORDER_SKILL] = -1
        self.orders[..., f.ORDER_TARGET] = -1
        self.legal = np.zeros((count, NUM_COMBAT_ACTIONS), bool)

    def plan(self) -> tuple[np.ndarray, np.ndarray]:
        self._hold()
        self._attack(1, self.nearest)
        self._attack(2, self.weakest)
        self._attack(3, self.dangerous)
        self._retreat()
        self._offensive()
        self._guard_self()
        self._help_ally()
        self._protect()
        self._control()
        dead = self.s.own[:, f.HP] <= 0
        self.orders[dead] = (f.O_HOLD, -1, -1, 0, 0)
        self.legal &= self.free[:, None]
        self.legal[:, 0] = True
        return self.orders, self.legal

    def _of(self, field: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Value of `field` `(row, 10)` for one unit per row; rows without a unit read unit 0."""
        return field[self.s.rows, np.maximum(unit, 0)]

    def _set(self, action: int, kind: int, where: np.ndarray, **parts: np.ndarray) -> None:
        row = self.orders[:, action]
        row[where, f.ORDER_KIND] = kind
        columns = {"skill": f.ORDER_SKILL, "target": f.ORDER_TARGET, "dx": f.ORDER_DX, "dy": f.ORDER_DY}
        for name, value in parts.items():
            row[where, columns[name]] = value[where]

    def _hold(self) -> None:
        in_reach = (self.nearest >= 0) & (self._of(self.s.distance, self.nearest) <= self.s.own[:, f.RANGE])
        self._set(0, f.O_HOLD, in_reach, target=self.nearest)

    def _attack(self, action: int, target: np.ndarray, *, allowed: np.ndarray | None = None) -> None:
        exists = target >= 0
        in_reach = self._of(self.s.distance, target) <= self.s.own[:, f.RANGE]
        self._set(action, f.O_ATTACK, exists, target=target)
        legal = exists & np.where(in_reach, self.clock, self.can_walk)
        self.legal[:, action] = legal if allowed is None else legal & allowed

    def _retreat(self) -> None:
        s = self.s
        d = s.distance
        weight = np.where(self.foes & (d < FLEE_RADIUS), (FLEE_RADIUS + 1 - d) * 840 // (d + 1), 0)
        push = -(weight[..., None] * s.delta).sum(axis=1)  # (row, xy)
        here, low, high = s.own[:, :2], s.bounds[:, :2], s.bounds[:, 2:]
        push += WALL_PUSH * ((here - low) < WALL_CELLS) - WALL_PUSH * ((high - here) < WALL_CELLS)
        most = np.abs(push).max(axis=1)
        step = np.where(2 * np.abs(push) > most[:, None], np.sign(push), 0)
        moves = (np.clip(here + step, low, high) != here).any(axis=1)
        self._set(4, f.O_MOVE, np.ones_like(moves), dx=step[:, 0], dy=step[:, 1])
        self.legal[:, 4] = self.can_walk & moves

    def _foe_candidates(self) -> tuple[np.ndarray, np.ndarray]:
        """Current target while it lives, else the nearest; and the nearest as second choice."""
        current = self.s.own[:, f.TARGET]
        valid = (current >= 0) & self._of(self.foes, current)
        return np.where(valid, current, self.nearest), self.nearest

    def _reaches(self, target: np.ndarray) -> np.ndarray:
        """Ready skills whose reach covers the target, bool `(row, 6)`."""
        d = self._of(self.s.distance, target)
        return self.ready & (d[:, None] <= self.s.skills[..., f.REACH]) & (target >= 0)[:, None]

    def _use(self, action: int, slot: np.ndarray, target: np.ndarray, where: np.ndarray) -> None:
        self._set(action, f.O_SKILL, where, skill=slot, target=target)
        self.legal[where, action] = True

    def _offensive(self) -> None:
        s = self.s
        first, second = self._foe_candidates()
        self._attack(5, first)
        self.legal[:, 5] = False
        pending = np.ones(len(s.rows), bool)
        for target in (first, second):
            usable = self._reaches(target) & np.isin(self.kind, _OFFENSIVE)
            spot = s.units[s.rows, np.maximum(target, 0), :2]
            apart = np.abs(s.units[..., :2] - spot[:, None]).max(axis=-1)  # (row, 10)
            inside = self.foes[:, None] & (apart[:, None] <= s.skills[..., f.RADIUS, None])  # (row, 6, 10)
            wide = np.isin(self.kind, (f.K_AREA, f.K_GROUND))
            value = s.skills[..., f.EFFECT] * np.where(wide, inside.sum(axis=-1), 1)
            slot = np.where(usable, value, -1).argmax(axis=1)
            found = pending & usable.any(axis=1)
            self._use(5, slot, target, found)
            pending &= ~found

    def _guard_self(self) -> None:
        own = self.s.own
        absent = (
            ((self.kind == f.K_GUARD) & (own[:, None, f.GUARD] <= 0))
            | ((self.kind == f.K_POWER) & (own[:, None, f.POWER] <= 0))
            | ((self.kind == f.K_SHIELD) & (own[:, None, f.SHIELD] <= 0))
        )
        usable = self.ready & absent
        self._use(6, usable.argmax(axis=1), self.s.me, usable.any(axis=1))

    def _help_ally(self) -> None:
        s = self.s
        health = s.units[..., f.HP] * 1000 // np.maximum(s.units[..., f.MAX_HP], 1)
        patient = np.where(self.team.any(axis=1), _first_min(health, self.team), s.me)
        hurt = self._of(s.units[..., f.HP] * 100 < s.units[..., f.MAX_HP] * HEAL_BELOW_PERCENT, patient)
        useful = (
            ((self.kind == f.K_HEAL) & hurt[:, None])
            | ((self.kind == f.K_SHIELD) & (self._of(s.units[..., f.SHIELD], patient) <= 0)[:, None])
            | ((self.kind == f.K_GUARD) & (self._of(s.units[..., f.GUARD], patient) <= 0)[:, None])
        )
        usable = self.ready & useful & ((s.skills[..., f.REACH] > 0) | (patient == s.me)[:, None])
        d = self._of(s.distance, patient)
        usable &= (d[:, None] <= s.skills[..., f.REACH]) | self.can_walk[:, None] | (patient == s.me)[:, None]
        toward = np.sign(s.delta[s.rows, patient])
        self._set(7, f.O_MOVE, d > WALL_CELLS, dx=toward[:, 0], dy=toward[:, 1])
        found = usable.any(axis=1)
        self.orders[found, 7, f.ORDER_DX :] = 0
        self._use(7, usable.argmax(axis=1), patient, found)

    def _protect(self) -> None:
        s = self.s
        others = self.team.copy()
        others[s.rows, s.me] = False
        health = s.units[..., f.HP] * 1000 // np.maximum(s.units[..., f.MAX_HP], 1)
        ward = _first_min(health, others)
        exists = ward >= 0
        attackers = self.foes & (s.units[..., f.TARGET] == ward[:, None]) & exists[:, None]
        attacker = np.where(attackers.any(axis=1), attackers.argmax(axis=1), -1)
        spot = s.units[s.rows, np.maximum(ward, 0), :2]
        offset = np.abs(s.units[..., :2] - spot[:, None])
        near_ward = _first_min(offset.max(axis=-1) * 4096 + offset.sum(axis=-1), self.foes)
        target = np.where(attacker >= 0, attacker, np.where(exists, near_ward, self.nearest))
        self._attack(8, target, allowed=exists)

    def _control(self) -> None:
        s = self.s
        first, second = self._foe_candidates()
        self._attack(9, first)
        self.legal[:, 9] = False
        untaunted = self.foes & (s.units[..., f.TAUNT] <= 0)
        crowd = (untaunted[:, None] & (s.distance[:, None] <= s.skills[..., f.RADIUS, None])).any(axis=-1)
        taunting = self.ready & (self.kind == f.K_TAUNT) & crowd
        pending = np.ones(len(s.rows), bool)
        for target in (first, second):
            steady = self._of((s.units[..., f.STUN] <= 0) & (s.units[..., f.STUN_IMMUNE] <= 0), target)
            swift = self._of(s.units[..., f.SLOW] <= 0, target)
            apt = np.isin(self.kind, _CONTROL)
            apt &= (self.kind != f.K_STUN) | steady[:, None]
            apt &= (self.kind != f.K_SLOW) | swift[:, None]
            usable = (self._reaches(target) & apt) | taunting
            slot = usable.argmax(axis=1)
            found = pending & usable.any(axis=1)
            is_taunt = self.kind[s.rows, slot] == f.K_TAUNT
            self._use(9, slot, np.where(is_taunt, s.me, target), found)
            pending &= ~found
