"""MAgent2's `battle` by the arrays of its C++ world, without PettingZoo's dictionaries."""

from __future__ import annotations

from collections.abc import Callable

from bench.peers.base import Peer
from bench.peers.battle_dicts import MAX_CYCLES, STEPS
from bench.rates import Count


def start() -> Callable[[], Count]:
    """Make the environment: 81 against 81 on a map of 45 x 45 cells, both sides random."""
    import numpy as np
    from magent2.environments import battle_v4

    env = battle_v4.parallel_env(map_size=45, max_cycles=MAX_CYCLES)
    env.reset(seed=1)
    world, sides = env.unwrapped.env, env.unwrapped.handles
    actions = np.random.default_rng(0).integers(0, 21, (STEPS, len(env.possible_agents))).astype(np.int32)
    played = 0

    def play() -> Count:
        nonlocal played
        agents = 0
        for row in actions:
            for side in sides:
                alive = world.get_num(side)
                agents += alive
                world.set_action(side, row[:alive])
            done = world.step()
            for side in sides:
                world.get_observation(side)
                world.get_reward(side)
            world.clear_dead()
            played += 1
            if done or played == MAX_CYCLES:
                env.reset()
                played = 0
        return Count(STEPS, agents, agents)

    return play


PEER = Peer("battle", "magent2", "MAgent2 battle, 81 v 81, its own arrays", "5v5", 1, start)
