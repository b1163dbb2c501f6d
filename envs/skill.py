"""`MLMonster/Skill-v0`: which skill, on whom."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from envs.arena import ArenaEnv, ArenaVectorEnv, vector_box
from envs.contracts import layout as f
from envs.contracts.slot_features import (
    NUM_SKILL_FEATURES,
    NUM_SKILL_IDS,
    skill_feature_rows,
    skill_id_rows,
)
from envs.contracts.vocabulary import NUM_ACTION_SLOTS


class SkillVectorEnv(ArenaVectorEnv):
    """Basic attack and six skill slots times ten targets (`envs.contracts.skill_action_name`).

    Observations are a Dict: `observation` the 64 floats, `skills` float32 `(fight, 7, 15)` what each slot
    can do and whether it is ready, `skill_ids` int64 `(fight, 7)` for embeddings, and the mask on request.
    """

    head = "skill"

    def build_observation_space(self) -> spaces.Space[Any]:
        """Return the Dict space of one observation."""
        parts: dict[str, spaces.Space[Any]] = {
            "observation": vector_box(),
            "skills": spaces.Box(0.0, 1.0, (NUM_ACTION_SLOTS, NUM_SKILL_FEATURES), np.float32),
            "skill_ids": spaces.MultiDiscrete([NUM_SKILL_IDS] * NUM_ACTION_SLOTS),
        }
        if self.mask_in_observation:
            parts["action_mask"] = spaces.MultiBinary(self.world.masks.shape[-1])
        return spaces.Dict(parts)

    def rows(self) -> np.ndarray:
        """What the learner sees: `observation`, `skill_ids` and `skills` in a row, float32 `(fight, 176)`.

        The parts stand in the order of the observation space, which Gymnasium sorts by name.
        """
        skills, ids = self._slots()
        flat = (self.world.obs[:, 0], ids.astype(np.float32), skills.reshape(self.num_envs, -1))
        return np.concatenate(flat, axis=1)

    def _slots(self) -> tuple[np.ndarray, np.ndarray]:
        """Features `(fight, 7, 15)` and ids `(fight, 7)` of the learner's slots."""
        own = self.world.units[:, self.learner_unit, : f.NUM_UNIT_FIELDS].astype(np.int64)
        rows = self.world.skills[self.learner_unit, :, : f.NUM_SKILL_FIELDS].astype(np.int64)
        skills = np.broadcast_to(rows, (self.num_envs, *rows.shape))
        return skill_feature_rows(own, skills), skill_id_rows(skills)

    def _observation(self) -> dict[str, np.ndarray]:
        obs = self.world.obs[:, 0]
        features, ids = self._slots()
        out = {
            "observation": obs.copy() if self.copy else obs,
            "skills": features,
            "skill_ids": ids,
        }
        if self.mask_in_observation:
            out["action_mask"] = self.world.masks[:, 0].astype(np.int8)
        return out


class SkillEnv(ArenaEnv):
    """One fight; see `SkillVectorEnv`."""

    vector_class = SkillVectorEnv
