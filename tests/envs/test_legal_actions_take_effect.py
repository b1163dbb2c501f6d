"""What a mask calls legal takes effect within the decision window, in every head."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.contracts import ARCHETYPES, HEADS
from envs.contracts import layout as f
from envs.reference import Fight, ReferenceWorld, Unit
from envs.reference.world import ORDERS
from envs.simulation.state import STARTS
from tests.envs.play import random_actions, symmetric_terrain

WAITING = {"combat": 0, "movement": 0, "skill": 5, "pack": 0}
names = st.sampled_from(ARCHETYPES)


class Alone(Fight):
    """A fight in which only its first unit acts, so that nobody else can spoil an action."""

    def _act(self, me: Unit) -> None:
        if me.index == 0:
            super()._act(me)


def takes_effect(fight: Fight, order: list[int]) -> bool:
    """Whether unit 0 moves, swings, starts a skill, or turns to another (or the ordered) enemy."""
    trial = copy.deepcopy(fight)
    trial.__class__ = Alone
    me = trial.units[0]
    cell, target = (me.x, me.y), me.target
    trial.step([order], [-1])
    if (me.x, me.y) != cell or me.stats["swings"] or me.stats["skills"] or me.target is not target:
        return True
    ordered = order[f.ORDER_TARGET]
    return order[f.ORDER_KIND] == f.O_SCRIPT and me.target is not None and me.target.index == ordered


@pytest.mark.parametrize("head", [head for head in HEADS if head != "control"])
@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    mine=st.lists(names, min_size=3, max_size=3),
    its=st.lists(names, min_size=3, max_size=3),
    starts=st.sampled_from(STARTS),
    density=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 2**32),
)
def test_a_legal_action_takes_effect(
    head: str, mine: list[str], its: list[str], starts: str, density: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    terrain = symmetric_terrain(rng, density) if density else None
    world = ReferenceWorld(
        1, (mine, its), head=head, learners=1, seed=seed, starts=starts, terrain=terrain,
        tiers=("classic", "veteran"),
    )  # fmt: skip
    for window in range(60):
        fight = world.fights[0]
        if fight.outcome != 0 or not fight.units[0].alive:
            break
        if window % 6 == 5:
            orders, legal = ORDERS[head]([fight.view()], [0])
            assert legal[0, WAITING[head]]
            for action in np.flatnonzero(legal[0]):
                if action != WAITING[head]:
                    order = orders[0, action].tolist()
                    assert takes_effect(fight, order), (window, action, order)
        world.step(random_actions(world.masks, rng))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(mine=names, its=names, seed=st.integers(0, 2**32))
def test_an_illegal_action_of_a_free_unit_has_no_effect(mine: str, its: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = ReferenceWorld(1, ((mine, "tank"), (its, "mage")), learners=1, seed=seed)
    for window in range(30):
        fight = world.fights[0]
        if fight.outcome != 0 or not fight.units[0].alive:
            break
        if window % 5 == 4 and fight.units[0].taunt == 0:
            orders, legal = ORDERS["combat"]([fight.view()], [0])
            for action in np.flatnonzero(~legal[0]):
                assert not takes_effect(fight, orders[0, action].tolist())
        world.step(random_actions(world.masks, rng))
