"""Names and versions that every room of the house shares.

A change of the observation or action contract invalidates trained models: it gets a new version
string here and an entry under "Observations or actions changed" in the changelog.
"""

from __future__ import annotations

VIEW_VERSION = "view_v1"
OBS_VERSION = "obs_v1"
ACTION_VERSION = "combat_v1"

OBS_SIZE = 64
NUM_COMBAT_ACTIONS = 10
NUM_SKILL_SLOTS = 6
MAX_TEAM_SIZE = 5

ARCHETYPES = ("aggressive", "defensive", "support", "mage", "tank", "ranged")

MODEL_TYPES = (
    "combat_dqn",
    "movement_ppo",
    "skill_dqn",
    "threat_assessment",
    "team_coordination",
    "spatial_vit",
    "temporal_transformer",
    "pattern_recognition",
    "soft_actor_critic",
)

COMBAT_ACTIONS = (
    "hold",  # stand still, hit what is in reach
    "attack_nearest",
    "attack_weakest",  # fewest hit points left
    "attack_dangerous",  # highest damage per second per remaining hit point
    "retreat",  # away from enemies and walls
    "offensive_skill",  # strongest ready attacking skill
    "guard_self",  # first ready buff on oneself
    "help_ally",  # heal, else shield, the most hurt team member
    "protect_ally",  # hit the attacker of the most hurt other team member
    "control_skill",  # area damage, stun, slow or taunt
)

DECISION_MS = 200
"""A decision is taken every 200 ms; the action mask looks this far ahead."""


class ContractError(ValueError):
    """Raised when data breaks a contract; the message is one line fit for a user."""
