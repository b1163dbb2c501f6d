"""Packs on RLlib's own lane: what members are paid, what is counted, and one epoch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from policies.profiles import load_run, resolve_run
from policies.stock_team import StockPackEnv, make_stock_pack, pack_config
from policies.team import TeamActorCritic
from policies.training import build_trainer

MEMBERS = 3


def tiny_run() -> dict[str, Any]:
    return resolve_run(
        "team_coordination",
        {
            "factory": "policies.columnar.pack_rows:make",
            "archetype": "tank",
            "scenario": "3v3",
            "opponent": "classic",
        },
        seed=1,
        sampler="stock",
        overrides={
            "model": {"layers": 1, "units": 8, "critic_dims": [16]},
            "training": {
                "epochs": 3, "num_envs": 4, "rollout_length": 20, "sequence_length": 5,
                "rounds_per_epoch": 2, "minibatch_size": 60, "passes": 2,
            },
        },
    )  # fmt: skip


def play(env: StockPackEnv) -> tuple[list[Any], Any]:
    """One fight with orders drawn at random; what was paid, and the last observations."""
    random = np.random.default_rng(0)
    obs, infos = env.reset(seed=5)
    assert infos == {}
    paid, over = [], False
    while not over:
        orders = {
            agent: int(random.choice(np.flatnonzero(obs[agent]["action_mask"]))) for agent in env.agents
        }
        obs, rewards, terminated, _, infos = env.step(orders)
        assert infos == {}
        paid.append(rewards)
        over = terminated["__all__"]
    return paid, obs


def test_members_are_paid_their_mean_and_counted_by_their_own() -> None:
    config = pack_config(load_run(tiny_run()))
    env = make_stock_pack({**config, "reward_factor": 0.5})
    paid, obs = play(env)
    assert all(len(set(rewards.values())) == 1 for rewards in paid)
    means = env.episodes.means()
    assert env.episodes.finished == MEMBERS and means["episode_length"] == len(paid)
    # Mean over the members of their own returns = sum over steps of the mean paid / factor.
    total = sum(rewards["monster_0"] for rewards in paid) / 0.5
    assert means["reward"] == pytest.approx(total) and total != 0.0
    assert means["win_rate"] in (0.0, 1.0)
    assert env.get_observation_space("monster_0").contains(obs["monster_0"])


@pytest.mark.ray
def test_one_epoch() -> None:
    trainer = build_trainer(tiny_run())
    try:
        metrics = trainer.train_epoch()
        assert isinstance(trainer.model(), TeamActorCritic)
    finally:
        trainer.stop()
    # Two rounds of 4 fights x 20 decisions.
    assert metrics["env_steps"] == 160
    # 240 member rows a round, 60 a minibatch, 2 passes: 8 updates a round; with the rows that RLlib adds to
    # 12 pieces of fights, padded to sequences, up to 300 rows and 10 updates.
    assert 2 * 8 <= metrics["updates"] <= 2 * 10
    for name in ("loss", "value_loss", "entropy_bits"):
        assert math.isfinite(metrics[name]), name
