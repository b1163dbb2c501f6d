"""Prioritized replay over columns: a ring of steps, n-step windows at sampling time, a sum tree.

Prioritized experience replay is Schaul et al. 2016; n-step returns in DQN are from Hessel et al. 2018
(Rainbow). What was seen after a step is the next row of the ring, so no observation is stored twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policies.columnar.sum_tree import (
    importance_weights,
    sample_leaves,
    set_leaves,
    td_priorities,
    update_leaves,
)

if TYPE_CHECKING:
    from policies.columnar.rollout import Rollout

# Column names of a batch: RLlib's for what its losses read, ours for the masks.
ACTION_MASK = "action_mask"
NEW_ACTION_MASK = "new_action_mask"

# What a step was, as bits of the ring `flags`.
TERMINATED, TRUNCATED, VALID = 1, 2, 4


@dataclasses.dataclass(frozen=True)
class ReplayBatch:
    """Transitions drawn from the buffer; its memory is reused by the next draw of the same size."""

    columns: dict[str, Tensor]
    """obs and new_obs float32 (row, observation), actions int64 (row,) or float32 (row, action), rewards
    float32 (row,) summed over the window, terminateds bool (row,), n_step float32 (row,), weights float32
    (row,); with masks also action_mask and new_action_mask bool (row, action)."""
    slots: NDArray[np.int64]
    """(row,) where the windows start in the ring: time x num_envs + env."""


class PrioritizedReplay:
    """Ring buffer of all environments' steps with prioritized or uniform, stratified sampling.

    A slot is time x num_envs + env, the order of the sum tree's leaves. The rings themselves are
    (env, time, ...): a window's rows lie side by side, and a round is copied without being turned over.

    Args:
        num_envs: Environments whose steps arrive side by side.
        capacity: Rows kept at most, over all environments.
        observation_size: Numbers per observation.
        action_shape: () for discrete actions (int64), (size,) for continuous ones (float32).
        num_actions: Discrete actions that have a mask; 0 keeps no masks.
        gamma: Discount within an n-step window.
        n_step: Rewards summed before bootstrapping; a window ends with its episode.
        alpha: 0 samples uniformly and ignores TD errors, 1 in proportion to the priority.
        priority_floor: Added to each TD error's magnitude.
        seed: Decides what is drawn.
    """

    def __init__(
        self,
        *,
        num_envs: int,
        capacity: int,
        observation_size: int,
        action_shape: tuple[int, ...] = (),
        num_actions: int = 0,
        gamma: float,
        n_step: int = 1,
        alpha: float = 0.6,
        priority_floor: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.num_envs = num_envs
        self.length = length = capacity // num_envs
        if length < n_step + 2:
            raise ValueError(
                f"capacity {capacity} gives {length} rows for each of {num_envs} environments; a window "
                f"of {n_step} steps needs {n_step + 2}: raise capacity or lower num_envs"
            )
        if len(action_shape) > 1:
            raise ValueError(f"actions of shape {action_shape}: only () and (size,) are stored; flatten them")
        self.action_shape, self.num_actions = action_shape, num_actions
        self.gamma, self.n_step, self.alpha, self.priority_floor = gamma, n_step, alpha, priority_floor
        self._obs = np.zeros((num_envs, length, observation_size), np.float32)
        # One bit an action: ten actions take 2 bytes instead of 10, so the masks stay in the cache.
        self._masks = np.zeros((num_envs, length, (num_actions + 7) // 8), np.uint8)
        self._actions = np.zeros((num_envs, length, *action_shape), np.float32 if action_shape else np.int64)
        self._rewards = np.zeros((num_envs, length), np.float32)
        self._flags = np.zeros((num_envs, length), np.uint8)
        # Discrete actions as one column, so that one kernel serves both kinds.
        self._action_columns = self._actions.reshape(num_envs, length, -1)
        rows = length * num_envs
        self._leaves = 1 << (rows - 1).bit_length() if self.prioritized else 0
        self._tree = np.zeros(2 * self._leaves, np.float64)
        # Uniform sampling needs no tree: windows become drawable and expire in the same order, so a queue of
        # their slots (a ring of its own) is all there is to pick from.
        self._queue = np.zeros(0 if self.prioritized else rows, np.int64)
        self._queue_first = self._queued = 0
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._steps = 0
        self._steps_drawn: int | None = None
        self._max_priority = 1.0
        self._batches: dict[int, _Batch] = {}
        self._scratch = np.empty((2, 0))

    def __len__(self) -> int:
        """Windows that can be drawn."""
        return int(np.count_nonzero(self._tree[self._leaves :])) if self.prioritized else self._queued

    @property
    def prioritized(self) -> bool:
        """Whether priorities decide what is drawn."""
        return self.alpha > 0.0

    @property
    def steps(self) -> int:
        """Steps per environment that were ever added."""
        return self._steps

    def add(self, rollout: Rollout) -> None:
        """Store a round; windows that it completes become drawable with the highest priority seen so far.

        Args:
            rollout: Its first observation must be the last one of the round before.

        Raises:
            ValueError: A round longer than the ring, of other environments, or without the buffer's masks.
        """
        time, length, start = rollout.time, self.length, self._steps
        if rollout.num_envs != self.num_envs:
            raise ValueError(
                f"a round of {rollout.num_envs} environments for a buffer of {self.num_envs}; make the "
                "buffer with the runner's number of environments"
            )
        if time + self.n_step + 1 > length:
            raise ValueError(
                f"a round of {time} steps and windows of {self.n_step} do not fit a ring of {length} rows "
                "per environment; raise buffer_capacity or lower rollout_length"
            )
        masks = rollout.action_mask if self.num_actions else None
        if self.num_actions and masks is None:
            raise ValueError(
                f"the buffer keeps masks of {self.num_actions} actions and the round has none; "
                "give info['action_mask'] in the environment or num_actions=0 here"
            )
        end = start + time
        if not self.prioritized:  # the windows whose rows are about to be overwritten leave the queue
            gone = self._drawable(max(start - length + 1, 0), max(end - length + 1, 0))
            expired = int(np.count_nonzero(gone))
            self._queue_first = (self._queue_first + expired) % self._queue.shape[0]
            self._queued -= expired
        flags = (rollout.terminated * np.uint8(TERMINATED)) | (rollout.truncated * np.uint8(TRUNCATED))
        flags |= rollout.valid * np.uint8(VALID)
        for rows, source in self.spans(start, end):
            self._actions[:, rows] = rollout.actions[:, source]
            self._rewards[:, rows] = rollout.rewards[:, source]
            self._flags[:, rows] = flags[:, source]
        # One row more than steps: what was seen last waits in the row of the step to come.
        for rows, source in self.spans(start, end + 1):
            self._obs[:, rows] = rollout.obs[:, source]
            if masks is not None:
                self._masks[:, rows] = np.packbits(masks[:, source], axis=-1, bitorder="little")
        self._steps = end
        # A window is complete once n_step rows are known from its start.
        drawable = (max(start - self.n_step + 1, 0), max(end - self.n_step + 1, 0))
        if self.prioritized:
            # Every row written, the waiting one too, has lost its old window. Older windows look only at
            # newer rows than these, so no other is touched.
            self._set_priorities(start, np.zeros((time + 1, self.num_envs)))
            self._set_priorities(drawable[0], self._drawable(*drawable) * self._max_priority**self.alpha)
        else:
            self._enqueue(*drawable)

    def sample(self, rows: int, beta: float) -> ReplayBatch:
        """Draw windows, with importance weights (`sum_tree.importance_weights`; all 1 if uniform).

        Args:
            rows: Batch size.
            beta: 0 no importance correction, 1 full.

        Raises:
            ValueError: Nothing to draw yet.
        """
        if (self._tree[1] if self.prioritized else self._queued) <= 0:
            raise ValueError(
                f"the replay buffer has no complete window after {self._steps} steps per environment; "
                "add rounds before sampling"
            )
        batch = self._batches.get(rows) or self._allocate(rows)
        slots = batch.drawn.slots
        self._steps_drawn = self._steps
        self._random.random(out=batch.uniforms)
        if self.prioritized:
            sample_leaves(self._tree, self._leaves, batch.uniforms, slots)
            importance_weights(self._tree, self._leaves, slots, beta, batch.weights)
        else:
            _sample_queue(self._queue, self._queue_first, self._queued, batch.uniforms, slots)
        _gather(
            slots,
            self.n_step,
            self.gamma,
            self._obs,
            self._masks,
            self._action_columns,
            self._rewards,
            self._flags,
            batch.places,
            *batch.outputs,
        )
        return batch.drawn

    def update_priorities(self, slots: NDArray[np.int64], td_errors: NDArray[np.floating[Any]]) -> None:
        """Give drawn windows new priorities: (|TD error| + floor) ** alpha.

        Args:
            slots: int64 (row,), from the latest draw. For a slot drawn more than once the last row
                counts; one that was overwritten since is left alone.
            td_errors: (row,); a row that is not finite keeps its priority.
        """
        if not self.prioritized:
            return
        rows = slots.shape[0]
        if rows > self._scratch.shape[1]:
            self._scratch = np.empty((2, rows))
        values, nodes = self._scratch[0, :rows], self._scratch[1].view(np.int64)
        largest = td_priorities(td_errors, self.priority_floor, self.alpha, values)
        self._max_priority = max(self._max_priority, largest)
        if self._steps_drawn is not None and self._steps_drawn < self._steps:
            # Rounds came in between: NaN keeps the priority of the windows that lie in their rows now.
            written = self._steps - self._steps_drawn
            age = (slots // self.num_envs - self._steps_drawn) % self.length
            values[age < written] = np.nan
        update_leaves(self._tree, self._leaves, slots, values, nodes)

    @property
    def shape(self) -> dict[str, Any]:
        """What two buffers must share for one to take up the other's state; plain JSON types."""
        return {
            "num_envs": self.num_envs,
            "length": self.length,
            "observation_size": self._obs.shape[2],
            "action_shape": list(self.action_shape),
            "num_actions": self.num_actions,
            "n_step": self.n_step,
            "prioritized": self.prioritized,
        }

    @property
    def rings(self) -> dict[str, NDArray[Any]]:
        """The rings by name, each (env, time, ...); step t lies in row t % length. Not copies."""
        names = ("obs", "masks", "actions", "rewards", "flags")
        return {name: getattr(self, f"_{name}") for name in names}

    @property
    def leaves(self) -> NDArray[np.float64]:
        """Priorities to the power of alpha, float64 (slot,), zero where no window starts; empty if uniform.

        Only of rows that were ever written, and not a copy.
        """
        used = min(self._steps + 1, self.length) * self.num_envs if self.prioritized else 0
        return self._tree[self._leaves : self._leaves + used]

    @property
    def scalars(self) -> dict[str, Any]:
        """What an exact resumption needs beside rings and leaves; plain JSON types."""
        random: Any = self._random.bit_generator.state
        return {"steps": self._steps, "max_priority": self._max_priority, "random": random}

    def restore(self, scalars: Mapping[str, Any], leaves: NDArray[np.float64]) -> None:
        """Take up a state whose rings have been filled in already.

        Args:
            scalars: As `scalars` gave them.
            leaves: As `leaves` gave them.
        """
        self._steps, self._steps_drawn = int(scalars["steps"]), None
        self._max_priority = float(scalars["max_priority"])
        self._random.bit_generator.state = scalars["random"]
        if self.prioritized:
            self._tree[:] = 0.0
            set_leaves(self._tree, self._leaves, 0, np.ascontiguousarray(leaves, np.float64))
        else:
            self._queue_first = self._queued = 0
            self._enqueue(max(self._steps - self.length + 1, 0), max(self._steps - self.n_step + 1, 0))

    def spans(self, first: int, end: int) -> Iterator[tuple[slice, slice]]:
        """Where steps [first, end) lie: pairs of rows of the ring and the same steps counted from `first`."""
        done = 0
        while first + done < end:
            row = (first + done) % self.length
            count = min(end - first - done, self.length - row)
            yield slice(row, row + count), slice(done, done + count)
            done += count

    def _drawable(self, first: int, end: int) -> NDArray[np.bool_]:
        """Which of the complete windows that start at steps [first, end) may be drawn, (step, env)."""
        found = np.zeros((end - first, self.num_envs), np.bool_)
        for rows, steps in self.spans(first, end):
            found[steps] = (self._flags[:, rows] & VALID).T
        return found

    def _set_priorities(self, first: int, values: NDArray[np.float64]) -> None:
        """Set the leaves of all windows from step `first` on, float64 (step, env)."""
        for rows, steps in self.spans(first, first + len(values)):
            set_leaves(self._tree, self._leaves, rows.start * self.num_envs, values[steps].reshape(-1))

    def _enqueue(self, first: int, end: int) -> None:
        steps, envs = np.nonzero(self._drawable(first, end))
        slots = (first + steps) % self.length * self.num_envs + envs
        size = self._queue.shape[0]
        self._queue[(self._queue_first + self._queued + np.arange(len(slots))) % size] = slots
        self._queued += len(slots)

    def _allocate(self, rows: int) -> _Batch:
        columns = {
            "obs": torch.empty((rows, self._obs.shape[2])),
            "new_obs": torch.empty((rows, self._obs.shape[2])),
            "actions": torch.from_numpy(np.empty((rows, *self.action_shape), self._actions.dtype)),
            "rewards": torch.empty(rows),
            "terminateds": torch.empty(rows, dtype=torch.bool),
            "n_step": torch.empty(rows),
            "weights": torch.ones(rows),
        }
        masks = {name: torch.empty((rows, self.num_actions), dtype=torch.bool) for name in _MASKS}
        arrays = {name: tensor.numpy() for name, tensor in {**columns, **masks}.items()}
        arrays["actions"] = arrays["actions"].reshape(rows, -1)
        self._batches[rows] = _Batch(
            drawn=ReplayBatch({**columns, **(masks if self.num_actions else {})}, np.empty(rows, np.int64)),
            uniforms=np.empty(rows),
            places=np.empty((3, rows), np.int64),
            weights=arrays["weights"],
            outputs=tuple(arrays[name] for name in _OUTPUTS),
        )
        return self._batches[rows]


@dataclasses.dataclass(frozen=True)
class _Batch:
    """A batch and the arrays that the kernels write, looked up once."""

    drawn: ReplayBatch
    uniforms: NDArray[np.float64]
    places: NDArray[np.int64]
    """Of each window: environment, row of its first step, row of what was seen after its last."""
    weights: NDArray[np.float32]
    outputs: tuple[NDArray[Any], ...]


_MASKS = (ACTION_MASK, NEW_ACTION_MASK)
_OUTPUTS = ("obs", "new_obs", *_MASKS, "actions", "rewards", "terminateds", "n_step")


@numba.njit(cache=True)
def _sample_queue(
    queue: NDArray[np.int64], first: int, count: int, uniforms: NDArray[np.float64], out: NDArray[np.int64]
) -> None:
    """Draw one of each of equal slices of the queue's `count` entries from `first` on."""
    rows = uniforms.shape[0]
    for k in range(rows):
        # min: (k + u) / rows can be rounded up to 1.
        place = first + min(int((k + uniforms[k]) / rows * count), count - 1)
        out[k] = queue[place if place < queue.shape[0] else place - queue.shape[0]]


@numba.njit(cache=True)
def _gather(
    slots: NDArray[np.int64],
    n_step: int,
    gamma: float,
    obs: NDArray[np.float32],
    masks: NDArray[np.uint8],
    actions: NDArray[Any],
    rewards: NDArray[np.float32],
    flags: NDArray[np.uint8],
    places: NDArray[np.int64],
    out_obs: NDArray[np.float32],
    out_new_obs: NDArray[np.float32],
    out_mask: NDArray[np.bool_],
    out_new_mask: NDArray[np.bool_],
    out_actions: NDArray[Any],
    out_rewards: NDArray[np.float32],
    out_terminated: NDArray[np.bool_],
    out_n_step: NDArray[np.float32],
) -> None:
    """Copy the windows that start at `slots` into the batch; rings are (env, time, ...), outputs (row, ...).

    return = sum over k < m of gamma^k reward(t + k), where m = n_step or the steps left in the episode
    """
    num_envs, length = rewards.shape
    count = slots.shape[0]
    # One pass for each ring: the loads of a short loop overlap, those of one long loop wait for each other.
    for k in range(count):
        row = slots[k] // num_envs
        env = slots[k] - row * num_envs
        places[0, k], places[1, k] = env, row
        total, discount, taken = 0.0, 1.0, 0
        while True:
            total += discount * rewards[env, row]
            discount *= gamma
            taken += 1
            ended = flags[env, row]
            row = row + 1 if row + 1 < length else 0
            if ended & (TERMINATED | TRUNCATED) or taken == n_step:
                break
        places[2, k] = row
        out_rewards[k] = total
        out_terminated[k] = ended & TERMINATED
        out_n_step[k] = taken
    # Loops instead of slices: numba's slice assignment is slow for rows this short.
    for k in range(count):
        env, row = places[0, k], places[1, k]
        for j in range(out_obs.shape[1]):
            out_obs[k, j] = obs[env, row, j]
    for k in range(count):
        env, row = places[0, k], places[2, k]
        for j in range(out_new_obs.shape[1]):
            out_new_obs[k, j] = obs[env, row, j]
    for k in range(count):
        env, row = places[0, k], places[1, k]
        for j in range(out_actions.shape[1]):
            out_actions[k, j] = actions[env, row, j]
    for k in range(count):
        env, row, end = places[0, k], places[1, k], places[2, k]
        for j in range(out_mask.shape[1]):
            out_mask[k, j] = (masks[env, row, j >> 3] >> (j & 7)) & 1
            out_new_mask[k, j] = (masks[env, end, j >> 3] >> (j & 7)) & 1
