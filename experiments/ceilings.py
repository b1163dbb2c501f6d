"""Noise ceilings of the perception minds' questions, kept below the project folder."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.ledger import plain, write_json
from experiments.machine import code_version

if TYPE_CHECKING:
    from policies.perception.ceilings import FreshFights
    from policies.perception.compositions import FightPlan

STATES, COPIES = 1000, 8
"""States of the evaluation's fights, and futures of each: the interval of a ceiling is then about as wide as
that of the explained variance that is held against it. 320 states of 24 fights had given twice the width."""

QUESTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "threat_assessment": {"2s": ("told_2s", "threat_2s")},
    "spatial_vit": {
        "damage": ("told_damage", "damage"),
        "occupancy": ("told_occupancy", "occupancy"),
    },
}
"""By model type, what the gate asks about: the ceiling of an observer who knows what the mind is told, and
the one of an observer who knows the whole state, which holds where the first was not made."""


def noise_ceilings(
    home: Path, model_type: str, archetype: str, plan: FightPlan, seed: int, fights: FreshFights
) -> dict[str, dict[str, float]]:
    """What nobody can exceed in the questions of a mind, measured once and then read.

    Args:
        home: Project folder; the figures lie in its folder ``ceilings``.
        model_type: One of `QUESTIONS`; any other has no ceiling and gets none.
        archetype: Whose eyes.
        plan: What its training recorded.
        seed: Of compositions, as of the training.
        fights: Of the evaluation, whose states are drawn.

    Returns:
        By question ``value``, ``low`` and ``high`` (95 %, by fight), ``states`` and ``entries``.
    """
    if model_type not in QUESTIONS:
        return {}
    path = home / "ceilings" / f"{_key(model_type, archetype, plan, seed, fights)}.json"
    with contextlib.suppress(OSError, json.JSONDecodeError):
        known: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
        return known
    made = _source(model_type)(archetype, plan, seed, states=STATES, copies=COPIES, fresh=fights)
    found = {name: dict(plain(dataclasses.asdict(one))) for name, one in made.items()}
    write_json(path, found)
    return found


def ceiling_of(ceilings: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]) -> str | None:
    """The first of some ceilings that was made, by name.

    Args:
        ceilings: From `noise_ceilings`.
        names: In the order of preference.
    """
    return next((name for name in names if (ceilings.get(name) or {}).get("value")), None)


def _source(model_type: str) -> Callable[..., Mapping[str, Any]]:
    if model_type == "threat_assessment":
        from policies.perception.threat import ceiling as of_threat

        return of_threat
    from policies.perception.spatial_ceiling import ceiling as of_maps

    return of_maps


def _key(model_type: str, archetype: str, plan: FightPlan, seed: int, fights: FreshFights) -> str:
    """Names ceilings by all that they depend on."""
    from envs import archetypes

    parts = {
        "model_type": model_type,
        "archetype": archetype,
        "definitions": archetypes.definitions([archetype]),
        "plan": dataclasses.asdict(plan),
        "seed": seed,
        "fights": dataclasses.asdict(fights),
        "states": STATES,
        "copies": COPIES,
        "code": code_version(),
    }
    return hashlib.sha256(json.dumps(plain(parts), sort_keys=True).encode()).hexdigest()[:16]
