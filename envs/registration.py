"""Gymnasium ids, registered by string so that nothing heavy is imported until an environment is made."""

from __future__ import annotations

COMBAT_ID = "MLMonster/Combat-v0"


def register() -> None:
    """Register our ids with Gymnasium; called by its plugin hook and by `import envs`."""
    from gymnasium.envs import registration

    if COMBAT_ID not in registration.registry:
        registration.register(
            COMBAT_ID,
            entry_point="envs.combat:CombatEnv",
            vector_entry_point="envs.combat:CombatVectorEnv",
        )
