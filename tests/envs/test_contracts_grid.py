"""The spatial grid by hand: me at world cell (10, 10), which is picture cell [16, 16]."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.contracts import GRID_CHANNELS, ContractError, WorldView, describe_grid, spatial_grid
from tests.envs.views import unit, view

AREA = {"kind": "area", "radius": 2, "range": 9}
GROUND = {"kind": "ground", "radius": 1, "range": 9}


def named(history: list[WorldView], me: int = 0, size: int = 32) -> dict[str, np.ndarray]:
    return dict(zip(GRID_CHANNELS, spatial_grid([history], [me], size)[0].astype(int), strict=True))


def cells(channel: np.ndarray) -> dict[tuple[int, int], int]:
    """Value by world cell (x, y) of the cells that are not zero."""
    return {(int(x) - 6, int(y) - 6): int(channel[y, x]) for y, x in np.argwhere(channel)}


def square(x: int, y: int, radius: int, value: int) -> dict[tuple[int, int], int]:
    around = range(-radius, radius + 1)
    return {(x + dx, y + dy): value for dx in around for dy in around}


def scene(**mine: Any) -> WorldView:
    return view(
        unit(0, 0, 10, 10, 500, **mine),
        unit(1, 0, 12, 11, 250, skills=[{"kind": "heal", "range": 2}, {"kind": "heal", "range": 0}]),
        unit(2, 0, 12, 11, 800, skills=[{"kind": "shield", "range": 5}]),
        unit(3, 1, 13, 7, 1, target=0, stats={"range": 1}),
        unit(4, 1, 13, 7, 1000, target=1, stats={"range": 2}),
        unit(5, 1, 9, 9, 0, target=0, stats={"range": 5}),
    )


def test_names() -> None:
    assert len(set(GRID_CHANNELS)) == 12 == len(describe_grid())


def test_units_where_they_stand() -> None:
    seen = named([scene()])
    assert cells(seen["me"]) == {(10, 10): 127}  # 255 x 0.5, whole part
    assert cells(seen["allies"]) == {(12, 11): 102}  # two of them
    assert cells(seen["ally_hp"]) == {(12, 11): 63}  # the most hurt: 255 x 0.25
    assert cells(seen["enemies"]) == {(13, 7): 102}  # the dead one is no more
    assert cells(seen["enemy_hp"]) == {(13, 7): 1}  # 255 x 0.001, but at least 1
    assert cells(seen["targets_me"]) == {(13, 7): 51}
    assert seen["me"][16, 16] == 127 and seen["allies"][17, 18] == 102  # rows are y


def test_reach_of_enemies_and_of_healers() -> None:
    seen = named([scene()])
    assert cells(seen["enemy_reach"]) == square(13, 7, 2, 51) | square(13, 7, 1, 102)
    assert cells(seen["heal_reach"]) == square(12, 11, 2, 51)
    # Seen from the healer's own place its heal is no team mate's.
    assert not named([scene()], me=1)["heal_reach"].any()


def test_walkable_ends_at_the_bounds_and_at_terrain() -> None:
    blocked = ["." * 32 for _ in range(32)]
    blocked[9] = "." * 11 + "#" + "." * 20  # (11, 9)
    seen = named([view(unit(0, 0, 10, 10), blocked=blocked)])["walkable"]
    # The picture covers world cells -6 to 25; 0 to 25 of them are in the arena.
    assert seen[:6].sum() == seen[:, :6].sum() == 0
    assert (seen == 255).sum() == 26 * 26 - 1 and seen[15, 17] == 0
    shifted = view(unit(0, 0, 110, 210), bounds=[100, 200, 131, 231], origin=[115, 215], blocked=blocked)
    assert np.array_equal(named([shifted])["walkable"], seen)
    assert named([view(unit(0, 0, 10, 10))], size=64)["walkable"].sum() == 32 * 32 * 255


def test_nothing_is_painted_outside_the_arena() -> None:
    seen = named([view(unit(0, 0, 0, 0), unit(1, 1, 1, 0, stats={"range": 3}))])["enemy_reach"]
    assert (seen > 0).sum() == 5 * 4  # x 0-4, y 0-3
    assert seen[16, 16] == 51 and seen[15].sum() == 0


def test_an_enemys_area_is_announced() -> None:
    def cast(skill: int, left: int, target: int, cell: list[int]) -> dict[str, Any]:
        return {"skill": skill, "left_ms": left, "target": target, "cell": cell}

    skills = [AREA, GROUND, {"kind": "strike"}]
    seen = named(
        [
            view(
                unit(0, 0, 10, 10),
                unit(1, 1, 20, 20, skills=skills, cast=cast(0, 0, 0, [4, 4])),  # follows me; lands now
                unit(2, 1, 20, 20, skills=skills, cast=cast(1, 750, 0, [12, 10])),  # stays at its cell
                unit(3, 1, 20, 20, skills=skills, cast=cast(2, 100, 0, [10, 10])),  # hits one unit
                unit(4, 0, 20, 20, skills=skills, cast=cast(1, 100, 1, [20, 20])),  # on my side
            )
        ]
    )["telegraph"]
    # 255 - 750 x 204 / 1500 = 153; where both fall the sooner one shows.
    assert cells(seen) == square(12, 10, 1, 153) | square(10, 10, 2, 255)
    assert (
        named([view(unit(0, 0, 10, 10), unit(1, 1, 9, 9, skills=skills, cast=cast(1, 9000, 0, [10, 10])))])[
            "telegraph"
        ].max()
        == 51
    )


def test_heat_fades_and_belongs_to_where_my_team_stood() -> None:
    def moment(mine: int, ally: int, foe: int, x: int) -> WorldView:
        return view(unit(0, 0, 10, 10, mine), unit(1, 0, x, 12, ally), unit(2, 1, 9, 9, foe))

    history = [
        moment(1000, 1000, 1000, 11),
        moment(900, 1000, 900, 11),  # I lose 100 one decision ago; the enemy's loss does not count
        moment(920, 800, 900, 12),  # I am healed, my ally loses 200 at (12, 12)
    ]
    # 100 x 14 x 255 / 3750 = 95.2; 200 x 15 x 255 / 3750 = 204.
    assert cells(named(history)["heat"]) == {(10, 10): 95, (12, 12): 204}
    assert named([moment(1000, 1000, 1000, 11), moment(400, 1000, 1000, 11)])["heat"].max() == 255
    # 14 decisions later a 15th is left, one more and it is gone.
    late = [*history[:2], *[moment(900, 1000, 900, 11)] * 14]
    assert cells(named(late)["heat"]) == {(10, 10): 100 * 255 // 3750}
    assert not named([*late, late[-1]])["heat"].any()


def test_my_trail() -> None:
    history = [view(unit(0, 0, x, 10)) for x in (7, 8, 8, 9, 10)]
    # One decision ago 255, then 17 less each; a cell visited twice shows the later visit.
    assert cells(named(history)["trail"]) == {(9, 10): 255, (8, 10): 238, (7, 10): 204}
    assert not named(history[-1:])["trail"].any()
    stood = [view(unit(0, 0, 7, 10))] + [view(unit(0, 0, 10, 10))] * 15
    assert cells(named(stood)["trail"]) == {(7, 10): 17, (10, 10): 255}
    assert cells(named([*stood, stood[-1]])["trail"]) == {(10, 10): 255}  # 16 views count


def test_a_game_may_reorder_its_units() -> None:
    before = view(unit("b", 1, 12, 10), unit("a", 0, 9, 10, 1000))
    now = view(unit("a", 0, 10, 10, 900), unit("c", 0, 10, 10, 5), unit("b", 1, 11, 10))
    seen = named([before, now])
    assert cells(seen["trail"]) == {(9, 10): 255}
    assert cells(seen["heat"]) == {(10, 10): 102}  # "c" is new: it lost nothing. 100 x 15 x 255 / 3750


def test_the_dead_see_nothing_and_an_empty_history_is_refused() -> None:
    assert not spatial_grid([[view(unit(0, 0, 10, 10, 0), unit(1, 1, 9, 9))]], [0]).any()
    with pytest.raises(ContractError, match="no views"):
        spatial_grid([[]], [0])
