"""VMAS's `simple_tag`: the particle world vectorised in torch."""

from __future__ import annotations

from collections.abc import Callable

from bench.peers.base import Peer
from bench.rates import Count

BATCH = 1024
STEPS = 100


def start() -> Callable[[], Count]:
    """Make the batch: three chasers, one runner, two obstacles in each environment."""
    import torch
    import vmas

    torch.set_num_threads(1)
    env = vmas.make_env(scenario="simple_tag", num_envs=BATCH, device="cpu", continuous_actions=False, seed=1)
    env.reset()
    torch.manual_seed(0)
    actions = [[torch.randint(0, 5, (BATCH, 1)) for _ in env.agents] for _ in range(10)]
    played = 0

    def play() -> Count:
        nonlocal played
        for action in actions:
            env.step(action)
        played += len(actions)
        if played % STEPS == 0:
            env.reset()
        steps = len(actions) * BATCH
        return Count(steps, steps * len(env.agents), steps * len(env.agents))

    return play


PEER = Peer("tag_vectorised", "vmas", "VMAS simple_tag, 4 agents, torch", "3v3", BATCH, start)
