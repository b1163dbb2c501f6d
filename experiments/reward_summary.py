"""How reward terms are distributed over played episodes, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

SPARSE = 0.05
"""A term that is not zero in fewer than this share of the episodes is sparse."""
DOMINATED = 0.01
"""A term with less than this share of the absolute sum of all terms has hardly any say."""
DOMINATING = 0.80
"""A term with more than this share of it drowns the others."""
_BINS = 32


@dataclass(frozen=True)
class Warned:
    """One thing a person should know about a term.

    Attributes:
        kind: ``sparse``, ``dominated``, ``dominating`` or ``non-finite``.
        term: Name of the term.
        text: One line: what was seen, the likely cause, the remedy.
    """

    kind: str
    term: str
    text: str


@dataclass(frozen=True)
class TermSummary:
    """How one term, or the whole reward, is distributed over episodes; weighted and unscaled.

    Attributes:
        name: Of the term; ``total`` for the reward.
        weight: Effective weight; None for the total.
        mean: Per episode.
        sd: Sample standard deviation over episodes, 0 for a single one.
        min: Smallest episode.
        max: Largest episode.
        share: Share of the sum of |episode value| over all terms; None for the total.
        nonzero: Share of episodes in which it is not zero.
        mean_won: Mean of episodes won by kill; None without any.
        mean_lost: Mean of episodes lost by kill; None without any.
    """

    name: str
    weight: float | None
    mean: float
    sd: float
    min: float
    max: float
    share: float | None
    nonzero: float
    mean_won: float | None
    mean_lost: float | None


@dataclass(frozen=True)
class Histogram:
    """Episodes by reward, in bins of equal width.

    Attributes:
        edges: Borders of the bins, one more than there are bins.
        won: Episodes won by kill, per bin.
        lost: Episodes lost by kill, per bin.
        other: Episodes that ended on time, per bin.
    """

    edges: tuple[float, ...]
    won: tuple[int, ...]
    lost: tuple[int, ...]
    other: tuple[int, ...]


@dataclass(frozen=True)
class RewardSummary:
    """The reward terms of one archetype over ``fights`` episodes."""

    archetype: str
    scenario: str
    opponent: str
    learner: str
    fights: int
    won: int
    lost: int
    decisions: float
    total: TermSummary
    terms: tuple[TermSummary, ...]
    histogram: Histogram
    warnings: tuple[Warned, ...]

    @property
    def win_rate(self) -> float:
        """Share of fights won by kill."""
        return self.won / self.fights

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "win_rate": self.win_rate}


@dataclass
class Episodes:
    """Finished episodes, one entry per fight.

    Attributes:
        rewards: Shaped, unscaled reward, float64 ``(fight,)``.
        lengths: Decisions, int64 ``(fight,)``.
        outcomes: As in ``envs.simulation.state``, int64 ``(fight,)``.
        terms: Weighted sum of each term, name -> float64 ``(fight,)``.
        non_finite: First (fight, decision) at which a term was not finite, by name.
    """

    rewards: np.ndarray
    lengths: np.ndarray
    outcomes: np.ndarray
    terms: dict[str, np.ndarray]
    non_finite: dict[str, tuple[int, int]] = field(default_factory=dict)


def summarise(
    archetype: str, opponent: str, learner: str, weights: dict[str, float], size: int, played: Episodes
) -> RewardSummary:
    """Describes played episodes term by term and warns of what a learner would suffer from.

    Episodes whose value is not finite are left out of that term's figures.

    Args:
        archetype: The learner's.
        opponent: As the user named it.
        learner: As the user named it.
        weights: Effective weight per term.
        size: Units a side.
        played: The episodes.
    """
    won, lost = played.outcomes == 1, played.outcomes == -1
    amounts = {name: float(np.abs(_finite(value)).sum()) for name, value in played.terms.items()}
    whole = sum(amounts.values()) or 1.0
    terms = tuple(
        _summary(name, weights[name], played.terms[name], won, lost, amounts[name] / whole)
        for name in weights
    )
    return RewardSummary(
        archetype=archetype,
        scenario=f"{size}v{size}",
        opponent=opponent,
        learner=learner,
        fights=len(played.outcomes),
        won=int(won.sum()),
        lost=int(lost.sum()),
        decisions=float(played.lengths.mean()),
        total=_summary("total", None, played.rewards, won, lost, None),
        terms=terms,
        histogram=_histogram(played.rewards, won, lost),
        warnings=tuple(warnings(terms, len(won), played.non_finite)),
    )


def warnings(
    terms: Sequence[TermSummary], fights: int, non_finite: dict[str, tuple[int, int]]
) -> list[Warned]:
    """Lists what is wrong with the terms of one archetype, the gravest first."""
    found = [
        Warned(
            "non-finite",
            name,
            f"{name} is not finite, first in fight {fight} at decision {step}; its weight or the statistic"
            " it reads is broken, no learner can use it",
        )
        for name, (fight, step) in non_finite.items()
    ]
    sound = [term for term in terms if term.name not in non_finite]
    found += [
        Warned(
            "dominating",
            term.name,
            f"{term.name} makes up {term.share:.0%} of all that is paid (above {DOMINATING:.0%});"
            " the other terms hardly matter, lower its weight or raise theirs",
        )
        for term in sound
        if term.share is not None and term.share > DOMINATING
    ]
    for term in sound:
        if term.nonzero < SPARSE:
            found.append(
                Warned(
                    "sparse",
                    term.name,
                    f"{term.name} is paid in {term.nonzero:.1%} of {fights} episodes (below {SPARSE:.0%});"
                    " a learner seldom meets it, check that the scenario allows it",
                )
            )
        elif term.share is not None and term.share < DOMINATED:
            found.append(
                Warned(
                    "dominated",
                    term.name,
                    f"{term.name} makes up {term.share:.2%} of all that is paid (below {DOMINATED:.0%});"
                    " it hardly matters, raise its weight or take it out",
                )
            )
    return found


def _finite(values: np.ndarray) -> np.ndarray:
    return np.asarray(values[np.isfinite(values)])


def _summary(
    name: str,
    weight: float | None,
    values: np.ndarray,
    won: np.ndarray,
    lost: np.ndarray,
    share: float | None,
) -> TermSummary:
    usable = np.isfinite(values)
    kept = values[usable]

    def mean_of(rows: np.ndarray) -> float | None:
        return float(values[rows & usable].mean()) if (rows & usable).any() else None

    return TermSummary(
        name=name,
        weight=weight,
        mean=float(kept.mean()) if kept.size else math.nan,
        sd=float(kept.std(ddof=1)) if kept.size > 1 else (0.0 if kept.size else math.nan),
        min=float(kept.min()) if kept.size else math.nan,
        max=float(kept.max()) if kept.size else math.nan,
        share=share,
        nonzero=float((kept != 0.0).mean()) if kept.size else math.nan,
        mean_won=mean_of(won),
        mean_lost=mean_of(lost),
    )


def _histogram(rewards: np.ndarray, won: np.ndarray, lost: np.ndarray) -> Histogram:
    usable = np.isfinite(rewards)
    kept = rewards[usable]
    edges = np.histogram_bin_edges(kept, _BINS) if kept.size else np.array([0.0, 1.0])
    counts = [
        tuple(np.histogram(rewards[usable & rows], edges)[0].tolist()) for rows in (won, lost, ~(won | lost))
    ]
    return Histogram(tuple(edges.tolist()), *counts)
