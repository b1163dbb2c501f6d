"""Small statistics of an evaluation: intervals, entropy, percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z_95 = 1.959963984540054
"""The two-sided 95 % quantile of the normal distribution."""


def wilson_interval(wins: float, n: int, z: float = Z_95) -> tuple[float, float]:
    """Gives the Wilson score interval of a proportion.

    Unlike the normal approximation it stays inside [0, 1] and is honest for few fights
    (E. B. Wilson, 1927, "Probable inference, the law of succession, and statistical inference"):
    ``(p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)``.

    Args:
        wins: Successes, between 0 and n.
        n: Trials; 0 gives the whole range (0, 1): nothing is known.
        z: Normal quantile of the wanted confidence.

    Returns:
        Lower and upper bound.

    Raises:
        ValueError: ``wins`` outside [0, n] or a negative n.
    """
    if n < 0 or not 0 <= wins <= max(n, 0):
        raise ValueError(f"{wins} wins of {n} fights is impossible: wins must lie in [0, n]")
    if n == 0:
        return 0.0, 1.0
    p = wins / n
    shrink = 1.0 + z * z / n
    centre = (p + z * z / (2.0 * n)) / shrink
    half = z * math.sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n)) / shrink
    # The exact bounds at p = 0 and p = 1 are 0 and 1; rounding may miss them by 1e-17.
    low = 0.0 if wins == 0 else max(0.0, centre - half)
    high = 1.0 if wins == n else min(1.0, centre + half)
    return low, high


def bonferroni_z(looks: int) -> float:
    """The two-sided normal quantile that keeps 95 % over several looks at growing data: 1 - 0.05 / (2 looks).

    (Bonferroni's inequality: the chance that any of the looks misses is at most the sum of their chances.)

    Args:
        looks: Planned in advance, at least 1.
    """
    from statistics import NormalDist

    return NormalDist().inv_cdf(1.0 - 0.05 / (2 * looks))


def entropy_bits(counts: Sequence[float]) -> float:
    """Gives the Shannon entropy of a marginal distribution in bits, ``-Σ p·log2 p``.

    Args:
        counts: How often each outcome was seen; all zero gives 0.
    """
    total = float(sum(counts))
    if total <= 0.0:
        return 0.0
    return -sum(c / total * math.log2(c / total) for c in counts if c > 0) + 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """Gives the nearest-rank percentile: the smallest value that ``share`` of all do not exceed.

    Args:
        values: At least one number.
        share: Between 0 and 1, such as 0.95.

    Raises:
        ValueError: No values, or a share outside (0, 1].
    """
    if not values or not 0.0 < share <= 1.0:
        raise ValueError(f"percentile {share} of {len(values)} values is not defined")
    return float(sorted(values)[math.ceil(share * len(values)) - 1])


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Gives a mean with its 95 % interval by Student's t: few seeds, each one difference of a pair.

    ``mean ± t(n - 1)·s/√n`` with s the sample's standard deviation (Student, 1908). A bootstrap over three
    seeds would draw from ten different samples only and be far too narrow.

    Args:
        values: At least one number, such as a gain per seed.

    Returns:
        Mean, lower and upper bound; the bounds are infinite for a single value, which says nothing of spread.

    Raises:
        ValueError: No values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("the mean of no values is not defined")
    mean = math.fsum(values) / n
    if n == 1:
        return mean, -math.inf, math.inf
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = t_quantile(n - 1) * math.sqrt(variance / n)
    return mean, mean - half, mean + half


def t_quantile(freedom: int) -> float:
    """Gives the two-sided 95 % quantile of Student's t.

    Args:
        freedom: Degrees of freedom, at least 1; from 31 on the expansion in 1/freedom is exact to 1e-4
            (Abramowitz and Stegun, 26.7.5).
    """
    if freedom <= len(_T_95):
        return _T_95[freedom - 1]
    z = Z_95
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


_T_95 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
