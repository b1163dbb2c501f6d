"""Recorded fights for the tests of what shows them."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.recorder import Recorder
from envs.replay import Replay
from envs.simulation.world import World

TEAM = ("mage", "tank", "support")
WEIGHTS = {"damage_dealt": 2.0, "damage_taken": -0.5}


def fight(
    head: str = "combat",
    *,
    team: tuple[str, ...] = TEAM,
    learners: int = 1,
    seed: int = 5,
    noted: bool = True,
    **more: Any,
) -> Replay:
    """A fight of random legal play, with made-up notes."""
    world = World(1, (team, team), learners=learners, head=head, seed=seed, **more)
    recorder = Recorder(world, weights=WEIGHTS, about={"played by": "chance"})
    rng = np.random.default_rng(seed)
    while not world.outcome[0]:
        scores = np.where(world.masks[0], rng.random(world.masks.shape[1:]), 0)
        probabilities = scores / scores.sum(axis=-1, keepdims=True)
        actions: Any = scores.argmax(axis=-1)
        if head == "control":
            actions = rng.uniform(-1, 1, (learners, 5)).astype(np.float32)
        notes = {}
        if noted and learners:
            threat = 0.1 * rng.random((learners, len(team)))
            notes = {"values": rng.random(learners), "threat": threat, "probabilities": probabilities}
            if head == "control":
                del notes["probabilities"]
        recorder.decide(actions, **notes)
        world.step(actions[None])
    return recorder.finish()
