"""Replay: n-step windows by hand, a naive twin, frequencies, autoreset rows, exact state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

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


class Player:
    """Plays the counting environment with action 0 and hands out rounds."""

    def __init__(self, num_envs: int) -> None:
        self.env = CountingVectorEnv(num_envs)
        self.obs, info = self.env.reset()
        self.mask = info["action_mask"]
        self.after_done = np.zeros(num_envs, np.bool_)

    def round(self, time: int) -> Rollout:
        rollout = Rollout.empty(self.env.num_envs, time, 4, 4)
        rollout.obs[:, 0], rollout.action_mask[:, 0] = self.obs, self.mask
        for t in range(time):
            obs, reward, terminated, truncated, info = self.env.step(np.zeros(self.env.num_envs, np.int64))
            rollout.rewards[:, t], rollout.valid[:, t] = reward, ~self.after_done
            rollout.terminated[:, t], rollout.truncated[:, t] = terminated, truncated
            rollout.obs[:, t + 1], rollout.action_mask[:, t + 1] = obs, info["action_mask"]
            self.after_done = terminated | truncated
        self.obs, self.mask = rollout.obs[:, -1].copy(), rollout.action_mask[:, -1].copy()
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
    mask = np.concatenate([r.action_mask[:, :-1] for r in rounds] + [rounds[-1].action_mask[:, -1:]], axis=1)
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


def test_frequencies_follow_priorities() -> None:
    replay = buffer(n_step=1, alpha=0.5, priority_floor=1e-12, seed=3)
    replay.add(hand_made([0.0] * 8, {}))
    slots = np.arange(8)
    # alpha 0.5: chances in proportion to 1 2 3 4 5 6 7 8
    replay.update_priorities(slots, (np.arange(1, 9) ** 2).astype(np.float32))
    counts = np.zeros(8)
    for _ in range(200):
        drawn = replay.sample(1, beta=0.0).slots
        np.add.at(counts, drawn, 1)
    for _ in range(100):
        np.add.at(counts, replay.sample(50, beta=0.0).slots, 1)
    expected = np.arange(1, 9) / 36 * counts.sum()
    assert stats.chisquare(counts, expected).pvalue > 1e-3


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


def test_state_comes_back_exactly() -> None:
    def grow(replay: PrioritizedReplay, player: Player, rounds: int) -> list[Any]:
        drawn = []
        for _ in range(rounds):
            replay.add(player.round(4))
            for _ in range(3):
                batch = replay.sample(16, beta=0.4)
                drawn.append((batch.slots.tolist(), {n: c.tolist() for n, c in batch.columns.items()}))
                replay.update_priorities(batch.slots, batch.columns["rewards"].numpy() / np.float32(1000))
        return drawn

    for before in (2, 30):  # a ring that is not full, and one that went round
        player, replay = Player(3), buffer(num_envs=3, capacity=3 * 29, seed=5)
        grow(replay, player, before)
        state = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in replay.get_state().items()}
        env_state, obs, mask, after = player.env.get_state(), player.obs, player.mask, player.after_done
        going_on = grow(replay, player, 5)
        other, again = buffer(num_envs=3, capacity=3 * 29, seed=99), Player(3)
        other.set_state(state)
        again.env.set_state(env_state)
        again.obs, again.mask, again.after_done = obs, mask, after
        assert grow(other, again, 5) == going_on


def test_errors_name_the_remedy() -> None:
    with pytest.raises(ValueError, match="raise capacity"):
        buffer(capacity=4)
    with pytest.raises(ValueError, match="add rounds"):
        buffer().sample(4, beta=0.4)
    with pytest.raises(ValueError, match="raise buffer_capacity"):
        buffer(capacity=8).add(hand_made([0.0] * 8, {}))
    with pytest.raises(ValueError, match="settings of the saved run"):
        buffer(capacity=32).set_state(buffer(capacity=64).get_state())
