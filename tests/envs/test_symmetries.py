"""Codes, their group, and what each does to a row, by hand. The worlds' say: `tests/contract`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs import terrain
from envs.configuration import ConfigError
from envs.contracts import FEATURES, HEADS, MOVEMENT_ACTIONS, skill_action
from envs.simulation.world import World
from envs.symmetries import (
    ALLY_TO,
    ELEMENTS,
    ENEMY_TO,
    ROTATIONS,
    Symmetries,
    exact_elements,
    turn,
    turn_cells,
)
from tests.envs.play import bits

LEFT, HALF, FLIP_X = 3, 6, 2  # a quarter turn to the left, half a turn, west and east exchanged
TABLES = (ENEMY_TO, ALLY_TO)
COUNTS = {"combat": 10, "movement": 9, "skill": 70, "pack": 8}


def code(element: int = 0, enemies: tuple[int, ...] = (), allies: tuple[int, ...] = ()) -> np.ndarray:
    """The code of one row, from the new slot of each of the first enemies and allies."""
    to = (*enemies, *range(len(enemies), 5)), (*allies, *range(len(allies), 4))
    p, q = (np.flatnonzero((table == row).all(axis=1))[0] for table, row in zip(TABLES, to, strict=True))
    return np.array([element + 8 * (p + 120 * q)], np.int64)


def whole(head: str) -> Symmetries:
    return Symmetries(head, max_enemies=5, max_allies=4)


def row(**values: float) -> np.ndarray:
    obs = np.zeros((1, 64), np.float32)
    for name, value in values.items():
        obs[0, FEATURES.index(name)] = value
    return obs


def columns(head: str, rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Columns as a learner has them; zeros among the numbers, as in real rows."""
    out: dict[str, np.ndarray] = {}
    for name in ("obs", "new_obs"):
        obs = rng.integers(-4, 5, (rows, 70 if head == "pack" else 64)).astype(np.float32) / 4
        out[name] = obs
    if head == "control":
        out["actions"] = rng.integers(-4, 5, (rows, 5)).astype(np.float32) / 4
        out["action_dist_inputs"] = rng.integers(-4, 5, (rows, 10)).astype(np.float32) / 4
    else:
        out["actions"] = rng.integers(0, COUNTS[head], rows)
        out["action_dist_inputs"] = rng.normal(size=(rows, COUNTS[head])).astype(np.float32)
        for name in ("action_mask", "new_action_mask"):
            out[name] = rng.random((rows, COUNTS[head])) < 0.5
    out["rewards"] = rng.normal(size=rows)
    return out


def copy(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: column.copy() for name, column in data.items()}


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    for name in one:
        assert np.array_equal(bits(one[name]), bits(other[name])), name


def test_a_quarter_turn_by_hand() -> None:
    # (x, y) becomes (-y, x): what was to the east is to the north. A zero stays 0.0 and is never -0.0.
    obs = row(hp=1, x=0.5, y=0.25, enemy_0_dx=1, enemy_0_hp=0.75, ally_3_dx=-0.5, ally_3_dy=1.5)
    data = {"obs": obs, "actions": np.array([MOVEMENT_ACTIONS.index("E")])}
    Symmetries("movement").apply(np.array([LEFT]), data)
    wanted = row(hp=1, x=-0.25, y=0.5, enemy_0_dy=1, enemy_0_hp=0.75, ally_3_dx=-1.5, ally_3_dy=-0.5)
    assert np.array_equal(bits(obs), bits(wanted))
    assert MOVEMENT_ACTIONS[data["actions"][0]] == "N"


@pytest.mark.parametrize(
    ("element", "names"),
    [
        (0, "N NE E SE S SW W NW"),
        (LEFT, "W NW N NE E SE S SW"),
        (FLIP_X, "N NW W SW S SE E NE"),
        (HALF, "S SW W NW N NE E SE"),
        (1, "E NE N NW W SW S SE"),  # x and y exchanged
    ],
)
def test_directions_and_what_belongs_to_them_move_together(element: int, names: str) -> None:
    wanted = names.split()  # where N, NE, E, ... go
    logits = np.arange(9, dtype=np.float32)[None].copy()
    mask = np.zeros((1, 9), bool)
    mask[0, 1] = True
    Symmetries("movement").apply(np.array([element]), {"action_dist_inputs": logits, "new_action_mask": mask})
    assert [int(logits[0, MOVEMENT_ACTIONS.index(name)]) for name in wanted] == list(range(1, 9))
    assert logits[0, 0] == 0 and np.flatnonzero(mask[0]).tolist() == [MOVEMENT_ACTIONS.index(wanted[0])]


def test_relabelled_enemies_take_their_pointers_along() -> None:
    # Enemy 0 to slot 1, 1 to 2, 2 to 0. Of the permutations of five, each first number has 24, each second 6:
    # (1, 2, 0, 3, 4) is number 24 + 6 = 30. Ally 0 and 1 exchanged: (1, 0, 2, 3) is number 6.
    cycle = code(0, (1, 2, 0), (1, 0))
    assert cycle.tolist() == [8 * (30 + 120 * 6)]
    obs = row(enemy_0_hp=0.5, enemy_0_kind=-1, enemy_2_dx=2, ally_0_hp=0.25, ally_1_dy=-1)
    mask = np.zeros((1, 70), bool)
    mask[0, [0, 5, skill_action(2, 2), skill_action(6, 7)]] = True
    data = {"obs": obs, "action_mask": mask, "actions": np.array([skill_action(3, 1)])}
    whole("skill").apply(cycle, data)
    wanted = row(enemy_1_hp=0.5, enemy_1_kind=-1, enemy_0_dx=2, ally_1_hp=0.25, ally_0_dy=-1)
    assert np.array_equal(bits(obs), bits(wanted))
    # The attack at enemy 0 is one at 1; waiting stays; enemy 2 is 0; ally 1 (pointer 7) is ally 0 (6).
    assert np.flatnonzero(mask[0]).tolist() == [1, 5, skill_action(2, 0), skill_action(6, 6)]
    assert data["actions"].tolist() == [skill_action(3, 2)]


def test_focus_orders_follow_the_first_three_enemies() -> None:
    actions = np.arange(8)
    logits = np.arange(8, dtype=np.float32)[None].copy()
    cycle = code(LEFT, (1, 2, 0, 4, 3))
    whole("pack").apply(np.repeat(cycle, 8), {"actions": actions})
    whole("pack").apply(cycle, {"action_dist_inputs": logits})
    assert actions.tolist() == [0, 2, 3, 1, 4, 5, 6, 7]
    assert logits[0].tolist() == [0, 3, 1, 2, 4, 5, 6, 7]
    with pytest.raises(ValueError, match="codes"):  # no order names slot 3
        whole("pack").apply(code(0, (0, 1, 3, 2)), {"actions": actions})


def test_the_control_head_turns_its_move_vector() -> None:
    actions = np.array([[0.5, -0.25, 1, 0.75, -1]], np.float32)
    inputs = np.array([[0.5, 0, 1, 2, 3, -1, -2, -3, -4, -5]], np.float32)
    Symmetries("control").apply(np.array([LEFT]), {"actions": actions, "action_dist_inputs": inputs})
    assert actions.tolist() == [[0.25, 0.5, 1, 0.75, -1]]
    # The mean (0.5, 0) becomes (0, 0.5); the deviations change axes and keep their signs.
    assert np.array_equal(bits(inputs), bits(np.array([[0, 0.5, 1, 2, 3, -2, -1, -3, -4, -5]], np.float32)))


def test_combat_actions_have_no_direction_and_other_columns_stay() -> None:
    rng = np.random.default_rng(1)
    data = columns("combat", 50, rng)
    before = copy(data)
    symmetries = whole("combat")
    symmetries.apply(symmetries.draw(50, rng), data)
    for name in ("actions", "action_mask", "action_dist_inputs", "rewards"):
        assert np.array_equal(data[name], before[name]), name
    assert (data["obs"] != before["obs"]).any(axis=1).mean() > 0.9
    still = [i for i, name in enumerate(FEATURES) if i > 3 and not name.startswith(("enemy_", "ally_"))]
    assert np.array_equal(data["obs"][:, still], before["obs"][:, still])


def test_padding_stays() -> None:
    actions = np.array([-1, 9, 1])
    Symmetries("movement").apply(np.full(3, HALF), {"actions": actions})
    assert actions.tolist() == [-1, 9, 5]  # N becomes S


@pytest.mark.parametrize("head", HEADS)
def test_group_laws(head: str) -> None:
    rng = np.random.default_rng(2)
    symmetries, rows = whole(head), 400
    a, b, c = (symmetries.draw(rows, rng) for _ in range(3))
    data = columns(head, rows, rng)

    def after(*steps: np.ndarray) -> dict[str, np.ndarray]:
        out = copy(data)
        for codes in steps:
            symmetries.apply(codes, out)
        return out

    nothing = np.zeros(rows, np.int64)
    assert symmetries.codes[0] == 0
    assert_same(after(nothing), data)
    assert_same(after(a, symmetries.inverse(a)), data)
    assert_same(after(symmetries.compose(a, b)), after(a, b))
    compose = symmetries.compose
    assert np.array_equal(compose(compose(a, b), c), compose(a, compose(b, c)))
    assert np.array_equal(compose(a, symmetries.inverse(a)), nothing)
    assert np.isin(compose(a, b), symmetries.codes).all()
    assert (compose(a, b) != compose(b, a)).mean() > 0.5  # turning and mirroring do not commute


def test_how_many_elements_there_are() -> None:
    assert len(Symmetries("combat").codes) == 8  # nobody moves unless the team sizes are told
    assert len(whole("skill").codes) == 8 * 120 * 24
    assert len(whole("pack").codes) == 8 * (6 * 2) * 24
    assert len(Symmetries("pack", max_enemies=3, max_allies=2).codes) == 8 * 6 * 2
    alike = Symmetries("skill", max_enemies=3, enemy_kinds=("mage", "tank", "mage"), elements=(0, HALF))
    assert alike.codes.tolist() == [0, HALF, *(int(code(o, (2, 1, 0))[0]) for o in (0, HALF))]


def test_draws_are_even_and_repeat() -> None:
    symmetries = Symmetries("pack", max_enemies=3)
    draws = symmetries.draw(48_000, np.random.default_rng(3))
    assert np.array_equal(draws, symmetries.draw(48_000, np.random.default_rng(3)))
    values, counts = np.unique(draws, return_counts=True)
    # 48 elements, 1000 expected of each, standard deviation 31: five of them are 156.
    assert np.array_equal(values, symmetries.codes) and np.abs(counts - 1000).max() < 160


def test_the_ground_says_which_elements_are_exact() -> None:
    assert exact_elements(None) == exact_elements(np.zeros((32, 32), bool)) == ELEMENTS
    # Trees and walls are point-symmetric only; the ring of pillars is the same after a quarter turn.
    assert exact_elements(terrain.layout("forest")) == exact_elements(terrain.layout("walls")) == (0, HALF)
    assert exact_elements(terrain.layout("pillars")) == tuple(sorted(ROTATIONS))


def test_cells_turn_as_vectors_do() -> None:
    for element in ELEMENTS:
        cells = np.zeros((5, 5), bool)
        cells[2 + 1, 2 + 2] = True  # two cells to the east of the middle, one to the north
        x, y = turn(element, 2, 1)
        assert np.argwhere(turn_cells(element, cells)).tolist() == [[2 + y, 2 + x]], element


def test_a_world_tells_its_symmetries() -> None:
    own, foes = ("support", "tank", "ranged"), ("mage", "mage", "tank")
    world = World(1, (own, foes), learners=1, head="skill", terrain=terrain.layout("forest"))
    assert len(Symmetries.of_world(world).codes) == 2 * 2 * 1  # the two mages; tank and ranged differ
    assert len(Symmetries.of_world(world, any_kind=True).codes) == 2 * 6 * 2
    pack = World(1, (("mage", "tank", "tank"), ("tank",) * 3), learners=3, head="pack")
    assert len(Symmetries.of_world(pack, 0).codes) == 8 * 6 * 2  # the mage has two equal mates,
    assert len(Symmetries.of_world(pack, 1).codes) == 8 * 6 * 1  # a tank has a mage and a tank
    # One tank learns, the other is a script: they are no equal mates.
    mixed = World(1, (("mage", "tank", "tank"), ("tank",) * 3), learners=2, head="combat")
    assert len(Symmetries.of_world(mixed, 0).codes) == 8 * 6 * 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": "combt"}, "combat"),
        ({"head": "skill", "num_actions": 10}, "the skill head has 70"),
        ({"head": "skill", "max_enemies": 6}, "max_enemies: 6"),
        ({"head": "skill", "max_allies": -1}, "max_allies: -1"),
        ({"head": "skill", "max_allies": 2, "ally_kinds": ("tank",)}, "kinds of 1 slots for 2"),
        ({"head": "combat", "elements": (0, 3)}, "no group"),
        ({"head": "combat", "elements": ()}, "no group"),
        ({"head": "combat", "elements": (0, 8)}, "no group"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Symmetries(**arguments)


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("obs", np.zeros((2, 63), np.float32), "64 or more"),
        ("new_obs", np.zeros((2, 64)), "float32"),
        ("obs", np.zeros((3, 64), np.float32), "for 2 codes"),
        ("actions", np.zeros(2, np.float32), "whole numbers"),
        ("action_mask", np.zeros((2, 10), bool), r"bool \(2, 9\)"),
        ("action_dist_inputs", np.zeros((2, 9)), r"float32 \(2, 9\)"),
        ("obs", np.broadcast_to(np.float32(0), (2, 64)), "read-only"),
    ],
)
def test_wrong_columns_are_named_before_anything_changes(name: str, column: np.ndarray, message: str) -> None:
    actions = np.array([1, 1])
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        Symmetries("movement").apply(np.full(2, HALF), {"actions": actions} | {name: column})
    assert actions.tolist() == [1, 1]


@pytest.mark.parametrize("codes", [[8], [-1], [23_040], [0.0], [[0]]])
def test_codes_of_another_group_are_refused(codes: Any) -> None:
    symmetries = Symmetries("movement")
    for use in (symmetries.inverse, lambda bad: symmetries.apply(bad, {})):
        with pytest.raises(ValueError, match="codes"):
            use(np.array(codes))
