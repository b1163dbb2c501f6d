"""Features of skill slots, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs import archetypes
from envs.contracts import (
    ARCHETYPES,
    NUM_SKILL_FEATURES,
    NUM_SKILL_IDS,
    WorldView,
    describe_skill_features,
    skill_features,
    skill_ids,
)
from envs.simulation.world import World

NAMES = [str(entry["name"]) for entry in describe_skill_features()]


def see(skills: list[dict[str, Any] | None], **more: Any) -> WorldView:
    me = {"id": "me", "team": 0, "x": 3, "y": 3, "hp": 1000, "max_hp": 1000, "sp": 50, "max_sp": 100}
    foe = {"id": "foe", "team": 1, "x": 9, "y": 3, "hp": 10, "max_hp": 10}
    return WorldView.from_json({"elapsed_ms": 0, "units": [me | {"skills": skills} | more, foe]})


def values(view: WorldView, slot: int) -> dict[str, float]:
    rows = skill_features([view], [0])
    assert rows.shape == (1, 7, NUM_SKILL_FEATURES) and rows.dtype == np.float32
    return dict(zip(NAMES, rows[0, slot].tolist(), strict=True))


def test_a_skill_by_hand() -> None:
    storm = {
        "kind": "ground", "magic": True, "effect": 190, "range": 8, "cost": 25, "cast_ms": 1200,
        "cooldown_ms": 5000, "radius": 2, "cooldown_left_ms": 1250,
    }  # fmt: skip
    seen = values(see([storm]), 1)
    assert seen == pytest.approx(
        {
            "power": 0.38,  # 190 / 500
            "range": 0.5,  # 8 / 16
            "cost": 0.25,  # of 100 SP
            "cast": 0.4,  # 1200 / 3000
            "cooldown": 0.25,  # 5000 / 20000
            "radius": 0.25,  # 2 / 8
            "duration": 0.0,
            "is_magic": 1.0,
            "is_area": 1.0,
            "is_heal": 0.0,
            "is_buff": 0.0,
            "is_control": 0.0,
            "ready": 0.0,
            "cooldown_left": 0.25,  # 1250 / 5000
            "sp_suffices": 1.0,
        }
    )
    assert values(see([storm | {"cooldown_left_ms": 200}]), 1)["ready"] == 1
    late = values(see([storm | {"cooldown_left_ms": 0}], clocks={"action_ms": 201}), 1)
    assert late["ready"] == 0 and late["sp_suffices"] == 1
    poor = values(see([storm | {"cooldown_left_ms": 0, "cost": 51}]), 1)
    assert (poor["ready"], poor["sp_suffices"]) == (0, 0)


def test_flags_of_the_other_kinds() -> None:
    kinds = ["strike", "heal", "guard", "shield", "taunt", "stun"]
    rows: list[dict[str, Any] | None] = [{"kind": kind, "effect": 100, "duration_ms": 5000} for kind in kinds]
    view = see(rows)
    flags = [
        {name[3:] for name in NAMES if name.startswith("is_") and values(view, 1 + k)[name]} for k in range(6)
    ]
    assert flags == [set(), {"heal"}, {"buff"}, {"buff"}, {"area", "control"}, {"control"}]
    assert values(view, 4)["power"] == pytest.approx(0.4)  # a shield: 4 x 100 points of 1000 HP
    assert values(view, 3)["duration"] == 0.5


def test_the_basic_attack_and_empty_slots() -> None:
    stats = {"range": 4, "attack_delay_ms": 2000}
    view = see([None, {"kind": "slow"}], stats=stats, clocks={"action_ms": 500})
    basic = values(view, 0)
    assert (basic["power"], basic["range"], basic["cooldown"]) == pytest.approx((0.2, 0.25, 0.1))
    assert (basic["ready"], basic["cooldown_left"], basic["sp_suffices"]) == (0, 0.25, 1)
    assert set(values(view, 1).values()) == {0.0}
    assert skill_ids([view], [0]).tolist() == [[12, 0, 10, 0, 0, 0, 0]]
    assert NUM_SKILL_IDS == 13


def test_every_archetype_s_slots_stay_within_their_limits() -> None:
    for name in ARCHETYPES:
        world = World(1, ((name,), ("mage",)), learners=1)
        rows = skill_features([world.view(0)], [0])
        assert (rows >= 0).all() and (rows <= 1).all()
        ids = skill_ids([world.view(0)], [0])
        assert ids.dtype == np.int64 and (ids[0, 1:] > 0).sum() == len(archetypes.load(name).skills)
        # No scale is so narrow that an archetype's skill is cut off.
        assert rows[0, 1:, :7].max() < 1
