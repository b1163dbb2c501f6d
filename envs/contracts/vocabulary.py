"""Names and versions that every room of the house shares.

A change of the observation or action contract invalidates trained models: it gets a new version
string here and an entry under "Observations or actions changed" in the changelog.
"""

from __future__ import annotations

VIEW_VERSION = "view_v1"
OBS_VERSION = "obs_v1"
ACTION_VERSION = "combat_v1"

HEADS = ("combat", "movement", "skill", "pack", "control")
"""What a mind's actions mean; every head has a contract of its own."""
ACTION_VERSIONS = {
    "combat": ACTION_VERSION,
    "movement": "movement_v1",
    "skill": "skill_v1",
    "pack": "pack_v1",
    "control": "control_v2",
}

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

MOVEMENT_ACTIONS = ("stay", "N", "NE", "E", "SE", "S", "SW", "W", "NW")
"""The feet's direction; north is +y, east is +x. The hands fight by script meanwhile."""
NUM_MOVEMENT_ACTIONS = len(MOVEMENT_ACTIONS)
DIRECTIONS = ((0, 0), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""(dx, dy) of each movement action, in cells."""

POINTERS = (
    *(f"enemy_{e}" for e in range(MAX_TEAM_SIZE)),
    "self",
    *(f"ally_{a}" for a in range(MAX_TEAM_SIZE - 1)),
)
"""Whom an action of the skill head is aimed at: enemies and team mates by their own order."""
POINTER_SELF = MAX_TEAM_SIZE
NUM_POINTERS = len(POINTERS)
NUM_ACTION_SLOTS = 1 + NUM_SKILL_SLOTS
"""The basic attack (slot 0) and the skill slots 0-5 behind it."""
NUM_SKILL_ACTIONS = NUM_ACTION_SLOTS * NUM_POINTERS

PACK_ORDERS = (
    "free",  # the member fights as its script does
    "focus_0",  # enemy slot 0, by script
    "focus_1",
    "focus_2",
    "protect_weakest",  # hit the attacker of the most hurt other member
    "regroup",  # toward the middle of the other members
    "spread",  # away from the nearest other member
    "retreat",  # away from enemies and walls
)
NUM_PACK_ORDERS = len(PACK_ORDERS)

CONTROL_PARTS = ("move_x", "move_y", "stance", "skill_urge", "target_preference")
"""The five numbers in [-1, 1] of the control head."""
NUM_CONTROL_PARTS = len(CONTROL_PARTS)

LOCAL_SIZE = OBS_SIZE + len(ARCHETYPES)
"""A pack member's observation: `obs_v1` and its archetype, one-hot."""

DECISION_MS = 200
"""A decision is taken every 200 ms; the action mask looks this far ahead."""


class ContractError(ValueError):
    """Raised when data breaks a contract; the message is one line fit for a user."""


def skill_action(slot: int, pointer: int) -> int:
    """Index of an action of the skill head: `slot` 0 basic attack, 1-6 skill slots; see `POINTERS`."""
    return slot * NUM_POINTERS + pointer


def skill_action_name(action: int) -> str:
    """Name such as `attack:enemy_0`, `wait` or `skill_2:self` (third skill slot, on oneself)."""
    slot, pointer = divmod(action, NUM_POINTERS)
    if slot == 0:
        return "wait" if pointer == POINTER_SELF else f"attack:{POINTERS[pointer]}"
    return f"skill_{slot - 1}:{POINTERS[pointer]}"
