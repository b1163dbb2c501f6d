"""One fight: the order of events within a tick, and who has won."""

from __future__ import annotations

from collections.abc import Sequence

from envs.contracts.layout import O_ATTACK, O_HOLD, O_MOVE
from envs.reference.dice import Dice, Purpose
from envs.reference.rules import (
    FULL_BAR,
    finish_cast,
    held_off,
    swing,
    use_skill,
    walk,
    walk_toward,
)
from envs.reference.script import act_by_script, nearest_foe
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
    ) -> None:
        """Place the units. `number` is the fight's number under `seed`; the rest is as in `World`."""
        self.rules, self.size, self.time_limit = rules, size, time_limit_ticks
        self.swapped = swap_sides
        self.half = len(teams[0])
        self.dice = Dice(seed, number, episode)
        self.tick, self.outcome = 0, RUNNING
        self.units = [
            Unit(name, side * self.half + slot, side, slot, tiers[side], obeys=side == 0 and slot < learners)
            for side in (0, 1)
            for slot, name in enumerate(teams[side])
        ]
        for left, right in zip(self.units[: self.half], self.units[self.half :], strict=True):
            # One draw for the pair, so that starts are point-symmetric and clocks equal.
            roll = self.dice.draw(0, left.slot, Purpose.START)
            left.x = size // 2 - (3 + roll % 3)
            left.y = size // 2 + (roll // 16 % 9 - 4)
            right.x, right.y = size - 1 - left.x, size - 1 - left.y
            left.action_clock = right.action_clock = roll // 512 % 600
        self.damage = dict.fromkeys(self.units, 0)
        self.healing = dict.fromkeys(self.units, 0)
        self.hitters: set[Unit] = set()

    def draw(self, me: Unit, purpose: int) -> int:
        """A unit's random number of this tick; its stream follows it when the sides are swapped."""
        side = 1 - me.team if self.swapped else me.team
        return self.dice.draw(self.tick, 16 * side + me.slot, purpose)

    def living_foes(self, me: Unit) -> list[Unit]:
        """Enemies alive, in order of their slots."""
        return [unit for unit in self.units if unit.alive and unit.hostile(me)]

    def living_team(self, me: Unit) -> list[Unit]:
        """Team members alive, in order of their slots, the unit itself among them."""
        return [unit for unit in self.units if unit.alive and not unit.hostile(me)]

    def step(self, orders: Sequence[Sequence[int]] = (), actions: Sequence[int] = ()) -> None:
        """Play one decision window; `orders` five numbers per learner, `actions` what learners remember."""
        for unit in self.units:
            unit.stats = dict.fromkeys(STATISTICS, 0)
        for unit, order, action in zip(self.units, orders, actions, strict=False):
            unit.order, unit.last_action = tuple(int(value) for value in order), int(action)
        before = self._lead()
        for _ in range(TICKS_PER_DECISION):
            self._play_tick()
            self.outcome = self._judge()
            if self.outcome != RUNNING:
                break
        gain = self._lead() - before
        for unit in self.units:
            unit.stats["team_gain_mp"] = gain if unit.team == 0 else -gain
            if self.outcome != RUNNING:
                unit.stats["alive_at_end"] = int(unit.alive)
                unit.stats["won"] = int(self.outcome == (WON_BY_KILL if unit.team == 0 else LOST_BY_KILL))

    def _play_tick(self) -> None:
        """Clocks, actions in an order drawn per tick, then all damage and healing at once, then counting."""
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
        self._count_positions()

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
        """Stunned: nothing. Casting: go on. Else obey, unless a script or bound by a taunt."""
        if me.stun > 0:
            return
        if me.cast is not None:
            me.cast.left -= TICK_MS
            if me.cast.left <= 0:
                finish_cast(self, me, me.cast)
            return
        bound = me.bound
        if me.obeys and not bound:
            self._obey(me)
        else:
            act_by_script(self, me, skills=not bound)

    def _obey(self, me: Unit) -> None:
        """Carry out the order of this window for one tick."""
        kind, slot, aim, dx, dy = me.order
        if kind == O_MOVE:
            walk(self, me, dx, dy)
            return
        if aim < 0 or not self.units[aim].alive:
            return
        target = self.units[aim]
        if kind in (O_HOLD, O_ATTACK):
            me.target = target
            if me.distance(target) <= me.range:
                if me.ready:
                    swing(self, me, target)
            elif kind == O_ATTACK:
                walk_toward(self, me, target)
            return
        if me.hostile(target):
            me.target = target
        used = use_skill(self, me, slot, target)
        reach = me.skills[slot].range if slot < len(me.skills) else 0
        if not used and target is not me and me.distance(target) > reach:
            walk_toward(self, me, target)

    def _settle(self) -> None:
        """Apply damage and healing to all at once: both may die. A hit above 5 % of max HP stops a cast."""
        fallen: list[Unit] = []
        for unit in self.units:
            if unit in self.hitters:
                unit.last_hit_tick = self.tick
            if not unit.alive:
                continue
            damage = self.damage[unit]
            unit.stats["taken_mp"] += damage * FULL_BAR // unit.max_hp
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
            killer.stats["kills"] += 1
            killer.stats["spell_kills"] += unit.killer_spell
            held_off(self, killer, unit)
            for ally in self.units:
                if ally is not unit and not ally.hostile(unit):
                    ally.stats["ally_deaths"] += 1

    def _count_positions(self) -> None:
        """Per tick: who is targeted, who keeps its preferred distance, who is kiting."""
        for unit in self.units:
            if not unit.alive:
                continue
            if unit.target is not None and unit.target.alive and unit.target.hostile(unit):
                unit.target.stats["aggro_ticks"] += 1
            foe = nearest_foe(self, unit, COMBAT_CELLS)
            if foe is None:
                continue
            low, high = unit.preferred_distance
            unit.stats["optimal_ticks"] += low <= unit.distance(foe) <= high
            unit.stats["kiting_ticks"] += foe.target is unit and unit.distance(foe) > foe.range

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
