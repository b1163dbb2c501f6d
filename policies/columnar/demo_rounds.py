"""Demonstrations as rounds of a rollout, so that a replay buffer can begin with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from envs.demonstrations import Demonstrations
from policies.columnar.rollout import Rollout

# Steps of one round.
ROUND = 32


def demonstration_rounds(demos: Demonstrations, num_envs: int, reward_factor: float) -> Iterator[Rollout]:
    """Lay whole fights one after the other into `num_envs` lanes, and cut the lanes into rounds.

    After each fight comes an invalid row, as after a fight that was played here; lanes that end early are
    filled with such rows, so that no window reaches from a demonstration into what the runner adds next. A
    decision that could not be labelled is never the start of a window, but windows run through it.

    Args:
        demos: Fights from their start to their end.
        num_envs: Environments of the buffer.
        reward_factor: What learning multiplies rewards with.

    Yields:
        Rounds of up to `ROUND` steps, in buffers that the next one overwrites.
    """
    order = np.argsort(demos.fights, kind="stable")
    fights = np.split(order, np.flatnonzero(np.diff(demos.fights[order])) + 1)
    lanes: list[list[np.ndarray]] = [[] for _ in range(num_envs)]
    lengths = np.zeros(num_envs, np.int64)
    for fight in fights:
        lane = int(lengths.argmin())
        lanes[lane].append(fight)
        lengths[lane] += len(fight) + 1
    total = int(-(-lengths.max() // ROUND) * ROUND)
    # Which row of the demonstrations stands where; -1 between fights and behind the last one.
    rows = np.full((num_envs, total + 1), -1, np.int64)
    ends = np.zeros((num_envs, total), np.bool_)
    for lane, parts in enumerate(lanes):
        start = 0
        for part in parts:
            rows[lane, start : start + len(part)] = part
            ends[lane, start + len(part) - 1] = True
            start += len(part) + 1
    size = demos.obs.shape[1]
    actions = 0 if demos.action_mask is None else demos.action_mask.shape[1]
    shape = demos.actions.shape[1:]
    for first in range(0, total, ROUND):
        seen = rows[:, first : first + ROUND + 1]
        here = seen[:, :ROUND]
        inside = here >= 0
        rollout = Rollout.empty(num_envs, ROUND, size, actions, shape)
        # What was seen after an end is never used: nothing follows it.
        rollout.obs[seen >= 0] = demos.obs[seen[seen >= 0]]
        if rollout.action_mask is not None and demos.action_mask is not None:
            rollout.action_mask[seen >= 0] = demos.action_mask[seen[seen >= 0]]
        rollout.actions[inside] = demos.actions[here[inside]]
        rollout.rewards[inside] = demos.rewards[here[inside]] * reward_factor
        rollout.terminated[:] = ends[:, first : first + ROUND]
        rollout.valid[inside] = demos.valid[here[inside]]
        yield rollout
