"""A run in RLlib's own terms: which of its settings RLlib has a way for, and RLlib's configuration of it."""

from __future__ import annotations

import tempfile
from typing import Any, cast

import ray
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.dqn.dqn import DQN, DQNConfig
from ray.rllib.algorithms.ppo.ppo import PPO, PPOConfig
from ray.rllib.algorithms.sac.sac import SAC, SACConfig
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.tune.registry import register_env
from ray.util import log_once

from envs.configuration import ConfigError
from policies.columnar.dqn import apply_dqn_training, dqn_module_class, dqn_module_config
from policies.columnar.ppo import apply_ppo_training, entropy_coeff, ppo_module_config
from policies.columnar.sac import apply_sac_training, sac_module_config
from policies.columnar.team_ppo import team_module_config
from policies.rl_modules.actor_critic import ActorCriticModule
from policies.rl_modules.team import TeamModule
from policies.settings import ReplayTrainingConfig, Run
from policies.stock_env import ENV_NAME, env_config, make_stock_env
from policies.stock_sac import StockSACCatalog
from policies.stock_team import PACK_MODULE, PACK_NAME, make_stock_pack, pack_config

# Adam's epsilon is not a setting of RLlib's learners.
ADAM_EPS = {"dqn": 1e-8, "ppo": 1e-8, "sac": 1e-7, "team_ppo": 1e-8}


class _Logless(Algorithm):
    """Keeps RLlib's log folder, which nothing is written to, inside Ray's session instead of the home."""

    def _setup_logdir(self) -> None:
        node = ray._private.worker.global_worker.node
        assert node is not None, "policies.training.ensure_ray starts Ray before an algorithm is built"
        folder = tempfile.mkdtemp(prefix="algorithm-", dir=node.get_session_dir_path())
        self._logdir = folder  # type: ignore[assignment]


class StockDQN(_Logless, DQN):
    """RLlib's DQN."""


class StockPPO(_Logless, PPO):
    """RLlib's PPO."""


class StockSAC(_Logless, SAC):
    """RLlib's SAC."""


def check(run: Run) -> None:
    """Refuse what RLlib's own lane has no way for.

    Raises:
        ConfigError: Such a setting.
    """
    algorithm, training = cast(Any, run).algorithm, run.training
    usual = ADAM_EPS[algorithm]
    refused = {
        "training.accumulate": training.accumulate != 1 and (training.accumulate, 1),
        "training.weight_decay": training.weight_decay != 0.0 and (training.weight_decay, 0),
        "training.symmetries": training.symmetries and (True, "false"),
        "training.warm_start_fights": training.warm_start_fights > 0 and (training.warm_start_fights, 0),
        "training.adam_eps": training.adam_eps != usual and (training.adam_eps, usual),
        "precision": run.precision != "fp32" and (run.precision, "fp32"),
        "compiled": run.compiled and (True, "false"),
        "learners": run.learners > 0 and (run.learners, 0),
    }
    if isinstance(training, ReplayTrainingConfig):
        period, updates = training.target_period, training.updates_per_round
        refused |= {
            "training.updates_per_round": updates < 1 and (updates, "at least 1"),
            "training.target_period": 1 < period < updates and (period, f"1, or {updates} and more"),
            "training.rollout_length": training.rollout_length < training.n_step
            and (training.rollout_length, f"at least n_step {training.n_step}"),
        }
    for name, found in refused.items():
        if found:
            seen, allowed = found
            raise ConfigError(
                f"{name} is {seen} and RLlib's own lane can only do {allowed}; set it so, or use sampler "
                "'columnar'"
            )


def stock_config(run: Run) -> AlgorithmConfig:
    """Translate a resolved run into RLlib's configuration.

    Args:
        run: What to train, checked.

    Raises:
        ConfigError: A setting that RLlib's own lane has no way for.
    """
    check(run)
    algorithm = cast(Any, run).algorithm
    config = {"dqn": _dqn, "ppo": _ppo, "sac": _sac, "team_ppo": _team}[algorithm](cast(Any, run))
    # Says that RLlib's notice about its new API has been given: it is no news to the reader of a demo.
    kind = algorithm.removeprefix("team_").upper()
    for name in (f"Stock{kind}", kind):
        log_once(f"{name}_on_new_api_stack")
    training = run.training
    config.framework("torch")
    config.env_runners(
        num_env_runners=run.env_runners,
        num_envs_per_env_runner=training.num_envs // max(run.env_runners, 1),
        rollout_fragment_length=training.rollout_length,
    )
    if algorithm == "team_ppo":
        register_env(PACK_NAME, make_stock_pack)
        config.environment(PACK_NAME, env_config=pack_config(run), disable_env_checking=True)
    else:
        register_env(ENV_NAME, make_stock_env)
        config.environment(ENV_NAME, env_config=env_config(run))
        config.env_runners(gym_env_vectorize_mode="vector_entry_point")
    config.learners(
        num_learners=0, num_gpus_per_learner=int(run.device != "cpu" and torch.cuda.is_available())
    )
    config.reporting(min_sample_timesteps_per_iteration=0, min_time_s_per_iteration=0)
    config.debugging(seed=run.seed, log_level="ERROR")
    return config


def _schedule(run: Run, start: float, final_share: float) -> Any:
    """RLlib's form of a setting that moves linearly over the run."""
    if final_share == 1.0:
        return start
    return [[0, start], [run.planned_env_steps, start * final_share]]


def _dqn(run: Any) -> DQNConfig:
    config = DQNConfig(algo_class=StockDQN)
    apply_dqn_training(config, run)
    config.training(lr=_schedule(run, run.training.learning_rate, run.training.learning_rate_final_share))
    config.rl_module(
        rl_module_spec=RLModuleSpec(module_class=dqn_module_class(run), model_config=dqn_module_config(run))
    )
    return _replay(config, run)


def _ppo(run: Any) -> PPOConfig:
    config = _any_ppo(run)
    config.rl_module(
        rl_module_spec=RLModuleSpec(module_class=ActorCriticModule, model_config=ppo_module_config(run))
    )
    return config


def _team(run: Any) -> PPOConfig:
    """One module for all members, as on the columnar lane."""
    config = _any_ppo(run)
    module = RLModuleSpec(module_class=TeamModule, model_config=team_module_config(run))
    config.rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs={PACK_MODULE: module}))
    config.multi_agent(policies={PACK_MODULE}, policy_mapping_fn=lambda *_args, **_kwargs: PACK_MODULE)
    # RLlib counts decisions and compares them with a minibatch, which counts members.
    config.training(minibatch_size=min(run.training.minibatch_size, run.training.rows_per_round))
    return config


def _any_ppo(run: Any) -> PPOConfig:
    config = PPOConfig(algo_class=StockPPO)
    apply_ppo_training(config, run)
    training = run.training
    config.training(
        lr=_schedule(run, training.learning_rate, training.learning_rate_final_share),
        entropy_coeff=_schedule(run, entropy_coeff(run), training.entropy_coeff_final_share),
    )
    return config


def _sac(run: Any) -> SACConfig:
    config = SACConfig(algo_class=StockSAC)
    apply_sac_training(config, run)
    training = run.training
    share = training.learning_rate_final_share
    config.training(
        actor_lr=_schedule(run, training.learning_rate, share),
        critic_lr=_schedule(run, training.critic_learning_rate, share),
        alpha_lr=_schedule(run, training.alpha_learning_rate, share),
    )
    config.rl_module(
        rl_module_spec=RLModuleSpec(
            module_class=DefaultSACTorchRLModule,
            catalog_class=StockSACCatalog,
            model_config=sac_module_config(run),
        )
    )
    return _replay(config, run)


def _replay(config: Any, run: Any) -> Any:
    """Buffer, and as many updates and moves of the target network per decision as the run has."""
    training = run.training
    runners = run.env_runners
    # What RLlib divides by (dqn.calculate_rr_weights), local runner included.
    rows = training.rollout_length * (training.num_envs // max(runners, 1)) * max(runners + 1, 1)
    period_rounds = training.target_period / training.updates_per_round
    buffer: dict[str, Any] = {"type": "EpisodeReplayBuffer", "capacity": training.buffer_capacity}
    if training.priority_alpha > 0.0:
        buffer["type"] = "PrioritizedEpisodeReplayBuffer"
        buffer |= {"alpha": training.priority_alpha, "beta": training.priority_beta}
    config.training(
        replay_buffer_config=buffer,
        training_intensity=training.updates_per_round * training.batch_size / rows,
        target_network_update_freq=(
            0 if training.target_period == 1 else int(period_rounds * training.rows_per_round)
        ),
        store_buffer_in_checkpoints=run.checkpoint_replay,
    )
    return config
