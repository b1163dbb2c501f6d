"""The sequence token by hand."""

from __future__ import annotations

import numpy as np
import pytest

from envs.contracts import TOKEN_SIZE, WorldView, describe_token, observe, sequence_token
from tests.envs.views import unit, view

NAMES = [str(row["name"]) for row in describe_token()]


def named(history: list[WorldView], **more: object) -> dict[str, float]:
    values = sequence_token([history], [0], **more)[0]  # type: ignore[arg-type]
    return dict(zip(NAMES, values.tolist(), strict=True))


def history() -> list[WorldView]:
    """I walk 2 cells and lose 300; my ally gains 100, one enemy falls, the other loses nothing."""
    before = view(
        unit(0, 0, 5, 5, 800, sp=50, max_sp=100), unit(1, 0, 9, 9, 400),
        unit(2, 1, 7, 7, 200), unit(3, 1, 8, 8, 1000),
    )  # fmt: skip
    now = view(
        unit(0, 0, 4, 7, 500, sp=30, max_sp=100, last_action="retreat"), unit(1, 0, 9, 9, 500),
        unit(2, 1, 7, 7, 0), unit(3, 1, 8, 8, 1000),
    )  # fmt: skip
    return [before, now]


def test_names() -> None:
    assert len(set(NAMES)) == TOKEN_SIZE == 80


def test_observation_action_and_steps() -> None:
    seen = named(history())
    assert np.array_equal(sequence_token([history()], [0])[:, :64], observe(history()[1:], [0]))
    assert {name for name in NAMES[64:74] if seen[name]} == {"last_retreat"}
    assert [seen[name] for name in NAMES[74:]] == pytest.approx(
        [
            -0.3,  # 500 - 800 of 1000
            -0.2,  # 30 - 50 of 100
            -0.1,  # (-0.3 + 0.1) / 2 units
            -0.1,  # -0.2 / 2 enemies
            0.5,  # 2 cells of 4
            0.2,  # one enemy fewer, / 5
        ]
    )


def test_the_first_decision_has_no_steps_and_a_caller_may_name_the_action() -> None:
    seen = named(history()[1:], last_actions=[-1])
    assert not any(seen[name] for name in NAMES[64:])
    assert named(history(), last_actions=[2])["last_attack_weakest"] == 1


def test_a_dash_is_cut_and_a_loss_of_mine_counts_down() -> None:
    before, now = (
        view(unit(0, 0, 3, 3), unit(1, 0, 1, 1, 10), unit(2, 1, 30, 3)),
        view(unit(0, 0, 12, 3), unit(1, 0, 1, 1, 0), unit(2, 1, 30, 3)),
    )
    seen = named([before, now])
    assert seen["step_moved"] == 1 and seen["step_lead"] == pytest.approx(-0.2)


def test_a_unit_that_just_came_into_view_changed_nothing() -> None:
    before = view(unit(0, 0, 3, 3), unit(1, 1, 9, 3))
    now = view(unit(0, 0, 3, 3), unit(7, 1, 9, 3, 100), unit(1, 1, 9, 3, 900))
    assert named([before, now])["step_enemy_hp"] == pytest.approx(-0.05)  # -0.1 / 2
    assert named([before, now])["step_lead"] == 0
