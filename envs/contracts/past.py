"""The last decisions of a fight, from the views that a game sent: the present and how it came about.

A history is a sequence of world views of one fight, one per decision, oldest first, the present last.
Units are matched by id, so a game may add, drop and reorder units between two views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from envs.contracts import layout as f
from envs.contracts.features import Scene
from envs.contracts.vocabulary import MAX_TEAM_SIZE, ContractError

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

PAST_LENGTH = 16
"""Decisions that the views look back, the present one among them: 3 s between the first and the last."""

PAST_COLUMNS = (f.X, f.Y, f.HP, f.SP, f.ACTION_CLOCK, f.ACT_LOCK)
"""Columns of a unit that are remembered."""
(P_X, P_Y, P_HP, P_SP, P_ACTION, P_ACT) = range(6)
NUM_PAST_COLUMNS = 6


class Past:
    """Histories stacked for array code, seen by one unit each.

    Attributes:
        scene: the present.
        units: int64 `(row, age, 10, 6)`, `PAST_COLUMNS` at age 0 (the present), 1 (a decision ago) and so on,
            at the units' present indices. Before a unit was first seen it stands as it was then.
        there: bool `(row, age, 10)`, whether the unit was in that view.
    """

    def __init__(
        self, histories: Sequence[Sequence[WorldView]], units: Sequence[int], length: int = PAST_LENGTH
    ) -> None:
        """Stack the last `length` views of each history.

        Raises:
            ContractError: a history without a view.
        """
        if not all(len(history) for history in histories):
            raise ContractError("history: no views; send at least the present one")
        self.scene = Scene([history[-1] for history in histories], units)
        shape = (len(histories), length, 2 * MAX_TEAM_SIZE)
        self.units = np.zeros((*shape, NUM_PAST_COLUMNS), np.int64)
        self.there = np.zeros(shape, bool)
        self.units[:, 0] = self.scene.units[..., list(PAST_COLUMNS)]
        self.there[:, 0] = self.scene.present
        for row, history in enumerate(histories):
            present = history[-1].ids
            for age in range(1, length):
                self.units[row, age] = self.units[row, age - 1]
                if age >= len(history):
                    continue
                view = history[-1 - age]
                table = view.units[:, PAST_COLUMNS]
                if view.ids == present:
                    self.units[row, age, : len(present)] = table
                    self.there[row, age, : len(present)] = True
                    continue
                for index, unit_id in enumerate(present):
                    if unit_id in view.ids:
                        self.units[row, age, index] = table[view.ids.index(unit_id)]
                        self.there[row, age, index] = True

    def moved(self, unit: np.ndarray) -> np.ndarray:
        """Cells `(row, 2)` that one unit per row, index `(row,)`, came since the last decision."""
        rows = self.scene.rows
        return self.units[rows, 0, unit, :2] - self.units[rows, 1, unit, :2]
