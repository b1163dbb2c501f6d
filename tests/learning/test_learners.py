"""Short forms of `python -m bench.learners`: each algorithm beats its opponent after a minute or so."""

from __future__ import annotations

import pytest

from bench.learners import ENVS, settings_of, train
from envs.contracts import ARCHETYPES

pytestmark = pytest.mark.ray


@pytest.mark.parametrize(
    ("task", "archetype", "epochs", "floor"),
    [
        # The traditional AI against itself wins about half of each; random legal play next to nothing.
        ("combat", "mage", 6, 0.80),
        ("combat", "aggressive", 8, 0.65),
        ("skill", "mage", 8, 0.75),
        ("control", "mage", 10, 0.70),
        ("pack", "tank", 12, 0.60),
    ],
)
def test_a_short_run_wins(task: str, archetype: str, epochs: int, floor: float) -> None:
    row = train(task, archetype, seed=3, fights=1000, epochs=epochs)
    assert row.n >= 1000
    assert row.low > floor, row


def test_every_archetype_has_settings_for_every_task() -> None:
    for task in ENVS:
        for archetype in ARCHETYPES:
            settings = settings_of(task, archetype)
            assert settings["training"]["epochs"] > 0 and settings["model_type"]
