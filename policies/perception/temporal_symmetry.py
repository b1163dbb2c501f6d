"""Ways in which the world allows a recorded fight to be changed: begun later, turned, mirrored, renumbered.

The square's eight elements are those of `envs.symmetries`; units change places within their team alone.
"""

from __future__ import annotations

import numpy as np

from envs.contracts.features import ALLY_0, ENEMY_0
from envs.symmetries import ELEMENTS, turn
from policies.perception.task import Rows
from policies.temporal_heads import ALLIES, ENEMIES

FILL = {"deed": -1, "target": -1, "last_deed": -1, "did": -1, "now_target": -1}
"""What stands behind a fight's end; 0 elsewhere."""
PER_DECISION = ("token", "opponents", *FILL, "hp_known")
MATRICES = np.array([np.transpose([turn(o, 1, 0), turn(o, 0, 1)]) for o in ELEMENTS], np.float16)
"""(element, 2, 2): what each does to a vector."""
OWN = 1
"""Place of the first team mate among the units, and among the targets."""
FOES = OWN + ALLIES


def cut(rows: Rows, begin: np.ndarray, length: np.ndarray) -> Rows:
    """Only some decisions of each fight.

    Args:
        rows: of `TemporalTask.rows`.
        begin: int (row,), the first decision kept.
        length: int (row,), decisions kept from there.

    Returns:
        Rows as long as the longest of them.
    """
    time = int(length.max())
    after = rows["hp"].shape[1] - rows["deed"].shape[1]
    number = np.arange(len(begin))[:, None]
    place = begin[:, None] + np.arange(time + after)
    out = {**rows, "length": length}
    out["hp"] = rows["hp"][number, np.minimum(place, rows["hp"].shape[1] - 1)]
    here = np.minimum(place[:, :time], rows["deed"].shape[1] - 1)
    over = np.arange(time) >= length[:, None]
    for name in PER_DECISION:
        values = rows[name][number, here]
        values[over] = FILL.get(name, 0)
        out[name] = values
    return out


def draw(kinds: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One change per row, all alike.

    Args:
        kinds: (row, ally slot and enemy slot, archetype), which shows how many there are.
        rng: of the draw.

    Returns:
        Element of the square int (row,), and which old slot comes to each slot: enemies int (row, 5), allies
        int (row, 4); empty slots stay.
    """
    there = np.any(kinds, axis=2)
    element = rng.integers(0, len(ELEMENTS), len(kinds))
    enemies = _shuffled(there[:, ALLIES:], rng)
    return element, enemies, _shuffled(there[:, :ALLIES], rng)


def change(rows: Rows, element: np.ndarray, enemies: np.ndarray, allies: np.ndarray) -> Rows:
    """Turn what has a direction, and renumber slots, in inputs and targets alike.

    Args:
        rows: of `TemporalTask.rows`, whole or cut.
        element: int (row,), of the square.
        enemies: int (row, 5), old slot of each slot.
        allies: int (row, 4), likewise.
    """
    out = dict(rows)
    number = np.arange(len(element))[:, None]
    matrix = MATRICES[element][:, None, None]

    def turned(vectors: np.ndarray) -> np.ndarray:
        """(row, time, vector, 2) after the row's element; halves are exact, one of two terms is 0."""
        return (matrix @ vectors[..., None])[..., 0]

    token = rows["token"].copy()
    enemy = token[..., ENEMY_0 : ENEMY_0 + 6 * ENEMIES].reshape(*token.shape[:2], ENEMIES, 6)
    ally = token[..., ALLY_0 : ALLY_0 + 3 * ALLIES].reshape(*token.shape[:2], ALLIES, 3)
    enemy, ally = _reordered(enemy, enemies, 2), _reordered(ally, allies, 2)
    enemy[..., :2], ally[..., :2] = turned(enemy[..., :2]), turned(ally[..., :2])
    token[..., 2:4] = turned(token[..., None, 2:4])[..., 0, :]
    token[..., ENEMY_0 : ENEMY_0 + 6 * ENEMIES] = enemy.reshape(*token.shape[:2], -1)
    token[..., ALLY_0 : ALLY_0 + 3 * ALLIES] = ally.reshape(*token.shape[:2], -1)
    out["token"] = token
    opponents = _reordered(rows["opponents"], enemies, 2)
    for first in (0, 2):
        opponents[..., first : first + 2] = turned(opponents[..., first : first + 2])
    out["opponents"] = opponents
    out["kinds"] = rows["kinds"][number, np.concatenate([allies, ALLIES + enemies], axis=1)]
    units = np.concatenate([np.zeros_like(number), OWN + allies, FOES + enemies], axis=1)
    out["hp"] = _reordered(rows["hp"], units, 2)
    for name in FILL:
        out[name] = _reordered(rows[name], enemies, 2)
    # New number of each target: the monster, the team mates at their new places, nobody, and not known (-1).
    names = np.empty((len(element), FOES + 2), np.int8)
    names[:, 0], names[:, FOES], names[:, -1] = 0, FOES, -1
    names[number, OWN + allies] = OWN + np.arange(ALLIES)
    for name in ("target", "now_target"):
        out[name] = names[number[..., None], out[name]]
    return out


def _shuffled(there: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order of the slots that hold a unit; they come first, as units fill slots from the left."""
    return np.argsort(np.where(there, rng.random(there.shape), 2.0 + np.arange(there.shape[1])), axis=1)


def _reordered(values: np.ndarray, order: np.ndarray, axis: int) -> np.ndarray:
    """A copy with (row, ...) values taken along an axis in the row's own order."""
    index = order.reshape(len(order), *[1] * (axis - 1), order.shape[1], *[1] * (values.ndim - axis - 1))
    return np.take_along_axis(values, index, axis)
