"""What may be known of both sides' styles in fights, and futures in which they are drawn from that.

No mind is told by which style the enemies play, nor its own side. It can only infer them from what it saw,
and the exact posterior of `envs.perception.bayes` is how well that can be done at all.
"""

from __future__ import annotations

import numpy as np

from envs.perception.bayes import even, posterior, weigh
from envs.simulation import state as s
from envs.simulation.world import World

STYLES_OF_A_SIDE = 8
"""Numbers of a side among a world's: how many styles, and which."""


class StyleBeliefs:
    """The posterior over the styles of both sides, of some fights of a world that is played from its start.

    Every style that a side draws from is as probable as the others before anything is seen. Whether a side
    plays by the plain script, whose odds are not computed, counts as known.

    Args:
        world: At its start; no unit of it learns.
        fights: int64 `(fight,)`, whose posteriors are wanted.
        window: Decisions back that were seen; None: all since the start, for which the posterior is exact.

    Raises:
        ValueError: Sides change their style in mid-fight.
    """

    def __init__(self, world: World, fights: np.ndarray, window: int | None = None) -> None:
        if world.world[s.W_SWITCHING]:
            raise ValueError("switching: styles that change in mid-fight are not redrawn; ask a plan without")
        self.window = window
        self._priors = [_prior(world, side) for side in range(2)]
        self._wanted = np.zeros(world.num_fights, bool)
        self._wanted[fights] = True
        self._said: list[np.ndarray] = []

    def watch(self, world: World) -> None:
        """Weigh the decisions that the world is about to play; call it before each step."""
        ran = self._wanted & (world.outcome == s.RUNNING) & (world.fights[:, s.G_EPISODE] == 0)
        with np.errstate(divide="ignore"):
            said = np.log(weigh(world, ran))
        # A side draws one style for all its units: what they do counts together.
        fights, units, styles = said.shape
        self._said.append(said.reshape(fights, 2, units // 2, styles).sum(axis=2))

    def chances(self, world: World) -> np.ndarray:
        """P(style of a side | what it did), float64 `(fight, side, style)`, indexed like `STYLES`."""
        result = np.zeros((len(self._wanted), 2, len(s.STYLES)))
        said = self._said if self.window is None else self._said[-self.window :]
        for side, prior in enumerate(self._priors):
            result[:, side] = prior
            if said:
                seen = np.stack([decision[:, side : side + 1] for decision in said])
                result[:, side] = posterior(seen, None, prior)[-1, :, 0]
            first = side * world.units.shape[1] // 2
            scripts = world.units[:, first, s.STYLE] == s.SCRIPT
            result[scripts, side] = np.eye(len(s.STYLES))[s.SCRIPT]
        return result


def redraw(copies: World, chances: np.ndarray, rng: np.random.Generator) -> None:
    """Give each side of each fight a style of its own draw.

    Args:
        copies: Branched from one state; changed in place.
        chances: float64 `(side, style)`, the sum of each side's is 1.
        rng: Of the draws.
    """
    half = copies.units.shape[1] // 2
    for side in range(2):
        drawn = rng.choice(chances.shape[1], size=copies.num_fights, p=chances[side])
        copies.units[:, side * half : (side + 1) * half, s.STYLE] = drawn[:, None]


def _prior(world: World, side: int) -> np.ndarray:
    """Of a side's styles but the plain script, float64 `(style,)`; zeros if it has no other."""
    place = s.W_STYLES + STYLES_OF_A_SIDE * side
    numbers = world.world[place + 1 : place + 1 + int(world.world[place])].tolist()
    names = [s.STYLES[number] for number in numbers if number != s.SCRIPT]
    return even(names) if names else np.zeros(len(s.STYLES))
