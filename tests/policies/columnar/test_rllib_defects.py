"""What RLlib 2.60 gets wrong, and that the lane does not.

Each test first asserts RLlib's own behaviour. If such an assertion fails after a change of Ray, RLlib has
been mended: see whether our way around it can go.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.algorithm_config import TorchCompileWhatToCompile as What
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.tune.registry import register_env

from envs.configuration import ConfigError
from policies.columnar.flat import FlatParameters
from policies.columnar.vector_env import make_vector_env
from policies.profiles import load_run
from policies.rl_modules.soft_actor_critic import SoftActorCriticModule
from policies.stock_config import stock_config
from tests.policies.columnar.stock_learners import stock_learner_of, stock_update
from tests.policies.fake_env import CountingVectorEnv
from tests.policies.tiny_runs import batch_of, learner_of, runner_of, tiny_run

MODULE = DEFAULT_MODULE_ID
PLAIN: dict[str, Any] = {"updates_per_round": 1}


def restored(made: Any, fresh: Any) -> Any:
    """A fresh stock learner with the state that RLlib would restore it from."""
    fresh.set_state(made.get_state())
    return fresh


def columnar_restored(made: Any, run: dict[str, Any]) -> Any:
    fresh = learner_of(run)
    fresh.set_columnar_state(copy.deepcopy(made.get_columnar_state()))
    return fresh


def test_temperature_of_sac_is_lost_on_restore() -> None:
    run = tiny_run("sac", training=PLAIN)
    stock, ours = stock_learner_of(run), learner_of(run)
    for seed in range(3):
        stock_update(stock, batch_of("sac", seed=seed))
        ours.update_columns(batch_of("sac", seed=seed))
    first = np.log(0.05)
    trained = float(stock.curr_log_alpha[MODULE])
    assert abs(trained - first) > 1e-4
    assert float(restored(stock, stock_learner_of(run)).curr_log_alpha[MODULE]) == pytest.approx(first)
    assert float(ours.log_alpha) == pytest.approx(trained, abs=1e-3)
    assert float(columnar_restored(ours, run).log_alpha) == float(ours.log_alpha)


def test_weight_of_the_kl_penalty_is_lost_on_restore() -> None:
    run = tiny_run("ppo", training={"kl_coeff": 0.2})
    stock, ours = stock_learner_of(run, masked=True), learner_of(run)
    columns = batch_of("ppo")
    # Another policy than the one that acted: the divergence is large, so the weight rises by half.
    columns["action_dist_inputs"] = torch.tensor([[4.0, -4.0, -4.0, -4.0]]).repeat(32, 1)
    stock_update(stock, columns)
    ours._adapt_penalty(1.0)
    assert float(stock.curr_kl_coeffs_per_module[MODULE]) == pytest.approx(0.3)
    fresh = restored(stock, stock_learner_of(run, masked=True))
    assert float(fresh.curr_kl_coeffs_per_module[MODULE]) == pytest.approx(0.2)
    assert ours.kl_coeff == pytest.approx(0.3)
    assert columnar_restored(ours, run).kl_coeff == pytest.approx(0.3)


def test_time_of_the_last_target_move_is_lost_on_restore() -> None:
    """Period 5 updates of 20 decisions each: after 7 updates the next move is due after the tenth."""
    run = tiny_run("dqn", model={"dropout": 0.0}, training=PLAIN)

    def moves(made: Any, update: Any) -> list[int]:
        found = []
        for number in range(8, 11):
            module = made.module[MODULE].unwrapped()
            before = module.target_net.head.weight.clone()
            update(number)
            if not torch.equal(before, module.target_net.head.weight):
                found.append(number)
        return found

    stock, ours = stock_learner_of(run, masked=True), learner_of(run)
    for number in range(1, 8):
        stock_update(stock, batch_of("dqn", seed=number), env_steps=20 * number)
        ours.update_columns(batch_of("dqn", seed=number))
    fresh = restored(stock, stock_learner_of(run, masked=True))
    assert stock.last_update_ts_by_mid[MODULE] == 100 and fresh.last_update_ts_by_mid[MODULE] == 0
    stock_moves = moves(
        fresh, lambda number: stock_update(fresh, batch_of("dqn", seed=number), env_steps=20 * number)
    )
    assert stock_moves == [8]
    resumed = columnar_restored(ours, run)
    for made in (ours, resumed):
        assert moves(made, lambda n, made=made: made.update_columns(batch_of("dqn", seed=n))) == [10]


def test_automatic_target_entropy_of_discrete_sac_is_minus_one() -> None:
    """-prod of the action space's shape (), so the temperature falls whatever the policy does."""
    config: Any = SACConfig().environment("CartPole-v1")
    spaces: dict[str, Any] = {
        MODULE: (gymnasium.spaces.Box(-1, 1, (4,), np.float32), gymnasium.spaces.Discrete(8))
    }
    learner = config.get_default_learner_class()(
        config=config, module_spec=config.get_multi_rl_module_spec(spaces=spaces, inference_only=False)
    )
    learner.build()
    assert float(learner.target_entropy[MODULE]) == -1.0
    # Ours is for continuous actions, and says so.
    with pytest.raises(ValueError, match=r"Discrete\(8\).*continuous.*combat_dqn"):
        SoftActorCriticModule(
            observation_space=spaces[MODULE][0],
            action_space=spaces[MODULE][1],
            model_config={"network": {"hidden_dims": [8]}},
        )
    assert learner_of(tiny_run("sac")).wanted_entropy == -2.0  # two action components


def test_dqn_has_no_recurrent_network_here() -> None:
    """RLlib takes `use_lstm` and fails in the first update: see test_rllib_defects_in_runs.py."""
    run = tiny_run("dqn")
    with pytest.raises(ConfigError, match="use_lstm"):
        load_run({**run, "model": {**run["model"], "use_lstm": True}})


def test_compiling_the_forward_pass_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.utils import counters

    compile_ = torch.compile
    # The graph is what counts, and this back end needs no C++ compiler.
    monkeypatch.setattr(torch, "compile", lambda *args, **kwargs: compile_(*args, backend="eager"))

    def graphs() -> int:
        return int(counters["stats"]["unique_graphs"])

    torch._dynamo.reset()
    counters.clear()
    stock = stock_learner_of(
        tiny_run("ppo"),
        masked=True,
        torch_compile_learner=True,
        torch_compile_learner_what_to_compile=What.FORWARD_TRAIN,
        torch_compile_learner_dynamo_backend="eager",
    )
    columns = batch_of("ppo")
    stock_update(stock, {**columns, "action_dist_inputs": torch.zeros(32, 4)})
    assert graphs() == 0
    ours = learner_of(tiny_run("ppo", compiled=True))
    ours.update_columns(columns)
    assert graphs() > 0
    torch._dynamo.reset()


def formats(net: Any) -> Iterator[set[torch.dtype]]:
    """Number formats that come out of a network's layers from now on."""
    seen: set[torch.dtype] = set()
    for layer in net.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.register_forward_hook(lambda _layer, _inputs, output: seen.add(output.dtype))
    yield seen


def test_there_is_no_autocast() -> None:
    """RLlib has a class for scaling losses, which stays alone."""
    scaler = torch.amp.GradScaler
    stock = stock_learner_of(
        tiny_run("ppo"), masked=True, _torch_grad_scaler_class=lambda: scaler("cpu"), grad_clip=None
    )
    assert not [name for name in vars(AlgorithmConfig()) if "autocast" in name or "precision" in name]
    ours = learner_of(tiny_run("ppo", precision="bf16"))
    (theirs,) = formats(stock.module[MODULE].unwrapped().net)
    (seen,) = formats(ours.net_module.net)
    stock_update(stock, {**batch_of("ppo"), "action_dist_inputs": torch.zeros(32, 4)})
    ours.update_columns(batch_of("ppo"))
    assert theirs == {torch.float32}
    assert seen == {torch.bfloat16}
    assert all(parameter.dtype == torch.float32 for parameter in ours.net_module.net.parameters())


def test_infinite_gradients_become_the_largest_number_and_are_applied() -> None:
    """So a loss scaler, which looks for infinite gradients, sees none."""
    stock = stock_learner_of(tiny_run("ppo"), masked=True)
    before = {key: parameter.detach().clone() for key, parameter in stock._params.items()}
    stock.apply_gradients({key: torch.full_like(value, torch.inf) for key, value in before.items()})
    largest = torch.finfo(torch.float32).max
    assert all(float(parameter.grad.max()) == largest for parameter in stock._params.values())
    # Ours, with a scale that overflows in 16 bits: nothing is applied and the scale is halved.
    ours = learner_of(tiny_run("ppo", precision="fp16"))
    ours.update_columns(batch_of("ppo"))
    weights = ours.flat[0].vector.detach().clone()
    ours.loss_scale = 2.0**40
    ours.update_columns(batch_of("ppo"))
    assert torch.equal(ours.flat[0].vector, weights) and ours.loss_scale == 2.0**39
    assert ours.skipped_updates == 0  # overflow is how the scale is found
    ours.loss_scale = 2.0**10
    ours.update_columns(batch_of("ppo"))
    assert not torch.equal(ours.flat[0].vector, weights)


def test_local_env_runner_acts_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def device(config: Any, gpus: float) -> str:
        asked.append(gpus)
        return "cpu"

    monkeypatch.setattr("ray.rllib.env.single_agent_env_runner.get_device", device)
    config = stock_config(load_run(tiny_run("ppo")))
    config.num_gpus_per_env_runner = config.num_gpus_per_learner = 1
    SingleAgentEnvRunner(config=config, worker_index=0)
    assert asked == [0]
    # Ours acts with the learner's module, wherever that is.
    ours, runner = learner_of(tiny_run("ppo")), runner_of(tiny_run("ppo"))
    module = ours.net_module.to("meta")
    runner.share_module(module)
    assert runner.module is module and runner._device == torch.device("meta")


def test_batch_without_a_trainable_module_fails_obscurely() -> None:
    stock = stock_learner_of(tiny_run("ppo"), masked=True, policies_to_train=[])
    with pytest.raises(UnboundLocalError):
        stock_update(stock, {**batch_of("ppo"), "action_dist_inputs": torch.zeros(32, 4)})
    with pytest.raises(ValueError, match="no parameters to train"):
        FlatParameters([])


class SameStepEnv(CountingVectorEnv):
    """Gives the first observation of the next episode in the step that ends one."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def step(self, actions: Any) -> Any:
        _, reward, terminated, truncated, info = super().step(actions)
        ended = self._done.copy()
        self._episode += ended
        self._step[ended] = 0
        self._done[:] = False
        return self._obs(), reward, terminated, truncated, info


def same_step(num_envs: int) -> SameStepEnv:
    """Factory."""
    return SameStepEnv(num_envs, check_actions=False)


def test_same_step_autoreset_is_read_wrongly_without_an_error() -> None:
    """Observation 2 is the episode's number: RLlib ends an episode with an observation of the next one."""
    register_env("same_step", lambda context: same_step(int(context.get("num_envs", 1))))
    config = (
        PPOConfig()
        .environment("same_step")
        .env_runners(
            num_env_runners=0, num_envs_per_env_runner=2, gym_env_vectorize_mode="vector_entry_point"
        )
    )
    runner = SingleAgentEnvRunner(config=config)
    episodes = runner.sample(num_timesteps=60, random_actions=True)
    numbers = [episode.get_observations()[:, 2] for episode in episodes if episode.is_done]
    assert numbers and all(row[-1] == row[0] + 1 for row in numbers)
    with pytest.raises(ValueError, match="NEXT_STEP"):
        make_vector_env({"factory": f"{__name__}:same_step"}, 2)
