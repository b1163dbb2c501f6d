"""The reference behind the interface of `envs.simulation.world.World`, for comparing the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs import archetypes
from envs.contracts import layout as f
from envs.contracts.features import observe
from envs.contracts.orders import combat_orders
from envs.contracts.view import WorldView
from envs.contracts.vocabulary import NUM_COMBAT_ACTIONS
from envs.reference.fight import TICK_MS, Fight
from envs.simulation.state import NUM_COLUMNS, RUNNING, STATISTICS


class ReferenceWorld:
    """Fights of one composition, stepped one after the other; arguments as `World`.

    Attributes:
        units: int32 `(fight, unit, column)`; stats int32 `(fight, unit, statistic)`.
        outcome: int64 `(fight,)`, see `envs.simulation.state`.
        obs: float32 `(fight, observed, 64)`; orders int32 `(fight, observed, 10, 5)`; masks bool
            `(fight, observed, 10)`.
    """

    def __init__(
        self,
        num_fights: int,
        teams: tuple[Sequence[str], Sequence[str]],
        *,
        learners: int = 0,
        observed: int | None = None,
        seed: int = 0,
        first_fight: int = 0,
        **arguments: Any,
    ) -> None:
        """Begin episode 0 of every fight; `arguments` are those of `Fight`."""
        self.teams, self.learners, self.arguments = teams, learners, arguments
        self.observed = learners if observed is None else observed
        self.first_fight = first_fight
        self.episodes = [0] * num_fights
        self.fights: list[Fight] = []
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Begin episode 0 of every fight under `seed`."""
        self.seed = seed
        self.episodes = [0] * len(self.episodes)
        self.fights = [self._begin(index) for index in range(len(self.episodes))]
        self._read()

    def step(self, actions: np.ndarray) -> None:
        """Carry out one action per learner, `(fight, learner)`, for one decision window."""
        legal = (actions >= 0) & (actions < NUM_COMBAT_ACTIONS)
        rows = np.where(legal, actions, 0)[..., None, None]
        self.step_orders(np.take_along_axis(self.orders, rows, axis=2)[:, :, 0], actions)

    def step_orders(self, orders: np.ndarray, actions: np.ndarray) -> None:
        """Carry out one order per learner; a fight that has ended begins its next episode instead."""
        for index, fight in enumerate(self.fights):
            if fight.outcome != RUNNING:
                self.restart(index)
            else:
                fight.step(orders[index, : self.learners].tolist(), actions[index, : self.learners].tolist())
        self._read()

    def restart(self, index: int) -> Fight:
        """Begin a fight's next episode."""
        self.episodes[index] += 1
        self.fights[index] = self._begin(index)
        return self.fights[index]

    def view(self, index: int) -> WorldView:
        """Return what a game server would send of a fight."""
        fight = self.fights[index]
        units = np.array([unit.row()[: f.NUM_UNIT_FIELDS] for unit in fight.units], np.int32)
        # A step's credit within a tick is the simulation's own affair.
        units[:, f.MOVE_LOCK] = np.maximum(units[:, f.MOVE_LOCK], 0)
        edge = fight.size - 1
        return WorldView(
            ids=tuple(range(len(units))),
            units=units,
            skills=archetypes.skill_table()[units[:, f.ARCHETYPE], :, : f.NUM_SKILL_FIELDS].copy(),
            bounds=(0, 0, edge, edge),
            origin_x2=(edge, edge),
            elapsed_ms=fight.tick * TICK_MS,
        )

    def _begin(self, index: int) -> Fight:
        return Fight(
            self.teams,
            learners=self.learners,
            seed=self.seed,
            number=self.first_fight + index,
            episode=self.episodes[index],
            **self.arguments,
        )

    def _read(self) -> None:
        """Write the arrays that `World` keeps."""
        self.units = np.array([[unit.row() for unit in fight.units] for fight in self.fights], np.int32)
        assert self.units.shape[-1] == NUM_COLUMNS, "a unit's row has the simulation's columns"
        stats = [[[u.stats[name] for name in STATISTICS] for u in fight.units] for fight in self.fights]
        self.stats = np.array(stats, np.int32)
        self.outcome = np.array([fight.outcome for fight in self.fights], np.int64)
        count, watched = len(self.fights), self.observed
        if watched == 0:
            return
        views = [view for view in map(self.view, range(count)) for _ in range(watched)]
        slots = list(range(watched)) * count
        orders, masks = combat_orders(views, slots)
        self.obs = observe(views, slots).reshape(count, watched, -1)
        self.orders = orders.reshape(count, watched, *orders.shape[1:])
        self.masks = masks.reshape(count, watched, -1)
