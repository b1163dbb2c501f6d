"""Steps recorded from play: what an export is checked on and what the service is timed with."""

from __future__ import annotations

import numpy as np

from experiments.evaluation import Policy
from experiments.seeds import Purpose, seed_for

RECORDED_STEPS = 1_000
"""Of 200 rows a single rounded tie is half a per cent, the whole tolerance of the export's agreement."""
_FIGHTS = 32


def record_steps(
    archetype: str, policy: Policy, seed: int, steps: int = RECORDED_STEPS
) -> dict[str, np.ndarray]:
    """Records steps spread over whole fights, played by a policy with some random moves.

    Args:
        archetype: The learner's archetype.
        policy: Chooses most actions; every fifth is random, so that odd situations occur too.
        seed: The user's base seed; the fights come from the recording block of the seed plan.
        steps: Rows wanted.

    Returns:
        ``obs`` float32 (steps, 64) and ``action_mask`` bool (steps, 10).
    """
    from envs.combat import CombatVectorEnv

    env = CombatVectorEnv(_FIGHTS, archetype=archetype)
    obs, info = env.reset(seed=seed_for(Purpose.RECORDING, seed, archetype))
    draw = np.random.default_rng(seed_for(Purpose.RECORDING, seed, archetype, "moves"))
    seen_obs, seen_masks = [], []
    # Four times as many rows as wanted, so that the drawn ones come from all parts of a fight.
    for _ in range(max(100, -(-4 * steps // _FIGHTS))):
        mask = info["action_mask"]
        seen_obs.append(obs.copy())
        seen_masks.append(mask.copy())
        wild = np.where(mask, draw.random(mask.shape), -1.0).argmax(axis=1)
        actions = np.where(draw.random(_FIGHTS) < 0.2, wild, policy(obs, mask))
        obs, _, _, _, info = env.step(actions)
    env.close()
    all_obs, all_masks = np.concatenate(seen_obs), np.concatenate(seen_masks)
    rows = np.sort(draw.choice(len(all_obs), size=steps, replace=False))
    return {"obs": all_obs[rows], "action_mask": all_masks[rows]}
