"""How many fights an evaluation needs: looks that are fixed in advance, ended where the case is clear.

Each look uses an interval widened for the number of looks (Bonferroni), so that the chance to be wrong about
the gate's target at any of them stays under 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass

from experiments.statistics import bonferroni_z, wilson_interval


@dataclass(frozen=True)
class Looks:
    """When an evaluation may end.

    Attributes:
        fights: Played in all at each look, growing; the last is the most.
        target: Win rate that is asked about.
        rivals: Upper bounds of the baselines' win rates, which have to be beaten too.
    """

    fights: tuple[int, ...]
    target: float
    rivals: tuple[float, ...] = ()

    @property
    def z(self) -> float:
        """Normal quantile of the interval at each look."""
        return bonferroni_z(len(self.fights))

    def clear(self, wins: float, n: int) -> bool:
        """Whether the interval lies on one side of the target, and on a pass above every rival.

        Args:
            wins: By kill.
            n: Fights so far.
        """
        low, high = wilson_interval(wins, n, self.z)
        return high <= self.target or low > max(self.target, *self.rivals, 0.0)


def looks_of(most: int, least: int, target: float, rivals: tuple[float, ...] = ()) -> Looks:
    """Three looks at most: the least, half of the most, and the most.

    Args:
        most: Fights.
        least: Fights that the gate wants.
        target: Win rate that is asked about.
        rivals: Upper bounds of the baselines.
    """
    steps = sorted({n for n in (least, most // 2, most) if least <= n <= most} or {most})
    return Looks(tuple(steps), target, rivals)
