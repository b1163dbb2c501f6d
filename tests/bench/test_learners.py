"""The learners bench: settings, floors and its table."""

from __future__ import annotations

import pytest

from bench.learners import Row, settings_of, short_of, show


def row(task: str, archetype: str, low: float) -> Row:
    return Row(task, archetype, 1, 1000, 0.5, 3, 2000, low + 0.02, low, low + 0.04)


def test_an_archetypes_own_settings_lie_over_the_common_ones() -> None:
    common, own = settings_of("combat", "mage"), settings_of("combat", "tank")
    assert common["model_type"] == own["model_type"] == "movement_ppo"
    assert common["training"]["num_envs"] == own["training"]["num_envs"]


def test_floors_are_those_of_the_lower_bounds() -> None:
    names = ("aggressive", "defensive", "support", "mage", "tank", "ranged")
    five = [row("combat", name, 0.71 if name != "support" else 0.4) for name in names]
    assert short_of(five) == []
    four = [*five[:-1], row("combat", "ranged", 0.699)]
    assert short_of(four) == ["combat: 4 of 6 above 0.70, 5 needed"]
    assert short_of([row("control", "mage", 0.71), row("control", "tank", 0.70)]) == [
        "control: 1 of 2 above 0.70, 2 needed"
    ]


def test_table_names_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    show([row("pack", "tank", 0.85)])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 and printed[1].split()[:4] == ["pack", "tank", "1", "1,000"]
    assert "0.850-0.890" in printed[1]
