"""JaxMARL's SMAX, micro-management fights against a scripted side: the closest relative, compiled by XLA."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from bench.peers.base import Peer
from bench.rates import Count

BATCH = 1024
STEPS = 16


def start(scenario: str) -> Callable[[], Count]:
    """Make the batch: agents against heuristics; steps are scanned within one compilation."""
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    import jax
    import jaxmarl
    from jaxmarl.environments.smax import map_name_to_scenario

    env = jaxmarl.make("HeuristicEnemySMAX", scenario=map_name_to_scenario(scenario))
    actions = {agent: int(env.action_space(agent).n) for agent in env.agents}
    _, state = jax.vmap(env.reset)(jax.random.split(jax.random.PRNGKey(1), BATCH))

    def one(key: Any, state: Any) -> Any:
        keys = jax.random.split(key, len(actions) + 1)
        chosen = {
            agent: jax.random.randint(keys[place + 1], (), 0, count)
            for place, (agent, count) in enumerate(actions.items())
        }
        return env.step(keys[0], state, chosen)

    def step(carry: Any, _: Any) -> Any:
        state, key = carry
        key, used = jax.random.split(key)
        observations, state, rewards, _, _ = jax.vmap(one)(jax.random.split(used, BATCH), state)
        # Summed, so that the compiler cannot leave observations and rewards out.
        seen = sum(value.sum() for value in (*observations.values(), *rewards.values()))
        return (state, key), seen

    @jax.jit
    def roll(carry: Any) -> Any:
        return jax.lax.scan(step, carry, None, length=STEPS)

    carry = (state, jax.random.PRNGKey(2))
    for _ in range(3):  # the second call compiles once more, for the types that the first one returned
        carry, seen = roll(carry)
        jax.block_until_ready(seen)

    def play() -> Count:
        nonlocal carry
        carry, seen = roll(carry)
        jax.block_until_ready(seen)
        steps = STEPS * BATCH
        return Count(steps, steps * env.num_allies, steps * (env.num_allies + env.num_enemies))

    return play


SMALL = Peer("smax_3m", "jaxmarl", "JaxMARL SMAX 3m against its script", "3v3", BATCH, partial(start, "3m"))
LARGE = Peer(
    "smax_5m_6m", "jaxmarl", "JaxMARL SMAX 5m_vs_6m against its script", "5v5", BATCH,
    partial(start, "5m_vs_6m"),
)  # fmt: skip
