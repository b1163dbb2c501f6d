"""Labels for demonstrations: which action of a head does what a script did in a decision window.

A script gives no actions: it walks, swings and casts. So a window is tried out: it is played again from the
same state under the same random keys, once for each different order that the head can give there. The label
is the action whose order did what the script did. Nothing is guessed from the script's code, and the kernel
is left as it is.
"""

from __future__ import annotations

import numpy as np

from envs.contracts import layout as f
from envs.contracts.vocabulary import (
    DIRECTIONS,
    NUM_COMBAT_ACTIONS,
    NUM_MOVEMENT_ACTIONS,
    NUM_SKILL_ACTIONS,
)
from envs.simulation import state as s
from envs.simulation.world import World

# The first of several actions that do the same is the label. Attacks come first, so that "attack the
# nearest" is one label whether a step or a swing follows; holding is what is left when nothing is done.
PREFERENCE: dict[str, tuple[int, ...]] = {
    "combat": (1, 2, 3, 5, 6, 7, 9, 8, 0, 4),
    "movement": tuple(range(NUM_MOVEMENT_ACTIONS)),
    "skill": tuple(range(NUM_SKILL_ACTIONS)),
}

STRONG = 2 / 3
"""The middle of (1/3, 1], where a number of the control head says yes: farthest from saying anything else."""
STRIDE = 0.65
"""Length of a move vector: the middle between its dead zone (0.3) and 1."""

# What a deed leaves behind: in the unit that did it, and in everybody.
_OWN = [f.SP, f.ACTION_CLOCK, f.ACT_LOCK, *range(f.CAST_SLOT, f.COOLDOWN + 6)]
_EFFECTS = [f.HP, *range(f.GUARD, f.SHIELD_LEFT + 1)]
_COUNTS = [s.S_SWINGS, s.S_SKILLS]
_CELL = [f.X, f.Y]


class Labeller:
    """Finds the action that does what the script did in a window.

    Args:
        world: fights in which a script plays unit 0 of team 0.
        probe: as many fights of the same composition, in which orders are tried.
    """

    def __init__(self, world: World, probe: World) -> None:
        self.world, self.probe = world, probe
        self.labels = (
            _control_labels() if world.head == "control" else np.array(PREFERENCE[world.head], np.int64)
        )
        self._none = np.full((probe.num_fights, 1), -1, np.int32)

    def before(self) -> None:
        """Keep the state that a window starts from, and the orders that the head can give there."""
        world = self.world
        self._units, self._fights = world.units.copy(), world.fights.copy()
        if world.head == "control":
            self._orders = _control_orders(world)
            free = np.asarray(world.masks[:, :1, 1:].any(axis=2))  # the unit can do more than hold
            self._allowed = (self._orders[..., f.ORDER_KIND] != f.O_FUMBLE) & free
        else:
            self._orders = world.orders[:, 0][:, self.labels]
            self._allowed = world.masks[:, 0][:, self.labels]

    def after(self, running: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Label the window that the script has played, in the fights `running` bool `(fight,)` at its start.

        Returns:
            Labels, int64 `(fight,)` or float32 `(fight, 5)`, and whether there is one, bool `(fight,)`.
        """
        allowed = self._allowed & running[:, None]
        if self.world.head == "control":  # a move vector can only be right where it led the feet
            step = np.sign(self.world.units[:, 0, _CELL] - self._units[:, 0, _CELL])
            led = self.labels[:, :2].any(axis=1)
            allowed &= ~led | (np.sign(self.labels[:, :2]) == step[:, None]).all(axis=2)
        fight, place = _distinct(self._orders, allowed)
        level = np.zeros(len(fight), np.int64)
        for start in range(0, len(fight), self.probe.num_fights):
            part = slice(start, start + self.probe.num_fights)
            level[part] = self._agreement(fight[part], place[part])
        # Per fight: the highest level first, then the order of preference.
        best = np.lexsort((place, -level, fight))
        best = best[np.unique(fight[best], return_index=True)[1]]
        best = best[level[best] > 0]
        valid = np.zeros(len(running), bool)
        valid[fight[best]] = True
        actions = np.zeros((len(running), *self.labels.shape[1:]), self.labels.dtype)
        actions[fight[best]] = self.labels[place[best]]
        return actions, valid

    def _agreement(self, fight: np.ndarray, place: np.ndarray) -> np.ndarray:
        """How well orders repeat what the script did, int64 `(pair,)`.

        3: hands, feet and target do the same; 2: hands and feet; 1: hands that swung or used a skill, while
        the feet went another way (the script also walks where an order waits for its clock); 0: something
        else happened.
        """
        rows = len(fight)
        before, probe = self._units[fight], self.probe
        probe.units[:rows], probe.fights[:rows] = before, self._fights[fight]
        probe.chosen[:rows, 0] = self._orders[fight, place]
        probe.step_orders(probe.chosen, self._none)
        done, tried = self.world.units[fight], probe.units[:rows]
        counts, tried_counts = self.world.stats[fight, 0], probe.stats[:rows, 0]
        target = done[:, 0, f.TARGET] == tried[:, 0, f.TARGET]
        hands = (done[:, 0, _OWN] == tried[:, 0, _OWN]).all(axis=1)
        hands &= (counts[:, _COUNTS] == tried_counts[:, _COUNTS]).all(axis=1)
        hands &= (done[..., _EFFECTS] == tried[..., _EFFECTS]).all(axis=(1, 2))
        # A swing that missed leaves no trace in its victim: there the target must tell.
        missed = (counts[:, s.S_SWINGS] > 0) & (counts[:, s.S_DEALT] == 0)
        hands &= target | ~missed
        step, tried_step = (np.sign(after[:, 0, _CELL] - before[:, 0, _CELL]) for after in (done, tried))
        feet = (step == tried_step).all(axis=1)
        acted = counts[:, _COUNTS].any(axis=1)
        return np.where(hands & feet, 2 + target, (hands & acted).astype(np.int64))


_HANDS = [(urge, taste) for urge in (0.0, STRONG, -STRONG) for taste in (0.0, -STRONG, STRONG)]
"""Swing, attack by skill or taunt, help; at the nearest, the weakest, the most dangerous enemy."""


def _control_labels() -> np.ndarray:
    """Actions of the control head among which labels are chosen, float32 `(label, 5)`, preferred ones first.

    Feet: press, stand, then each direction. Pressing is what the script's feet do, and one number that stays
    the same while they do it; a move vector names the direction only where pressing would go elsewhere.
    """
    feet = [(0.0, 0.0, STRONG)]
    for dx, dy in DIRECTIONS:
        stride = STRIDE / max(np.hypot(dx, dy), 1.0)
        feet.append((dx * stride, dy * stride, 0.0))
    return np.array([(*way, *hands) for way in feet for hands in _HANDS], np.float32)


def _control_orders(world: World) -> np.ndarray:
    """Order behind each of `_control_labels` now, int32 `(fight, label, 5)`."""
    shape = (world.num_fights, 1, 5)
    # A move vector changes nothing but the direction, so that pressing and standing are all that is mixed.
    labels = _control_labels()[: 2 * len(_HANDS)]
    mixed = np.stack([world.mixed(np.broadcast_to(row, shape))[:, 0].copy() for row in labels], axis=1)
    parts = [mixed]
    for direction in DIRECTIONS[1:]:
        led = mixed[:, len(_HANDS) :].copy()
        led[..., f.ORDER_DX :] = direction
        parts.append(led)
    return np.concatenate(parts, axis=1)


def _distinct(orders: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Allowed orders, of equal ones in a fight the first: fight and place, int64 `(pair,)` each.

    Args:
        orders: int32 `(fight, place, 5)`.
        allowed: bool `(fight, place)`.
    """
    fight, place = np.nonzero(allowed)
    rows = np.concatenate([fight[:, None], orders[fight, place]], axis=1).astype(np.int64)
    # Each field in its own digits: kind 0..6, skill -1..5, target -1..9, direction -1..1, each plus one.
    key = rows[:, 0]
    for column in range(1, rows.shape[1]):
        key = key * 16 + rows[:, column] + 1
    first = np.sort(np.unique(key, return_index=True)[1])
    return fight[first], place[first]


assert len(PREFERENCE["combat"]) == NUM_COMBAT_ACTIONS
