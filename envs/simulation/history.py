"""The last decisions of a batch of fights, kept beside a world."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.contracts.past import NUM_PAST_COLUMNS, P_ACT, P_ACTION, PAST_COLUMNS, PAST_LENGTH
from envs.simulation import state as s
from envs.simulation.world import World

_CLOCKS = [P_ACTION, P_ACT]


class History:
    """A ring of the last 16 decisions of every fight; the compiled twin of `envs.contracts.past`.

    Call `push` once after every reset and every step of the world. A fight whose clock did not advance has
    begun anew, and its past is forgotten.

    Attributes:
        world: the world it belongs to.
        ring: int32 `(fight, 16, unit, 6)`, columns of `envs.contracts.past.PAST_COLUMNS`.
        filled: int64 `(fight,)`, decisions of the present episode that the ring holds, at most 16.
        now: place of the present decision in the ring; one decision ago is one place before it.
    """

    def __init__(self, world: World) -> None:
        """Allocate the ring and push the world's present state."""
        shape = (world.num_fights, PAST_LENGTH, world.units.shape[1], NUM_PAST_COLUMNS)
        self.world = world
        self.ring = np.zeros(shape, np.int32)
        self.filled = np.zeros(world.num_fights, np.int64)
        self.now = -1
        self._episode = np.full(world.num_fights, -1, np.int64)
        self._tick = np.full(world.num_fights, -1, np.int64)
        self.push()

    def push(self) -> None:
        """Remember the world's present state as the newest decision."""
        episode, tick = self.world.fights[:, s.G_EPISODE], self.world.fights[:, s.G_TICK]
        goes_on = (episode == self._episode) & (tick > self._tick)
        self.filled[:] = np.where(goes_on, np.minimum(self.filled + 1, PAST_LENGTH), 1)
        self._episode[:], self._tick[:] = episode, tick
        self.now = (self.now + 1) % PAST_LENGTH
        place = self.ring[:, self.now]
        place[:] = self.world.units[..., list(PAST_COLUMNS)]
        # As a world view shows them: a clock below zero is the rest of a tick, carried over.
        place[..., _CLOCKS] = np.maximum(place[..., _CLOCKS], 0)

    def get_state(self) -> dict[str, Any]:
        """Return copies of what a resumed history needs, beside the world's own state."""
        names = ("ring", "filled", "_episode", "_tick")
        return {"now": self.now} | {name: getattr(self, name).copy() for name in names}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` gave. Raises ValueError on another batch size or composition."""
        if np.shape(state["ring"]) != self.ring.shape:
            raise ValueError(
                f"state of ring has shape {np.shape(state['ring'])}, this history needs {self.ring.shape}"
            )
        for name, value in state.items():
            if name == "now":
                self.now = int(value)
            else:
                getattr(self, name)[...] = value
