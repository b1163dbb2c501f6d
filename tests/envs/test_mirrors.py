"""Calibration: script against script is an even fight, in every archetype's own scenario."""

from __future__ import annotations

import pytest

from bench.mirrors import play
from envs import archetypes
from envs.contracts import ARCHETYPES


@pytest.mark.parametrize("tier", ["classic", "veteran"])
@pytest.mark.parametrize("name", ARCHETYPES)
def test_own_scenario_mirrored_scores_half(name: str, tier: str) -> None:
    # 1.5 points are 4.2 standard errors at n = 20,000, so an even fight fails once in 40,000 seeds.
    result = play(name, archetypes.load(name).scenario, tier, fights=20_000)
    assert result.fights >= 20_000
    assert abs(result.score - 0.5) <= 0.015, result
    # A yardstick of draws would prove nothing.
    assert result.kills > 0.6, result


def test_passive_scripts_never_start_a_fight() -> None:
    result = play("mage", "1v1", "passive", fights=50)
    assert (result.score, result.kills, result.draws, result.ticks) == (0.5, 0.0, 1.0, 600.0)


def test_every_fight_counts_the_same_number_of_episodes() -> None:
    # 250 fights at once, so 300 asked for are two episodes each.
    assert play("aggressive", "1v1", "veteran", fights=300).fights == 500
    assert play("aggressive", "1v1", "veteran", fights=7).fights == 7
