"""A small fight as JSON, for the tests of the service."""

from __future__ import annotations

from typing import Any


def duel(distance: int = 1) -> dict[str, Any]:
    """A tank `t1` and an enemy `e1` so many cells to the right of it."""

    def unit(name: str, team: int, x: int) -> dict[str, Any]:
        return {
            "id": name,
            "team": team,
            "archetype": "tank",
            "x": x,
            "y": 5,
            "hp": 800,
            "max_hp": 1000,
            "stats": {"atk": 100, "range": 1},
        }

    return {
        "version": "view_v1",
        "elapsed_ms": 1000,
        "units": [unit("t1", 0, 5), unit("e1", 1, 5 + distance)],
    }
