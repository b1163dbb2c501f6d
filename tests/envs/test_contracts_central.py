"""The central state by hand."""

from __future__ import annotations

import numpy as np
import pytest

from envs.contracts import (
    CENTRAL_FEATURES,
    CENTRAL_SIZE,
    CENTRAL_STYLES,
    CENTRAL_TIERS,
    WorldView,
    central_state,
    describe_central,
)
from envs.simulation import state as s
from envs.simulation.world import TIERS
from tests.envs.views import unit, view


def fight() -> WorldView:
    """Two against two, the enemies listed first; one of mine is dead."""
    return view(
        unit("foe", 1, 20, 10, 500, archetype="mage", target="me", stats={"range": 9}, last_action="hold"),
        unit("other", 1, 12, 10, 250, target="dead", cast={"skill": 0, "left_ms": 300}),
        unit("dead", 0, 3, 3, 0, target="foe"),
        unit(
            "me", 0, 11, 14, 750, archetype="tank", sp=20, max_sp=80, target="other",
            clocks={"action_ms": 500, "move_ms": 250},
            status={"guard_ms": 1500, "power_ms": 3000, "stun_ms": 300, "slow_ms": 600, "taunt_ms": 750,
                    "shield": 50},
        ),
    )  # fmt: skip


def named(team: int, **more: object) -> dict[str, float]:
    values = central_state([fight()], team, **more)[0]  # type: ignore[arg-type]
    return dict(zip(CENTRAL_FEATURES, values.tolist(), strict=True))


def test_names_and_vocabulary() -> None:
    assert len(set(CENTRAL_FEATURES)) == CENTRAL_SIZE == 256 == len(describe_central())
    assert tuple(TIERS) == CENTRAL_TIERS and s.STYLES == CENTRAL_STYLES


def test_my_unit_stands_at_its_place_in_its_team() -> None:
    seen = named(0)
    mine = {key[6:]: value for key, value in seen.items() if key.startswith("own_1_")}
    expected = {
        "alive": 1.0,
        "is_tank": 1.0,
        "hp": 0.75,
        "sp": 0.25,  # 20 / 80
        "x": -4.5 / 16,  # 11 - 15.5
        "y": -1.5 / 16,
        "action_clock": 0.25,  # 500 / 2000
        "move_lock": 0.25,
        "guard": 0.25,  # 1500 / 6000
        "power": 0.5,
        "stun": 0.1,  # 300 / 3000
        "slow": 0.2,
        "taunt": 0.25,
        "shield": 0.2,  # 4 x 50 / 1000
        "target": 0.7,  # "other" is the enemies' second: place 6, (6 + 1) / 10
        "targeted_by": 0.2,
        "range": 0.1,
    }
    for key, value in mine.items():
        assert value == pytest.approx(expected.get(key, 0.0)), key
    assert all(seen[key] == 0 for key in seen if key.startswith(("own_0_", "own_2_", "enemy_2_")))
    assert seen["enemy_0_is_mage"] == 1 and seen["enemy_0_range"] == pytest.approx(0.9)
    assert seen["enemy_0_target"] == pytest.approx(0.2)  # me: place 1
    assert seen["enemy_0_last_action"] == pytest.approx(0.1)  # hold is action 0
    assert seen["enemy_1_cast_left"] == pytest.approx(0.2)
    assert seen["enemy_1_targeted_by"] == pytest.approx(0.2)  # by me; the dead one counts no more
    assert seen["enemy_0_targeted_by"] == 0


def test_the_fight_as_a_whole() -> None:
    seen = named(0, tiers=["veteran"], styles=["kiter"], level=2)
    ours = {key: value for key, value in list(seen.items())[240:] if value}
    assert ours == pytest.approx(
        {
            "time": 0.25,
            "own_alive": 0.2,
            "enemies_alive": 0.4,
            "team_size": 0.4,
            "level": 0.4,
            "tier_veteran": 1,
            "style_kiter": 1,
        }
    )  # hp_advantage: 750 - 500 - 250 = 0
    with pytest.raises(ValueError):
        named(0, styles=["dancer"])


def test_the_other_side_sees_it_exchanged() -> None:
    one, two = named(0), named(1)
    for name in ("hp", "x", "archetype", "is_mage", "shield", "targeted_by"):
        for slot in range(5):
            if f"own_{slot}_{name}" in one:
                assert one[f"own_{slot}_{name}"] == two[f"enemy_{slot}_{name}"]
    assert two["own_1_target"] == pytest.approx(0.6)  # "dead": the enemies' first, place 5
    both = central_state([fight(), fight()], [0, 1])
    assert np.array_equal(both[1], np.array(list(two.values()), np.float32))
