"""Playing a trained module greedily, and what its episodes and actions were like.

RLlib's own `evaluate` counts Episode objects, which this lane does not make.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policies.columnar.episodes import EpisodeLog
from policies.columnar.vector_env import make_vector_env
from policies.rl_modules.masks import ACTION_MASK
from policies.settings import Run

# Environments side by side.
WIDTH = 256
# Parts that each component of a continuous action is cut into for its entropy.
BINS = 16


class ActionCounts:
    """How often each action was taken."""

    def __init__(self) -> None:
        self._counts: NDArray[np.float64] = np.zeros((1, 1))

    def add(self, actions: NDArray[Any], rows: NDArray[np.bool_]) -> None:
        """Count actions.

        Args:
            actions: int64 (...,), or float32 (..., component) in [-1, 1].
            rows: bool (...,); which count.
        """
        chosen = actions[rows]
        if chosen.dtype.kind == "f":
            bins = np.clip(((chosen + 1.0) * (BINS / 2)).astype(np.int64), 0, BINS - 1)
            counts = np.stack([np.bincount(axis, minlength=BINS) for axis in bins.T])
        else:
            counts = np.bincount(chosen)[None, :]
        width = max(counts.shape[1], self._counts.shape[1])
        total = np.zeros((len(counts), width))
        total[:, : self._counts.shape[1]] += self._counts
        total[:, : counts.shape[1]] += counts
        self._counts = total

    def entropy_bits(self) -> float:
        """Shannon entropy of the marginal distribution; of continuous actions, the mean over components.

        Returns:
            H = -sum over a of p(a) log2 p(a), in bits; NaN before the first action.
        """
        total = self._counts.sum(axis=1, keepdims=True)
        if not total.all():
            return float("nan")
        p = self._counts / total
        logs = np.log2(p, out=np.zeros_like(p), where=p > 0.0)
        return float(-(p * logs).sum(axis=1).mean()) + 0.0

    def reset(self) -> None:
        """Forget what was counted."""
        self._counts = np.zeros((1, 1))


def evaluate(module: Any, run: Run, *, episodes: int, seed: int) -> dict[str, float]:
    """Play a module greedily in the run's own environment.

    Every environment plays the same number of episodes from its start, so that short ones do not count more
    often than long ones.

    Args:
        module: RLModule of the lane; its exploration is not touched.
        run: Says what to play.
        episodes: At least so many are played to their end; rounded up to a multiple of the width.
        seed: Of the environment; take another one than training's.

    Returns:
        reward (unscaled), episode_length, win_rate (strict), score, reward_terms/*, action_entropy_bits and
        episodes.

    Raises:
        ValueError: No episodes asked for.
    """
    if episodes < 1:
        raise ValueError(f"{episodes} episodes measure nothing; ask for at least 1")
    width = min(episodes, WIDTH)
    each = -(-episodes // width)
    env: Any = make_vector_env(dict(run.env), width)
    rows = int(env.num_envs)
    log, counts = EpisodeLog(rows, each * rows), ActionCounts()
    finished, after_done = np.zeros(rows, np.int64), np.zeros(rows, np.bool_)
    device = next(module.parameters()).device
    state: dict[str, Tensor] = module.initial_state(rows) if hasattr(module, "initial_state") else {}
    was_training = module.training
    module.eval()
    obs, info = env.reset(seed=seed)
    try:
        while bool((finished < each).any()):
            columns = {"obs": torch.from_numpy(np.array(obs, np.float32)).to(device), **state}
            if ACTION_MASK in info:
                columns[ACTION_MASK] = torch.from_numpy(np.array(info[ACTION_MASK], np.bool_)).to(device)
            output = module.act(columns, explore=False, env_steps=0)
            actions = output["actions"].cpu().numpy()
            state = {name: value for name, value in output.items() if name in state}
            counted = ~after_done & (finished < each) & np.array(info.get("alive", True))
            obs, reward, terminated, truncated, info = env.step(actions)
            if counted.any():
                counts.add(actions, counted)
            done = np.logical_or(terminated, truncated) & ~after_done
            # What comes after an environment's last episode is not recorded.
            going = finished < each
            log.record(np.where(going, reward, 0.0), done & going, ~after_done & going, info)
            finished += done & going
            for value in state.values():
                value[torch.from_numpy(np.flatnonzero(after_done)).to(device)] = 0.0
            after_done = np.logical_or(terminated, truncated)
    finally:
        module.train(was_training)
        env.close()
    return {
        **log.means(),
        "action_entropy_bits": counts.entropy_bits(),
        "episodes": log.finished // getattr(env, "members", 1),
    }
