"""Env runners and learners in other processes: the same weights, and a killed runner costs only time."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import ray
import torch

from policies.training import SHARED_OBJECT_STORE_BYTES, Trainer, build_trainer
from tests.policies.tiny_runs import equal, steady, tiny_run, weights

pytestmark = pytest.mark.ray

LIMIT_S = 240
Build = Callable[..., Any]


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """What hangs fails, with the line where it hung."""

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"still running after {LIMIT_S} s")

    old = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray with room for four more processes; another test's may be too small."""
    ray.shutdown()
    ray.init(
        num_cpus=5,
        include_dashboard=False,
        object_store_memory=SHARED_OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


@pytest.fixture
def build(cluster: None) -> Iterator[Build]:
    made: list[Any] = []

    def builder(algorithm: str, **settings: Any) -> Any:
        made.append(build_trainer(tiny_run(algorithm, seed=1, **settings)))
        return made[-1]

    yield builder
    for trainer in made:
        trainer.stop()


def runner_actor(trainer: Trainer, index: int = 1) -> Any:
    group: Any = trainer.algorithm.env_runner_group
    return group._worker_manager.actors()[index]


@pytest.mark.parametrize("algorithm", ["dqn", "ppo"])
def test_remote_runner_gives_the_local_weights_and_may_be_killed(build: Build, algorithm: str) -> None:
    local = build(algorithm)
    expected = [(steady(local.train_epoch()), weights(local)) for _ in range(3)]
    remote = build(algorithm, env_runners=1)
    assert steady(remote.train_epoch()) == expected[0][0]
    assert equal(weights(remote), expected[0][1])
    pid = ray.get(runner_actor(remote).apply.remote(lambda runner: os.getpid()), timeout=60)
    ray.kill(runner_actor(remote), no_restart=False)
    assert steady(remote.train_epoch()) == expected[1][0]
    # Gone once more, in the middle of its second round: the round is played again from where it began.
    runner_actor(remote).apply.remote(_die_in_round, at=2)
    assert steady(remote.train_epoch()) == expected[2][0]
    assert equal(weights(remote), expected[2][1])
    assert ray.get(runner_actor(remote).apply.remote(lambda runner: os.getpid()), timeout=60) != pid


def _die_in_round(runner: Any, at: int) -> None:
    """Let the runner's process end in the middle of its `at`-th round from now."""
    step, last = runner.env.step, runner.rounds + at - 1

    def dying(actions: Any) -> Any:
        if runner.rounds == last:
            os._exit(1)
        return step(actions)

    runner.env.step = dying


def test_two_runners_play_fights_of_their_own_and_resume(build: Build, tmp_path: Any) -> None:
    whole = build("dqn", env_runners=2)
    start = whole.save(tmp_path / "start")
    first = whole.train_epoch()
    # 4 rounds x 2 runners x 2 environments x 5 steps, less the autoreset rows
    assert 60 < first["env_steps"] < 80 and first["episodes"] > 4 and np.isfinite(first["loss"])
    folder = whole.save(tmp_path / "one")
    rest = steady(whole.train_epoch())
    after = weights(whole)
    # The runners have played two epochs; the state of one, and of none, must take their place.
    whole.restore(folder)
    assert steady(whole.train_epoch()) == rest and equal(weights(whole), after)
    whole.restore(start)
    assert steady(whole.train_epoch()) == steady(first)
    states = whole.algorithm.sampler_states()
    assert not np.array_equal(states[0]["exploration"], states[1]["exploration"])


def test_runner_of_an_environment_without_state_starts_its_episodes_anew(build: Build) -> None:
    trainer = build("ppo", env="cartpole", env_runners=1)
    before = trainer.train_epoch()
    ray.kill(runner_actor(trainer), no_restart=False)
    after = trainer.train_epoch()
    assert after["env_steps"] > before["env_steps"] and after["episodes"] >= before["episodes"]
    with pytest.raises(ValueError, match=r"no get_state\(\)"):
        trainer.algorithm.sampler_states()


@pytest.mark.parametrize(
    ("algorithm", "settings", "tolerance"),
    [
        # 33 rows are 17 and 16; without dropout, which every learner draws for itself.
        ("dqn", {"model": {"dropout": 0.0}, "training": {"batch_size": 33}}, 1e-5),
        # One minibatch of the whole round: several would be cut in another way. 4 x 15 rows, less autoreset
        # rows, are an odd number in some rounds.
        ("ppo", {"training": {"minibatch_size": 60}}, 1e-5),
        # Recurrent: five packs are three and two, with other numbers of living members.
        ("team_ppo", {"training": {"num_envs": 5, "minibatch_size": 10_000}}, 1e-5),
    ],
)
def test_two_learners_equal_one(
    build: Build, algorithm: str, settings: dict[str, Any], tolerance: float
) -> None:
    one, two = build(algorithm, **settings), build(algorithm, learners=2, **settings)
    for _ in range(2):
        expected, seen = one.train_epoch(), two.train_epoch()
    assert seen["updates"] == expected["updates"] > 4
    assert np.isfinite(seen["loss"]) and seen["env_steps"] == expected["env_steps"]
    for a, b in zip(weights(one), weights(two), strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=tolerance)
    first, second = two.algorithm.on_learners(_all_weights)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _all_weights(learner: Any) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = learner.get_columnar_state()["weights"]
    return weights


def test_two_learners_with_two_runners_train_sac_and_say_when_they_diverge(build: Build) -> None:
    trainer = build("sac", env_runners=2, learners=2, training={"batch_size": 33})
    metrics = [trainer.train_epoch() for _ in range(2)][-1]
    assert np.isfinite([metrics[name] for name in ("loss", "actor_loss", "alpha", "q_mean")]).all()
    assert metrics["updates"] > 6
    first, second = trainer.algorithm.on_learners(_all_weights)
    assert all(torch.equal(first[name], second[name]) for name in first)
    trainer.algorithm.on_learners(_break)
    with pytest.raises(RuntimeError, match="diverged"):
        for _ in range(3):
            trainer.train_epoch()


def _break(learner: Any) -> None:
    # The critics: the runners go on acting with numbers.
    with torch.no_grad():
        learner.flat[1].vector.fill_(torch.nan)


def test_more_processes_than_ray_has_are_refused(cluster: None) -> None:
    with pytest.raises(RuntimeError, match="need 6 CPUs and Ray has 5"):
        build_trainer(tiny_run("ppo", env_runners=4, learners=2))
