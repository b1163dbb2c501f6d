"""The sequence token: one decision of one unit as 80 floats, food for models that remember."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from envs.contracts import layout as f
from envs.contracts.features import describe_features, observe_scene
from envs.contracts.past import P_HP, P_SP, Past
from envs.contracts.vocabulary import COMBAT_ACTIONS, MAX_TEAM_SIZE, NUM_COMBAT_ACTIONS, OBS_SIZE

if TYPE_CHECKING:
    from envs.contracts.view import WorldView

STEP_SCALES = {
    "step_hp": "change of my HP since the last decision / max HP",
    "step_sp": "change of my SP since the last decision / max SP",
    "step_team_hp": "change of my team's HP shares since the last decision / units of the team",
    "step_enemy_hp": "change of the enemies' HP shares since the last decision / enemies",
    "step_moved": "cells I came since the last decision / 4, at most 1",
    "step_lead": "change of (living units of my team - living enemies) since the last decision / 5",
}
MOVED_CELLS = 4
STEPS_AT = OBS_SIZE + NUM_COMBAT_ACTIONS
TOKEN_SIZE = STEPS_AT + len(STEP_SCALES)


def describe_token() -> list[dict[str, object]]:
    """Return name, scale and limits of each of the 80 values, as plain JSON types."""
    rows = describe_features()
    for name in COMBAT_ACTIONS:
        rows.append({"name": f"last_{name}", "scale": "1 if it was the last action", "low": 0.0, "high": 1.0})
    for name, scale in STEP_SCALES.items():
        rows.append({"name": name, "scale": scale, "low": 0.0 if name == "step_moved" else -1.0, "high": 1.0})
    return rows


def sequence_token(
    histories: Sequence[Sequence[WorldView]],
    units: Sequence[int],
    last_actions: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Return the token of each unit's present decision.

    Args:
        histories: per row the views of one fight, one per decision, oldest first, the present last; the
            last two count. With one view alone the step statistics are zero.
        units: index of the observing unit in the present view.
        last_actions: what each unit did last, 0-9, or -1 for nothing; None: as the present view says (that
            is the combat head's action). Other heads pass theirs here, the skill head its slot.

    Returns:
        float32 `(row, 80)`: `obs_v1`, last action one-hot, six step statistics.
    """
    past = Past(histories, units, 2)
    scene = past.scene
    out = np.zeros((len(histories), TOKEN_SIZE), np.float32)
    out[:, :OBS_SIZE] = observe_scene(scene)
    actions = scene.own[:, f.LAST_ACTION] if last_actions is None else np.asarray(last_actions, np.int64)
    out[:, OBS_SIZE:STEPS_AT] = actions[:, None] == np.arange(NUM_COMBAT_ACTIONS)
    out[:, STEPS_AT:] = _steps(past)
    return out


def _steps(past: Past) -> np.ndarray:
    """The six step statistics, float64 `(row, 6)`."""
    scene, rows = past.scene, past.scene.rows
    now, before = past.units[:, 0], past.units[:, 1]
    change = now - before
    own = change[rows, scene.me]
    bar = np.maximum(scene.units[..., f.MAX_HP], 1)
    gain = _limited(now[..., P_HP] * 1000 // bar - before[..., P_HP] * 1000 // bar, 1000)
    fallen = (now[..., P_HP] > 0).astype(np.int64) - (before[..., P_HP] > 0)
    max_sp = np.maximum(scene.own[:, f.MAX_SP], 1)

    def summed(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return (values * chosen).sum(axis=1)

    out = np.zeros((len(rows), len(STEP_SCALES)), np.float64)
    max_hp = bar[rows, scene.me]
    out[:, 0] = _limited(own[:, P_HP], max_hp) / max_hp
    out[:, 1] = _limited(own[:, P_SP], max_sp) / max_sp
    out[:, 2] = summed(gain, scene.friendly) / (1000 * np.maximum(scene.friendly.sum(axis=1), 1))
    out[:, 3] = summed(gain, scene.hostile) / (1000 * np.maximum(scene.hostile.sum(axis=1), 1))
    moved = np.abs(past.moved(scene.me)).max(axis=1)
    out[:, 4] = np.minimum(moved, MOVED_CELLS) / MOVED_CELLS
    lead = summed(fallen, scene.friendly) - summed(fallen, scene.hostile)
    out[:, 5] = _limited(lead, MAX_TEAM_SIZE) / MAX_TEAM_SIZE
    return out


def _limited(values: np.ndarray, limit: np.ndarray | int) -> np.ndarray:
    """A game may change a unit's max HP between two views; no value leaves its scale for that."""
    return np.clip(values, -limit, limit)
