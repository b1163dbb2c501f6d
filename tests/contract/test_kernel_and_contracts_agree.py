"""No train/serve skew: a WorldView yields the kernel's features, orders and masks, bit for bit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from envs import archetypes
from envs.contracts import (
    ARCHETYPES,
    Order,
    WorldView,
    combat_orders,
    control_orders,
    movement_orders,
    observe,
    order_row,
    pack_orders,
    skill_orders,
)
from envs.simulation.world import World
from tests.envs.play import TEAMS, bits, random_actions, some_actions, symmetric_terrain

# Two scenarios of each archetype, 8 fights, every unit of team 0 observed, every 4th of 160 windows:
# 6 x (8 x 1 + 8 x 3 + 8 x 5) x 40 = 17,280 rows.
SCENARIOS = ("1v1", "3v3", "5v5")
HEAD_ORDERS = {"movement": movement_orders, "skill": skill_orders, "pack": pack_orders}


def through_json(view: WorldView) -> WorldView:
    """As it crosses the wire, with the ids of a game."""
    data = json.loads(json.dumps(view.to_json()))
    text = json.dumps(data)
    assert "NaN" not in text and "Infinity" not in text
    return WorldView.from_json(data)


@pytest.mark.parametrize("name", ARCHETYPES)
def test_features_orders_and_masks_equal_the_kernels(name: str) -> None:
    rng = np.random.default_rng(ARCHETYPES.index(name))
    rows = 0
    for scenario in SCENARIOS:
        team = archetypes.load(name).team(scenario)
        # The enemies stand in another order, so that equal slots do not hold equal units.
        world = World(
            8,
            (team, team[::-1]),
            tiers=("classic", "veteran"),
            learners=1,
            observed=len(team),
            seed=31,
            size=48 if scenario == "3v3" else 32,
            time_limit_ticks=240,
        )
        for window in range(160):
            if window % 4 == 0:
                views = [world.view(k) for k in range(8)]
                if window % 16 == 0:
                    views = [through_json(view) for view in views]
                stacked = [view for view in views for _ in team]
                slots = list(range(len(team))) * 8
                obs = observe(stacked, slots)
                orders, masks = combat_orders(stacked, slots)
                place = (name, scenario, window)
                assert np.array_equal(bits(obs), bits(world.obs).reshape(obs.shape)), place
                assert np.array_equal(orders, world.orders.reshape(orders.shape)), place
                assert np.array_equal(masks, world.masks.reshape(masks.shape)), place
                rows += len(slots)
            world.step(random_actions(world.masks, rng, illegal=0.05))
    assert rows == 8 * (1 + 3 + 5) * 40  # x 6 archetypes = 17,280


@pytest.mark.parametrize("head", ["movement", "skill", "pack", "control"])
def test_the_other_heads_orders_equal_the_kernels(head: str) -> None:
    rng = np.random.default_rng(7)
    team = TEAMS["5v5"][0]
    terrain = symmetric_terrain(rng, 0.2)
    world = World(
        6, (team, team[::-1]), head=head, learners=5, seed=31, terrain=terrain, starts="random",
        tiers=("classic", "veteran"), time_limit_ticks=240,
    )  # fmt: skip
    slots = list(range(5)) * 6
    legal = np.zeros(world.masks.shape[-1], np.int64)
    for window in range(120):
        actions = some_actions(world, rng, illegal=0.05)
        if window % 4 == 0:
            views = [through_json(world.view(k)) for k in range(6)]
            assert all(view.blocked is not None and (view.blocked == terrain).all() for view in views)
            stacked = [view for view in views for _ in team]
            if head == "control":
                orders = control_orders(stacked, slots, actions.reshape(30, 5))
                assert np.array_equal(orders, world.mixed(actions).reshape(30, 5)), window
            else:
                orders, masks = HEAD_ORDERS[head](stacked, slots)
                assert np.array_equal(orders, world.orders.reshape(orders.shape)), window
                assert np.array_equal(masks, world.masks.reshape(masks.shape)), window
            legal += world.masks.sum(axis=(0, 1))
        world.step(actions)
    # Every action was legal now and then, but for skills that no member of the team has.
    assert (legal > 0).sum() >= (45 if head == "skill" else len(legal))


def test_json_keeps_every_public_column_and_skill() -> None:
    world = World(8, (("mage", "tank", "support"), ("ranged", "aggressive", "defensive")), learners=1, seed=3)
    rng = np.random.default_rng(3)
    casts = 0
    for _ in range(120):
        for view in (world.view(0), world.view(5)):
            back = through_json(view)
            assert np.array_equal(back.units, view.units) and np.array_equal(back.skills, view.skills)
            assert (back.ids, back.bounds, back.origin_x2, back.elapsed_ms) == (
                view.ids, view.bounds, view.origin_x2, view.elapsed_ms,
            )  # fmt: skip
            casts += sum(unit["cast"] is not None for unit in view.to_json()["units"])
        world.step(random_actions(world.masks, rng))
    assert casts > 0


def test_orders_survive_the_wire() -> None:
    world = World(8, (("mage", "tank", "support"), ("ranged", "aggressive", "defensive")), learners=1, seed=3)
    rng = np.random.default_rng(4)
    kinds = set()
    for _ in range(80):
        view = world.view(2)
        for row in world.orders[2, 0]:
            order = Order.from_row(view, row)
            kinds.add(order.kind)
            back = Order.from_json(json.loads(json.dumps(order.to_json())))
            assert back == order and np.array_equal(order_row(view, back), row)
        world.step(random_actions(world.masks, rng))
    assert kinds == {"hold", "move", "attack", "skill", "fumble"}
    for head, own in (("movement", {"steer"}), ("pack", {"fumble", "steer", "script"})):
        world = World(1, (("mage", "tank", "support"),) * 2, head=head, learners=3, seed=3)
        kinds = set()
        for row in world.orders[0].reshape(-1, 5):
            order = Order.from_row(world.view(0), row)
            kinds.add(order.kind)
            assert np.array_equal(order_row(world.view(0), Order.from_json(order.to_json())), row)
        assert kinds == own


def test_a_game_s_own_ids_and_order_of_units_change_names_only() -> None:
    # The same fight with string ids and the enemies listed first: team mates keep their order.
    world = World(4, (("mage", "tank"), ("ranged", "aggressive")), learners=1, seed=3)
    for _ in range(30):
        world.step(np.full((4, 1), 1, np.int32))
    for k in range(4):
        data = world.view(k).to_json()
        names = {0: "hero", 1: "guard", 2: "bandit", 3: "wolf"}
        units = data["units"]
        for unit in units:
            unit["id"] = names[unit["id"]]
            for holder, key in (
                (unit, "target"),
                (unit["status"], "taunted_by"),
                (unit["cast"] or {}, "target"),
            ):
                if holder.get(key) is not None:
                    holder[key] = names[holder[key]]
        data["units"] = units[2:] + units[:2]
        view = WorldView.from_json(data)
        me = view.unit_index("hero")
        assert me == 2
        obs = observe([view], [me])
        assert np.array_equal(bits(obs)[0], bits(world.obs)[k, 0])
        orders, masks = combat_orders([view], [me])
        assert np.array_equal(masks[0], world.masks[k, 0])
        for mine, kernels in zip(orders[0], world.orders[k, 0], strict=True):
            order, twin = Order.from_row(view, mine), Order.from_row(world.view(k), kernels)
            assert order.kind == twin.kind and order.direction == twin.direction and order.skill == twin.skill
            assert order.target == (None if twin.target is None else names[twin.target])
