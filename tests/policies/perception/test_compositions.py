"""Who fights whom: held-out teams never fight in training, and sets never share a fight."""

from __future__ import annotations

import numpy as np
import pytest

from envs.configuration import ConfigError, load_dataclass
from envs.contracts.vocabulary import ARCHETYPES
from policies.perception.compositions import FightPlan, compositions, fights_of, record, split_sights

PLAN = FightPlan(fights=40, sizes={"1v1": 2, "3v3": 9})


def enemies(archetype: str, seed: int, *, held_out: bool) -> set[tuple[str, ...]]:
    return {tuple(sorted(c.teams[1])) for c in compositions(archetype, PLAN, seed, held_out=held_out)}


def test_held_out_teams_of_enemies_never_fight_in_training() -> None:
    trained = set().union(*(enemies(name, seed, held_out=False) for name in ARCHETYPES for seed in range(20)))
    held = set().union(*(enemies(name, seed, held_out=True) for name in ARCHETYPES for seed in range(20)))
    assert not trained & held
    assert len(trained) > 20 and len(held) > 5


def test_the_observer_leads_its_team_and_both_sides_are_equally_many() -> None:
    found = compositions("tank", PLAN, 0, held_out=False)
    assert len(found) == 11
    for one in found:
        assert one.teams[0][0] == "tank"
        assert len(one.teams[0]) == len(one.teams[1])
    assert {one.tiers for one in found} == {
        (a, b) for a in ("classic", "veteran") for b in ("classic", "veteran")
    }


def test_same_seed_same_compositions() -> None:
    assert compositions("mage", PLAN, 5, held_out=False) == compositions("mage", PLAN, 5, held_out=False)
    assert compositions("mage", PLAN, 5, held_out=False) != compositions("mage", PLAN, 6, held_out=False)


def test_sets_share_no_fight() -> None:
    small = FightPlan(fights=40, sizes={"1v1": 1})
    ((_, sights),) = record("mage", small, 1)
    sets = split_sights(sights)
    numbers = [set(part.recording.number.tolist()) for part in sets.values()]
    assert sum(len(part) for part in numbers) == 40 == len(set().union(*numbers))
    assert len(numbers[0]) > 20


def test_a_bound_on_decisions_makes_long_fights_fewer() -> None:
    plan = FightPlan(fights=500, decisions=12_000, sizes={"1v1": 2, "2v2": 2})
    for archetype in ("aggressive", "tank"):
        fights = fights_of(archetype, plan, 1, held_out=False)
        found = [sights for _, sights in record(archetype, plan, 1)]
        assert {sights.recording.num_fights for sights in found} == {fights}
        assert sum(int(sights.seeing.sum()) for sights in found) == pytest.approx(12_000, rel=0.15)
        assert fights_of(archetype, plan, 1, held_out=True) == max(fights // 5, 8)
    assert fights_of("tank", plan, 1, held_out=False) < fights_of("aggressive", plan, 1, held_out=False)


def test_a_bound_on_decisions_adds_no_fights() -> None:
    plan = FightPlan(fights=20, decisions=10_000_000, sizes={"1v1": 1})
    assert fights_of("mage", plan, 1, held_out=False) == 20


def test_held_out_fights_have_other_random_numbers() -> None:
    small = FightPlan(fights=40, sizes={"1v1": 1})
    ((_, trained),) = record("mage", small, 1)
    ((_, held),) = record("mage", small, 1, held_out=True)
    assert held.recording.num_fights == 8
    assert not np.isin(held.recording.seed, trained.recording.seed).any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fights": 8, "sizes": {"6v6": 1}}, "unknown team size '6v6'"),
        ({"fights": 8, "styles": ["rush"]}, "unknown style 'rush'"),
        ({"fights": 0}, "fights.*at least 1"),
        ({"fights": 8, "decisions": 0}, "decisions"),
    ],
)
def test_plans_that_cannot_be_played_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_dataclass(FightPlan, values, "plan")
