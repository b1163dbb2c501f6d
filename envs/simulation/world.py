"""A batch of fights: arrays, threads and state around the compiled kernel."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from envs import archetypes
from envs.contracts import layout as f
from envs.contracts.view import WorldView
from envs.contracts.vocabulary import ARCHETYPES, NUM_COMBAT_ACTIONS, NUM_SKILL_SLOTS, OBS_SIZE
from envs.simulation import (
    cache,  # noqa: F401  (sets numba's cache folder before any kernel is compiled)
    heads,
    kernel,
)
from envs.simulation import state as s

TIERS: dict[str, tuple[int, int]] = {"passive": (0, 50), "classic": (1, 100), "veteran": (1, 500)}
"""Traditional AI: (starts fights, per cent applied to its skill chances)."""
RULES = ("renewal", "prerenewal")


def unit_row(name: str, team: int, *, tier: str, obeys: bool, hp_percent: float = 100) -> np.ndarray:
    """Return a unit at the start of a fight, int32 `(column,)`, without its cell, clock and style."""
    config = archetypes.load(name)
    stats = config.stats
    row = np.zeros(s.NUM_COLUMNS, np.int32)
    row[f.HP] = row[f.MAX_HP] = max(int(stats.hp * hp_percent / 100), 1)
    row[f.SP] = row[f.MAX_SP] = stats.sp
    row[f.ATK : f.ATTACK_MOTION + 1] = (
        stats.atk, stats.matk, stats.def_, stats.mdef, stats.hit, stats.flee,
        stats.range, stats.speed_ms, stats.attack_delay_ms, stats.attack_motion_ms,
    )  # fmt: skip
    row[f.ARCHETYPE] = ARCHETYPES.index(config.base)
    row[f.TEAM] = team
    for column in (f.TARGET, f.CAST_SLOT, f.CAST_TARGET, f.TAUNT_BY, f.LAST_ACTION):
        row[column] = -1
    for column in (s.LAST_ATTACKER, s.KILLER, s.LAST_VICTIM, s.SHIELD_BY):
        row[column] = -1
    row[s.LAST_STEP] = row[s.LAST_HIT_TICK] = row[s.PROTECT_TICK : s.PROTECT_TICK + 5] = -10 * s.HOLD_TICKS
    row[s.LEASH] = s.LEASH_CAP
    row[s.BRAIN] = obeys
    row[s.AGGRESSIVE], row[s.SKILL_CHANCE] = TIERS[tier]
    row[s.ORDER + f.ORDER_SKILL] = row[s.ORDER + f.ORDER_TARGET] = -1
    row[s.PREFER_LOW], row[s.PREFER_HIGH] = config.preferred_distance
    row[s.BASIC_MAGIC] = config.basic_magic_percent
    row[s.SWITCH_TICK] = -1
    return row


class World:
    """Fights of one composition, stepped together.

    The first `learners` units of team 0 obey orders; all others are scripts.

    Attributes:
        units: int32 `(fight, unit, column)`; fights int64 `(fight, 5)`; stats int32
            `(fight, unit, statistic)`.
        obs: float32 `(fight, learner, 64)`; orders int32 `(fight, learner, action, 5)`; masks bool
            `(fight, learner, action)`; as many actions as the head has (control: the combat head's ten).
        damage: int32 `(fight, source, target)` and killer: int32 `(fight, unit)` of the last window, -1
            none; with `log_damage` only.
    """

    def __init__(
        self,
        num_fights: int,
        teams: tuple[Sequence[str], Sequence[str]],
        *,
        tiers: tuple[str, str] = ("classic", "classic"),
        learners: int = 0,
        observed: int | None = None,
        head: str = "combat",
        seed: int = 0,
        first_fight: int = 0,
        threads: int = 1,
        swap_sides: bool = False,
        rules: str = "renewal",
        size: int = 32,
        time_limit_ticks: int = 600,
        starts: str = "near",
        hp_percent: tuple[float, float] = (100, 100),
        styles: tuple[Sequence[str], Sequence[str]] = ((), ()),
        switching: bool = False,
        terrain: np.ndarray | None = None,
        log_damage: bool = False,
    ) -> None:
        """Allocate the arrays and begin episode 0.

        Args:
            num_fights: fights in the batch.
            teams: archetypes of both sides, equally many.
            tiers: traditional AI of both sides.
            learners: units of team 0 that obey orders, from slot 0.
            observed: units of team 0 that are observed (default: the learners).
            head: what the learners' actions mean: combat, movement, skill, pack or control.
            seed: key of all random numbers, together with a fight's number and episode.
            first_fight: number of the first fight, so that a batch can be split.
            threads: the batch is divided among this many threads; results do not depend on it.
            swap_sides: random streams follow the units to the other side (for mirror tests).
            rules: `renewal` or `prerenewal` damage formula.
            size: cells per edge, 32 or 48.
            time_limit_ticks: ticks of 100 ms until HP shares decide.
            starts: `near` (facing each other), `around` (the same, turned at random) or `random`.
            hp_percent: hit points of each team, per cent of the archetype's.
            styles: names of styles that each team's scripts draw from, one per fight; none: plain scripts.
            switching: a team with several styles changes to another one 10-30 s into the fight.
            terrain: bool `(size, size)`, row 0 = lowest y, True where nobody can walk; point-symmetric.
            log_damage: keep who damaged whom.
        """
        half = len(teams[0])
        watched = learners if observed is None else observed
        if len(teams[1]) != half:
            raise ValueError(f"teams of {half} and {len(teams[1])}: both sides must have the same size")
        if not 0 <= learners <= watched <= half:
            raise ValueError(f"{learners} learners, {watched} observed units in a team of {half}")
        self.num_fights, self.learners, self.threads = num_fights, learners, max(1, threads)
        self.teams, self.head = (tuple(teams[0]), tuple(teams[1])), head
        names = [(side, slot, name) for side in (0, 1) for slot, name in enumerate(teams[side])]
        rows = [
            unit_row(
                name,
                side,
                tier=tiers[side],
                obeys=side == 0 and slot < learners,
                hp_percent=hp_percent[side],
            )
            for side, slot, name in names
        ]
        self.template = np.stack(rows)
        self.skills = np.stack([archetypes.skill_rows(archetypes.load(name)) for _, _, name in names])
        n = 2 * half
        self.world = np.zeros(s.NUM_WORLD_FIELDS, np.int64)
        self.world[s.W_WIDTH] = self.world[s.W_HEIGHT] = size
        self.world[s.W_LIMIT], self.world[s.W_WINDOW] = time_limit_ticks, 2
        self.world[s.W_RULES], self.world[s.W_SWAP] = RULES.index(rules), swap_sides
        self.world[s.W_FIRST] = first_fight
        self.world[s.W_HEAD], self.world[s.W_STARTS] = s.HEADS.index(head), s.STARTS.index(starts)
        self.world[s.W_REMEMBER] = NUM_COMBAT_ACTIONS if head == "combat" else 0
        self.world[s.W_LOG], self.world[s.W_SWITCHING] = log_damage, switching
        self._set_styles(styles)
        self._set_terrain(terrain)
        actions = s.HEAD_ORDERS[s.HEADS.index(head)]
        logged = num_fights if log_damage else 1
        self.units = np.zeros((num_fights, n, s.NUM_COLUMNS), np.int32)
        self.fights = np.zeros((num_fights, s.NUM_FIGHT_FIELDS), np.int64)
        self.stats = np.zeros((num_fights, n, s.NUM_STATISTICS), np.int32)
        self.obs = np.zeros((num_fights, watched, OBS_SIZE), np.float32)
        self.orders = np.zeros((num_fights, watched, actions, f.NUM_ORDER_FIELDS), np.int32)
        self.masks = np.zeros((num_fights, watched, actions), bool)
        self.chosen = np.zeros((num_fights, watched, f.NUM_ORDER_FIELDS), np.int32)
        self.damage = np.zeros((logged, n, n), np.int32)
        self.killer = np.full((logged, n), -1, np.int32)
        self._pool: ThreadPoolExecutor | None = None
        self.reset(seed)

    def _set_styles(self, styles: tuple[Sequence[str], Sequence[str]]) -> None:
        for side, names in enumerate(styles):
            row = [s.STYLES.index(name) for name in names]
            place = s.W_STYLES + 8 * side
            self.world[place : place + 1 + len(row)] = [len(row), *row]

    def _set_terrain(self, terrain: np.ndarray | None) -> None:
        """Keep blocked cells as one number per row. Raises ValueError on a wrong shape or symmetry."""
        self.terrain = None if terrain is None else np.array(terrain, bool)
        if self.terrain is None:
            return
        size = int(self.world[s.W_WIDTH])
        if self.terrain.shape != (size, size):
            raise ValueError(f"terrain of shape {self.terrain.shape}; this world has ({size}, {size}) cells")
        if (self.terrain != self.terrain[::-1, ::-1]).any():
            raise ValueError("terrain must be point-symmetric: both sides fight on equal ground")
        middle = self.terrain[size // 2 - 1 : size // 2 + 1, size // 2 - 1 : size // 2 + 1]
        if middle.any():
            raise ValueError("terrain must leave the four cells in the middle free")
        self.world[s.W_TERRAIN] = 1
        bits = (self.terrain.astype(np.int64) << np.arange(size)).sum(axis=1)
        self.world[s.W_ROWS : s.W_ROWS + size] = bits

    def reset(self, seed: int | None = None) -> None:
        """Begin episode 0 of every fight under `seed`, or the next episode under the old one."""
        if seed is None:
            self.fights[:, s.G_EPISODE] += 1
        else:
            self.world[s.W_SEED] = np.int64(np.uint64(seed & (2**64 - 1)))
            self.fights[:] = 0
        self.stats[:] = 0
        self.damage[:], self.killer[:] = 0, -1
        self._split(
            lambda a, b: kernel.reset_batch(
                self.units,
                self.fights,
                self.skills,
                self.world,
                self.template,
                self.obs,
                self.orders,
                self.masks,
                a,
                b,
            )
        )

    def step(self, actions: np.ndarray) -> None:
        """Carry out one action per learner for one decision window.

        Args:
            actions: int32 `(fight, learner)`; for the control head float32 `(fight, learner, 5)`.
        """
        if self.head == "control" and self.learners:
            self.step_orders(self.mixed(actions), np.full(actions.shape[:2], -1, np.int32))
            return
        actions = np.ascontiguousarray(actions, np.int32)  # any other type would compile a second kernel
        kernel.choose(self.orders, actions, self.chosen, 0, self.num_fights)
        self.step_orders(self.chosen, actions)

    def mixed(self, actions: np.ndarray) -> np.ndarray:
        """Orders that the control head's numbers mean now, int32 `(fight, learner, 5)`; NaN counts as 0."""
        numbers = np.nan_to_num(np.ascontiguousarray(actions, np.float32), posinf=1.0, neginf=-1.0)
        heads.mix_control(
            self.units, self.skills, self.world, self.orders, self.masks,
            np.clip(numbers, -1.0, 1.0), self.chosen, 0, self.num_fights,
        )  # fmt: skip
        return self.chosen

    def step_orders(self, orders: np.ndarray, actions: np.ndarray) -> None:
        """Carry out one order per learner, int32 `(fight, learner, 5)`; `actions` is what units remember."""
        orders = np.ascontiguousarray(orders, np.int32)
        actions = np.ascontiguousarray(actions, np.int32)
        self._split(
            lambda a, b: kernel.step_batch(
                self.units, self.fights, self.stats, self.skills, self.world, self.template, orders,
                actions, self.obs, self.orders, self.masks, self.damage, self.killer, a, b,
            )
        )  # fmt: skip

    @property
    def outcome(self) -> np.ndarray:
        """Outcome per fight from team 0's side, int64 `(fight,)`, see `envs.simulation.state`."""
        return self.fights[:, s.G_OUTCOME]

    def view(self, fight: int) -> WorldView:
        """Return what a game server would send of a fight."""
        units = self.units[fight, :, : f.NUM_UNIT_FIELDS].copy()
        units[:, f.ACTION_CLOCK : f.ACT_LOCK + 1] = np.maximum(units[:, f.ACTION_CLOCK : f.ACT_LOCK + 1], 0)
        width, height = int(self.world[s.W_WIDTH]), int(self.world[s.W_HEIGHT])
        return WorldView(
            ids=tuple(range(len(units))),
            units=units,
            skills=self.skills[:, :, : f.NUM_SKILL_FIELDS].copy(),
            bounds=(0, 0, width - 1, height - 1),
            origin_x2=(width - 1, height - 1),
            elapsed_ms=int(self.fights[fight, s.G_TICK]) * s.TICK_MS,
            blocked=self.terrain,
        )

    def get_state(self) -> dict[str, np.ndarray]:
        """Return copies of everything that a resumed world needs."""
        names = ("units", "fights", "stats", "world", "obs", "orders", "masks", "damage", "killer")
        return {name: getattr(self, name).copy() for name in names}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` gave. Raises ValueError on another batch size or composition."""
        for name, value in state.items():
            mine = getattr(self, name)
            if mine.shape != np.shape(value):
                raise ValueError(
                    f"state of {name} has shape {np.shape(value)}, this world needs {mine.shape}"
                )
            mine[...] = value

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _split(self, work: Callable[[int, int], None]) -> None:
        """Run `work(start, stop)` over the batch, in parallel slices; the kernel releases the GIL."""
        if self.threads == 1 or self.num_fights < 2 * self.threads:
            work(0, self.num_fights)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="fights")
        edges = np.linspace(0, self.num_fights, self.threads + 1).astype(int)
        for job in [self._pool.submit(work, int(a), int(b)) for a, b in itertools.pairwise(edges)]:
            job.result()


assert NUM_SKILL_SLOTS == f.GUARD - f.COOLDOWN, "the layout keeps one cooldown column per slot"
