import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.combat import CombatVectorEnv
from envs.configuration import ConfigError
from envs.contracts import layout as f
from envs.render import HURT, TEAMS, WALL, Mark, Painter, window_of
from envs.simulation.world import World


def two_units() -> tuple[np.ndarray, np.ndarray]:
    """Units of a mage against a tank at known cells, and their skills."""
    world = World(1, (("mage",), ("tank",)))
    units = world.units[0, :, : f.NUM_UNIT_FIELDS].copy()
    units[0, [f.X, f.Y]] = 4, 10
    units[1, [f.X, f.Y]] = 20, 25
    return units, world.skills


def share_of(picture: np.ndarray, colour: tuple[int, int, int], box: tuple[int, int, int, int]) -> float:
    """Share of pixels of nearly a colour in a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    part = picture[top:bottom, left:right].astype(int)
    return float((np.abs(part - colour).max(axis=2) < 12).mean())


def cell_box(x: int, y: int) -> tuple[int, int, int, int]:
    # 640 pixels show 32 cells: 20 pixels each; y grows upward in the world, downward in the picture.
    return 20 * x, 640 - 20 * (y + 1), 20 * (x + 1), 640 - 20 * y


def test_units_stand_where_they_are_in_their_teams_colours() -> None:
    units, skills = two_units()
    picture = Painter(skills, 32).paint(units, 0.0)
    assert picture.shape == (640, 640, 3) and picture.dtype == np.uint8
    blue, orange = cell_box(4, 10), cell_box(20, 25)
    assert share_of(picture, TEAMS[0], blue) > 0.2 and share_of(picture, TEAMS[1], orange) > 0.2
    assert share_of(picture, TEAMS[1], blue) == 0 and share_of(picture, TEAMS[0], orange) == 0
    assert share_of(picture, TEAMS[0], cell_box(12, 2)) == 0  # an empty cell


def test_bars_shrink_and_the_fallen_are_crosses() -> None:
    units, skills = two_units()
    painter = Painter(skills, 32)
    whole = painter.paint(units, 0.0)
    units[0, f.HP] //= 4
    hurt = painter.paint(units, 0.0)
    header = (0, 8, 290, 26)  # team 0's bar at the top
    assert share_of(hurt, TEAMS[0], header) < 0.4 * share_of(whole, TEAMS[0], header)
    units[0, f.HP] = 0
    fallen = painter.paint(units, 0.0)
    assert share_of(fallen, TEAMS[0], cell_box(4, 10)) < 0.1
    assert share_of(fallen, TEAMS[0], header) == 0


def test_ground_casts_mark_their_cells() -> None:
    units, skills = two_units()
    painter = Painter(skills, 32)
    before = painter.paint(units, 0.0)
    storm = 1
    assert skills[0, storm, f.KIND] == f.K_GROUND and skills[0, storm, f.RADIUS] == 2
    units[0, [f.CAST_SLOT, f.CAST_LEFT, f.CAST_X, f.CAST_Y]] = storm, 600, 14, 14
    changed = (painter.paint(units, 0.0) != before).any(axis=2)
    rows, columns = np.nonzero(changed[:, 200:400])  # the caster's own bar changes too, farther left
    # Cells 12 to 16 of 20 pixels, and the outline's width.
    assert 200 + columns.min() == pytest.approx(240, abs=3) and 200 + columns.max() == pytest.approx(
        340, abs=3
    )
    assert rows.min() == pytest.approx(640 - 340, abs=3) and rows.max() == pytest.approx(640 - 240, abs=3)


def test_terrain_marks_and_a_window() -> None:
    units, skills = two_units()
    blocked = np.zeros((32, 32), bool)
    blocked[3, 5] = True  # y 3, x 5
    picture = Painter(skills, 32, terrain=blocked).paint(units, 0.0, [Mark(12, 2, "512")])
    assert share_of(picture, WALL, cell_box(5, 3)) > 0.9 and share_of(picture, WALL, cell_box(3, 5)) == 0
    assert share_of(picture, HURT, cell_box(12, 2)) > 0.02
    window = window_of([units], 32, margin=2.0)
    assert window == (2.0, 7.5, 20.0)  # x 4..20 and y 10..25 with 2 cells on each side, squared
    near = Painter(skills, 32, window=window, pixels=190).paint(units, 0.0)
    assert near.shape == (190, 190, 3)


@pytest.mark.parametrize("head", ["Combat", "Movement", "Skill", "Control"])
def test_environments_render_without_warnings(head: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(f"MLMonster/{head}-v0", render_mode="rgb_array")
        check_env(env.unwrapped)
        env.reset(seed=0)
        first: Any = env.render()
        for _ in range(10):
            env.step(env.action_space.sample())
        later: Any = env.render()
        env.close()
    assert isinstance(first, np.ndarray) and first.shape == (640, 640, 3) and first.dtype == np.uint8
    assert isinstance(later, np.ndarray) and (first != later).any()
    assert env.metadata["render_modes"] == ["rgb_array"] and env.metadata["render_fps"] == 5


def test_a_vector_environment_renders_each_fight_or_nothing() -> None:
    env = CombatVectorEnv(2, "mage", render_mode="rgb_array")
    env.reset(seed=0)
    pictures = env.render()
    assert pictures is not None and len(pictures) == 2 and (pictures[0] != pictures[1]).any()
    plain = CombatVectorEnv(2, "mage")
    plain.reset(seed=0)
    assert plain.render() is None
    with pytest.raises(ConfigError, match="unknown render_mode 'human'"):
        CombatVectorEnv(1, render_mode="human")
