"""MAgent2's `battle` through its PettingZoo interface: one grid world of 162 agents, in C++."""

from __future__ import annotations

from collections.abc import Callable

from bench.peers.base import Peer
from bench.rates import Count

STEPS = 50
MAX_CYCLES = 1000


def start() -> Callable[[], Count]:
    """Make the environment: 81 against 81 on a map of 45 x 45 cells, both sides random."""
    import numpy as np
    from magent2.environments import battle_v4

    env = battle_v4.parallel_env(map_size=45, max_cycles=MAX_CYCLES)
    env.reset(seed=1)
    names = env.possible_agents
    rows = np.random.default_rng(0).integers(0, 21, (STEPS, len(names))).tolist()
    actions = [dict(zip(names, row, strict=True)) for row in rows]

    def play() -> Count:
        agents = 0
        for action in actions:
            if not env.agents:
                env.reset()
            agents += len(env.agents)
            env.step({name: action[name] for name in env.agents})
        return Count(STEPS, agents, agents)

    return play


PEER = Peer("battle_dicts", "magent2", "MAgent2 battle, 81 v 81, PettingZoo interface", "5v5", 1, start)
