from typing import Any

import numpy as np

from envs.combat import CombatVectorEnv
from envs.contracts import COMBAT_ACTIONS, Order, WorldView, combat_orders
from experiments.evaluation import OUTCOMES
from experiments.game_server import play_served_fight
from experiments.seeds import Purpose, seed_for


class FakeService:
    """Answers like the service, choosing the offensive skill where it is legal and the nearest enemy else."""

    def __init__(self) -> None:
        self.actions: list[int] = []

    def decide_one(self, archetype: str, view: dict[str, Any], unit: Any) -> dict[str, Any]:
        world = WorldView.from_json(view)
        orders, mask = combat_orders([world], [world.unit_index(unit)])
        action = next(a for a in (5, 1, 0) if mask[0, a])
        self.actions.append(action)
        return {
            "action": action,
            "action_name": COMBAT_ACTIONS[action],
            "model_version": 3,
            "order": Order.from_row(world, orders[0, action]).to_json(),
        }


def test_a_served_fight_equals_the_same_actions_played_in_the_simulator() -> None:
    service = FakeService()
    fight = play_served_fight(service, "mage", 0)
    assert fight.model_version == 3 and fight.decisions == len(fight.times_ms) == len(service.actions)

    env = CombatVectorEnv(1, archetype="mage")
    env.reset(seed=seed_for(Purpose.PLAY, 0, "mage"))
    reward = 0.0
    for action in service.actions:
        _, rewards, ended, _, info = env.step(np.array([action]))
        reward += float(rewards[0])
    assert ended[0]
    assert fight.outcome == OUTCOMES[int(info["outcome"][0])]
    assert fight.reward == reward
    assert sum(fight.actions.values()) == fight.decisions
