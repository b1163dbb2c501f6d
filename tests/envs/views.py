"""Small fights for tests of what minds perceive, written as a game would send them."""

from __future__ import annotations

from typing import Any

from envs.contracts import WorldView


def unit(unit_id: Any, team: int, x: int, y: int, hp: int = 1000, **more: Any) -> dict[str, Any]:
    return {"id": unit_id, "team": team, "x": x, "y": y, "hp": hp, "max_hp": 1000, **more}


def view(*units: dict[str, Any], **more: Any) -> WorldView:
    return WorldView.from_json({"origin": [15.5, 15.5], "elapsed_ms": 15_000, "units": list(units), **more})
