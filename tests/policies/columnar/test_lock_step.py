"""Lock step: the same weights and rows through the columnar lane and RLlib's own update and buffers."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.replay_buffers import PrioritizedEpisodeReplayBuffer

from policies.columnar.ppo import ColumnarPPO
from policies.columnar.replay import PrioritizedReplay
from policies.profiles import load_run, resolve_run
from policies.stock_sac import critic_differences, to_soft_actor_critic
from tests.policies.columnar.stock_learners import (
    episodes_of,
    largest_difference,
    stock_learner_of,
    stock_update,
)
from tests.policies.tiny_runs import batch_of, learner_of, runner_of, tiny_run

UPDATES = 30
TOLERANCE = 1e-6


@pytest.fixture(params=["as built", "autograd"])
def way(request: pytest.FixtureRequest) -> str:
    """The learner as it is built, which may have a way without autograd, and the way with it."""
    return str(request.param)


def ours_of(run: dict[str, Any], way: str) -> Any:
    made = learner_of(run)
    if way == "autograd":
        made._fused = None
    return made


def start_of(made: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in made.net_module.state_dict().items()}


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("kl_coeff", [0.0, 0.4])
def test_ppo(way: str, masked: bool, kl_coeff: float) -> None:
    run = tiny_run("ppo", training={"kl_coeff": kl_coeff, "learning_rate_final_share": 1.0,
                                    "entropy_coeff_final_share": 1.0})  # fmt: skip
    ours = ours_of(run, way)
    stock = stock_learner_of(run, ours, masked=masked)
    start = start_of(ours)
    coefficients = set()
    for seed in range(UPDATES):
        columns = batch_of("ppo", seed=seed)
        if not masked:
            del columns["action_mask"]
        random = torch.Generator().manual_seed(1000 + seed)
        logits = torch.randn((32, 4), generator=random)
        if masked:
            logits = logits.masked_fill(~columns["action_mask"], -1e4)
        columns["action_dist_inputs"] = logits
        columns["action_logp"] = torch.log_softmax(logits, dim=-1)[:, 0]
        loss = ours.update_columns(copy.deepcopy(columns))
        if kl_coeff:
            # RLlib adapts the penalty in every call of `update`, the columnar lane once per round.
            ours._adapt_penalty(float(loss.td_error))
        stock_update(stock, columns)
        assert float(stock.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID]) == pytest.approx(ours.kl_coeff)
        coefficients.add(ours.kl_coeff)
    assert (len(coefficients) > 1) == bool(kl_coeff)
    theirs = stock.module[DEFAULT_MODULE_ID].state_dict()
    assert largest_difference(ours.net_module.state_dict(), theirs) <= TOLERANCE
    assert largest_difference(start, theirs) > 1e-3


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("double_q", "dueling"), [(True, True), (False, False)])
@pytest.mark.parametrize("tau", [1.0, 0.25])
def test_dqn(way: str, masked: bool, double_q: bool, dueling: bool, tau: float) -> None:
    """The target network moves after updates 10, 20 and 30; RLlib counts decisions, here 20 per update."""
    run = tiny_run(
        "dqn",
        model={"dropout": 0.0, "dueling": dueling},
        training={"double_q": double_q, "target_period": 10, "target_tau": tau, "updates_per_round": 1,
                  "learning_rate_final_share": 1.0, "learning_rate": 1e-3, "grad_clip": 0.3},
    )  # fmt: skip
    ours = ours_of(run, way)
    stock = stock_learner_of(run, ours, masked=masked)
    start = start_of(ours)
    for number in range(1, UPDATES + 1):
        columns = transitions("dqn", number)
        if not masked:
            del columns["action_mask"], columns["new_action_mask"]
        td_error = ours.update_columns(copy.deepcopy(columns)).td_error
        results = stock_update(stock, columns, env_steps=20 * number)
        np.testing.assert_allclose(td_error.numpy(), td_errors_of(results), atol=1e-5)
        theirs = stock.module[DEFAULT_MODULE_ID].state_dict()
        assert largest_difference(ours.net_module.state_dict(), theirs) <= TOLERANCE, f"update {number}"
    assert set(theirs) > {"target_net.head.weight", "net.head.weight"}
    assert largest_difference(start, theirs) > 1e-3


def test_dqn_with_dropout(way: str) -> None:
    """Dropout draws from torch's global generator, in the same order on both lanes."""
    run = tiny_run("dqn", model={"dropout": 0.2}, training={"updates_per_round": 1,
                                                            "learning_rate_final_share": 1.0})  # fmt: skip
    ours = ours_of(run, way)
    stock = stock_learner_of(run, ours, masked=True)
    for number in range(1, UPDATES + 1):
        columns = transitions("dqn", number)
        torch.manual_seed(number)
        ours.update_columns(copy.deepcopy(columns))
        torch.manual_seed(number)
        # In decisions: `target_period` 5 x 20 per update
        stock_update(stock, columns, env_steps=20 * number)
    theirs = stock.module[DEFAULT_MODULE_ID].state_dict()
    assert largest_difference(ours.net_module.state_dict(), theirs) <= TOLERANCE


@pytest.mark.parametrize("dueling", [True, False])
def test_skill_dqn(dueling: bool) -> None:
    """The same loss on another network: flat rows of the skill head, with ids for an embedding."""
    run = resolve_run(
        "skill_dqn",
        {"id": "MLMonster/Skill-v0", "archetype": "mage"},
        overrides={
            "model": {"hidden_dims": [16, 8], "dropout": 0.0, "dueling": dueling},
            "training": {"target_period": 10, "target_tau": 0.25, "updates_per_round": 1, "symmetries": False,
                         "num_envs": 4, "rollout_length": 5, "n_step": 3, "buffer_capacity": 400,
                         "learning_starts": 40, "grad_clip": 0.3, "warm_start_fights": 0,
                         "learning_rate_final_share": 1.0, "learning_rate": 1e-3},
        },
    )  # fmt: skip
    ours = learner_of(run)
    assert ours._fused is None
    stock = stock_learner_of(run, ours, masked=True)
    start = start_of(ours)
    for number in range(1, UPDATES + 1):
        columns = skill_transitions(number)
        td_error = ours.update_columns(copy.deepcopy(columns)).td_error
        results = stock_update(stock, columns, env_steps=20 * number)
        np.testing.assert_allclose(td_error.numpy(), td_errors_of(results), atol=1e-5)
        theirs = stock.module[DEFAULT_MODULE_ID].state_dict()
        assert largest_difference(ours.net_module.state_dict(), theirs) <= TOLERANCE, f"update {number}"
    assert largest_difference(start, theirs) > 1e-3


def test_sac(way: str) -> None:
    """Same noise: both draw from torch's global generator, the current states' actions first."""
    run = tiny_run(
        "sac",
        training={"learning_rate_final_share": 1.0, "target_tau": 0.05, "updates_per_round": 1,
                  "learning_rate": 1e-3, "critic_learning_rate": 2e-3, "alpha_learning_rate": 3e-3},
    )  # fmt: skip
    ours = ours_of(run, way)
    stock = stock_learner_of(run, ours)
    module = stock.module[DEFAULT_MODULE_ID].unwrapped()
    start = start_of(ours)
    for number in range(1, UPDATES + 1):
        columns = transitions("sac", number)
        torch.manual_seed(number)
        ours.update_columns(copy.deepcopy(columns))
        torch.manual_seed(number)
        stock_update(stock, columns, env_steps=20 * number)
    net = ours.net_module
    assert largest_difference(net.net.state_dict(), to_soft_actor_critic(module).state_dict()) <= TOLERANCE
    assert critic_differences(net.target_critics, module, "target_") <= TOLERANCE
    theirs = stock.curr_log_alpha[DEFAULT_MODULE_ID]
    assert float((ours.log_alpha - theirs).abs()) <= TOLERANCE
    assert abs(float(theirs) - np.log(0.05)) > 0.01
    moved = largest_difference(start, net.state_dict())
    assert moved > 1e-2


def td_errors_of(results: dict[str, Any]) -> Any:
    return np.asarray(results["td_error"].peek(), np.float32).reshape(-1)


def transitions(algorithm: str, seed: int) -> dict[str, torch.Tensor]:
    """Random rows with windows of one to three steps."""
    columns = batch_of(algorithm, seed=seed)
    random = torch.Generator().manual_seed(1000 + seed)
    rows = len(columns["n_step"])
    columns["n_step"] = torch.randint(1, 4, (rows,), generator=random).float()
    if algorithm == "dqn":
        # A legal action in each row: with the mask drawn at random only action 0 is sure to be.
        draw = torch.rand((rows, 4), generator=random).masked_fill(~columns["action_mask"], -1.0)
        columns["actions"] = draw.argmax(dim=1)
    return columns


def skill_transitions(seed: int, rows: int = 32) -> dict[str, torch.Tensor]:
    """Random rows as the skill head has them."""
    random = torch.Generator().manual_seed(seed)

    def seen() -> torch.Tensor:
        obs = torch.rand((rows, 176), generator=random) * 2.0 - 1.0
        obs[:, 64:71] = torch.randint(0, 13, (rows, 7), generator=random).float()
        return obs

    def legal() -> torch.Tensor:
        mask = torch.rand((rows, 70), generator=random) < 0.3
        mask[:, 5] = True
        return mask

    columns = {"obs": seen(), "new_obs": seen(), "action_mask": legal(), "new_action_mask": legal()}
    draw = torch.rand((rows, 70), generator=random).masked_fill(~columns["action_mask"], -1.0)
    return columns | {
        "actions": draw.argmax(dim=1),
        "rewards": torch.randn(rows, generator=random),
        "terminateds": torch.rand(rows, generator=random) < 0.2,
        "n_step": torch.randint(1, 4, (rows,), generator=random).float(),
        "weights": torch.rand(rows, generator=random),
    }


def test_advantages_and_value_targets_equal_rllibs_connectors() -> None:
    """Episodes of 3 to 6 steps, every second one truncated, in rounds of 15: all kinds of ends are there."""
    run = tiny_run("ppo")
    ours = learner_of(run)
    stock = stock_learner_of(run, ours, masked=True)
    runner = runner_of(run)
    runner.share_module(ours.net_module)
    algorithm: Any = SimpleNamespace(run=load_run(run), symmetries=None)
    for _ in range(3):
        rollout = runner.sample()
        assert rollout.values is not None
        (columns,) = ColumnarPPO.shards(algorithm, rollout)
        batch = stock._learner_connector(
            rl_module=stock.module, batch={}, episodes=episodes_of(rollout), shared_data={}
        )[DEFAULT_MODULE_ID]
        kept = batch["loss_mask"]
        np.testing.assert_allclose(
            columns["value_targets"], batch["value_targets"][kept].numpy(), rtol=1e-5, atol=1e-5
        )
        np.testing.assert_array_equal(columns["obs"], batch["obs"]["observation"][kept].numpy())
        np.testing.assert_array_equal(columns["action_mask"], batch["obs"]["action_mask"][kept].numpy() != 0)
        np.testing.assert_array_equal(columns["actions"], batch["actions"][kept].numpy())
        np.testing.assert_allclose(columns["action_logp"], batch["action_logp"][kept].numpy(), rtol=1e-6)
        # RLlib standardises with the rows that it adds at the cuts: the same up to shift and scale.
        theirs = batch["advantages"][kept].numpy()
        slope, shift = np.polyfit(theirs, columns["advantages"], 1)
        np.testing.assert_allclose(columns["advantages"], slope * theirs + shift, atol=1e-4)
        assert slope > 0.5


def test_transitions_equal_rllibs_buffer() -> None:
    """The observation is (env, step, episode, 1), so it tells which window a row is."""
    gamma, n_step = 0.9, 3
    runner = runner_of(tiny_run("dqn"))
    ours = PrioritizedReplay(
        num_envs=4, capacity=400, observation_size=4, num_actions=4, gamma=gamma, n_step=n_step
    )
    theirs = PrioritizedEpisodeReplayBuffer(capacity=400)
    runs: dict[int, Any] = {}
    for _ in range(12):
        rollout = runner.sample()
        ours.add(rollout)
        # RLlib joins the pieces of an episode by its id.
        pieces = episodes_of(rollout)
        for piece in pieces:
            env = int(piece.get_observations(0)["observation"][0])
            if env in runs and not runs[env].is_done:
                piece.id_ = runs[env].id_
                piece.t_started, piece.t = runs[env].t, runs[env].t + len(piece)
            runs[env] = piece
        theirs.add(pieces)
    batch = ours.sample(4096, 0.4).columns
    windows = {tuple(row[:3]): k for k, row in enumerate(batch["obs"].numpy().astype(int).tolist())}
    compared = set()
    drawn: Any = theirs.sample(2048, n_step=n_step, gamma=gamma, beta=0.4)
    for episode in drawn:
        before, after = episode.get_observations(0), episode.get_observations(1)
        key = tuple(before["observation"][:3].astype(int).tolist())
        k = windows[key]
        compared.add(key)
        np.testing.assert_array_equal(batch["obs"][k], before["observation"])
        np.testing.assert_array_equal(batch["new_obs"][k], after["observation"])
        np.testing.assert_array_equal(batch["action_mask"][k], before["action_mask"] != 0)
        np.testing.assert_array_equal(batch["new_action_mask"][k], after["action_mask"] != 0)
        assert int(batch["actions"][k]) == int(episode.get_actions(0))
        assert float(batch["rewards"][k]) == pytest.approx(float(episode.get_rewards(0)), rel=1e-6)
        assert bool(batch["terminateds"][k]) == bool(episode.is_terminated)
        assert float(batch["n_step"][k]) == episode.get_extra_model_outputs("n_step", 0) == n_step
    # RLlib begins no window that would run past the end of its episode; ours are shorter there.
    short = {key for key, k in windows.items() if float(batch["n_step"][k]) < n_step}
    assert len(compared) > 60 and short and compared == set(windows) - short
