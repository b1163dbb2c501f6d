"""`MLMonster/Movement-v0`: where to step; the fighting stays with the traditional AI."""

from __future__ import annotations

from envs.arena import ArenaEnv, ArenaVectorEnv


class MovementVectorEnv(ArenaVectorEnv):
    """Nine directions (`envs.contracts.MOVEMENT_ACTIONS`) in scenarios in which geometry matters."""

    head = "movement"


class MovementEnv(ArenaEnv):
    """One fight; see `MovementVectorEnv`."""

    vector_class = MovementVectorEnv
