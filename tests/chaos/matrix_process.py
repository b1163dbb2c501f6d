"""`monster train` with runs so small that a matrix takes minutes: `python -m tests.chaos.matrix_process`."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from experiments.cli import main, train

LEARNING = {"num_envs": 8, "rollout_length": 8, "rounds_per_epoch": 2, "warm_start_fights": 0}
REPLAY = {
    **LEARNING,
    # More decisions per epoch than a window has, or nothing could be drawn.
    "n_step": 3,
    "rollout_length": 24,
    "updates_per_round": 2,
    "learning_starts": 32,
    "buffer_capacity": 1024,
    "batch_size": 32,
}
ROUNDS = {**LEARNING, "minibatch_size": 32, "passes": 1}
# So many that validation and test, a tenth each, have some of every archetype.
SEEN = {"data": {"fights": 60, "decisions": None, "sizes": {"1v1": 1}}}
OVERRIDES: dict[str, dict[str, Any]] = {
    "combat_dqn": {"training": REPLAY},
    "skill_dqn": {"training": REPLAY},
    "soft_actor_critic": {"training": {**REPLAY, "actor_starts": 32}},
    "movement_ppo": {"training": ROUNDS},
    "team_coordination": {"training": {**ROUNDS, "sequence_length": 8}},
    "threat_assessment": SEEN,
    "spatial_vit": SEEN,
    "temporal_transformer": SEEN,
    "pattern_recognition": SEEN,
}
"""What is laid over the demo profile."""


def tiny(request: Any) -> Any:
    """The request with tiny runs."""
    return dataclasses.replace(request, overrides=OVERRIDES)


if __name__ == "__main__":
    ask = train._request
    train._request = lambda args: tiny(ask(args))
    sys.exit(main(["train", *sys.argv[1:]]))
