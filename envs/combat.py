"""`MLMonster/Combat-v0`: what to do, as one of ten orders per decision."""

from __future__ import annotations

from envs.arena import ArenaEnv, ArenaVectorEnv


class CombatVectorEnv(ArenaVectorEnv):
    """Ten combat actions (`envs.contracts.COMBAT_ACTIONS`)."""

    head = "combat"


class CombatEnv(ArenaEnv):
    """One fight; see `CombatVectorEnv`."""

    vector_class = CombatVectorEnv
