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
