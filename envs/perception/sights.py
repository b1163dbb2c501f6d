"""What units saw while fights were recorded: tokens, opponents' windows and grids beside the recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from envs.contracts import layout as f
from envs.contracts.grid import GRID_SIZE, NUM_GRID_CHANNELS
from envs.contracts.token import TOKEN_SIZE
from envs.contracts.vocabulary import ARCHETYPES, OBS_SIZE
from envs.contracts.window import NUM_WINDOW_FEATURES
from envs.perception.recorder import record_fights
from envs.perception.recording import Recording
from envs.simulation import state as s
from envs.simulation.history import History
from envs.simulation.perception import grid_batch, new_windows, token_batch, window_batch
from envs.simulation.world import World


@dataclass(frozen=True)
class Sights:
    """A recording and what some of its units saw; state t is what is seen at decision t.

    Attributes:
        recording: the fights.
        observers: indices of the units that saw.
        tokens: float32 `(time, fight, observer, 80)`; the first 64 are `obs_v1`.
        opponents: float32 `(time, fight, observer, enemy slot, 16)`, features of the pattern window.
        shown: bool `(time, fight, observer, enemy slot)`, both lived.
        frames: int64 `(frame, 3)`, (time, fight, observer's place in `observers`) of each grid.
        grids: uint8 `(frame, 12, 32, 32)`.
    """

    recording: Recording
    observers: tuple[int, ...]
    tokens: np.ndarray
    opponents: np.ndarray
    shown: np.ndarray
    frames: np.ndarray
    grids: np.ndarray

    @property
    def obs(self) -> np.ndarray:
        """`obs_v1`, float32 `(time, fight, observer, 64)`, without a copy."""
        return self.tokens[..., :OBS_SIZE]

    @property
    def seeing(self) -> np.ndarray:
        """Whether an observer lives and the fight runs, bool `(time, fight, observer)`."""
        running = np.arange(len(self.tokens))[:, None] < self.recording.length
        return running[..., None] & self.recording.alive[:-1][..., list(self.observers)]

    def kinds(self, observer: int) -> np.ndarray:
        """Archetype of each enemy slot of an observer, one-hot, float32 `(enemy slot, 6)`."""
        enemies = list(self.recording.enemies(self.observers[observer]))
        names = self.recording.template[enemies, f.ARCHETYPE]
        return (names[:, None] == np.arange(len(ARCHETYPES))).astype(np.float32)

    def fights(self, chosen: np.ndarray) -> Sights:
        """Only some fights, `chosen` bool `(fight,)`; a copy."""
        place = np.cumsum(chosen) - 1
        kept = chosen[self.frames[:, 1]]
        frames = self.frames[kept].copy()
        frames[:, 1] = place[frames[:, 1]]
        return replace(
            self,
            recording=self.recording.fights(chosen),
            tokens=self.tokens[:, chosen],
            opponents=self.opponents[:, chosen],
            shown=self.shown[:, chosen],
            frames=frames,
            grids=self.grids[kept],
        )


def record_sights(
    num_fights: int,
    teams: tuple[Sequence[str], Sequence[str]],
    observers: Sequence[int] = (0,),
    *,
    grid_stride: int = 0,
    grid_size: int = GRID_SIZE,
    **arguments: Any,
) -> Sights:
    """Play fights of scripts, and keep what some units saw at every decision.

    Args:
        num_fights: so many.
        teams: archetypes of both sides.
        observers: indices of the units that see.
        grid_stride: keep a grid every so many decisions, of living observers; 0 keeps none.
        grid_size: cells per edge of a grid.
        arguments: those of `record_fights`: seed, first_fight, tiers, styles, switching ...

    Raises:
        ValueError: as `record_fights`; no such unit.
    """
    eyes = _Eyes(num_fights, tuple(observers), int(arguments.get("first_fight", 0)), grid_stride, grid_size)
    recording = record_fights(num_fights, teams, policy=eyes, **arguments)
    return eyes.sights(recording)


class _Eyes:
    """A policy without actions, which the recorder calls at every decision."""

    def __init__(
        self, num_fights: int, observers: tuple[int, ...], first_fight: int, grid_stride: int, grid_size: int
    ) -> None:
        self.num_fights, self.observers, self.first_fight = num_fights, observers, first_fight
        self.grid_stride, self.grid_size = grid_stride, grid_size
        self.world: World | None = None
        self.tokens: list[np.ndarray] = []
        self.opponents: list[np.ndarray] = []
        self.shown: list[np.ndarray] = []
        self.frames: list[np.ndarray] = []
        self.grids: list[np.ndarray] = []

    def __call__(self, world: World) -> np.ndarray:
        """Look, and let the scripts act."""
        if world is self.world:
            self.history.push()
            self.time += 1
        else:
            self._begin(world)
        rows = slice(self.start, self.start + world.num_fights)
        if self.time == len(self.tokens):
            self._lengthen(world)
        ran = (world.fights[:, s.G_EPISODE] == self.episode) & (world.outcome == s.RUNNING)
        token_batch(self.history, self.observers, self.token)
        window_batch(self.history, self.observers, self.window, self.mask)
        self.tokens[self.time][rows] = np.where(ran[:, None, None], self.token, 0)
        self.opponents[self.time][rows] = np.where(ran[:, None, None, None], self.window[..., 0, :], 0)
        self.shown[self.time][rows] = self.mask[..., 0] & ran[:, None, None]
        if self.grid_stride and self.time % self.grid_stride == 0:
            self._paint(world, ran)
        return self.nobody

    def sights(self, recording: Recording) -> Sights:
        """What was seen, cut to the recording's length."""
        windows = recording.num_windows
        grid = (0, NUM_GRID_CHANNELS, self.grid_size, self.grid_size)
        return Sights(
            recording=recording,
            observers=self.observers,
            tokens=np.stack(self.tokens[:windows]),
            opponents=np.stack(self.opponents[:windows]),
            shown=np.stack(self.shown[:windows]),
            frames=np.concatenate(self.frames) if self.frames else np.zeros((0, 3), np.int64),
            grids=np.concatenate(self.grids) if self.grids else np.zeros(grid, np.uint8),
        )

    def _begin(self, world: World) -> None:
        self.world, self.time = world, 0
        self.history = History(world)
        self.start = int(world.world[s.W_FIRST]) - self.first_fight
        self.episode = world.fights[:, s.G_EPISODE].copy()
        fights, eyes = world.num_fights, len(self.observers)
        self.token = np.zeros((fights, eyes, TOKEN_SIZE), np.float32)
        self.window, self.mask = new_windows(self.history, self.observers, 1)
        self.nobody = np.zeros((fights, 0), np.int32)

    def _lengthen(self, world: World) -> None:
        shape = (self.num_fights, len(self.observers))
        half = world.units.shape[1] // 2
        self.tokens.append(np.zeros((*shape, TOKEN_SIZE), np.float32))
        self.opponents.append(np.zeros((*shape, half, NUM_WINDOW_FEATURES), np.float32))
        self.shown.append(np.zeros((*shape, half), bool))

    def _paint(self, world: World, ran: np.ndarray) -> None:
        eyes = list(self.observers)
        grid = np.zeros(
            (world.num_fights, len(eyes), NUM_GRID_CHANNELS, self.grid_size, self.grid_size), np.uint8
        )
        grid_batch(self.history, self.observers, grid)
        seeing = np.argwhere(ran[:, None] & (world.units[:, eyes, f.HP] > 0))
        time = np.full((len(seeing), 1), self.time, np.int64)
        self.frames.append(np.concatenate([time, seeing + np.array([self.start, 0])], axis=1))
        self.grids.append(grid[seeing[:, 0], seeing[:, 1]])
