"""Recorder: plays fights to their end and keeps, per decision, what labels are computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from envs.contracts import layout as f
from envs.contracts.vocabulary import NUM_CONTROL_PARTS
from envs.perception.recording import DEED_FIELDS, UNIT_FIELDS, Recording
from envs.simulation import state as s
from envs.simulation.rules import mitigated
from envs.simulation.world import World

Policy = Callable[[World], np.ndarray]
"""Actions for the learners of a world, int `(fight, learner)`; control: float `(fight, learner, 5)`."""

COLUMNS = (
    f.X, f.Y, f.TARGET, f.ACTION_CLOCK, f.CAST_SLOT, f.CAST_LEFT, f.CAST_TARGET, f.CAST_X, f.CAST_Y,
    f.STUN, f.LAST_ACTION, s.STYLE,
)  # fmt: skip
LONGEST = np.iinfo(np.int16).max
SLOW_TO_SHOW_MS = 300  # a cooldown up to this long may end below what was left before the window
WINDOW_TICKS = 2


def record(world: World, *, windows: int | None = None, policy: Policy | None = None) -> Recording:
    """Play every fight of a world from its present state to its end, or for so many decision windows.

    Fights that end earlier keep their last state; the world itself goes on to their next episodes, so
    make a new one (or `reset`) afterwards.

    Args:
        world: made with `log_damage=True`; `record_fights` makes one.
        windows: at most so many decision windows; default: until the time limit.
        policy: actions of the learners; without one the world must have none.

    Raises:
        ValueError: a world without damage log, learners without a policy, a fight already ended.
    """
    _check(world, policy)
    left = (int(world.world[s.W_LIMIT] - world.fights[:, s.G_TICK].min()) + 1) // WINDOW_TICKS
    recording = _empty(world, world.num_fights, left if windows is None else min(windows, left))
    _play(world, recording, 0, policy)
    return _trimmed(recording)


def record_fights(
    num_fights: int,
    teams: tuple[Sequence[str], Sequence[str]],
    *,
    policy: Policy | None = None,
    first_fight: int = 0,
    chunk: int = 256,
    **arguments: Any,
) -> Recording:
    """Play fights of one composition from start to end.

    Args:
        num_fights: so many, numbered from `first_fight` under the seed.
        teams: archetypes of both sides.
        policy: actions of the learners; without one there must be none.
        first_fight: number of the first fight, so that shards of one data set differ.
        chunk: fights played at a time; the result does not depend on it unless the policy's does.
        arguments: those of `World`: seed, tiers, styles, switching, learners, head, terrain, starts ...

    Raises:
        ValueError: as `record`.
    """
    recording: Recording | None = None
    for start in range(0, num_fights, chunk):
        count = min(chunk, num_fights - start)
        world = World(count, teams, first_fight=first_fight + start, **{**arguments, "log_damage": True})
        _check(world, policy)
        if recording is None:
            limit = int(world.world[s.W_LIMIT])
            recording = _empty(world, num_fights, (limit + 1) // WINDOW_TICKS)
        _play(world, recording, start, policy)
        world.close()
    if recording is None:
        raise ValueError("no fights to record: num_fights must be at least 1")
    return _trimmed(recording)


def _check(world: World, policy: Policy | None) -> None:
    if not world.world[s.W_LOG]:
        raise ValueError("this world keeps no damage log; make it with log_damage=True")
    if world.learners and policy is None:
        raise ValueError(f"{world.learners} learners and no policy; pass policy=, or learners=0 for scripts")
    if (world.outcome != s.RUNNING).any():
        raise ValueError("a fight has already ended; record from a reset or from running fights")


def _empty(world: World, fights: int, windows: int) -> Recording:
    """Room for a recording, with what is the same for all its fights filled in."""
    n = world.units.shape[1]
    control = (NUM_CONTROL_PARTS,) if world.head == "control" else ()
    zeros = np.zeros
    return Recording(
        units=zeros((windows + 1, fights, n, len(UNIT_FIELDS)), np.int16),
        hp=zeros((windows + 1, fights, n), np.int32),
        deeds=zeros((windows, fights, n, len(DEED_FIELDS)), np.int16),
        damage=zeros((windows, fights, n, n), np.int32),
        killer=np.full((windows, fights, n), -1, np.int8),
        actions=zeros((windows, fights, world.learners, *control), np.float32 if control else np.int16),
        length=zeros(fights, np.int32),
        by_kill=zeros(fights, bool),
        outcome=zeros(fights, np.int8),
        seed=zeros(fights, np.int64),
        number=zeros(fights, np.int64),
        episode=zeros(fights, np.int64),
        switch_tick=zeros((fights, n), np.int32),
        template=world.template.copy(),
        skills=world.skills.copy(),
        swing_points=_swing_points(world),
        skill_points=_skill_points(world),
        blocked=np.zeros((_size(world), _size(world)), bool) if world.terrain is None else world.terrain,
    )


def _size(world: World) -> int:
    return int(world.world[s.W_WIDTH])


def _play(world: World, into: Recording, start: int, policy: Policy | None) -> None:
    """Play a world's fights and write them to the recording's fights from `start` on."""
    rows = np.arange(start, start + world.num_fights)
    into.seed[rows] = world.world[s.W_SEED]
    into.number[rows] = world.world[s.W_FIRST] + np.arange(world.num_fights)
    into.episode[rows] = world.fights[:, s.G_EPISODE]
    into.switch_tick[rows] = world.units[..., s.SWITCH_TICK]
    into.units[0, rows], into.hp[0, rows] = _public(world), world.units[..., f.HP]
    running = np.ones(world.num_fights, bool)
    nobody = np.zeros((world.num_fights, 0), np.int32)
    windows = len(into.damage)
    for t in range(windows):
        if not running.any():
            _hold(into, rows, t)
            break
        actions = nobody if policy is None else np.asarray(policy(world))
        before = world.units.copy()
        world.step(actions)
        now = rows[running]
        into.units[t + 1, rows], into.hp[t + 1, rows] = into.units[t, rows], into.hp[t, rows]
        into.units[t + 1, now], into.hp[t + 1, now] = _public(world)[running], world.units[running, :, f.HP]
        into.deeds[t, now] = _deeds(world, before)[running]
        into.damage[t, now], into.killer[t, now] = world.damage[running], world.killer[running]
        if world.learners:
            into.actions[t, now] = actions[running, : world.learners]
        into.length[now] = t + 1
        into.outcome[now] = world.outcome[running]
        running &= world.outcome == s.RUNNING
    alive = into.hp[-1, rows] > 0
    half = alive.shape[1] // 2
    into.by_kill[rows] = ~(alive[:, :half].any(axis=1) & alive[:, half:].any(axis=1))


def _hold(into: Recording, rows: np.ndarray, last: int) -> None:
    """All have ended: the last state stands for the rest."""
    into.units[last + 1 :, rows], into.hp[last + 1 :, rows] = into.units[last, rows], into.hp[last, rows]


def _public(world: World) -> np.ndarray:
    """The kept columns, int16 `(fight, unit, field)`; times are cut at 32.7 s."""
    return np.clip(world.units[..., COLUMNS], -LONGEST, LONGEST).astype(np.int16)


def _deeds(world: World, before: np.ndarray) -> np.ndarray:
    """What units did in the last window, int16 `(fight, unit, field)`."""
    counts = world.stats[..., (s.S_SWINGS, s.S_SKILLS, s.S_STEPS)]
    # Which skill: the one whose cooldown rose, else the one being cast, else one with hardly a cooldown.
    columns = slice(f.COOLDOWN, f.COOLDOWN + world.skills.shape[1])
    rose = world.units[..., columns] > before[..., columns]
    casting = world.units[..., f.CAST_SLOT]
    filled = world.skills[..., f.KIND] != f.K_NONE
    quick = (filled & (world.skills[..., f.COOLDOWN_TIME] <= SLOW_TO_SHOW_MS)).argmax(axis=-1)
    slot = np.where(rose.any(axis=-1), rose.argmax(axis=-1), np.where(casting >= 0, casting, quick))
    slot = np.where(counts[..., 1] > 0, slot, -1)
    return np.concatenate([counts, slot[..., None]], axis=-1).astype(np.int16)


def _swing_points(world: World) -> np.ndarray:
    """Mean damage of a swing that hits, after defence, int32 `(source, target)`."""
    table, magic = world.template, world.template[:, s.BASIC_MAGIC] > 0
    raw = np.where(magic, table[:, f.MATK] * table[:, s.BASIC_MAGIC] // 100, table[:, f.ATK])
    return _after_defence(world, raw, magic)


def _skill_points(world: World) -> np.ndarray:
    """Mean damage of a skill, after defence, int32 `(source, slot, target)`; 0 if it does none."""
    strikes = (f.K_STRIKE, f.K_AREA, f.K_GROUND, f.K_STUN, f.K_SLOW, f.K_DASH)
    magic = world.skills[..., f.MAGIC] == 1
    power = np.where(magic, world.template[:, None, f.MATK], world.template[:, None, f.ATK])
    raw = power.astype(np.int64) * world.skills[..., f.EFFECT] // 100
    points = np.stack([_after_defence(world, raw[:, k], magic[:, k]) for k in range(raw.shape[1])], axis=1)
    return points * np.isin(world.skills[..., f.KIND], strikes)[..., None]


def _after_defence(world: World, raw: np.ndarray, magic: np.ndarray) -> np.ndarray:
    """Points of each source that reach each target, int32 `(source, target)`."""
    n = len(world.template)
    points = [
        [max(mitigated(world.template, world.world, j, int(raw[i]), bool(magic[i])), 1) for j in range(n)]
        for i in range(n)
    ]
    return np.array(points, np.int32)


def _trimmed(recording: Recording) -> Recording:
    """Without the rows after the longest fight."""
    longest = int(recording.length.max())
    return recording.until(longest)
