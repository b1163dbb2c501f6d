"""The page of ``monster rewards``: well-formed figures, warnings that a person sees, nothing from outside."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.report import reward_figures
from experiments.report.rewards_page import write_rewards_page
from experiments.reward_summary import Episodes, RewardSummary, summarise


def summary(archetype: str = "ranged", kiting: float = 0.0) -> RewardSummary:
    rng = np.random.default_rng(3)
    outcomes = np.array([1] * 30 + [-1] * 20 + [3] * 10)
    terms = {"win": np.where(outcomes == 1, 100.0, 0.0), "kiting": np.full(60, kiting)}
    terms["damage_taken"] = -rng.uniform(20, 120, 60)
    played = Episodes(sum(terms.values(), np.zeros(60)), np.full(60, 70), outcomes, terms)
    return summarise(
        archetype, "classic", "script", {"win": 100, "kiting": 8, "damage_taken": -1.2}, 1, played
    )


def test_the_page_stands_alone_and_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "rewards.html"
    write_rewards_page(path, [summary(), summary("mage", kiting=3.0)], "monster rewards <x>", 7)
    assert [p.name for p in tmp_path.iterdir()] == ["rewards.html"]
    page = path.read_text()
    assert "<script" not in page and "<link" not in page and "src=" not in page and "$" not in page
    assert "monster rewards &lt;x&gt;" in page and "base seed 7" in page
    assert "1v1, 30 won, 20 lost, 10 on time, 70 decisions a fight" in page
    assert page.count("kiting is paid in 0.0% of 60 episodes") == 1  # for ranged, not for mage
    assert '<div class="fact"><b>1</b><span>warning</span>' in page
    assert "120" in page and "fights played" in page


def test_figures_are_well_formed_and_marks_stay_inside() -> None:
    both = [summary(), summary("mage", kiting=3.0)]
    drawn = [reward_figures.legend(), reward_figures.episodes(both)]
    drawn += [figure(s) for s in both for figure in (reward_figures.terms, reward_figures.histogram)]
    for text in drawn:
        root = ElementTree.fromstring(text)
        width, height = (float(v) for v in root.attrib["viewBox"].split()[2:])
        for element in root.iter():
            for name, limit in (("x", width), ("x1", width), ("x2", width), ("cx", width), ("y", height)):
                if name in element.attrib:
                    assert 0 <= float(element.attrib[name]) <= limit, ElementTree.tostring(element)
    assert 'class="warned"' in drawn[2] and 'class="warned"' not in drawn[4]


def test_a_histogram_has_every_fight() -> None:
    bars = re.findall(r'height="([\d.]+)" rx="0" class="won"', reward_figures.histogram(summary()))
    whole = summary().histogram
    tallest = max(sum(counts) for counts in zip(whole.won, whole.lost, whole.other, strict=True))
    # The plot is 94 pixels high for the tallest bin.
    assert sum(map(float, bars)) * tallest / 94 == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-7, 93, [-20, 0, 20, 40, 60, 80, 100]),
        (0, 0.5, [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
    ],
)
def test_ticks_are_round_and_cover_the_data(low: float, high: float, ticks: list[float]) -> None:
    assert reward_figures.nice_ticks(low, high) == pytest.approx(ticks)


def test_a_reward_that_is_never_finite_still_makes_a_page(tmp_path: Path) -> None:
    terms = {"win": np.array([0.0, 100.0]), "kiting": np.full(2, np.inf)}
    played = Episodes(terms["kiting"], np.ones(2), np.array([-1, 1]), terms, {"kiting": (0, 3)})
    broken = summarise("ranged", "classic", "script", {"win": 100.0, "kiting": 8.0}, 1, played)
    assert [w.kind for w in broken.warnings] == ["non-finite", "dominating"]
    write_rewards_page(tmp_path / "r.html", [broken], "monster rewards", 0)
    page = (tmp_path / "r.html").read_text()
    assert "not finite, first in fight 0 at decision 3" in page and "not finite</text>" in page
    assert not re.search(r'="(nan|inf)', page)


def test_one_fight_and_a_reward_that_never_changes_still_draw() -> None:
    one = np.zeros(1)
    played = Episodes(one, np.ones(1), np.array([3]), {"win": one})
    flat = summarise("tank", "classic", "script", {"win": 100.0}, 3, played)
    assert flat.total.mean_won is None
    for text in (reward_figures.terms(flat), reward_figures.histogram(flat), reward_figures.episodes([flat])):
        ElementTree.fromstring(text)
        assert "nan" not in text
    assert replace(flat, warnings=()).fights == 1
