"""Packs on the columnar lane: memory across sequences and fights, who learns from which rows, CTDE."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from envs.configuration import ConfigError
from policies.columnar.rollout import Rollout
from policies.columnar.team_ppo import (
    ColumnarTeamPPO,
    ColumnarTeamPPOConfig,
    TeamEnvRunner,
    TeamPPOLearner,
    team_rewards,
)
from policies.columnar.vector_env import make_vector_env
from policies.profiles import load_run, resolve_run
from policies.training import build_trainer, seed_everything
from tests.policies.tiny_runs import equal, steady, weights

MEMBERS, FIGHTS, LENGTH = 3, 4, 5
TINY: dict[str, Any] = {
    "model": {"layers": 2, "units": 8, "critic_dims": [16]},
    "training": {
        "epochs": 6,
        "num_envs": FIGHTS,
        "rollout_length": 4 * LENGTH,
        "sequence_length": LENGTH,
        "rounds_per_epoch": 2,
        "minibatch_size": 60,
        "passes": 2,
    },
}


def tiny_run(*, seed: int = 0, precision: str = "fp32", **training: Any) -> dict[str, Any]:
    overrides = copy.deepcopy(TINY)
    overrides["training"] |= training
    env = {
        "factory": "policies.columnar.pack_rows:make",
        "archetype": "tank",
        "scenario": "3v3",
        "opponent": "classic",
    }
    return resolve_run("team_coordination", env, seed=seed, precision=precision, overrides=overrides)


def parts(**settings: Any) -> tuple[TeamEnvRunner, TeamPPOLearner]:
    """Runner and learner that share a module, without Ray; logits far from uniform."""
    run = tiny_run(**settings)
    config = ColumnarTeamPPOConfig.of_run(load_run(run))  # type: ignore[arg-type]
    torch.manual_seed(0)
    runner = TeamEnvRunner(config=config)
    env = make_vector_env(run["env"], 1)
    spaces = {DEFAULT_MODULE_ID: (env.single_observation_space, env.single_action_space)}
    learner = TeamPPOLearner(
        config=config, module_spec=config.get_multi_rl_module_spec(spaces=spaces, inference_only=False)
    )
    learner.build()
    with torch.no_grad():
        learner.net_module.net.actor.policy_head.weight.normal_()
    runner.share_module(learner.net_module)
    return runner, learner


def shards(run: Any, rollout: Rollout) -> list[dict[str, Any]]:
    return ColumnarTeamPPO.shards(SimpleNamespace(run=run), rollout)  # type: ignore[arg-type]


def items(learner: TeamPPOLearner, shard: dict[str, Any]) -> dict[str, torch.Tensor]:
    """All sequences of a round as one minibatch."""
    rows = {name: torch.from_numpy(column) for name, column in shard.items()}
    ((_, minibatch),) = learner._minibatches(rows, 1, 1, seed=0)
    return dict(minibatch)


def rounds_with_an_end(runner: TeamEnvRunner) -> Rollout:
    """Act until a round holds the end of a fight, not at its edge, and a dead member."""
    for _ in range(40):
        rollout = runner.sample()
        assert rollout.alive is not None
        if not rollout.valid[:, 2:-2].all() and not rollout.alive[rollout.valid[:, 0]].all():
            return rollout
    raise AssertionError("no fight ended in 800 decisions")


def test_learner_sees_the_policy_that_acted() -> None:
    """The log-probabilities of a round come out again: states, resets, masks and rows are in their places."""
    runner, learner = parts()
    rollout = rounds_with_an_end(runner)
    (shard,) = shards(learner.run, rollout)
    minibatch = items(learner, shard)
    rows = {name: column.flatten(0, 1) for name, column in minibatch.items() if name != "central"}
    net = learner.net_module.net
    with torch.no_grad():
        logits = net.sequence(rows["obs"], rows["state_h"], rows["state_c"], rows["keep"])
        logits = logits.masked_fill(~rows["action_mask"], -1e4)
        logp = torch.log_softmax(logits, dim=-1).gather(-1, rows["actions"][..., None])[..., 0]
        values = net.values(minibatch["central"], rows["obs"])
    torch.testing.assert_close(logp, rows["action_logp"], rtol=1e-4, atol=1e-5)
    # value target = advantage + value; an autoreset row has advantage 0, so its target is the value.
    invalid = ~rows["valid"]
    assert bool(invalid.any())
    torch.testing.assert_close(values[invalid], rows["value_targets"][invalid], rtol=1e-4, atol=1e-5)
    # Without the resets it would not be the same policy.
    with torch.no_grad():
        other = net.sequence(rows["obs"], rows["state_h"], rows["state_c"], torch.ones_like(rows["keep"]))
    assert not torch.allclose(other.masked_fill(~rows["action_mask"], -1e4), logits)


def test_minibatches_keep_sequences_and_fights_together() -> None:
    """Every number says where it comes from: 10000 fight + 1000 member + time."""
    _, learner = parts()
    time = 4 * LENGTH
    row = np.arange(FIGHTS * MEMBERS)
    code = 10_000 * (row // MEMBERS) + 1000 * (row % MEMBERS)
    rows = {
        "actions": torch.from_numpy(code[:, None] + np.arange(time)),
        "central": torch.from_numpy(10_000 * np.arange(FIGHTS)[:, None] + np.arange(time))[..., None],
        "state_h": torch.from_numpy(code[:, None] + LENGTH * np.arange(4))[..., None, None],
    }
    seen = []
    for _, part in learner._minibatches(rows, 3, 1, seed=1):
        for central, actions, state in zip(part["central"], part["actions"], part["state_h"], strict=True):
            start = int(central[0, 0])
            assert start % 10_000 % LENGTH == 0
            assert central[:, 0].tolist() == list(range(start, start + LENGTH))
            for member in range(MEMBERS):
                first = start + 1000 * member
                assert actions[member].tolist() == list(range(first, first + LENGTH))
                assert state[member].item() == first
            seen.append(start)
    assert sorted(seen) == [10_000 * f + LENGTH * s for f in range(FIGHTS) for s in range(4)]


def test_dead_members_teach_the_critic_alone_and_autoreset_rows_nobody() -> None:
    runner, learner = parts()
    (shard,) = shards(learner.run, rounds_with_an_end(runner))
    minibatch = items(learner, shard)
    valid, alive = minibatch["valid"], minibatch["alive"]
    dead, reset = valid & ~alive, ~valid
    assert bool(dead.any()) and bool(reset.any())

    def total(**changed: torch.Tensor) -> float:
        with torch.no_grad():
            return float(learner.losses(minibatch | changed).total)

    def changed(name: str, where: torch.Tensor) -> float:
        return total(**{name: minibatch[name] + where.float()})

    base = total()
    assert changed("advantages", dead) == base and changed("advantages", reset) == base
    assert changed("advantages", valid & alive) != base
    assert changed("value_targets", dead) != base and changed("value_targets", reset) == base


def test_central_state_changes_values_and_no_action() -> None:
    (runner, _), (other, _) = parts(), parts()
    state = other.env.pack.state
    other.env.pack.state = lambda: 1.0 - state()
    first, second = runner.sample(), other.sample()
    assert first.central is not None and second.central is not None
    np.testing.assert_array_equal(1.0 - first.central, second.central)
    np.testing.assert_array_equal(first.actions, second.actions)
    np.testing.assert_array_equal(first.extra["action_logp"], second.extra["action_logp"])
    np.testing.assert_array_equal(first.start["state_c"], second.start["state_c"])
    assert first.values is not None and second.values is not None
    assert float(np.abs(first.values - second.values).min()) > 0.0


def test_stored_states_begin_at_zero_and_are_kept_at_each_sequence() -> None:
    runner, _ = parts()
    starts = runner.sample().start
    assert starts["state_h"].shape == (FIGHTS * MEMBERS, 4, 2, 8)
    assert not starts["state_h"][:, 0].any() and starts["state_h"][:, 1:].any(axis=(2, 3)).all()
    assert runner.sample().start["state_h"][:, 0].any()  # carried over from round to round


def test_whole_fights_go_to_each_learner() -> None:
    runner, learner = parts()
    rollout = runner.sample()
    (whole,) = shards(learner.run, rollout)
    two = shards(SimpleNamespace(training=learner.run.training, learners=3), rollout)
    assert [len(shard["central"]) for shard in two] == [1, 1, 2]
    assert [len(shard["actions"]) for shard in two] == [3, 3, 6]
    for name, column in whole.items():
        assert np.array_equal(np.concatenate([shard[name] for shard in two]), column)


def test_advantages_are_standard_over_the_rows_that_decide() -> None:
    runner, learner = parts()
    (shard,) = shards(learner.run, rounds_with_an_end(runner))
    deciding = shard["advantages"][shard["alive"] & shard["valid"]]
    assert deciding.mean() == pytest.approx(0.0, abs=1e-5) and deciding.std() == pytest.approx(1.0, abs=1e-4)


def test_members_are_paid_alike() -> None:
    # Two fights of two members, two steps. Fight 0: (1 + 3) / 2 = 2, (0 + 5) / 2 = 2.5;
    # fight 1: (-4 + 0) / 2 = -2, (6 + 2) / 2 = 4
    rollout = Rollout.empty(4, 2, 1, 2)
    rollout.rewards[:] = [[1, 0], [3, 5], [-4, 6], [0, 2]]
    rollout.central = np.zeros((2, 3, 1), np.float32)
    assert team_rewards(rollout, 1.0).tolist() == [[2, 2.5], [2, 2.5], [-2, 4], [-2, 4]]
    assert team_rewards(rollout, 0.0).tolist() == rollout.rewards.tolist()
    half = team_rewards(rollout, 0.5)
    assert np.allclose(half, 0.5 * rollout.rewards + 0.5 * team_rewards(rollout, 1.0))


def test_bf16_trains_all_weights() -> None:
    runner, learner = parts(precision="bf16")
    (shard,) = shards(learner.run, runner.sample())
    before = [parameter.detach().clone() for parameter in learner.net_module.net.parameters()]
    learner.update_columns(items(learner, shard))
    for parameter, old in zip(learner.net_module.net.parameters(), before, strict=True):
        assert bool(parameter.isfinite().all()) and not torch.equal(parameter, old)


def test_symmetries_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"training.symmetries"):
        ColumnarTeamPPOConfig.of_run(load_run(tiny_run(symmetries=True)))  # type: ignore[arg-type]


Build = Callable[..., Any]


@pytest.fixture
def build() -> Iterator[Build]:
    made: list[Any] = []

    def builder(**settings: Any) -> Any:
        made.append(build_trainer(tiny_run(**settings)))
        return made[-1]

    yield builder
    for trainer in made:
        trainer.stop()


@pytest.mark.ray
def test_same_seed_same_weights_and_another_seed_differs(build: Build) -> None:
    first, second, other = build(seed=1), build(seed=1), build(seed=2)
    for trainer in (first, second, other):
        seed_everything(trainer.run.seed)
        start = weights(trainer)
        for _ in range(3):
            trainer.train_epoch()
        assert not equal(start, weights(trainer))
    assert equal(weights(first), weights(second))
    assert not equal(weights(first), weights(other))


@pytest.mark.ray
def test_resumed_run_equals_one_never_stopped(build: Build, tmp_path: Path) -> None:
    """In the middle of fights, with memories that are not zero."""
    whole = build(seed=3)
    for _ in range(3):
        whole.train_epoch()
    assert bool(whole.algorithm.runner._state["state_c"].abs().sum() > 0)
    folder = whole.save(tmp_path / "checkpoint")
    rest = [steady(whole.train_epoch()) for _ in range(3)]
    resumed = build(seed=3)
    resumed.restore(folder)
    assert [steady(resumed.train_epoch()) for _ in range(3)] == rest
    assert equal(weights(whole), weights(resumed))


@pytest.mark.ray
def test_a_pack_learns(build: Build) -> None:
    """Two dozen rounds raise the reward of a pack around a tank by a third, and it wins more fights."""
    trainer = build(
        seed=0,
        epochs=4,
        num_envs=48,
        rollout_length=40,
        minibatch_size=960,
        passes=3,
        rounds_per_epoch=6,
        learning_rate=3e-3,
    )
    found = [trainer.train_epoch() for _ in range(4)]
    assert found[-1]["reward"] > 1.33 * found[0]["reward"]
    assert found[-1]["win_rate"] > found[0]["win_rate"] + 0.15
