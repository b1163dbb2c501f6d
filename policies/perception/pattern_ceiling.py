"""How well anybody could name the styles of the very rows that the pattern mind is asked about.

The fights are played again beside the exact posterior of `envs.perception.bayes`. It knows each whole state
and the odds of every skill; with `seen="deeds"` it has to infer orders from what they led to, as a mind does.
"""

from __future__ import annotations

import numpy as np

from envs.perception.bayes import even, likelihoods, posterior
from envs.perception.splits import split_of
from envs.simulation import state as s
from policies.perception.compositions import (
    SPLITS,
    FightPlan,
    Split,
    compositions,
    fights_of,
    world_arguments,
)
from policies.perception.data import FIGHT_NUMBERS
from policies.perception.pattern import LENGTHS
from policies.perception.task import Rows, count_rows

TIE = 1e-9
"""Chances this near count as equal: sums of logarithms leave rests of rounding."""


def exact_answers(
    rows: Rows, archetype: str, plan: FightPlan, seed: int, name: Split, *, seen: str = "deeds"
) -> Rows:
    """What the exact posterior says of rows, named as the mind's answers are.

    Args:
        rows: of `policies.perception.data.collect` with the same archetype, plan and seed.
        archetype: whose eyes.
        plan: what was recorded.
        seed: of compositions and fights.
        name: which set the rows are.
        seen: `deeds` or `orders`, see `envs.perception.bayes`.

    Returns:
        float64 `(row, 6)` per question.

    Raises:
        ValueError: rows of other fights.
    """
    held_out = name == "held_out"
    found = {question: np.zeros((count_rows(rows), len(s.STYLES) - 1)) for question in LENGTHS}
    number, fight = np.divmod(rows["fight"], FIGHT_NUMBERS)
    prior = even(plan.styles)
    fights = fights_of(archetype, plan, seed, held_out=held_out)
    for place, composition in enumerate(compositions(archetype, plan, seed, held_out=held_out)):
        at = np.flatnonzero(number == place)
        if not len(at):
            continue
        recording, chances = likelihoods(
            fights,
            composition.teams,
            seen=seen,
            **world_arguments(composition, plan, seed, place, held_out=held_out),
        )
        chosen = np.arange(recording.num_fights)
        if not held_out:
            which = split_of(recording.seed, recording.number, recording.episode)
            chosen = np.flatnonzero(which == SPLITS.index(name))
        if fight[at].max() >= len(chosen) or rows["time"][at].max() > len(chances):
            raise ValueError(f"{name}: rows of other fights than archetype, plan and seed give")
        chances = chances[:, chosen]
        unit = len(composition.teams[0]) + rows["slot"][at]
        for question, length in LENGTHS.items():
            told = posterior(chances, length, prior)[rows["time"][at], fight[at], unit, 1:]
            # Equal chances are made exactly equal, so that ties are seen as such.
            found[question][at] = np.round(told / TIE) * TIE
    return found
