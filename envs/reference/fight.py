"""One fight: the order of events within a tick, and who has won."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.contracts.layout import MOVE_LOCK, NUM_UNIT_FIELDS
from envs.contracts.view import WorldView
from envs.reference.dice import Dice, Purpose
from envs.reference.obey import obey
from envs.reference.rules import FULL_BAR, finish_cast, held_off, share
from envs.reference.script import act_by_script, nearest_foe
from envs.reference.starts import check_styles, give_styles, place
from envs.reference.styles import choose_all
from envs.reference.unit import Unit
from envs.simulation.state import (
    DRAW,
    LOST_BY_KILL,
    LOST_ON_TIME,
    RUNNING,
    STATISTICS,
    WON_BY_KILL,
    WON_ON_TIME,
)

TICK_MS = 100
TICKS_PER_DECISION = 2
COMBAT_CELLS = 14
CLOCKS = ("action_clock", "act_lock", "guard", "power", "stun", "stun_immune", "slow", "taunt", "shield_left")


class Fight:
    """One episode of a fight between two teams of equal size, stepped by decision windows of 200 ms.

    Attributes:
        units: all units, team 0 first.
        outcome: from team 0's side, see `envs.simulation.state`.
        tick: ticks of 100 ms played.
        damage_log: (source, target) -> hit points of damage in the last window.
        killers: who died in the last window -> who killed it.
    """

    def __init__(
        self,
        teams: tuple[Sequence[str], Sequence[str]],
        *,
        tiers: tuple[str, str] = ("classic", "classic"),
        learners: int = 0,
        seed: int = 0,
        number: int = 0,
        episode: int = 0,
        swap_sides: bool = False,
        rules: str = "renewal",
        size: int = 32,
        time_limit_ticks: int = 600,
        starts: str = "near",
        hp_percent: tuple[int, int] = (100, 100),
        styles: tuple[Sequence[str], Sequence[str]] = ((), ()),
        switching: bool = False,
        terrain: np.ndarray | None = None,
    ) -> None:
        """Place the units. `number` is the fight's number under `seed`; the rest is as in `World`."""
        check_styles(styles)
        self.rules, self.size, self.time_limit = rules, size, time_limit_ticks
        self.terrain = terrain
        self.swapped = swap_sides
        self.half = len(teams[0])
        self.dice = Dice(seed, number, episode)
        self.tick, self.outcome = 0, RUNNING
        self.units = [
            Unit(
                name,
                side * self.half + slot,
                side,
                slot,
                tiers[side],
                obeys=side == 0 and slot < learners,
                hp_percent=hp_percent[side],
            )
            for side in (0, 1)
            for slot, name in enumerate(teams[side])
        ]
        place(self, starts)
        give_styles(self, styles, switching)
        self.damage_log: dict[tuple[Unit, Unit], int] = {}
        self.killers: dict[Unit, Unit] = {}
        self.damage = dict.fromkeys(self.units, 0)
        self.healing = dict.fromkeys(self.units, 0)
        self.hitters: set[Unit] = set()

    def draw(self, me: Unit, purpose: int, *, tick: int | None = None) -> int:
        """A unit's random number of this tick; its stream follows it when the sides are swapped."""
        side = 1 - me.team if self.swapped else me.team
        return self.dice.draw(self.tick if tick is None else tick, 16 * side + me.slot, purpose)

    def within(self, x: int, y: int) -> tuple[int, int]:
        """The cell, or the nearest one within the arena."""
        return min(max(x, 0), self.size - 1), min(max(y, 0), self.size - 1)

    def is_blocked(self, x: int, y: int) -> bool:
        """Whether terrain bars a cell; it stops steps, not sight."""
        return self.terrain is not None and bool(self.terrain[y, x])

    def living_foes(self, me: Unit) -> list[Unit]:
        """Enemies alive, in order of their slots."""
        return [unit for unit in self.units if unit.alive and unit.hostile(me)]

    def living_team(self, me: Unit) -> list[Unit]:
        """Team members alive, in order of their slots, the unit itself among them."""
        return [unit for unit in self.units if unit.alive and not unit.hostile(me)]

    def step(self, orders: Sequence[Sequence[int]] = (), actions: Sequence[int] = ()) -> None:
        """Play one decision window; `orders` five numbers per learner, `actions` what learners remember."""
        self.damage_log, self.killers = {}, {}
        for unit in self.units:
            unit.stats = dict.fromkeys(STATISTICS, 0)
        for unit, order, action in zip(self.units, orders, actions, strict=False):
            unit.order, unit.last_action = tuple(int(value) for value in order), int(action)
        choose_all(self)
        before, ticks = self._lead(), 0
        while ticks < TICKS_PER_DECISION and self.outcome == RUNNING:
            self._play_tick()
            self.outcome = self._judge()
            ticks += 1
        self._count_positions(ticks)
        gain = self._lead() - before
        for unit in self.units:
            unit.stats["team_gain_mp"] = gain if unit.team == 0 else -gain
            if self.outcome != RUNNING:
                unit.stats["alive_at_end"] = int(unit.alive)
                won, lost = (WON_BY_KILL, LOST_BY_KILL) if unit.team == 0 else (LOST_BY_KILL, WON_BY_KILL)
                unit.stats["won"] = int(self.outcome == won)
                unit.stats["lost"] = int(self.outcome == lost)

    def _play_tick(self) -> None:
        """Clocks, actions in an order drawn per tick, then all damage and healing at once."""
        self.tick += 1
        self.damage = dict.fromkeys(self.units, 0)
        self.healing = dict.fromkeys(self.units, 0)
        self.hitters = set()
        for unit in self.units:
            if unit.alive:
                self._run_clocks(unit)
        # Two coins: which side leads each pair of equal slots, and from which end the slots are taken.
        coins = self.dice.draw(self.tick, 0, Purpose.ORDER)
        leader = (coins & 1) ^ self.swapped
        slots = range(self.half)
        for slot in reversed(slots) if coins >> 1 & 1 else slots:
            for side in (leader, 1 - leader):
                unit = self.units[side * self.half + slot]
                if unit.alive:
                    self._act(unit)
        self._settle()

    def _run_clocks(self, unit: Unit) -> None:
        """All clocks run down by 100 ms; 2 % of max SP come back each second."""
        for name in CLOCKS:
            setattr(unit, name, max(getattr(unit, name) - TICK_MS, 0))
        # A step may become due within a tick: the rest is credited to the next step.
        unit.move_lock = max(unit.move_lock - TICK_MS, 1 - TICK_MS)
        unit.cooldowns = [max(left - TICK_MS, 0) for left in unit.cooldowns]
        if unit.shield_left == 0:
            unit.shield = 0
        if self.tick % 10 == 0:
            unit.sp = min(unit.sp + unit.max_sp // 50, unit.max_sp)
        unit.stats["alive_ticks"] += 1

    def _act(self, me: Unit) -> None:
        """Stunned: nothing. Casting: go on. Else obey a mind or style, unless a script or taunted."""
        if me.stun > 0:
            return
        if me.cast is not None:
            me.cast.left -= TICK_MS
            if me.cast.left <= 0:
                finish_cast(self, me, me.cast)
            return
        bound = me.bound
        if (me.obeys or me.style != "script") and not bound:
            obey(self, me)
        else:
            act_by_script(self, me, skills=not bound)

    def _settle(self) -> None:
        """Apply damage and healing to all at once: both may die. A hit above 5 % of max HP stops a cast."""
        fallen: list[Unit] = []
        for unit in self.units:
            if unit in self.hitters:
                unit.last_hit_tick = self.tick
            if not unit.alive:
                continue
            damage = self.damage[unit]
            unit.stats["taken_mp"] += share(damage, unit)
            if damage * 20 > unit.max_hp:
                unit.cast = None
            unit.hp = max(min(unit.hp + self.healing[unit], unit.max_hp) - damage, 0)
            if not unit.alive:
                fallen.append(unit)
        for unit in fallen:
            unit.cast = None
            unit.stats["deaths"] += 1
            killer = unit.killer
            assert killer is not None, "nobody dies without damage"
            self.killers[unit] = killer
            killer.stats["kills"] += 1
            killer.stats["spell_kills"] += unit.killer_spell
            held_off(self, killer, unit)
            for ally in self.units:
                if ally is not unit and not ally.hostile(unit):
                    ally.stats["ally_deaths"] += 1

    def _count_positions(self, ticks: int) -> None:
        """Where the window's end finds each unit, counted for all its ticks: hunted, well placed, kiting."""
        for unit in self.units:
            if not unit.alive:
                continue
            if unit.target is not None and unit.target.alive and unit.target.hostile(unit):
                unit.target.stats["aggro_ticks"] += ticks
            foe = nearest_foe(self, unit, COMBAT_CELLS)
            if foe is None:
                continue
            low, high = unit.preferred_distance
            unit.stats["optimal_ticks"] += ticks * (low <= unit.distance(foe) <= high)
            unit.stats["kiting_ticks"] += ticks * (foe.target is unit and unit.distance(foe) > foe.range)

    def _judge(self) -> int:
        """Team 0's outcome: kill, else HP shares at the time limit, with a dead band of 2 %."""
        teams = self.units[: self.half], self.units[self.half :]
        alive = [any(unit.alive for unit in team) for team in teams]
        if not all(alive):
            return WON_BY_KILL if alive[0] else LOST_BY_KILL if alive[1] else DRAW
        if self.tick < self.time_limit:
            return RUNNING
        share = [sum(unit.hp * 1000 // unit.max_hp for unit in team) for team in teams]
        if abs(share[0] - share[1]) <= 20 * self.half:
            return DRAW
        return WON_ON_TIME if share[0] > share[1] else LOST_ON_TIME

    def _lead(self) -> int:
        """Team 0's HP shares minus team 1's, in thousandths of a per cent."""
        return sum((1 if unit.team == 0 else -1) * (unit.hp * FULL_BAR // unit.max_hp) for unit in self.units)

    def view(self) -> WorldView:
        """Return what a game server would send of this fight."""
        units = np.array([unit.row()[:NUM_UNIT_FIELDS] for unit in self.units], np.int32)
        # A step's credit within a tick is the simulation's own affair.
        units[:, MOVE_LOCK] = np.maximum(units[:, MOVE_LOCK], 0)
        edge = self.size - 1
        return WorldView(
            ids=tuple(range(len(units))),
            units=units,
            skills=np.stack([unit.skill_rows() for unit in self.units]),
            bounds=(0, 0, edge, edge),
            origin_x2=(edge, edge),
            elapsed_ms=self.tick * TICK_MS,
            blocked=self.terrain,
        )
