"""Prioritized replay over columns: a ring `(time, env, ...)`, n-step windows at sampling time, a sum tree.

Prioritized experience replay is Schaul et al. 2016; n-step returns in DQN are from Hessel et al. 2018
(Rainbow). What was seen after a step is the next row of the ring, so no observation is stored twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policies.columnar.rollout import Rollout
from policies.columnar.sum_tree import sample_leaves, set_leaves, update_leaves

# Column names of a batch: RLlib's for what its DQN loss reads, ours for the masks.
ACTION_MASK = "action_mask"
NEW_ACTION_MASK = "new_action_mask"


@dataclasses.dataclass(frozen=True)
class ReplayBatch:
    """Transitions drawn from the buffer; its memory is reused by the next draw of the same size."""

    columns: dict[str, Tensor]
    """obs and new_obs float32 (row, observation), actions int64 (row,), rewards float32 (row,) summed over
    the window, terminateds bool (row,), n_step float32 (row,), weights float32 (row,), action_mask and
    new_action_mask bool (row, action)."""
    slots: NDArray[np.int64]
    """(row,) where the windows start in the ring: time x num_envs + env."""


class PrioritizedReplay:
    """Ring buffer of all environments' steps with prioritized, stratified sampling.

    Args:
        num_envs: Environments whose steps arrive side by side.
        capacity: Rows kept at most, over all environments.
        observation_size: Numbers per observation.
        num_actions: Actions of the discrete action space.
        gamma: Discount within an n-step window.
        n_step: Rewards summed before bootstrapping; a window ends with its episode.
        alpha: 0 samples uniformly, 1 in proportion to the priority.
        priority_floor: Added to each TD error's magnitude.
        seed: Decides what is drawn.
    """

    def __init__(
        self,
        *,
        num_envs: int,
        capacity: int,
        observation_size: int,
        num_actions: int,
        gamma: float,
        n_step: int = 1,
        alpha: float = 0.6,
        priority_floor: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.num_envs = num_envs
        self.length = capacity // num_envs
        if self.length < n_step + 2:
            raise ValueError(
                f"capacity {capacity} gives {self.length} rows for each of {num_envs} environments; a window "
                f"of {n_step} steps needs {n_step + 2}: raise capacity or lower num_envs"
            )
        self.gamma, self.n_step, self.alpha, self.priority_floor = gamma, n_step, alpha, priority_floor
        length = self.length
        self._obs = np.zeros((length, num_envs, observation_size), np.float32)
        self._masks = np.zeros((length, num_envs, num_actions), np.bool_)
        self._actions = np.zeros((length, num_envs), np.int64)
        self._rewards = np.zeros((length, num_envs), np.float32)
        self._terminated = np.zeros((length, num_envs), np.bool_)
        self._truncated = np.zeros((length, num_envs), np.bool_)
        self._valid = np.zeros((length, num_envs), np.bool_)
        self._leaves = 1 << (length * num_envs - 1).bit_length()
        self._tree = np.zeros(2 * self._leaves, np.float64)
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._steps = 0
        self._max_priority = 1.0
        self._batches: dict[int, ReplayBatch] = {}

    def __len__(self) -> int:
        """Windows that can be drawn."""
        return int(np.count_nonzero(self._tree[self._leaves :]))

    @property
    def steps(self) -> int:
        """Steps per environment that were ever added."""
        return self._steps

    def add(self, rollout: Rollout) -> None:
        """Store a round; windows that it completes become drawable with the highest priority seen so far.

        Args:
            rollout: Its first observation must be the last one of the round before.

        Raises:
            ValueError: A round longer than the ring.
        """
        time, length = rollout.time, self.length
        if time + self.n_step + 1 > length:
            raise ValueError(
                f"a round of {time} steps and windows of {self.n_step} do not fit a ring of {length} rows "
                "per environment; raise buffer_capacity or lower rollout_length"
            )
        rows = (self._steps + np.arange(time)) % length
        for ring, column in (
            (self._actions, rollout.actions),
            (self._rewards, rollout.rewards),
            (self._terminated, rollout.terminated),
            (self._truncated, rollout.truncated),
            (self._valid, rollout.valid),
        ):
            ring[rows] = column.swapaxes(0, 1)
        # One row more than steps: what was seen last waits in the row of the step to come.
        rows_seen = (self._steps + np.arange(time + 1)) % length
        self._obs[rows_seen] = rollout.obs.swapaxes(0, 1)
        self._masks[rows_seen] = rollout.action_mask.swapaxes(0, 1)
        # Every row written, the waiting one too, has lost its old window. Older windows look only at newer
        # rows than these, so no other is touched.
        for row in rows_seen.tolist():
            self._set_row(row, np.zeros(self.num_envs))
        # A window is complete once n_step rows are known from its start.
        first = max(self._steps - self.n_step + 1, 0)
        self._steps += time
        priority = self._max_priority**self.alpha
        for step in range(first, self._steps - self.n_step + 1):
            row = step % length
            self._set_row(row, np.where(self._valid[row], priority, 0.0))

    def sample(self, rows: int, beta: float) -> ReplayBatch:
        """Draw windows by priority, with importance weights.

        weight = (probability of the row / smallest such probability in the batch) ** -beta
        (Schaul et al., 3.4, normalised by the batch's largest weight, so that the buffer's size cancels)

        Args:
            rows: Batch size.
            beta: 0 no importance correction, 1 full.

        Raises:
            ValueError: Nothing to draw yet.
        """
        if self._tree[1] <= 0.0:
            raise ValueError(
                f"the replay buffer has no complete window after {self._steps} steps per environment; "
                "add rounds before sampling"
            )
        batch = self._batches.get(rows) or self._allocate(rows)
        slots, columns = batch.slots, {name: tensor.numpy() for name, tensor in batch.columns.items()}
        sample_leaves(self._tree, self._leaves, self._random.random(rows), slots)
        _gather(
            slots,
            self.n_step,
            self.gamma,
            self._obs,
            self._masks,
            self._actions,
            self._rewards,
            self._terminated,
            self._truncated,
            columns["obs"],
            columns["new_obs"],
            columns[ACTION_MASK],
            columns[NEW_ACTION_MASK],
            columns["actions"],
            columns["rewards"],
            columns["terminateds"],
            columns["n_step"],
        )
        priorities = self._tree[self._leaves + slots]
        columns["weights"][:] = (priorities / priorities.min()) ** -beta
        return batch

    def update_priorities(self, slots: NDArray[np.int64], td_errors: NDArray[np.floating[Any]]) -> None:
        """Give drawn windows new priorities: (|TD error| + floor) ** alpha.

        Args:
            slots: int64 (row,), from the batch.
            td_errors: (row,), finite.
        """
        priorities = np.abs(td_errors).astype(np.float64) + self.priority_floor
        self._max_priority = max(self._max_priority, float(priorities.max()))
        update_leaves(self._tree, self._leaves, slots, priorities**self.alpha)

    def get_state(self) -> dict[str, Any]:
        """Everything that an exact resumption needs.

        Returns:
            Arrays by name (only rows that were ever written), and under "scalars" plain JSON types.
        """
        used = min(self._steps + 1, self.length)
        rings = {name: getattr(self, f"_{name}")[:used] for name in _RINGS}
        leaves = self._tree[self._leaves : self._leaves + used * self.num_envs]
        scalars = {
            "steps": self._steps,
            "max_priority": self._max_priority,
            "num_envs": self.num_envs,
            "length": self.length,
            "random": self._random.bit_generator.state,
        }
        return {**rings, "leaves": leaves, "scalars": scalars}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take up a state from `get_state`.

        Args:
            state: As `get_state` gives it.

        Raises:
            ValueError: The state is of a buffer of another shape.
        """
        scalars = state["scalars"]
        if (scalars["num_envs"], scalars["length"]) != (self.num_envs, self.length):
            raise ValueError(
                f"the saved replay buffer is {scalars['length']} rows x {scalars['num_envs']} environments, "
                f"this one {self.length} x {self.num_envs}; resume with the settings of the saved run"
            )
        used = len(state["obs"])
        for name in _RINGS:
            getattr(self, f"_{name}")[:used] = state[name]
        self._tree[:] = 0.0
        set_leaves(self._tree, self._leaves, 0, np.ascontiguousarray(state["leaves"], dtype=np.float64))
        self._steps = int(scalars["steps"])
        self._max_priority = float(scalars["max_priority"])
        self._random.bit_generator.state = scalars["random"]

    def _set_row(self, row: int, values: NDArray[np.float64]) -> None:
        set_leaves(self._tree, self._leaves, row * self.num_envs, values)

    def _allocate(self, rows: int) -> ReplayBatch:
        observation_size, num_actions = self._obs.shape[2], self._masks.shape[2]
        columns = {
            "obs": torch.empty((rows, observation_size)),
            "new_obs": torch.empty((rows, observation_size)),
            "actions": torch.empty(rows, dtype=torch.int64),
            "rewards": torch.empty(rows),
            "terminateds": torch.empty(rows, dtype=torch.bool),
            "n_step": torch.empty(rows),
            "weights": torch.empty(rows),
            ACTION_MASK: torch.empty((rows, num_actions), dtype=torch.bool),
            NEW_ACTION_MASK: torch.empty((rows, num_actions), dtype=torch.bool),
        }
        self._batches[rows] = ReplayBatch(columns, np.empty(rows, np.int64))
        return self._batches[rows]


_RINGS = ("obs", "masks", "actions", "rewards", "terminated", "truncated", "valid")


@numba.njit(cache=True)
def _gather(
    slots: NDArray[np.int64],
    n_step: int,
    gamma: float,
    obs: NDArray[np.float32],
    masks: NDArray[np.bool_],
    actions: NDArray[np.int64],
    rewards: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    out_obs: NDArray[np.float32],
    out_new_obs: NDArray[np.float32],
    out_mask: NDArray[np.bool_],
    out_new_mask: NDArray[np.bool_],
    out_actions: NDArray[np.int64],
    out_rewards: NDArray[np.float32],
    out_terminated: NDArray[np.bool_],
    out_n_step: NDArray[np.float32],
) -> None:
    """Copy the windows that start at `slots` into the batch; rings are (time, env, ...), outputs (row, ...).

    return = sum over k < m of gamma^k reward(t + k), where m = n_step or the steps left in the episode
    """
    length, num_envs = rewards.shape
    for k in range(slots.shape[0]):
        row = slots[k] // num_envs
        env = slots[k] % num_envs
        out_obs[k] = obs[row, env]
        out_mask[k] = masks[row, env]
        out_actions[k] = actions[row, env]
        total, discount, taken = 0.0, 1.0, 0
        while True:
            total += discount * rewards[row, env]
            discount *= gamma
            taken += 1
            ended = terminated[row, env]
            stop = ended or truncated[row, env] or taken == n_step
            row = row + 1 if row + 1 < length else 0
            if stop:
                break
        out_new_obs[k] = obs[row, env]
        out_new_mask[k] = masks[row, env]
        out_rewards[k] = total
        out_terminated[k] = ended
        out_n_step[k] = taken
