"""Grid targets of recordings written by hand."""

from __future__ import annotations

import numpy as np

from envs.contracts import layout as f
from envs.perception import maps
from envs.perception.recording import CAST_LEFT, CAST_SLOT, CAST_X, CAST_Y, Recording, X, Y
from tests.envs.perception.small import small

ME = np.array([[0, 0, 0]])


def test_frames_are_decisions_of_the_living_with_a_known_future() -> None:
    recording = small([4], [False])
    recording.hp[1:, 0, 1] = 0
    assert maps.frames(recording, 2).tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0], [2, 0, 0]]
    assert maps.frames(recording, 2, stride=2)[:, 0].tolist() == [0, 0, 2]


def test_damage_lies_where_the_receiver_stands_when_the_window_ends() -> None:
    recording = small([12], [True])
    recording.units[1:, 0, 0, X] = 11  # one step east in window 0
    recording.damage[0, 0, 1, 0], recording.damage[9, 0, 1, 0], recording.damage[10, 0, 1, 0] = 100, 50, 7
    recording.damage[2, 0, 0, 1] = 300
    own = maps.damage_map(recording, ME)
    assert own[0, 16, 17] == np.float32(0.15) and np.count_nonzero(own) == 1  # the 7 come after 2 s
    other = maps.damage_map(recording, ME, own=False)
    assert other[0, 16, 26] == np.float32(0.3) and np.count_nonzero(other) == 1  # ten cells east of (10, 10)
    assert not maps.damage_map(recording, ME, own=False, size=16).any()  # beyond the smaller grid


def test_occupancy_shows_living_enemies_in_one_second() -> None:
    recording = small([8], [True], half=2)
    recording.units[5:, 0, 2, Y] = 13
    recording.hp[5:, 0, 3] = 0
    occupied = maps.enemy_occupancy(recording, ME)
    assert np.argwhere(occupied[0]).tolist() == [[19, 26]]
    later = maps.enemy_occupancy(recording, np.array([[0, 0, 2]]))  # the enemies of unit 2 are my team
    assert np.argwhere(later[0]).tolist() == [[16, 6], [17, 6]]


def near(x: int, y: int) -> Recording:
    recording = small([10], [True])
    recording.units[:, 0, 1, X], recording.units[:, 0, 1, Y] = x, y
    return recording


def test_best_cell_leaves_the_reach_of_an_enemy_by_the_fewest_steps() -> None:
    # The enemy, reach 2, stands two cells east of me: x = 12. At x = 9 it does not reach me any more.
    best = maps.best_cell(near(12, 10), ME)
    # A swing of 50 points each 1,000 ms: 10,000 thousandths per decision, ten decisions.
    assert best.fire[0, 3, 3] == 100_000 and best.fire[0, 3, 2] == 0
    assert best.aims[0, 3, 3] == 10 and best.aims[0, 3, 2] == 0
    # Equal fire and aims west of it at one step: straight, not diagonally.
    assert best.step.tolist() == [[-1, 0]]


def test_best_cell_prefers_to_reach_an_enemy_that_does_not_reach_it() -> None:
    recording = near(15, 10)
    recording.template[0, f.RANGE] = 4  # the enemy is five cells away and reaches two
    best = maps.best_cell(recording, ME)
    assert best.step.tolist() == [[1, 0]] and best.aims[0, 3, 4] == 10


def test_best_cell_stays_off_blocked_cells_and_within_the_arena() -> None:
    recording = near(12, 10)
    recording.blocked[10, 9] = True
    best = maps.best_cell(recording, ME)
    assert best.fire[0, 3, 2] == -1
    assert best.step.tolist() == [[-1, -1]]  # one diagonal step, the lower row first
    recording = near(2, 0)
    recording.units[..., 0, :2] = 0
    best = maps.best_cell(recording, ME)
    assert (best.fire[0, :3] == -1).all() and (best.fire[0, :, :3] == -1).all()
    assert best.step.tolist() == [[0, 3]]  # (0, 3) is the nearest cell three from (2, 0)


def test_best_cell_leaves_an_area_that_will_land() -> None:
    recording = near(25, 10)  # far away
    recording.skills[1, 0, [f.KIND, f.RADIUS]] = f.K_GROUND, 1
    recording.skill_points[1, 0, 0] = 400
    cast = recording.units[:, 0, 1]
    cast[:4, CAST_SLOT], cast[:4, CAST_X], cast[:4, CAST_Y] = 0, 10, 10
    cast[:4, CAST_LEFT] = [700, 500, 300, 100]
    assert np.argwhere(maps.landings(recording)).tolist() == [[3, 0, 1]]
    best = maps.best_cell(recording, ME)
    assert best.fire[0, 3, 3] == best.fire[0, 2, 2] == 400_000 and best.fire[0, 3, 1] == 0
    assert best.step.tolist() == [[0, -2]]  # two straight steps: the lower row first
    # It never lands if the caster dies.
    recording.hp[3:, 0, 1] = 0
    assert not maps.landings(recording).any() and maps.best_cell(recording, ME).step.tolist() == [[0, 0]]


def test_a_cast_broken_by_a_hard_hit_does_not_land() -> None:
    recording = near(25, 10)
    recording.skills[1, 0, f.KIND] = f.K_GROUND
    recording.units[:3, 0, 1, CAST_SLOT] = 0
    recording.units[:3, 0, 1, CAST_LEFT] = [900, 700, 500]
    recording.damage[2, 0, 0, 1] = 51  # more than 5 % of 1,000
    assert not maps.landings(recording).any()
