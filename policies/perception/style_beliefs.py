"""What may be known of the enemies' style in fights, and futures in which it is drawn from that.

The styles of enemies are told to no mind. A mind can only infer them from what it saw the enemies do, and the
exact posterior of `envs.perception.bayes` is how well that can be done at all.
"""

from __future__ import annotations

import numpy as np

from envs.perception.bayes import even, posterior, weigh
from envs.simulation import state as s
from envs.simulation.world import World
from policies.perception.compositions import FightPlan


def redrawable(plan: FightPlan) -> bool:
    """Whether the posterior over the plan's styles is known: they are kept, none is the script."""
    return not plan.switching and s.STYLES[s.SCRIPT] not in plan.styles


class StyleBeliefs:
    """The posterior over the style of team 1, of some fights of a world that is played from its start.

    Args:
        world: At its start; no unit of it learns.
        plan: What is recorded; its styles are the prior, each as probable as the others.
        fights: int64 `(fight,)`, whose posterior is wanted.
        window: Decisions back that were seen; None: all since the start, for which the posterior is exact.

    Raises:
        ValueError: Styles that are not `redrawable`.
    """

    def __init__(self, world: World, plan: FightPlan, fights: np.ndarray, window: int | None = None) -> None:
        if not redrawable(plan):
            raise ValueError(
                f"styles {', '.join(plan.styles)}, switching {plan.switching}: only styles that are kept, "
                "none of them the script, can be redrawn; use a plan with such styles"
            )
        self.prior = even(plan.styles)
        self.window = window
        self._wanted = np.zeros(world.num_fights, bool)
        self._wanted[fights] = True
        self._enemies = slice(world.units.shape[1] // 2, None)
        self._said: list[np.ndarray] = []

    def watch(self, world: World) -> None:
        """Weigh the decisions that the world is about to play; call it before each step."""
        ran = self._wanted & (world.outcome == s.RUNNING) & (world.fights[:, s.G_EPISODE] == 0)
        with np.errstate(divide="ignore"):
            chances = np.log(weigh(world, ran)[:, self._enemies])
        # A side draws one style for all its units: what they do counts together.
        self._said.append(chances.sum(axis=1, keepdims=True))

    def chances(self) -> np.ndarray:
        """P(style of team 1 | what it was seen doing), float64 `(fight, style)`, indexed like `STYLES`."""
        if not self._said:
            return np.broadcast_to(self.prior, (len(self._wanted), len(self.prior)))
        said = self._said if self.window is None else self._said[-self.window :]
        result: np.ndarray = posterior(np.stack(said), None, self.prior)[-1, :, 0]
        return result


def redraw(copies: World, chances: np.ndarray, rng: np.random.Generator) -> None:
    """Give team 1 of each fight a style of its own draw.

    Args:
        copies: Branched from one state; changed in place.
        chances: float64 `(style,)`, their sum is 1.
        rng: Of the draws.
    """
    half = copies.units.shape[1] // 2
    drawn = rng.choice(len(chances), size=copies.num_fights, p=chances)
    copies.units[:, half:, s.STYLE] = drawn[:, None]
