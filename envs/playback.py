"""Playing a replay again: `frames` simulates it and gives what a picture needs, state by state.

A replay whose checksums differ is refused, because then it is another fight than the recorded one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.contracts import layout as f
from envs.contracts.vocabulary import ARCHETYPES, NUM_CONTROL_PARTS
from envs.replay import CHECK_EVERY, Fighter, Replay, ReplayError, rules_version
from envs.rewards import TERMS
from envs.simulation import state as s
from envs.simulation.world import World

# Fields of a fighter in the order of a unit's columns from ATK on.
STAT_FIELDS = (
    "atk",
    "matk",
    "defence",
    "mdef",
    "hit",
    "flee",
    "range",
    "speed_ms",
    "attack_delay_ms",
    "attack_motion_ms",
)


@dataclass(frozen=True)
class Frame:
    """One state of a fight, and what the decision window before it did; arrays are copies.

    Attributes:
        decision: windows played so far; frame 0 is the start.
        tick: ticks of 100 ms played so far.
        units: int32 `(unit, 43)`, columns of `envs.contracts.layout`.
        stats: int32 `(unit, statistic)`, zero in frame 0.
        damage: int32 `(source, target)`, hit points taken.
        killer: int32 `(unit,)`, who killed it in this window, -1 none.
        orders: int32 `(learner, 5)`, what the learners were told for this window.
        masks: bool `(learner, action)`, what is legal from here on.
        terms: weighted reward terms of unit 0.
        outcome: see `envs.simulation.state`.
    """

    decision: int
    tick: int
    units: np.ndarray
    stats: np.ndarray
    damage: np.ndarray
    killer: np.ndarray
    orders: np.ndarray
    masks: np.ndarray
    terms: dict[str, float]
    outcome: int

    @property
    def reward(self) -> float:
        """Reward of unit 0 in this window: the sum of its terms."""
        return float(sum(self.terms.values()))


def build_world(replay: Replay) -> World:
    """Return a world of one fight, at the start of the recorded one.

    Raises:
        ReplayError: terrain that no fight can be fought on.
    """
    a = replay.arena
    fighters = [replay.fighters[index] for team in replay.teams for index in team]
    half = len(fighters) // 2
    stand_ins = [fighter.base or ARCHETYPES[0] for fighter in fighters]
    terrain = None if a.terrain is None else np.array([[c == "#" for c in row] for row in a.terrain])
    try:
        world = World(
            1, (stand_ins[:half], stand_ins[half:]), learners=replay.learners, head=replay.head,
            seed=replay.seed, first_fight=replay.fight, swap_sides=a.swap_sides, rules=a.rules, size=a.size,
            time_limit_ticks=a.time_limit_ticks, starts=a.starts, styles=a.styles, switching=a.switching,
            terrain=terrain, log_damage=True,
        )  # fmt: skip
    except ValueError as error:
        raise ReplayError(f"this replay cannot be played: {error}") from None
    world.teams = replay.names
    for unit, fighter in enumerate(fighters):
        _set_fighter(world, unit, fighter)
    world.reset(replay.seed)
    if replay.episode:
        world.fights[0, s.G_EPISODE] = replay.episode - 1
        world.reset()
    return world


def frames(replay: Replay, *, check: bool = True) -> Iterator[Frame]:
    """Simulate a replay: yields the start, then the state after each decision.

    Args:
        replay: what was recorded.
        check: refuse a fight that differs from the recorded one; False shows whatever today's rules give.

    Raises:
        ReplayError: the rules have changed and the fight goes another way.
    """
    world = build_world(replay)
    yield _frame(replay, world, 0)
    for decision in range(replay.decisions):
        if check and decision % CHECK_EVERY == 0:
            _compare(replay, world, decision)
        if world.outcome[0] != s.RUNNING:
            break  # only without checks: today's fight is shorter
        actions: Any = replay.actions[decision] if replay.learners else ()
        shape: tuple[int, ...] = (1, replay.learners)
        if replay.head == "control":
            world.step(np.asarray(actions, np.float32).reshape(*shape, NUM_CONTROL_PARTS))
        else:
            world.step(np.asarray(actions, np.int32).reshape(shape))
        yield _frame(replay, world, decision + 1)
    if check:
        _compare(replay, world, replay.decisions)


def checksum(world: World, fight: int = 0) -> str:
    """Checksum of what everybody can see of a fight, 16 hexadecimal digits."""
    digest = hashlib.sha256(world.units[fight, :, : f.NUM_UNIT_FIELDS].astype("<i4").tobytes())
    digest.update(world.fights[fight, [s.G_TICK, s.G_OUTCOME]].astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def _compare(replay: Replay, world: World, decision: int) -> None:
    place = -1 if decision == replay.decisions else decision // CHECK_EVERY
    end = (int(world.outcome[0]), int(world.fights[0, s.G_TICK]))
    if checksum(world) == replay.checks[place] and (
        place != -1 or end == (replay.end.outcome, replay.end.tick)
    ):
        return
    mine = rules_version()
    if mine == replay.rules_version:
        cause = "the file was changed after the recording"
    else:
        cause = f"the rules have changed since (recorded with {replay.rules_version}, these are {mine})"
    before = max(decision - 1, 0) // CHECK_EVERY * CHECK_EVERY
    raise ReplayError(
        f"the replay no longer gives the recorded fight, differing between {before * 0.2:.0f} and "
        f"{decision * 0.2:.0f} s: {cause}; record it again, or watch it as it goes now with --anyway"
    )


def _frame(replay: Replay, world: World, decision: int) -> Frame:
    stats = world.stats[0].copy()
    half = len(replay.teams[0])
    terms = {name: float(w * TERMS[name](stats[:1], half)[0]) for name, w in replay.weights.items()}
    return Frame(
        decision=decision,
        tick=int(world.fights[0, s.G_TICK]),
        units=world.units[0, :, : f.NUM_UNIT_FIELDS].copy(),
        stats=stats,
        damage=world.damage[0].copy(),
        killer=world.killer[0].copy(),
        orders=world.chosen[0].copy(),
        masks=world.masks[0].copy(),
        terms=terms,
        outcome=int(world.outcome[0]),
    )


def _set_fighter(world: World, unit: int, fighter: Fighter) -> None:
    row = world.template[unit]
    row[f.HP] = row[f.MAX_HP] = fighter.hp
    row[f.SP] = row[f.MAX_SP] = fighter.sp
    row[f.ATK : f.ATTACK_MOTION + 1] = [getattr(fighter, name) for name in STAT_FIELDS]
    row[f.ARCHETYPE] = ARCHETYPES.index(fighter.base) if fighter.base else -1
    row[s.BASIC_MAGIC] = fighter.basic_magic_percent
    row[s.PREFER_LOW], row[s.PREFER_HIGH] = fighter.preferred_distance
    row[s.AGGRESSIVE], row[s.SKILL_CHANCE] = fighter.aggressive, fighter.skill_chance
    world.skills[unit] = 0
    for slot, k in enumerate(fighter.skills):
        world.skills[unit, slot] = (
            f.SKILL_KINDS.index(k.kind), k.magic, k.effect, k.range, k.cost, k.cast_ms, k.cooldown_ms,
            k.radius, k.duration_ms, k.chance,
        )  # fmt: skip
