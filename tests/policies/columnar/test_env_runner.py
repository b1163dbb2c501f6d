"""The runner: columns in the right rows, masks obeyed, autoreset rows flagged, exact state."""

from __future__ import annotations

import copy
import itertools
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from policies.columnar.dqn import ColumnarDQNConfig
from policies.columnar.env_runner import ColumnarEnvRunner
from policies.columnar.rollout import Rollout
from policies.profiles import load_run, resolve_run
from policies.settings import DQNRun

TINY: dict[str, dict[str, Any]] = {
    "model": {"hidden_dims": [8], "observation_size": 4, "num_actions": 4},
    "training": {
        "num_envs": 5,
        "rollout_length": 7,
        "buffer_capacity": 1000,
        "learning_starts": 100,
        "epochs": 2,
    },
}

CARTPOLE = {"model": {"hidden_dims": [8]}, "training": {**TINY["training"], "num_envs": 2}}


def runner(seed: int = 0, reward_scale: float = 1.0, noise: float = 0.1) -> ColumnarEnvRunner:
    run = resolve_run(
        "combat_dqn",
        {"factory": "tests.policies.fake_env:counting"},
        seed=seed,
        reward_scale=reward_scale,
        noise=noise,
        overrides=TINY,
    )
    made = ColumnarEnvRunner(config=ColumnarDQNConfig.of_run(cast(DQNRun, load_run(run))))
    made.module.exploration_random.manual_seed(seed)
    return made


def sampled(made: ColumnarEnvRunner, rounds: int) -> list[Rollout]:
    return [copy.deepcopy(made.sample()) for _ in range(rounds)]


def test_columns_hold_what_the_environment_said() -> None:
    """The observation is (env, step, episode, 1): the environment's rules give every column back."""
    rounds = sampled(runner(), 12)
    for before, after in itertools.pairwise(rounds):
        assert np.array_equal(before.obs[:, -1], after.obs[:, 0])
        assert np.array_equal(masks(before)[:, -1], masks(after)[:, 0])
    obs = np.concatenate([r.obs[:, :-1] for r in rounds], axis=1)
    nxt = np.concatenate([r.obs[:, 1:] for r in rounds], axis=1)
    valid = np.concatenate([r.valid for r in rounds], axis=1)
    env, step, episode = obs[..., 0], obs[..., 1], obs[..., 2]
    assert np.array_equal(env, np.repeat(np.arange(5.0)[:, None], 84, axis=1))
    assert np.array_equal(nxt[..., 1], np.where(valid, step + 1, 0))
    assert np.array_equal(nxt[..., 2], np.where(valid, episode, episode + 1))
    ends = valid & (step + 1 == 3 + (env + episode) % 4)
    assert np.array_equal(np.concatenate([r.terminated for r in rounds], axis=1), ends & (episode % 2 == 0))
    assert np.array_equal(np.concatenate([r.truncated for r in rounds], axis=1), ends & (episode % 2 == 1))
    # A row is invalid exactly if the row before it ended an episode.
    assert np.array_equal(~valid[:, 1:], ends[:, :-1]) and valid[:, 0].all()
    reward = np.where(valid, 1000 * env + 100 * episode + step + 1, 0) / 100
    np.testing.assert_allclose(np.concatenate([r.rewards for r in rounds], axis=1), reward, rtol=1e-6)


def test_actions_are_legal_and_all_legal_ones_are_tried() -> None:
    rounds = sampled(runner(noise=1.0), 20)  # the environment asserts legality itself
    mask = np.concatenate([masks(r)[:, :-1] for r in rounds], axis=1)
    actions = np.concatenate([r.actions for r in rounds], axis=1)
    assert np.take_along_axis(mask, actions[..., None], axis=2).all()
    # Where actions 0, 1 and 3 are legal each comes about as often.
    three = (mask == np.array([True, True, False, True])).all(axis=2)
    counts = np.bincount(actions[three], minlength=4)
    assert counts[2] == 0 and counts[[0, 1, 3]].min() > 0.25 * counts.sum()


def test_greedy_play_takes_the_best_legal_action() -> None:
    made = runner()
    rollout = made.sample(explore=False)
    q_values = made.module.compute_q_values(
        {
            "obs": _tensor(rollout.obs[:, :-1].reshape(-1, 4)),
            "action_mask": _tensor(masks(rollout)[:, :-1].reshape(-1, 4)),
        }
    )["qf_preds"]
    assert q_values.argmax(dim=1).tolist() == rollout.actions.reshape(-1).tolist()


def masks(rollout: Rollout) -> NDArray[np.bool_]:
    """The masks of a round of discrete actions."""
    assert rollout.action_mask is not None
    return rollout.action_mask


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))


def test_reward_scale_reaches_learning_only() -> None:
    plain, scaled = runner(), runner(reward_scale=1.5)
    a, b = sampled(plain, 3), sampled(scaled, 3)
    np.testing.assert_allclose(b[2].rewards, 1.5 * a[2].rewards, rtol=1e-6)
    assert plain.episodes.means() == scaled.episodes.means()


def test_statistics_count_episodes_by_hand() -> None:
    made = runner()
    sampled(made, 1)
    # Seven steps: environments 0 to 4 finish episode 0 after 3, 4, 5, 6 and 3 steps (won, as it is even);
    # after the autoreset row the first has 3 steps left for episode 1, which takes 4.
    means = made.episodes.means()
    assert made.episodes.finished == 5
    assert means["episode_length"] == (3 + 4 + 5 + 6 + 3) / 5
    assert means["win_rate"] == 1.0
    # Returns 1000 b x length + (1 + ... + length): 6, 4010, 10015, 18021, 12006
    assert means["reward"] == means["reward_terms/all"] == (6 + 4010 + 10015 + 18021 + 12006) / 5
    assert made.env_steps == 5 * 7 - 5  # each has had one autoreset row


def test_state_continues_exactly() -> None:
    made, other = runner(), runner(seed=9)
    sampled(made, 3)
    state = copy.deepcopy(made.sampler_state())
    going_on = sampled(made, 4)
    other.module.load_state_dict(made.module.state_dict())
    other.set_sampler_state(state)
    again = sampled(other, 4)
    for a, b in zip(going_on, again, strict=True):
        for name in ("obs", "action_mask", "actions", "rewards", "terminated", "truncated", "valid"):
            assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert made.episodes.means() == other.episodes.means() and made.env_steps == other.env_steps


def test_environment_without_state_is_refused_or_started_anew() -> None:
    run = resolve_run("combat_dqn", {"factory": "tests.policies.fake_env:cartpole"}, overrides=CARTPOLE)
    made, other = (
        ColumnarEnvRunner(config=ColumnarDQNConfig.of_run(cast(DQNRun, load_run(run)))) for _ in range(2)
    )
    sampled(made, 30)
    with pytest.raises(ValueError, match=r"no get_state\(\)"):
        made.sampler_state()
    state = made.sampler_state(exact=False)
    assert not state["exact"] and not state["started"]
    other.set_sampler_state(state)
    assert other.env_steps == made.env_steps and other.rounds == 30
    assert other.episodes.means() == made.episodes.means() and other.episodes.finished > 0
    # Its episodes begin anew: nothing of a running one is left.
    assert not other.episodes.get_state()["return"].any()
    assert np.array_equal(other.sample().obs[:, 0], _first_observations(other))


def _first_observations(made: ColumnarEnvRunner) -> Any:
    return made.env.reset(seed=made.env_seed)[0]
