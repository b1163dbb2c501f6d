"""Combat is learned: a quarter of a demo run already beats the traditional AI by a wide margin."""

from __future__ import annotations

import pytest

from envs import archetypes
from experiments.evaluation import play_fights
from experiments.seeds import Purpose
from experiments.trainable import torch_policy
from policies.profiles import resolve_run
from policies.training import build_trainer

pytestmark = pytest.mark.ray


@pytest.mark.parametrize(("archetype", "floor"), [("mage", 0.9), ("tank", 0.65)])
def test_a_short_run_beats_the_traditional_ai(archetype: str, floor: float) -> None:
    noise = archetypes.load(archetype).training.exploration_noise or 0.1
    run = resolve_run(
        "combat_dqn",
        {"id": "MLMonster/Combat-v0", "archetype": archetype},
        seed=3,
        noise=noise,
        overrides={"training": {"epochs": 10}},
    )
    trainer = build_trainer(run)
    try:
        for _ in range(run["training"]["epochs"]):
            trainer.train_epoch()
        score = play_fights(archetype, torch_policy(trainer.model()), 1000, 0, purpose=Purpose.SELECTION)
    finally:
        trainer.stop()
    # The traditional AI against itself wins half, random legal actions 0.35 to 0.40.
    assert score.win_rate > floor
