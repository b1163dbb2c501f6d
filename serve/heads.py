"""What each acting model type must take, by the wire contract: the service has to be able to make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from envs.contracts import (
    ACTION_VERSIONS,
    LOCAL_SIZE,
    NUM_COMBAT_ACTIONS,
    NUM_MOVEMENT_ACTIONS,
    NUM_PACK_ORDERS,
    NUM_SKILL_ACTIONS,
    NUM_SKILL_FEATURES,
    NUM_SKILL_IDS,
    OBS_SIZE,
    OBS_VERSION,
    VIEW_VERSION,
)
from envs.contracts.vocabulary import NUM_ACTION_SLOTS

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Head:
    """What an acting mind is asked, and how its answer is read.

    Attributes:
        name: combat, movement, skill, pack or control; the action contract has the version of that name.
        inputs: names and shapes behind the batch axis, without carried state.
        choice: the output that is the action.
        scores: the output that values the actions, None where there are no few of them.
    """

    name: str
    inputs: Shapes
    choice: str = "action"
    scores: str | None = "q_values"


def _masked(actions: int) -> Shapes:
    return {"obs": (OBS_SIZE,), "action_mask": (actions,)}


HEADS: Mapping[str, Head] = MappingProxyType(
    {
        "combat_dqn": Head("combat", _masked(NUM_COMBAT_ACTIONS)),
        "movement_ppo": Head("movement", _masked(NUM_MOVEMENT_ACTIONS), scores="probabilities"),
        "skill_dqn": Head(
            "skill",
            {
                "observation": (OBS_SIZE,),
                "skills": (NUM_ACTION_SLOTS, NUM_SKILL_FEATURES),
                "skill_ids": (NUM_ACTION_SLOTS,),
                "action_mask": (NUM_SKILL_ACTIONS,),
            },
        ),
        "team_coordination": Head(
            "pack", {"local": (LOCAL_SIZE,), "action_mask": (NUM_PACK_ORDERS,)}, scores="probabilities"
        ),
        "soft_actor_critic": Head("control", {"obs": (OBS_SIZE,)}, choice="control", scores=None),
    }
)
"""The model types that act; the others perceive."""

ID_LIMITS: Mapping[str, int] = MappingProxyType({"skill_ids": NUM_SKILL_IDS})
"""Whole-numbered inputs that look something up must lie below these; a negative one counts from the end."""


def contracts_of(model_type: str) -> dict[str, str]:
    """Contract versions that a model of this type must have been trained for to be served.

    Args:
        model_type: one of the nine model types.
    """
    head = HEADS.get(model_type)
    action = "none" if head is None else ACTION_VERSIONS[head.name]
    return {"observation": OBS_VERSION, "action": action, "view": VIEW_VERSION}
