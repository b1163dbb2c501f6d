"""Exact symmetries of the combat world, for augmenting what a mind learns from.

Two kinds of them make another transition (observation, mask, action, next observation) out of one:

- The square: the arena turned and mirrored, eight ways. On open ground the rules know no direction, so the
  fight goes on turned alike, to the bit.
- Relabelling: the enemies, or the team mates, listed in another order. What is seen and ordered moves along,
  but for ties, which go to the lower index, and the scripts' turns, which follow it.

`docs/symmetries.md` says where each holds. Both make one group; an element is a whole number, its code.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from envs import symmetry_kernel as kernel
from envs.configuration import ConfigError, nearest
from envs.contracts.vocabulary import (
    DIRECTIONS,
    HEADS,
    MAX_TEAM_SIZE,
    NUM_COMBAT_ACTIONS,
    NUM_CONTROL_PARTS,
    NUM_MOVEMENT_ACTIONS,
    NUM_PACK_ORDERS,
    NUM_SKILL_ACTIONS,
    OBS_SIZE,
)

if TYPE_CHECKING:
    from envs.simulation.world import World

ELEMENTS = tuple(range(kernel.SQUARE))
"""The square's group as `envs.simulation.starts` counts it: bit 0 swaps x and y, bits 1 and 2 mirror them."""
ROTATIONS = (0, 3, 6, 5)
"""By 0, 90, 180 and 270 degrees to the left; the other four mirror."""

_COUNTS = {
    "combat": NUM_COMBAT_ACTIONS,
    "movement": NUM_MOVEMENT_ACTIONS,
    "skill": NUM_SKILL_ACTIONS,
    "pack": NUM_PACK_ORDERS,
    "control": NUM_CONTROL_PARTS,
}
_ROLES = {"movement": kernel.R_COMPASS, "skill": kernel.R_POINTER, "pack": kernel.R_FOCUS}
_OBSERVATIONS = ("obs", "new_obs")
_PER_ACTION = ("action_mask", "new_action_mask", "action_dist_inputs")


def turn(element: int, x: int, y: int) -> tuple[int, int]:
    """Vector (x, y), counted from the arena's middle, after an element of the square's group."""
    if element & 1:
        x, y = y, x
    return (-x if element & 2 else x), (-y if element & 4 else y)


def turn_cells(element: int, cells: np.ndarray) -> np.ndarray:
    """A map of cells `(y, x)`, such as blocked ones, after an element of the square's group."""
    out = cells.T if element & 1 else cells
    out = out[:, ::-1] if element & 2 else out
    return out[::-1] if element & 4 else out


def exact_elements(terrain: np.ndarray | None) -> tuple[int, ...]:
    """Elements under which a world with these blocked cells, bool `(size, size)`, goes on alike.

    Open ground allows all eight. Before a blocked cell a unit turns left first, which a mirror would make a
    right turn, so on other ground only rotations remain, those that leave the map as it is.
    """
    if terrain is None or not terrain.any():
        return ELEMENTS
    return tuple(o for o in sorted(ROTATIONS) if np.array_equal(turn_cells(o, terrain), terrain))


def _orders(slots: int) -> np.ndarray:
    """All orders of slots, new slot of each old one, int64 `(order, slot)`; order 0 moves nothing."""
    return np.array(list(itertools.permutations(range(slots))), np.int64)


def _number(orders: np.ndarray) -> np.ndarray:
    """Row of each order `(..., slot)` within `_orders`, int64."""
    slots = orders.shape[-1]
    # Written as numbers to a base, the orders ascend as `_orders` lists them.
    weights = slots ** np.arange(slots - 1, -1, -1)
    return np.searchsorted(_orders(slots) @ weights, orders @ weights)


ENEMY_TO = _orders(MAX_TEAM_SIZE)
ALLY_TO = _orders(MAX_TEAM_SIZE - 1)
COMPASS = np.array([[DIRECTIONS.index(turn(o, *d)) for d in DIRECTIONS] for o in ELEMENTS], np.int64)
"""Movement action of each direction after each element, `(8, 9)`."""


@cache
def _inverses() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverse of each element of the square, each order of enemies and each of allies."""
    square = [next(b for b in ELEMENTS if turn(b, *turn(a, 1, 2)) == (1, 2)) for a in ELEMENTS]
    return np.array(square), _number(np.argsort(ENEMY_TO, axis=1)), _number(np.argsort(ALLY_TO, axis=1))


@cache
def _products() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Element that does the first, then the second, of each pair, for the three parts of a code."""
    images = [turn(o, 1, 2) for o in ELEMENTS]  # no two elements take (1, 2) to one place
    square = np.array([[images.index(turn(b, *turn(a, 1, 2))) for b in ELEMENTS] for a in ELEMENTS])

    def product(to: np.ndarray) -> np.ndarray:
        return _number(to[np.arange(len(to))[None, :, None], to[:, None, :]])

    return square, product(ENEMY_TO), product(ALLY_TO)


def _closed(square: np.ndarray) -> bool:
    """Whether elements of the square's group hold all their products."""
    return bool(np.isin(_products()[0][np.ix_(square, square)], square).all())


class Symmetries:
    """The symmetries of one head's transitions.

    A code is `element + 8 x (order of enemies + 120 x order of allies)`; 0 changes nothing. Orders count as
    `itertools.permutations` lists them: `ENEMY_TO[order, slot]` is the slot that a unit moves to.

    Attributes:
        head: what the actions mean.
        codes: int64 `(element,)`, every element there is, ascending from 0.
    """

    def __init__(
        self,
        head: str,
        num_actions: int | None = None,
        *,
        max_enemies: int = 0,
        max_allies: int = 0,
        enemy_kinds: Sequence[object] | None = None,
        ally_kinds: Sequence[object] | None = None,
        elements: Sequence[int] = ELEMENTS,
    ) -> None:
        """Work out which elements there are.

        A row does not tell how large its team is: zeros are a dead unit or none. No world shows a unit
        in a slot behind its team's last, so the size must be given; left at 0, nobody moves. The pack head's
        orders name enemy slots 0 to 2 only: there 0 to 2 change places among themselves, and 3 and 4 do.

        Args:
            head: one of `envs.contracts.HEADS`.
            num_actions: checked if given; for the control head its five numbers.
            max_enemies: enemies in each fight, 0 to 5: the first so many slots may change places.
            max_allies: team mates of the observing unit, 0 to 4, likewise.
            enemy_kinds: what stands in each of those slots; only slots of equal kinds change places. None:
                all do.
            ally_kinds: likewise.
            elements: of the square's group, see `exact_elements`.

        Raises:
            ConfigError: an unknown head, a wrong number, or elements that are no group.
        """
        if head not in HEADS:
            raise ConfigError(f"unknown head {head!r}{nearest(head, HEADS)}")
        if num_actions is not None and num_actions != _COUNTS[head]:
            raise ConfigError(f"num_actions {num_actions}: the {head} head has {_COUNTS[head]}; leave it out")
        square = np.array(sorted(set(elements)), np.int64)
        # A finite set that holds every product is a group.
        if not len(square) or not set(square) <= set(ELEMENTS) or not _closed(square):
            raise ConfigError(f"elements {list(elements)} are no group; take those of `exact_elements`")
        foes = _kinds("enemies", max_enemies, enemy_kinds, MAX_TEAM_SIZE)
        if head == "pack":
            foes = [(slot < kernel.FOCUS_SLOTS, kind) for slot, kind in enumerate(foes)]
        mates = _kinds("allies", max_allies, ally_kinds, MAX_TEAM_SIZE - 1)
        labels = kernel.ENEMY_ORDERS * _allowed(ALLY_TO, mates)[:, None] + _allowed(ENEMY_TO, foes)
        self.head = head
        self.codes = (kernel.SQUARE * labels.reshape(-1, 1) + square).reshape(-1)
        self._count, self._role = _COUNTS[head], _ROLES.get(head, kernel.R_KEEP)
        self._known = np.zeros(kernel.SQUARE * kernel.ENEMY_ORDERS * len(ALLY_TO), bool)
        self._known[self.codes] = True

    @classmethod
    def of_world(cls, world: World, member: int = 0, *, any_kind: bool = False) -> Symmetries:
        """Return the symmetries of what one learner of a world sees: its ground, its teams.

        Args:
            world: the fights.
            member: the learner's place in team 0; its team mates' kinds depend on it.
            any_kind: units of different archetypes change places too. Rows then come from fights whose teams
                are listed in another order than this world's, and a slot no longer tells who stands in it.
        """
        half = len(world.teams[0])
        # Learners and scripts of one archetype are different team mates.
        own = [(name, slot < world.learners) for slot, name in enumerate(world.teams[0])]
        del own[member]
        return cls(
            world.head,
            max_enemies=half,
            max_allies=half - 1,
            enemy_kinds=None if any_kind else world.teams[1],
            ally_kinds=None if any_kind else own,
            elements=exact_elements(world.terrain),
        )

    def draw(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        """Draw one code per row, each element alike, int64 `(row,)`."""
        return self.codes[rng.integers(len(self.codes), size=rows)]

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        """Codes that undo `codes`, int64 `(row,)`."""
        square, enemies, allies = (
            table[part] for table, part in zip(_inverses(), self._parts(codes), strict=True)
        )
        return square + kernel.SQUARE * (enemies + kernel.ENEMY_ORDERS * allies)

    def compose(self, first: np.ndarray, then: np.ndarray) -> np.ndarray:
        """Codes that do what applying `first` and after it `then` does, int64 `(row,)`."""
        square, enemies, allies = (
            table[a, b]
            for table, a, b in zip(_products(), self._parts(first), self._parts(then), strict=True)
        )
        return square + kernel.SQUARE * (enemies + kernel.ENEMY_ORDERS * allies)

    def apply(self, codes: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Change rows in place; one code changes everything of its row.

        Args:
            codes: int64 `(row,)` from `draw`, `inverse` or `compose`.
            columns: `obs`, `new_obs` float32 `(row, 64)` or wider (what lies behind stays); `actions` whole
                numbers `(row,)`; `action_mask`, `new_action_mask` bool `(row, action)`; `action_dist_inputs`
                float32 `(row, action)`. The control head has `actions` float32 `(row, 5)` and
                `action_dist_inputs` `(row, 10)`, means and log deviations, or `(row, 5)`. Others stay.

        Raises:
            ValueError: a column of another shape or type, or a code that is no element.
        """
        codes = self._checked(codes)
        known = {name: columns[name] for name in (*_OBSERVATIONS, "actions", *_PER_ACTION) if name in columns}
        for name, column in known.items():  # all of them before one is changed
            self._check(name, column, len(codes))
        for name, column in known.items():
            if name in _OBSERVATIONS:
                kernel.change_observations(codes, column, ENEMY_TO, ALLY_TO)
            elif self.head == "control":
                if column.dtype == np.float32:  # its mask is the combat head's, which no symmetry changes
                    spread = NUM_CONTROL_PARTS if column.shape[1] > NUM_CONTROL_PARTS else -1
                    kernel.change_vectors(codes, column, spread)
            elif self._role == kernel.R_KEEP:
                continue
            elif name == "actions":
                kernel.change_actions(codes, column, self._role, self._count, COMPASS, ENEMY_TO, ALLY_TO)
            else:
                kernel.change_columns(codes, column, self._role, COMPASS, ENEMY_TO, ALLY_TO)

    def _parts(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Element, order of enemies and order of allies of each code."""
        codes = self._checked(codes)
        labels = codes // kernel.SQUARE
        return codes % kernel.SQUARE, labels % kernel.ENEMY_ORDERS, labels // kernel.ENEMY_ORDERS

    def _checked(self, codes: np.ndarray) -> np.ndarray:
        """Codes as contiguous int64. Raises ValueError on one that is no element of this group."""
        codes = np.asarray(codes)
        good = codes.dtype.kind == "i" and codes.ndim == 1
        if not good or ((codes < 0) | (codes >= len(self._known))).any() or not self._known[codes].all():
            raise ValueError(
                f"codes of shape {codes.shape} and type {codes.dtype} are not all among the "
                f"{len(self.codes)} of this group; draw them from the same Symmetries"
            )
        return np.ascontiguousarray(codes, np.int64)

    def _check(self, name: str, column: np.ndarray, rows: int) -> None:
        """Raise ValueError unless a column is what `apply` says."""
        count, control = self._count, self.head == "control"
        if name in _OBSERVATIONS:
            good = column.dtype == np.float32 and column.ndim == 2 and column.shape[1] >= OBS_SIZE
            wanted = f"float32 ({rows}, {OBS_SIZE} or more)"
        elif name == "actions" and not control:
            good = column.dtype.kind == "i" and column.ndim == 1
            wanted = f"whole numbers ({rows},)"
        elif name == "actions" or name == "action_dist_inputs":
            widths = (count, 2 * count) if control and name != "actions" else (count,)
            good = column.dtype == np.float32 and column.ndim == 2 and column.shape[1] in widths
            wanted = f"float32 ({rows}, {' or '.join(map(str, widths))})"
        else:
            good = column.dtype == np.bool_ and column.ndim == 2 and (control or column.shape[1] == count)
            wanted = f"bool ({rows}, {count})"
        if not good or len(column) != rows:
            raise ValueError(
                f"{name}: {column.dtype} {column.shape} for {rows} codes; the {self.head} head's is {wanted}"
            )
        if not column.flags.writeable:
            raise ValueError(f"{name} is read-only and changes in place; pass a copy")


def _kinds(side: str, count: int, kinds: Sequence[object] | None, most: int) -> list[object]:
    """What stands in each of `most` slots; equal entries may change places. Raises ConfigError."""
    if not 0 <= count <= most:
        raise ConfigError(f"max_{side}: {count}; there are 0 to {most} slots")
    if kinds is not None and len(kinds) != count:
        raise ConfigError(f"{side}: kinds of {len(kinds)} slots for {count} units; give one for each")
    given = [(kind,) for kind in kinds] if kinds is not None else [("any",)] * count
    return [*given, *range(count, most)]  # behind the team every slot is of a kind of its own


def _allowed(orders: np.ndarray, kinds: Sequence[object]) -> np.ndarray:
    """Orders that move every unit to a slot of its kind, by number, ascending, int64 `(order,)`."""
    first = np.array([kinds.index(kind) for kind in kinds], np.int64)  # equal where the kinds are
    return np.flatnonzero((first[orders] == first).all(axis=1))
