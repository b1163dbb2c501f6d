"""Rows of the threat task: what a unit sees of its enemies, and what they then did."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from envs.contracts.features import ALLY_0
from envs.contracts.vocabulary import MAX_TEAM_SIZE
from envs.perception import baselines, labels
from envs.perception.recording import FIVE_SECONDS, TWO_SECONDS, Recording
from envs.perception.sights import Sights
from policies.perception.task import Rows
from policies.threat_assessment import TARGETS

HORIZONS = (TWO_SECONDS, FIVE_SECONDS)
UNKNOWN = -1
NONE = TARGETS.index("none")
NOBODY = 2 * MAX_TEAM_SIZE
"""Index behind that of the last unit."""


def threat_rows(sights: Sights, *, stride: int, history: int) -> Rows:
    """One row per decision in which the first observer lives.

    Args:
        sights: what it saw.
        stride: decisions between two rows of a fight.
        history: decisions that are looked back at, the present one last.

    Returns:
        Inputs: `observation` float32 `(row, 64)`, `opponents` float16 `(row, 5, history, 16)`, `health`
        float16 `(row, history, 5)`, `kinds` uint8 `(row, 5, 6)`.

        Targets: `threat` float32 `(row, 5, question)` and `known` bool; int8 with -1 where unknown `kill`
        `(row, 5)`, `target` `(row, 5)` (index into `TARGETS`) and `death` `(row,)`.

        For the baselines: `repeated` and `reach` float32 like `threat`, `same` int8 like `target`. Then
        `fight` int64 and `time` int32 `(row,)`.
    """
    recording = sights.recording
    me = sights.observers[0]
    enemies = recording.enemies(me)
    half = len(enemies)
    seeing = sights.seeing[..., 0] & (np.arange(len(sights.tokens))[:, None] % stride == 0)
    time, fight = np.nonzero(seeing)
    slots = slice(enemies.start, enemies.stop)
    value, valid = (_slots(part[time, fight], 0) for part in damage_done(recording, me))
    repeated, reach = (
        _slots(_guesses(recording, guess, me)[time, fight], 0)
        for guess in (baselines.repeated_threat, baselines.reach_threat)
    )
    kill = _masked(labels.kills(recording))[time, fight, slots]
    target = _masked(labels.next_target(recording), NOBODY)[time, fight, slots]
    same = baselines.same_target(recording)[time, fight, slots]
    return {
        "observation": sights.obs[time, fight, 0],
        "opponents": _history(sights.opponents[:, :, 0], time, fight, history),
        "health": _health(sights.obs[:, :, 0], time, fight, history),
        "kinds": _slots(np.broadcast_to(sights.kinds(0)[:half].astype(np.uint8), (len(time), half, 6)), 0),
        "threat": np.where(valid, value, np.float32(0)),
        "known": valid,
        "kill": _slots(kill, UNKNOWN),
        "target": _slots(_aimed(target, me, recording), UNKNOWN),
        "death": _masked(labels.deaths(recording))[time, fight, me],
        "repeated": repeated,
        "reach": reach,
        "same": _slots(_aimed(np.where(same < 0, NOBODY, same), me, recording), NONE),
        "fight": fight.astype(np.int64),
        "time": time.astype(np.int32),
    }


def damage_done(recording: Recording, me: int) -> tuple[np.ndarray, np.ndarray]:
    """What each enemy of a unit does to it and to its team, in the order of `QUESTIONS`.

    Returns:
        float32 `(time, fight, enemy, question)`; bool of the same shape, where both live and it is known.
    """
    foes = slice(recording.enemies(me).start, recording.enemies(me).stop)
    own = [labels.threat(recording, horizon) for horizon in HORIZONS]
    team = [labels.team_threat(recording, horizon) for horizon in HORIZONS]
    values = [*(label.value[:, :, foes, me] for label in own), *(label.value[:, :, foes] for label in team)]
    known = [label.valid[:, :, foes, me] for label in own]
    return np.stack(values, axis=-1), np.stack([*known, *known], axis=-1)


def _guesses(recording: Recording, guess: Callable[[Recording, int], np.ndarray], me: int) -> np.ndarray:
    """A baseline's damage by target, as damage to me and to my team, like `damage_done`.

    Damage that was done adds up over targets; of those in reach an enemy hits one, the one it hurts most.
    """
    foes = slice(recording.enemies(me).start, recording.enemies(me).stop)
    mates = ~recording.hostile[me]
    found: dict[int, list[np.ndarray]] = {0: [], 1: []}
    for horizon in HORIZONS:
        points = guess(recording, horizon)[:, :, foes] * (recording.max_hp * mates)
        team = points.sum(axis=-1) if guess is baselines.repeated_threat else points.max(axis=-1)
        found[0].append(points[..., me] / recording.max_hp[me])
        found[1].append(team / (recording.max_hp * mates).sum())
    return np.stack([*found[0], *found[1]], axis=-1).astype(np.float32)


def _masked(label: labels.Label, none: int = 0) -> np.ndarray:
    """Values as int8, -1 where unknown; -1 that means nobody becomes `none`."""
    value = label.value.astype(np.int8)
    return np.where(label.valid, np.where(value < 0, none, value), UNKNOWN).astype(np.int8)


def _aimed(target: np.ndarray, me: int, recording: Recording) -> np.ndarray:
    """Unit indices as indices into `TARGETS`; -1 stays, whoever is not of my team is nobody."""
    mates = [unit for unit in range(recording.num_units) if not recording.hostile[me, unit] and unit != me]
    out = np.full(target.shape, NONE, np.int8)
    out[target == me] = 0
    for k, mate in enumerate(mates):
        out[target == mate] = 1 + k
    out[target == UNKNOWN] = UNKNOWN
    return out


def _slots(values: np.ndarray, empty: int) -> np.ndarray:
    """Values `(row, enemy, ...)` with `empty` in the slots behind the enemies, `(row, 5, ...)`."""
    missing = MAX_TEAM_SIZE - values.shape[1]
    room = np.full((len(values), missing, *values.shape[2:]), empty, values.dtype)
    return np.concatenate([values, room], axis=1)


def _history(opponents: np.ndarray, time: np.ndarray, fight: np.ndarray, length: int) -> np.ndarray:
    """The last decisions of each row, float16 `(row, 5, length, 16)`, zeros before the fight's first."""
    windows, fights, enemies, features = opponents.shape
    # Each enemy's decisions lie behind each other, so that a row's are one piece of memory.
    lanes = np.zeros((fights, enemies, length - 1 + windows, features), np.float16)
    lanes[:, :, length - 1 :] = opponents.transpose(1, 2, 0, 3)
    pieces = np.lib.stride_tricks.sliding_window_view(
        lanes.reshape(fights, enemies, -1), length * features, axis=2
    )[:, :, ::features]
    out = np.zeros((len(time), MAX_TEAM_SIZE, length, features), np.float16)
    for enemy in range(enemies):
        out[:, enemy] = pieces[fight, enemy, time].reshape(-1, length, features)
    return out


def _health(obs: np.ndarray, time: np.ndarray, fight: np.ndarray, length: int) -> np.ndarray:
    """HP shares of me and four allies in the last decisions, float16 `(row, length, 5)`, zeros before."""
    bars = obs[..., [0, *range(ALLY_0 + 2, ALLY_0 + 3 * (MAX_TEAM_SIZE - 1), 3)]]
    out = np.zeros((len(time), length, MAX_TEAM_SIZE), np.float16)
    for age in range(length):
        there = time >= age
        out[there, length - 1 - age] = bars[time[there] - age, fight[there]]
    return out
