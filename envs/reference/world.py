"""The reference behind the interface of `envs.simulation.world.World`, for comparing the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.contracts.features import observe
from envs.contracts.orders import (
    combat_orders,
    control_orders,
    movement_orders,
    pack_orders,
    skill_orders,
)
from envs.contracts.view import WorldView
from envs.contracts.vocabulary import HEADS, NUM_COMBAT_ACTIONS
from envs.reference.fight import Fight
from envs.simulation.state import NUM_COLUMNS, RUNNING, STATISTICS

ORDERS = {
    "combat": combat_orders,
    "movement": movement_orders,
    "skill": skill_orders,
    "pack": pack_orders,
    "control": combat_orders,  # its five numbers choose among these
}


class ReferenceWorld:
    """Fights of one composition, stepped one after the other; arguments as `World`.

    Attributes:
        units: int32 `(fight, unit, column)`; stats int32 `(fight, unit, statistic)`.
        outcome: int64 `(fight,)`, see `envs.simulation.state`.
        obs: float32 `(fight, observed, 64)`; orders int32 `(fight, observed, action, 5)`; masks bool
            `(fight, observed, action)`, as many actions as the head has (control: the combat head's ten).
        damage: int32 `(fight, source, target)` and killer int32 `(fight, unit)`, -1 none, of the last window;
            with `log_damage` only.
    """

    def __init__(
        self,
        num_fights: int,
        teams: tuple[Sequence[str], Sequence[str]],
        *,
        learners: int = 0,
        observed: int | None = None,
        head: str = "combat",
        seed: int = 0,
        first_fight: int = 0,
        log_damage: bool = False,
        **arguments: Any,
    ) -> None:
        """Begin episode 0 of every fight; `arguments` are those of `Fight`."""
        assert head in HEADS, head
        self.teams, self.learners, self.arguments = teams, learners, arguments
        self.head, self.log_damage = head, log_damage
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
        """Carry out one action per learner for one decision window.

        Args:
            actions: whole numbers `(fight, learner)`; for the control head float32 `(fight, learner, 5)`.
        """
        if self.head == "control" and self.learners:
            self.step_orders(self.mixed(actions), np.full(actions.shape[:2], -1))
            return
        known = (actions >= 0) & (actions < self.orders.shape[2])
        rows = np.where(known, actions, 0)[..., None, None]
        self.step_orders(np.take_along_axis(self.orders, rows, axis=2)[:, :, 0], actions)

    def mixed(self, actions: np.ndarray) -> np.ndarray:
        """Orders that the control head's numbers mean now, int32 `(fight, learner, 5)`."""
        fights, count, _ = actions.shape
        views = [view for view in map(self.view, range(fights)) for _ in range(count)]
        orders = control_orders(views, list(range(count)) * fights, actions.reshape(fights * count, -1))
        return orders.reshape(fights, count, -1)

    def step_orders(self, orders: np.ndarray, actions: np.ndarray) -> None:
        """Carry out one order per learner; a fight that has ended begins its next episode instead.

        Units remember actions of the combat head only.
        """
        last = NUM_COMBAT_ACTIONS if self.head == "combat" else 0
        remembered = np.where((actions >= 0) & (actions < last), actions, -1)
        for index, fight in enumerate(self.fights):
            if fight.outcome != RUNNING:
                self.restart(index)
            else:
                fight.step(
                    orders[index, : self.learners].tolist(), remembered[index, : self.learners].tolist()
                )
        self._read()

    def restart(self, index: int) -> Fight:
        """Begin a fight's next episode."""
        self.episodes[index] += 1
        self.fights[index] = self._begin(index)
        return self.fights[index]

    def view(self, index: int) -> WorldView:
        """Return what a game server would send of a fight."""
        return self.fights[index].view()

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
        self._read_log()
        count, watched = len(self.fights), self.observed
        if watched == 0:
            return
        views = [view for view in map(self.view, range(count)) for _ in range(watched)]
        slots = list(range(watched)) * count
        orders, masks = ORDERS[self.head](views, slots)
        self.obs = observe(views, slots).reshape(count, watched, -1)
        self.orders = orders.reshape(count, watched, *orders.shape[1:])
        self.masks = masks.reshape(count, watched, -1)

    def _read_log(self) -> None:
        """Write who damaged and who killed whom in the last window."""
        logged = self.fights if self.log_damage else self.fights[:1]
        count = len(self.fights[0].units)
        self.damage = np.zeros((len(logged), count, count), np.int32)
        self.killer = np.full((len(logged), count), -1, np.int32)
        if not self.log_damage:
            return
        for index, fight in enumerate(logged):
            for (source, target), points in fight.damage_log.items():
                self.damage[index, source.index, target.index] = points
            for unit, killer in fight.killers.items():
                self.killer[index, unit.index] = killer.index
