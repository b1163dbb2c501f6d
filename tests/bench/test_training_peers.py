"""Other projects' trainers: each sees our episodes in its own convention, and what is measured of it."""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.training_peers import PEERS
from bench.training_peers.base import Clock, Peer, Task, ask, measure, task_from
from bench.training_peers.same_step import SameStepEnv, fights
from tests.policies.fake_env import CountingVectorEnv

SMALL = Task("ppo", num_envs=2, rollout_length=4, minibatch=4, env_steps=16)


class Restartable(CountingVectorEnv):
    """The counting environment, whose ended episodes can begin at once."""

    def restart(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        self._episode[rows] += 1
        self._step[rows], self._done[rows] = 0, False
        return self._obs()[rows]


def same_step(num_envs: int = 2) -> SameStepEnv:
    env = Restartable(num_envs, check_actions=False)
    return SameStepEnv(env, env.restart, reward_unit=10.0)


IDLE = np.zeros(2, np.int64)
# Two fights; episode e of fight b lasts 3 + (b + e) % 4 steps, so fight 0 ends at step 3 (terminated), its
# episode 1 four steps later (truncated), and fight 1 at step 4. Rows are (fight, step, episode, 1).
TERMINAL, FIRST = [0, 3, 0, 1], [0, 0, 1, 1]


def test_an_ended_fight_begins_again_in_the_same_step_and_the_other_stands_still() -> None:
    env = same_step()
    assert env.reset(1).tolist() == [[0, 0, 0, 1], [1, 0, 0, 1]]
    steps = [env.step(IDLE) for _ in range(7)]
    assert [step.ended.tolist() for step in steps] == [[], [], [0], [1], [], [], [0]]
    third = steps[2]
    assert third.obs.tolist() == [FIRST, [1, 3, 0, 1]]
    assert third.last_obs.tolist() == [TERMINAL]
    assert third.next_obs().tolist() == [TERMINAL, [1, 3, 0, 1]]
    assert third.reward.tolist() == [pytest.approx(0.3), pytest.approx(100.3)]  # 3 / 10 and 1003 / 10
    assert third.terminated.tolist() == [True, False] and not third.truncated.any()
    # No row stands for the beginning: the next step already is step 1 of episode 1, reward (100 + 1) / 10.
    assert steps[3].obs[0].tolist() == [0, 1, 1, 1] and steps[3].reward[0] == pytest.approx(10.1)
    assert steps[6].truncated.tolist() == [True, False] and steps[6].last_obs.tolist() == [[0, 4, 1, 1]]
    # What was returned is the caller's: later steps have not overwritten it.
    assert steps[0].obs.tolist() == [[0, 1, 0, 1], [1, 1, 0, 1]]


@pytest.mark.parametrize("algorithm", ["dqn", "sac"])
def test_our_fights_begin_again_as_by_themselves(algorithm: Any) -> None:
    """The same fights, once begun again by the adapter and once by the next step (NEXT_STEP)."""
    task = Task(algorithm, num_envs=1, rollout_length=1, minibatch=1)
    early = fights(task)
    late: Any = fights(task).env
    late_obs: Any = late.reset(seed=3)[0]
    assert (early.reset(3) == late_obs).all()
    action = np.zeros(late.action_space.shape, late.action_space.dtype)
    ends = 0
    for _ in range(800):
        step = early.step(action)
        late_obs, reward, terminated, truncated, _ = late.step(action)
        assert (step.next_obs() == late_obs).all() and step.reward[0] == np.float32(reward[0] / 100.0)
        assert step.terminated[0] == terminated[0] and step.truncated[0] == truncated[0]
        if terminated[0] or truncated[0]:
            ends += 1
            late_obs = late.step(action)[0]
        assert (step.obs == late_obs).all()
    assert ends >= 2


def test_sb3_gets_the_first_observation_and_the_last_one_beside_it() -> None:
    pytest.importorskip("stable_baselines3")
    from bench.training_peers.sb3 import FightsVecEnv

    env: Any = FightsVecEnv(same_step(), seed=1)
    env.reset()
    for _ in range(3):
        obs, _, dones, infos = env.step(IDLE)
    assert obs[0].tolist() == FIRST and dones.tolist() == [True, False]
    assert infos[0]["terminal_observation"].tolist() == TERMINAL and not infos[0]["TimeLimit.truncated"]
    assert infos[1] == {}
    for _ in range(4):
        _, _, dones, infos = env.step(IDLE)
    assert dones.tolist() == [True, False] and infos[0]["TimeLimit.truncated"]


def test_tianshou_gets_the_last_observation_and_the_first_one_by_reset() -> None:
    pytest.importorskip("tianshou")
    from bench.training_peers.tianshou import FightsVectorEnv

    env = FightsVectorEnv(same_step(), seed=1)
    env.reset()
    for _ in range(3):
        obs, _, terminated, truncated, _ = env.step(IDLE, np.arange(2))
    assert obs[0].tolist() == TERMINAL and terminated.tolist() == [True, False] and not truncated.any()
    first, infos = env.reset(np.array([0]))
    assert first.tolist() == [FIRST] and len(infos) == 1
    assert env.step(IDLE)[0][0].tolist() == [0, 1, 1, 1]


def test_torchrl_gets_the_last_observation_next_and_the_first_one_after_it() -> None:
    pytest.importorskip("torchrl")
    from bench.training_peers.torchrl import FightsEnv

    env = FightsEnv(same_step(), seed=1)
    data = env.rollout(4, break_when_any_done=False)
    assert data["next", "observation"][0, 2].tolist() == TERMINAL
    assert data["observation"][0, 3].tolist() == FIRST
    assert data["next", "done"][0, :, 0].tolist() == [False, False, True, False]
    assert data["observation"][1, 3].tolist() == [1, 3, 0, 1]  # the fight that went on was not touched


def test_sample_factory_gets_tensors_of_the_first_observation() -> None:
    pytest.importorskip("sample_factory")
    from bench.training_peers.sample_factory import FightsBatchedEnv

    env = FightsBatchedEnv(same_step(), seed=1)
    env.reset()
    for _ in range(3):
        obs, _, terminated, truncated, _ = env.step(IDLE)
    assert obs["obs"][0].tolist() == FIRST
    assert terminated.tolist() == [True, False] and not truncated.any()


def test_pufferlib_gets_the_first_observation_in_its_buffers() -> None:
    pytest.importorskip("pufferlib")
    from bench.training_peers.pufferlib import FightsPufferEnv

    env = FightsPufferEnv(same_step())
    env.async_reset(1)
    for _ in range(3):
        env.send(IDLE)
    obs, rewards, terminals, truncations, *_ = env.recv()
    assert obs[0].tolist() == FIRST and rewards.tolist() == [pytest.approx(0.3), pytest.approx(100.3)]
    assert terminals.tolist() == [True, False] and not truncations.any()


def test_a_task_says_how_long_its_rounds_are() -> None:
    assert (SMALL.round_steps, SMALL.warm_up_steps) == (8, 16)  # 2 x 4; two rounds
    dqn = Task("dqn", num_envs=128, rollout_length=8, minibatch=256, updates_per_step=25 / 1024)
    assert (dqn.round_steps, dqn.updates_per_round, dqn.learning_starts) == (1024, 25, 1024)
    assert dqn.warm_up_steps == 1024 + 2 * 1024
    assert Task("sac", 16, 1, 256, updates_per_step=0.25).updates_per_round == 4
    assert task_from(json.dumps(asdict(dqn))) == dqn


def test_the_clock_measures_what_lies_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # Process time 1 then 3 s, children 10 then 11 s, the clock on the wall 5 then 9 s.
    own, wall, children = iter([1.0, 3.0]), iter([5.0, 9.0]), iter([10.0, 11.0])
    monkeypatch.setattr(time, "process_time", lambda: next(own))
    monkeypatch.setattr(time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(
        resource, "getrusage", lambda _: SimpleNamespace(ru_utime=next(children), ru_stime=0.0)
    )
    clock = Clock(SMALL)  # warm-up of 16 decisions, 16 measured
    assert [clock.over(steps) for steps in (0, 8, 24, 32, 48, 56)] == [False] * 4 + [True] * 2
    assert (clock.env_steps, clock.cpu_seconds, clock.wall_seconds) == (24, 3.0, 4.0)  # 48 - 24; 2 + 1; 9 - 5


def test_a_trainer_that_is_missing_or_fails_gives_a_row_that_says_so() -> None:
    nothing = Peer("nothing", "no-such-package", ("ppo",))
    assert measure(nothing, SMALL).note == "no-such-package is not installed"
    assert measure(Peer("nothing", "numpy", ("dqn",)), SMALL).note == "has no PPO"
    assert ask(PEERS["sb3"], SMALL, "/nowhere/python").note == "/nowhere/python: No such file or directory"
    row = ask(nothing, SMALL, sys.executable)
    assert row.rate is None and row.note.startswith("failed with exit status 2")


@pytest.mark.parametrize("algorithm", ["ppo", "dqn", "sac"])
def test_sb3_is_measured(algorithm: Any) -> None:
    pytest.importorskip("stable_baselines3")
    task = Task(algorithm, 8, 2, 16, epochs=1, updates_per_step=1 / 16, env_steps=32)
    row = ask(PEERS["sb3"], task)
    assert row.version and row.env_steps == 32 and "failed" not in row.note, row
    assert row.cpu_seconds is not None and row.rate == 32 / row.cpu_seconds
