"""Replay: n-step windows by hand, kinds of actions, masks, weights, priorities after overwriting, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from policies.columnar.replay import PrioritizedReplay
from policies.columnar.rollout import Rollout
from tests.policies.fake_env import CountingVectorEnv


def buffer(**settings: Any) -> PrioritizedReplay:
    defaults: dict[str, Any] = {
        "num_envs": 1,
        "capacity": 64,
        "observation_size": 4,
        "num_actions": 4,
        "gamma": 0.5,
        "n_step": 3,
    }
    return PrioritizedReplay(**{**defaults, **settings})


def masks_of(rollout: Rollout) -> NDArray[np.bool_]:
    assert rollout.action_mask is not None
    return rollout.action_mask


class Player:
    """Plays the counting environment with action 0 and hands out rounds."""

    def __init__(self, num_envs: int) -> None:
        self.env = CountingVectorEnv(num_envs)
        self.obs, info = self.env.reset()
        self.mask = info["action_mask"]
        self.after_done = np.zeros(num_envs, np.bool_)

    def round(self, time: int) -> Rollout:
        rollout = Rollout.empty(self.env.num_envs, time, 4, 4)
        masks = masks_of(rollout)
        rollout.obs[:, 0], masks[:, 0] = self.obs, self.mask
        for t in range(time):
            obs, reward, terminated, truncated, info = self.env.step(np.zeros(self.env.num_envs, np.int64))
            rollout.rewards[:, t], rollout.valid[:, t] = reward, ~self.after_done
            rollout.terminated[:, t], rollout.truncated[:, t] = terminated, truncated
            rollout.obs[:, t + 1], masks[:, t + 1] = obs, info["action_mask"]
            self.after_done = terminated | truncated
        self.obs, self.mask = rollout.obs[:, -1].copy(), masks[:, -1].copy()
        return rollout


def hand_made(rewards: list[float], ends: dict[int, str]) -> Rollout:
    """One environment whose observation is the step's number; `ends` names steps that end an episode."""
    time = len(rewards)
    rollout = Rollout.empty(1, time, 4, 4)
    rollout.obs[0, :, 0] = np.arange(time + 1)
    rollout.rewards[0] = rewards
    for t in range(time):
        rollout.terminated[0, t] = ends.get(t) == "terminated"
        rollout.truncated[0, t] = ends.get(t) == "truncated"
        rollout.valid[0, t] = t - 1 not in ends
    return rollout


def windows(replay: PrioritizedReplay, draws: int = 400) -> dict[int, tuple[float, float, bool, int]]:
    """All windows found by drawing: first observation -> (return, next observation, terminated, steps)."""
    found = {}
    batch = replay.sample(draws, beta=0.0).columns
    for k in range(draws):
        found[int(batch["obs"][k, 0])] = (
            float(batch["rewards"][k]),
            float(batch["new_obs"][k, 0]),
            bool(batch["terminateds"][k]),
            int(batch["n_step"][k]),
        )
    return found


def test_n_step_windows_by_hand() -> None:
    replay = buffer()
    # Steps 0-3 of one episode that ends at 3; row 4 is its autoreset row; steps 5-8 of the next, still
    # running.
    replay.add(hand_made([1.0, 2.0, 4.0, 8.0, 0.0, 16.0, 32.0, 64.0, 128.0], {3: "terminated"}))
    assert windows(replay) == {
        0: (1 + 2 / 2 + 4 / 4, 3.0, False, 3),  # 3
        1: (2 + 4 / 2 + 8 / 4, 4.0, True, 3),  # 6; row 4 holds the last observation of the episode
        2: (4 + 8 / 2, 4.0, True, 2),  # the window ends with the episode
        3: (8.0, 4.0, True, 1),
        5: (16 + 32 / 2 + 64 / 4, 8.0, False, 3),  # 48
        6: (32 + 64 / 2 + 128 / 4, 9.0, False, 3),  # 96; 7 and 8 wait for steps to come
    }


def test_truncation_still_has_a_next_value() -> None:
    replay = buffer()
    replay.add(hand_made([1.0, 2.0, 0.0, 4.0, 8.0, 16.0], {1: "truncated"}))
    found = windows(replay)
    assert found[0] == (1 + 2 / 2, 2.0, False, 2)
    assert found[1] == (2.0, 2.0, False, 1)
    assert 2 not in found


def naive_windows(
    rounds: list[Rollout], first: int, n_step: int, gamma: float
) -> dict[tuple[float, ...], Any]:
    """Plain-Python twin: every window that starts at or after step `first` and is complete."""
    obs = np.concatenate([r.obs[:, :-1] for r in rounds] + [rounds[-1].obs[:, -1:]], axis=1)
    mask = np.concatenate([masks_of(r)[:, :-1] for r in rounds] + [masks_of(rounds[-1])[:, -1:]], axis=1)
    rewards = np.concatenate([r.rewards for r in rounds], axis=1)
    terminated = np.concatenate([r.terminated for r in rounds], axis=1)
    truncated = np.concatenate([r.truncated for r in rounds], axis=1)
    valid = np.concatenate([r.valid for r in rounds], axis=1)
    num_envs, time = rewards.shape
    found = {}
    for env in range(num_envs):
        for start in range(first, time - n_step + 1):
            if not valid[env, start]:
                continue
            total, t = 0.0, start
            while True:
                total += gamma ** (t - start) * float(rewards[env, t])
                t += 1
                if terminated[env, t - 1] or truncated[env, t - 1] or t - start == n_step:
                    break
            key = tuple(obs[env, start].tolist())
            found[key] = (
                pytest.approx(total, rel=1e-6),
                obs[env, t].tolist(),
                bool(terminated[env, t - 1]),
                t - start,
                mask[env, start].tolist(),
                mask[env, t].tolist(),
            )
    return found


@pytest.mark.parametrize(
    ("n_step", "time", "rounds"), [(1, 1, 9), (1, 4, 30), (3, 4, 3), (3, 5, 40), (5, 8, 25)]
)
def test_drawn_rows_equal_a_naive_twin(n_step: int, time: int, rounds: int) -> None:
    """The observation names environment, step and episode, so any mix-up of rows shows; the ring wraps
    around."""
    num_envs, length = 3, 37
    replay = buffer(num_envs=num_envs, capacity=num_envs * length, n_step=n_step, gamma=0.9, alpha=0.0)
    player = Player(num_envs)
    played = []
    for _ in range(rounds):
        played.append(player.round(time))
        replay.add(played[-1])
    # The row of the step to come overwrites one more than the ring's length says.
    oldest = max(rounds * time + 1 - length, 0)
    expected = naive_windows(played, oldest, n_step, 0.9)
    assert len(replay) == len(expected)
    seen = set()
    for _ in range(20):
        batch = {name: column.numpy() for name, column in replay.sample(128, beta=0.4).columns.items()}
        for k in range(128):
            key = tuple(batch["obs"][k].tolist())
            seen.add(key)
            assert (
                float(batch["rewards"][k]),
                batch["new_obs"][k].tolist(),
                bool(batch["terminateds"][k]),
                int(batch["n_step"][k]),
                batch["action_mask"][k].tolist(),
                batch["new_action_mask"][k].tolist(),
            ) == expected[key]
            # Same environment and episode at both ends, and never more steps than the window has.
            assert key[0] == batch["new_obs"][k, 0] and key[2] == batch["new_obs"][k, 2]
            assert batch["new_obs"][k, 1] - key[1] == batch["n_step"][k]
    assert seen == set(expected)


def test_importance_weights_by_hand() -> None:
    replay = buffer(n_step=1, alpha=1.0, priority_floor=1e-12)
    replay.add(hand_made([0.0, 0.0], {}))
    replay.update_priorities(np.arange(2), np.array([1.0, 4.0], np.float32))
    batch = replay.sample(64, beta=0.5)
    # (4 / 1) ** -0.5 = 0.5 for the row that is four times as likely
    weights = batch.columns["weights"].numpy()
    assert set(zip(batch.slots.tolist(), weights.tolist(), strict=True)) == {(0, 1.0), (1, 0.5)}


def test_new_rows_get_the_highest_priority_seen() -> None:
    replay = buffer(n_step=1, alpha=1.0, priority_floor=1e-12)
    replay.add(hand_made([0.0, 0.0], {}))
    replay.update_priorities(np.arange(2), np.array([1.0, 6.0], np.float32))
    replay.add(hand_made([0.0], {}))
    counts = np.bincount(replay.sample(1300, beta=0.0).slots, minlength=3)
    # 1 : 6 : 6 of 1300, stratified, so exact up to the slices' borders
    assert np.abs(counts - np.array([100, 600, 600])).max() <= 2


def test_continuous_actions_without_masks() -> None:
    replay = buffer(action_shape=(2,), num_actions=0, n_step=1)
    rollout = Rollout.empty(1, 3, 4, action_shape=(2,))
    rollout.obs[0, :, 0] = np.arange(4)
    rollout.actions[0] = [[0.5, -1.0], [0.25, 1.0], [0.0, 0.125]]
    rollout.valid[:] = True
    replay.add(rollout)
    batch = replay.sample(64, beta=0.4)
    assert set(batch.columns) == {
        "obs", "new_obs", "actions", "rewards", "terminateds", "n_step", "weights"
    }  # fmt: skip
    assert batch.columns["actions"].dtype == torch.float32 and batch.columns["actions"].shape == (64, 2)
    expected = torch.tensor([[0.5, -1.0], [0.25, 1.0], [0.0, 0.125]])[batch.slots]
    assert torch.equal(batch.columns["actions"], expected)


def test_discrete_actions_and_masks_of_more_than_one_byte() -> None:
    random = np.random.default_rng(0)
    replay = buffer(num_actions=19, n_step=1)
    rollout = Rollout.empty(1, 5, 4, 19)
    rollout.actions[0] = [18, 3, 0, 11, 7]
    rollout.action_mask = random.random((1, 6, 19)) < 0.5
    rollout.valid[:] = True
    replay.add(rollout)
    batch = replay.sample(64, beta=0.4)
    columns = {name: column.numpy() for name, column in batch.columns.items()}
    assert columns["actions"].dtype == np.int64 and columns["actions"].shape == (64,)
    assert columns["actions"].tolist() == rollout.actions[0, batch.slots].tolist()
    assert columns["action_mask"].dtype == np.bool_
    assert np.array_equal(columns["action_mask"], rollout.action_mask[0, batch.slots])
    assert np.array_equal(columns["new_action_mask"], rollout.action_mask[0, batch.slots + 1])


def test_a_batch_reuses_its_memory() -> None:
    replay = buffer()
    replay.add(hand_made([1.0] * 9, {}))
    first = replay.sample(8, beta=0.4)
    places = [column.data_ptr() for column in first.columns.values()]
    again = replay.sample(8, beta=0.4)
    assert again is first and [column.data_ptr() for column in again.columns.values()] == places
    assert replay.sample(9, beta=0.4) is not first


def test_uniform_sampling_ignores_priorities() -> None:
    replay = buffer(n_step=1, alpha=0.0)
    replay.add(hand_made([0.0] * 4, {}))
    replay.update_priorities(np.arange(4), np.array([1000.0, 0.0, 0.0, 0.0], np.float32))
    batch = replay.sample(400, beta=1.0)
    # 400 slices over 4 windows: exactly 100 each
    assert np.bincount(batch.slots).tolist() == [100, 100, 100, 100]
    assert batch.columns["weights"].tolist() == [1.0] * 400


def test_a_slot_drawn_twice_keeps_the_last_priority() -> None:
    replay = buffer(n_step=1, alpha=1.0, priority_floor=0.5)
    replay.add(hand_made([0.0] * 3, {}))
    replay.update_priorities(np.array([1, 0, 1]), np.array([9.0, 1.0, 2.0], np.float32))
    # 1 + 0.5, 2 + 0.5, and slot 2 as new: 1; the step to come has none
    assert replay.leaves.tolist() == [1.5, 2.5, 1.0, 0.0]


def test_an_error_that_is_not_finite_changes_nothing() -> None:
    replay = buffer(n_step=1, alpha=1.0, priority_floor=0.5)
    replay.add(hand_made([0.0] * 3, {}))
    replay.update_priorities(np.arange(3), np.array([np.nan, np.inf, 2.0], np.float32))
    assert replay.leaves.tolist() == [1.0, 1.0, 2.5, 0.0] and replay.scalars["max_priority"] == 2.5


def test_overwritten_slots_keep_what_they_have() -> None:
    # A ring of 6: steps 0-4, then 5-7 lie in rows 5, 0, 1, and row 2 waits for what comes.
    replay = buffer(capacity=6, n_step=1, alpha=1.0, priority_floor=0.5)
    replay.add(hand_made([0.0] * 4, {}))
    replay.sample(4, beta=0.0)
    replay.add(hand_made([0.0] * 4, {}))
    slots = np.array([0, 1, 2, 3])
    replay.update_priorities(slots, np.array([7.0, 7.0, 7.0, 7.0], np.float32))
    # Rows 0 and 1 hold new windows of priority 1, row 2 none; row 3 still holds the step that was drawn.
    assert replay.leaves.tolist() == [1.0, 1.0, 0.0, 7.5, 1.0, 1.0]


def test_errors_name_the_remedy() -> None:
    with pytest.raises(ValueError, match="raise capacity"):
        buffer(capacity=4)
    with pytest.raises(ValueError, match="flatten"):
        buffer(action_shape=(2, 3))
    for alpha in (0.0, 0.6):
        with pytest.raises(ValueError, match="add rounds"):
            buffer(alpha=alpha).sample(4, beta=0.4)
    with pytest.raises(ValueError, match="raise buffer_capacity"):
        buffer(capacity=8).add(hand_made([0.0] * 8, {}))
    with pytest.raises(ValueError, match="num_actions=0"):
        buffer().add(Rollout.empty(1, 4, 4))
    with pytest.raises(ValueError, match="runner's number"):
        buffer(num_envs=2).add(hand_made([0.0] * 4, {}))
