"""A changed row is what a changed fight shows, bit for bit; and a turned fight goes on turned alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from envs import terrain
from envs.contracts import (
    HEADS,
    WorldView,
    combat_orders,
    control_orders,
    local_observation,
    movement_orders,
    observe,
    pack_orders,
    skill_orders,
)
from envs.contracts import layout as f
from envs.contracts.features import Scene
from envs.contracts.situation import Situation, near_key
from envs.simulation import state as s
from envs.simulation.world import World
from envs.symmetries import ALLY_TO, ELEMENTS, ENEMY_TO, ROTATIONS, Symmetries, exact_elements, turn_cells
from tests.envs.play import TEAMS, bits, random_control, some_actions, symmetric_terrain

ORDERS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "combat": combat_orders,
    "movement": movement_orders,
    "skill": skill_orders,
    "pack": pack_orders,
}
# (x, y) after each element, written out: as it is, (y, x), mirrored in x, ...
MATRICES = np.array(
    [
        [[1, 0], [0, 1]],
        [[0, 1], [1, 0]],
        [[-1, 0], [0, 1]],
        [[0, -1], [1, 0]],
        [[1, 0], [0, -1]],
        [[0, 1], [-1, 0]],
        [[-1, 0], [0, -1]],
        [[0, -1], [-1, 0]],
    ]
)
REFERENCES = [f.TARGET, f.CAST_TARGET, f.TAUNT_BY]
MATES_ALIKE = (("mage", "tank", "tank", "tank", "tank"), ("ranged",) * 5)
"""Equal units, so that ties abound."""


def turned(vectors: np.ndarray, element: int) -> np.ndarray:
    return vectors @ MATRICES[element].T


def turned_units(units: np.ndarray, element: int, size: int) -> np.ndarray:
    """Units `(..., unit, column)` with their cells turned about the arena's middle."""
    out = units.copy()
    for first in (f.X, f.CAST_X):
        cells = slice(first, first + 2)
        out[..., cells] = (turned(2 * units[..., cells] - (size - 1), element) + size - 1) // 2
    idle = units[..., f.CAST_SLOT] < 0
    out[idle, f.CAST_X : f.CAST_Y + 1] = units[idle, f.CAST_X : f.CAST_Y + 1]  # no cell at all
    return out


def new_indices(view: WorldView, me: int, code: int) -> np.ndarray:
    """New index of every unit, with -1 (none) behind them."""
    p, q = code // 8 % 120, code // 960
    team = view.units[:, f.TEAM]
    foes, mates = np.flatnonzero(team != team[me]), np.flatnonzero(team == team[me])
    mates = mates[mates != me]
    move = np.arange(len(team) + 1)
    move[-1] = -1
    move[foes] = foes[ENEMY_TO[p, : len(foes)]]
    move[mates] = mates[ALLY_TO[q, : len(mates)]]
    return move


def changed_view(view: WorldView, me: int, code: int) -> WorldView:
    """The fight turned, its enemies and the team mates of `me` listed in another order."""
    element, move = code % 8, new_indices(view, me, code)
    size = view.bounds[2] + 1
    units, skills = np.empty_like(view.units), np.empty_like(view.skills)
    units[move[:-1]] = turned_units(view.units, element, size)
    skills[move[:-1]] = view.skills
    units[:, REFERENCES] = move[units[:, REFERENCES]]
    blocked = None if view.blocked is None else turned_cells(view.blocked, element)
    return replace(view, units=units, skills=skills, blocked=blocked)


def turned_cells(blocked: np.ndarray, element: int) -> np.ndarray:
    """Blocked cells `(y, x)` one by one."""
    out = np.zeros_like(blocked)
    for y, x in np.argwhere(blocked):
        new_x, new_y = (turned(2 * np.array([x, y]) - (len(blocked) - 1), element) + len(blocked) - 1) // 2
        out[new_y, new_x] = True
    return out


@cache
def recorded(team: str) -> tuple[WorldView, ...]:
    """Views of all stages of fights, with casts, taunts and dead units, on open and other ground."""
    rng, views = np.random.default_rng(len(team)), []
    teams = MATES_ALIKE if team == "alike" else TEAMS[team]
    for number, ground in enumerate((None, symmetric_terrain(rng, 0.15))):
        world = World(
            3, teams, learners=1, seed=number, starts="around", terrain=ground, tiers=("veteran", "veteran")
        )  # fmt: skip
        for window in range(150):
            if window % 15 == 0:
                views += [world.view(k) for k in range(3)]
            world.step(some_actions(world, rng))
    return tuple(views)


def ties(scene: Scene, head: str, actions: int, numbers: np.ndarray) -> np.ndarray:
    """Where an action's order hangs on who comes first among equals, bool `(row, action)`."""
    sit = Situation(scene)

    def tied(key: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        least = np.where(chosen, key, np.inf).min(axis=1, keepdims=True)
        return ((key == least) & chosen).sum(axis=1) > 1

    units = scene.units
    rate = (units[..., f.ATK] + units[..., f.MATK]) * 1000 // np.maximum(units[..., f.ATTACK_DELAY], 1)
    nearest = tied(near_key(scene.delta), sit.foes)
    weakest = tied(units[..., f.HP], sit.foes)
    dangerous = tied(-(rate * 1000 // (units[..., f.HP] + 500)), sit.foes)
    patient = tied(sit.health, sit.team)
    # Whom an ally is protected from: the most hurt one's first attacker, else the enemy nearest to it.
    ward = np.where(sit.others, sit.health, 10**6).argmin(axis=1)
    attackers = sit.foes & (units[..., f.TARGET] == ward[:, None])
    near_ward = tied(near_key(units[..., :2] - sit.cell(ward)[:, None]), sit.foes)
    guarded = tied(sit.health, sit.others) | (attackers.sum(axis=1) > 1)
    guarded |= ~attackers.any(axis=1) & near_ward
    out = np.zeros((len(scene.rows), actions), bool)
    if head == "combat":
        for action, tie in {
            0: nearest, 1: nearest, 2: weakest, 3: dangerous, 5: nearest, 7: patient, 8: guarded, 9: nearest
        }.items():  # fmt: skip
            out[:, action] = tie
    elif head == "pack":
        out[:, 4] = guarded
        out[:, 6] = tied(near_key(scene.delta), sit.others)
    elif head == "control":
        taste = numbers[:, 4]
        out[:, 0] = np.where(taste < -1 / 3, weakest, np.where(taste > 1 / 3, dangerous, nearest)) | patient
    return out


def stacked_cell(scene: Scene) -> np.ndarray:
    """Rows in which another living member of the team stands on my cell."""
    others = scene.alive & scene.friendly
    others[scene.rows, scene.me] = False
    return (others & (scene.distance == 0)).any(axis=1)


def compared(head: str, team: str, codes_of: Symmetries) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Change views and rows, demand equal features and masks, and compare the orders of every action.

    Returns:
        Whether mask and order differ, whether the action was legal, and whether it hangs on a tie; each bool
        `(row, action)`.
    """
    rng = np.random.default_rng(5)
    views = [view for view in recorded(team) for _ in view.ids]
    units = [unit for view in recorded(team) for unit in range(len(view.ids))]
    codes = codes_of.draw(len(views), rng)
    new_views = [changed_view(*row) for row in zip(views, units, codes.tolist(), strict=True)]
    see = local_observation if head == "pack" else observe
    obs, wanted = see(views, units), see(new_views, units)
    codes_of.apply(codes, {"obs": obs})
    assert np.array_equal(bits(obs), bits(wanted))

    rows, scene = np.arange(len(views)), Scene(views, units)
    if head == "control":
        numbers = np.nan_to_num(random_control((len(views),), rng))
        orders = control_orders(views, units, numbers)[:, None]
        new_numbers = numbers.copy()
        codes_of.apply(codes, {"actions": new_numbers})
        new_orders = control_orders(new_views, units, new_numbers)[:, None]
        mask = new_mask = moved = np.ones((len(views), 1), bool)
        places = np.zeros((len(views), 1), np.int64)
    else:
        numbers = np.zeros((len(views), 5), np.float32)
        (orders, mask), (new_orders, new_mask) = ORDERS[head](views, units), ORDERS[head](new_views, units)
        places = np.empty(mask.shape, np.int64)
        for action in range(mask.shape[1]):
            column = np.full(len(views), action)
            codes_of.apply(codes, {"actions": column})
            places[:, action] = column
        moved = mask.copy()
        codes_of.apply(codes, {"action_mask": moved})
        # A mask's column goes where its action goes.
        assert np.array_equal(np.take_along_axis(moved, places, axis=1), mask)
    # The changed order of the old action against the order of the changed action.
    expected = orders.copy()
    for row in rows:
        move = new_indices(views[row], units[row], int(codes[row]))
        expected[row, :, f.ORDER_TARGET] = move[orders[row, :, f.ORDER_TARGET]]
        expected[row, :, f.ORDER_DX :] = turned(orders[row, :, f.ORDER_DX :], int(codes[row]) % 8)
    seen = np.take_along_axis(new_orders, places[..., None], axis=1)
    differs = (seen != expected).any(axis=-1)
    differs |= np.take_along_axis(new_mask != moved, places, axis=1)
    tie = ties(scene, head, mask.shape[1], numbers)
    if head == "pack":
        tie[stacked_cell(scene), 6] = True  # everybody leaves another way, by its place in the team
    return differs, mask, tie


@pytest.mark.parametrize("team", ["1v1", "3v3", "5v5", "alike"])
@pytest.mark.parametrize("head", HEADS)
def test_turned_views_show_turned_rows_and_order_turned_orders(head: str, team: str) -> None:
    differs, legal, tie = compared(head, team, Symmetries(head))
    assert len(legal) == 2 * 3 * 10 * len(recorded(team)[0].ids)  # grounds, fights, moments, units
    if head == "pack":  # but for one order, in rows with a mate on one's own cell
        assert not differs[:, :6].any() and not differs[:, 7:].any() and not (differs & ~tie).any()
        assert team != "alike" or differs[:, 6].any()
    else:
        assert not differs.any()
    assert legal.sum() > 100


@pytest.mark.parametrize("team", ["3v3", "5v5", "alike"])
@pytest.mark.parametrize("head", HEADS)
def test_relabelled_views_differ_where_the_first_of_equals_is_taken(head: str, team: str) -> None:
    size = len(recorded(team)[0].ids) // 2
    symmetries = Symmetries(head, max_enemies=size, max_allies=size - 1)
    differs, legal, tie = compared(head, team, symmetries)
    assert not (differs & ~tie).any()
    if head in ("movement", "skill"):  # their orders name a direction or a unit, never the first of some
        assert not differs.any()
    elif team == "alike":  # a rule that never bites would be no reason to warn
        assert (differs & legal).any()


def test_a_unit_behind_its_team_would_be_no_row_of_the_world() -> None:
    # Three enemies listed as slots 0, 1 and 4 are still slots 0, 1 and 2 of a view: features disagree.
    view = recorded("3v3")[0]
    code = next(c for c in Symmetries("skill", max_enemies=5).codes.tolist() if ENEMY_TO[c // 8][2] == 4)
    obs = observe([view], [0])
    assert (obs[0, 32:38] != 0).any() and not obs[0, 38:50].any()
    Symmetries("skill", max_enemies=5).apply(np.array([code]), {"obs": obs})
    assert obs[0, 44:50].any()  # a fifth enemy in a fight of three


def worlds(head: str, element: int, ground: np.ndarray | None) -> tuple[World, World]:
    """A world and its turned twin: random numbers follow the units, so they are the same."""
    own, foes = TEAMS["3v3"]
    pair = []
    for blocked in (ground, None if ground is None else turn_cells(element, ground)):
        world = World(
            8, (own, foes), learners=3 if head == "pack" else 1, head=head, seed=element, starts="around",
            styles=((), ("script", "kiter", "focus_fire", "random")), terrain=blocked,
            tiers=("classic", "veteran"),
        )  # fmt: skip
        pair.append(world)
    one, other = pair
    state = one.get_state()
    state["world"] = other.world
    state["units"] = turned_units(one.units, element, 32)
    state["orders"] = one.orders.copy()
    state["orders"][..., f.ORDER_DX :] = turned(one.orders[..., f.ORDER_DX :], element)
    renamed = np.arange(one.orders.shape[2])
    Symmetries(head).apply(np.full(len(renamed), element), {"actions": renamed} if head != "control" else {})
    state["orders"][:, :, renamed] = state["orders"].copy()
    other.set_state(state)
    return one, other


def first_difference(head: str, element: int, ground: np.ndarray | None, windows: int = 120) -> int:
    """Window in which the turned twin first shows another fight, -1 never; ended fights leave."""
    one, other = worlds(head, element, ground)
    rng, symmetries = np.random.default_rng(9), Symmetries(head)
    runs = np.ones(8, bool)
    for window in range(windows):
        actions = some_actions(one, rng)
        if head == "pack":  # spreading from a mate on one's own cell goes by the place in the team
            actions[actions == 6] = 0
        new = np.nan_to_num(actions.reshape(-1, 5)) if head == "control" else actions.reshape(-1).copy()
        codes = np.full(len(new), element)
        symmetries.apply(codes, {"actions": new})
        one.step(np.nan_to_num(actions))
        other.step(new.reshape(actions.shape))
        expected = turned_units(one.units, element, 32)
        step = slice(s.ORDER + f.ORDER_DX, s.ORDER + f.ORDER_DY + 1)
        expected[..., step] = turned(one.units[..., step], element)
        codes = np.full(runs.sum() * one.obs.shape[1], element)
        obs, masks = one.obs[runs].reshape(-1, 64), one.masks[runs].reshape(len(codes), -1)
        symmetries.apply(codes, {"obs": obs, "action_mask": masks})
        same = np.array_equal(expected[runs], other.units[runs])
        same &= np.array_equal(one.stats[runs], other.stats[runs])
        same &= np.array_equal(bits(obs), bits(other.obs[runs].reshape(obs.shape)))
        same &= np.array_equal(masks, other.masks[runs].reshape(masks.shape))
        same &= np.array_equal(one.outcome[runs], other.outcome[runs])
        if not same:
            return window
        runs &= one.outcome == s.RUNNING
    assert runs.sum() < 8 or (one.units[..., f.HP] <= 0).any()  # it was a fight
    return -1


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("head", HEADS)
def test_a_turned_fight_on_open_ground_goes_on_turned_alike(head: str, element: int) -> None:
    assert first_difference(head, element, None) == -1


def test_on_other_ground_rotations_are_exact_and_mirrors_are_not() -> None:
    forest = terrain.layout("forest")
    assert forest is not None
    found = {element: first_difference("movement", element, forest) for element in ELEMENTS}
    assert sorted(element for element, window in found.items() if window == -1) == sorted(ROTATIONS)
    # A rotation changes the ground as well, but for those that `exact_elements` names.
    assert exact_elements(forest) == (0, 6)
