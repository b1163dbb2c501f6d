"""The simulator as a live game server: the learner's mind is the served one.

Per decision the game sends its world view over HTTP, gets a concrete order back and carries it out. No
model, feature or mask exists on this side: that is what a real game server would do.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.evaluation import OUTCOMES
from experiments.seeds import Purpose, seed_for

_DECISION_LIMIT = 2_000


@dataclass(frozen=True)
class ServedFight:
    """One fight in which the service decided.

    Attributes:
        archetype: Who fought.
        outcome: Outcome name, such as ``won_kill``.
        decisions: Requests sent.
        reward: Shaped reward of the episode.
        model_version: Version that answered.
        actions: How often each action was chosen, by name.
        times_ms: Round trip of each request.
    """

    archetype: str
    outcome: str
    decisions: int
    reward: float
    model_version: int
    actions: dict[str, int]
    times_ms: list[float]


def sample_request(archetype: str, seed: int, decisions: int = 10) -> dict[str, Any]:
    """Gives a request as a game server sends it: the world view of a fight that has begun.

    Args:
        archetype: Whose decision is asked for.
        seed: The user's base seed.
        decisions: Decisions into the fight, all of them "attack the nearest".
    """
    from envs.combat import CombatVectorEnv

    env = CombatVectorEnv(1, archetype=archetype)
    env.reset(seed=seed_for(Purpose.PLAY, seed, archetype, "sample"))
    for _ in range(decisions):
        env.step(np.array([1]))
    view = env.world_view(0)
    env.close()
    return {
        "archetype": archetype,
        "view": view.to_json(),
        "unit": view.ids[env.learner_unit],
        "explain": True,
    }


def play_served_fight(client: Any, archetype: str, seed: int, *, opponent: str = "classic") -> ServedFight:
    """Plays one fight whose learner asks the service for every decision.

    Args:
        client: A ``serve.client.DecisionClient``.
        archetype: The learner's archetype; its deployed ``combat_dqn`` answers.
        seed: The user's base seed.
        opponent: Tier of the other side.

    Raises:
        RuntimeError: The fight did not end, which is a fault of the simulation.
    """
    from envs.combat import CombatVectorEnv
    from envs.contracts import Order, order_row

    env = CombatVectorEnv(1, archetype=archetype, opponent=opponent)
    env.reset(seed=seed_for(Purpose.PLAY, seed, archetype))
    actions: Counter[str] = Counter()
    times: list[float] = []
    reward, version = 0.0, 0
    for _ in range(_DECISION_LIMIT):
        view = env.world_view(0)
        started = time.perf_counter()
        decision = client.decide_one(
            archetype=archetype, view=view.to_json(), unit=view.ids[env.learner_unit]
        )
        times.append(1e3 * (time.perf_counter() - started))
        actions[decision["action_name"]] += 1
        version = int(decision["model_version"])
        order = order_row(view, Order.from_json(decision["order"]))
        _, rewards, terminated, truncated, info = env.step_orders(order[np.newaxis])
        reward += float(rewards[0])
        if terminated[0] or truncated[0]:
            outcome = OUTCOMES[int(info["outcome"][0])]
            env.close()
            return ServedFight(archetype, outcome, len(times), reward, version, dict(actions), times)
    raise RuntimeError(f"a served fight did not end in {_DECISION_LIMIT} decisions: simulation fault")
