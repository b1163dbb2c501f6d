"""The exact posterior beside the very rows that the mind is asked about."""

from __future__ import annotations

import numpy as np
import pytest

from envs.simulation import state as s
from policies.perception import data
from policies.perception.compositions import FightPlan, Split
from policies.perception.pattern import LENGTHS, PatternTask
from policies.perception.pattern_ceiling import exact_answers
from policies.perception.task import Rows

PLAN = FightPlan(fights=40, sizes={"1v1": 1, "2v2": 2}, stride=10, styles=s.STYLES[1:])


@pytest.fixture(scope="module")
def sets() -> dict[str, Rows]:
    held_out = data.collect(PatternTask(), "mage", PLAN, 5, held_out=True)
    return data.collect(PatternTask(), "mage", PLAN, 5) | held_out


@pytest.mark.parametrize("name", ["train", "held_out"])
@pytest.mark.parametrize("seen", ["deeds", "orders"])
def test_the_posterior_belongs_to_the_rows(sets: dict[str, Rows], name: Split, seen: str) -> None:
    rows = sets[name]
    answers = exact_answers(rows, "mage", PLAN, 5, name, seen=seen)
    assert set(answers) == set(LENGTHS)
    truth = rows["style"].astype(np.int64)
    for chances in answers.values():
        np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=1e-6)
        # What really happened is never impossible: were rows and fights mixed up, it soon would be.
        assert (chances[np.arange(len(truth)), truth] > 0).all()
    errors = PatternTask().errors(answers, rows, {})
    accuracy = {question: 1.0 - np.nanmean(values) for question, values in errors.items()}
    assert accuracy["style_2s"] > 0.35 and accuracy["style_10s"] > 0.5


def test_who_sees_orders_knows_at_least_as_much(sets: dict[str, Rows]) -> None:
    rows = sets["train"]
    accuracy = {}
    for seen in ("deeds", "orders"):
        errors = PatternTask().errors(exact_answers(rows, "mage", PLAN, 5, "train", seen=seen), rows, {})
        accuracy[seen] = 1.0 - float(np.nanmean(errors["style_5s"]))
    assert accuracy["orders"] > accuracy["deeds"]


def test_rows_of_other_fights_are_refused(sets: dict[str, Rows]) -> None:
    with pytest.raises(ValueError, match="other fights"):
        exact_answers(sets["train"], "mage", PLAN, 5, "test")
