"""MPE2's `simple_tag` (PettingZoo's multi-agent particle environments): plain Python, one environment."""

from __future__ import annotations

from collections.abc import Callable

from bench.peers.base import Peer
from bench.rates import Count

STEPS = 100


def start() -> Callable[[], Count]:
    """Make the environment: three chasers, one runner, two obstacles."""
    import numpy as np
    from mpe2 import simple_tag_v3

    env = simple_tag_v3.parallel_env(num_good=1, num_adversaries=3, num_obstacles=2, max_cycles=STEPS)
    env.reset(seed=1)
    names = env.possible_agents
    rows = np.random.default_rng(0).integers(0, 5, (STEPS, len(names))).tolist()
    actions = [dict(zip(names, row, strict=True)) for row in rows]

    def play() -> Count:
        for action in actions:
            if not env.agents:
                env.reset()
            env.step(action)
        return Count(STEPS, STEPS * len(names), STEPS * len(names))

    return play


PEER = Peer("simple_tag", "mpe2", "MPE2 simple_tag, 4 agents, PettingZoo interface", "3v3", 1, start)
