"""Names of RLlib that are private or that the lanes depend on silently; Ray is pinned for them.

If one of these tests fails after a change of Ray: read the named place in the new release, adapt the module
of `policies` that the message names, and run the whole of tests/policies and `make test-learning`.
"""

from __future__ import annotations

import inspect

import pytest
import ray
import ray._private.node
import ray._private.worker
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.dqn import dqn, dqn_learner
from ray.rllib.algorithms.ppo import ppo
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.algorithms.sac import sac_learner
from ray.rllib.algorithms.sac.sac_catalog import SACCatalog
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.algorithms.sac.torch.sac_torch_learner import SACTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY, Learner
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.actor_manager import FaultTolerantActorManager

from policies.rl_modules import combat_dqn, soft_actor_critic
from policies.stock import FIGURES


def test_ray_is_the_release_that_the_lane_was_written_for() -> None:
    assert ray.__version__ == "2.60.0", (
        f"Ray is {ray.__version__}; policies/columnar was written for 2.60.0: check every name in this "
        "file, then change the pin in constraints.txt and here"
    )


@pytest.mark.parametrize(
    ("owner", "name", "user", "advice"),
    [
        (Algorithm, "_create_local_replay_buffer_if_necessary", "columnar/algorithm.py",
         "find where setup() makes a replay buffer now, and leave it out there"),
        (Algorithm, "_setup_logdir", "columnar/algorithm.py and stock.py",
         "find where Trainable chooses its log folder now (~/ray_results), and point it at Ray's session"),
        (Algorithm, "training_step", "columnar/algorithm.py", "find what Algorithm.train() calls once now"),
        (Algorithm, "setup", "columnar/algorithm.py", "find where runners and learners are built now"),
        (Algorithm, "restore_env_runners", "columnar/algorithm.py",
         "find what looks for restarted env runners now, or they get no state"),
        (Algorithm, "save_to_path", "stock.py", "use the new way of saving an algorithm"),
        (Algorithm, "restore_from_path", "stock.py", "use the new way of restoring an algorithm"),
        (AlgorithmConfig, "get_multi_rl_module_spec", "tests/policies", "build learners of tests anew"),
        (EnvRunnerGroup, "probe_unhealthy_env_runners", "columnar/algorithm.py",
         "find how a restarted env runner is counted as healthy again"),
        (EnvRunnerGroup, "foreach_env_runner", "columnar/algorithm.py", "find how to call env runners now"),
        (FaultTolerantActorManager, "foreach_actor", "columnar/algorithm.py",
         "find how to call every learner with arguments of its own"),
        (Learner, "compute_loss_for_module", "columnar/learner.py", "compare the losses anew"),
        (Learner, "configure_optimizers_for_module", "columnar/learner.py",
         "register the optimizer over flat vectors where optimizers are registered now"),
        (Learner, "register_optimizer", "columnar/learner.py", "register the optimizer in the new way"),
        (TorchLearner, "_make_modules_ddp_if_necessary", "columnar/learner.py",
         "keep DDP away from the module: gradients are added by _combine, both would add them twice"),
        (LearnerGroup, "foreach_learner", "columnar/algorithm.py and stock.py",
         "find how to get at the local learner"),
        (SingleAgentEnvRunner, "make_env", "columnar/env_runner.py", "make the vector environment elsewhere"),
        (SingleAgentEnvRunner, "make_module", "columnar/env_runner.py", "seed the module elsewhere"),
        (SingleAgentEnvRunner, "sample", "columnar/env_runner.py", "find what is called for a round now"),
        (SingleAgentEnvRunner, "get_metrics", "columnar/env_runner.py", "keep RLlib from reading episodes"),
        (TorchRLModule, "_forward", "rl_modules", "rename our forward passes"),
        (TorchRLModule, "_forward_exploration", "rl_modules", "rename our forward passes"),
        (TorchRLModule, "_forward_inference", "rl_modules", "rename our forward passes"),
        (TorchRLModule, "_forward_train", "rl_modules", "rename our forward passes"),
        (PPOTorchLearner, "_update_module_kl_coeff", "columnar/ppo_learner.py (_adapt_penalty does the same)",
         "compare the adaptation of the KL penalty anew"),
        (SACCatalog, "build_encoder", "stock_sac.py", "build the networks where RLlib's SAC does now"),
        (SACCatalog, "build_qf_encoder", "stock_sac.py", "build the networks where RLlib's SAC does now"),
        (SACCatalog, "build_pi_head", "stock_sac.py", "build the networks where RLlib's SAC does now"),
        (SACCatalog, "build_qf_head", "stock_sac.py", "build the networks where RLlib's SAC does now"),
        (DefaultSACTorchRLModule, "_forward_train_continuous", "rl_modules/soft_actor_critic.py",
         "compare the order of random draws and the names of outputs anew"),
        (dqn.DQN, "_training_step_new_api_stack", "columnar/off_policy.py (it replaces this)",
         "compare sampling and learning of a round anew"),
        (dqn, "calculate_rr_weights", "stock.py (_replay reverses it)",
         "compare updates per decision: test_stock.py counts them"),
        (ray._private.node.Node, "get_session_dir_path", "columnar/algorithm.py and stock.py",
         "find Ray's session folder another way"),
    ],
)  # fmt: skip
def test_names_that_the_lanes_override_or_call(owner: type, name: str, user: str, advice: str) -> None:
    assert hasattr(owner, name), f"RLlib's {owner.__name__}.{name} is gone; policies/{user} uses it: {advice}"


@pytest.mark.parametrize(
    ("owner", "name", "user", "advice"),
    [
        (Algorithm, "_storage", "columnar/algorithm.py", "find how a run under Tune is told apart"),
        (Algorithm, "_logdir", "columnar/algorithm.py and stock.py", "find what holds the log folder"),
        (Algorithm, "learner_group", "columnar/algorithm.py", "find what holds the learners"),
        (Algorithm, "env_runner_group", "columnar/algorithm.py", "find what holds the env runners"),
        (LearnerGroup, "_worker_manager", "columnar/algorithm.py (on_learners)",
         "find how to call every learner with arguments of its own"),
        (TorchLearner, "_device", "columnar/learner.py", "find what holds the learner's device"),
        (TorchLearner, "_named_optimizers", "stock.py (updates)", "count updates another way"),
        (SACTorchLearner, "curr_log_alpha", "columnar/sac_learner.py", "find what holds the temperature"),
        (SingleAgentEnvRunner, "_device", "columnar/env_runner.py", "find what holds the runner's device"),
        (SingleAgentEnvRunner, "_needs_initial_reset", "columnar/env_runner.py",
         "see that a runner does not reset its environment by itself"),
        (SingleAgentEnvRunner, "num_envs", "columnar/env_runner.py", "find what is read of a runner"),
        (SingleAgentEnvRunner, "worker_index", "columnar/env_runner.py", "find which runner this is"),
        (DefaultSACTorchRLModule, "pi_encoder", "stock_sac.py", "find the parts of RLlib's SAC module"),
        (DefaultSACTorchRLModule, "qf_twin_encoder", "stock_sac.py", "find the parts of RLlib's SAC module"),
        (DefaultSACTorchRLModule, "target_qf_twin_encoder", "stock_sac.py",
         "find the parts of RLlib's SAC module"),
    ],
)  # fmt: skip
def test_attributes_that_the_lanes_read_or_set(owner: type, name: str, user: str, advice: str) -> None:
    source = "".join(inspect.getsource(base) for base in owner.__mro__ if base.__module__.startswith("ray."))
    assert f"self.{name}" in source, (
        f"RLlib's {owner.__name__} has no attribute {name} any more; policies/{user} uses it: {advice}"
    )


def test_global_worker_of_ray() -> None:
    assert hasattr(ray._private.worker, "global_worker"), (
        "ray._private.worker.global_worker is gone; policies/columnar/algorithm.py and policies/stock.py "
        "take Ray's session folder from it: find it another way"
    )


def test_options_of_the_calls() -> None:
    group = inspect.signature(EnvRunnerGroup.foreach_env_runner).parameters
    assert {"local_env_runner", "remote_worker_ids"} <= set(group), (
        "EnvRunnerGroup.foreach_env_runner has other options; policies/columnar/algorithm.py "
        "(_remote_round): find how one runner is called alone"
    )
    manager = inspect.signature(FaultTolerantActorManager.foreach_actor).parameters
    assert "healthy_only" in manager, (
        "FaultTolerantActorManager.foreach_actor has other options; policies/columnar/algorithm.py "
        "(on_learners): a learner that died must give an error, not be left out"
    )


def test_names_in_the_notice_about_the_new_api() -> None:
    """The lanes say that it has been given, under the name that RLlib looks up."""
    source = inspect.getsource(AlgorithmConfig)
    assert 'log_once(f"{self.algo_class.__name__}_on_new_api_stack")' in source, (
        "RLlib gives its notice about the new API under another name, so users will read it; adapt "
        "log_once in policies/columnar/algorithm.py and policies/stock.py"
    )


def test_output_names_of_the_losses() -> None:
    theirs = (dqn_learner.QF_PREDS, dqn_learner.QF_NEXT_PREDS, dqn_learner.QF_TARGET_NEXT_PREDS)
    ours = (combat_dqn.QF_PREDS, combat_dqn.QF_NEXT_PREDS, combat_dqn.QF_TARGET_NEXT_PREDS)
    assert theirs == ours, "policies/rl_modules/combat_dqn.py gives its outputs under other names"
    twins = (sac_learner.QF_PREDS, sac_learner.QF_TWIN_PREDS)
    assert twins == (soft_actor_critic.QF_PREDS, soft_actor_critic.QF_TWIN_PREDS), (
        "policies/rl_modules/soft_actor_critic.py gives its outputs under other names"
    )
    assert ENCODER_OUT == "encoder_out", "policies/stock_sac.py: its encoders give their output under this"


def test_names_of_the_figures() -> None:
    dqn_names = (dqn_learner.QF_LOSS_KEY, dqn_learner.QF_MEAN_KEY, dqn_learner.QF_MAX_KEY)
    ppo_names = (
        ppo.LEARNER_RESULTS_VF_LOSS_UNCLIPPED_KEY,
        ppo.LEARNER_RESULTS_VF_EXPLAINED_VAR_KEY,
        ppo.LEARNER_RESULTS_KL_KEY,
        POLICY_LOSS_KEY,
        ENTROPY_KEY,
        Learner.TOTAL_LOSS_KEY,
    )
    sac_names = (sac_learner.QF_LOSS_KEY, sac_learner.LOGPS_KEY, POLICY_LOSS_KEY)
    for algorithm, names in (
        ("dqn", (*dqn_names, dqn_learner.TD_ERROR_MEAN_KEY)),
        ("ppo", ppo_names),
        ("sac", sac_names),
    ):
        assert set(names) <= set(FIGURES[algorithm].values()), (
            f"policies/stock.py looks figures of {algorithm} up by other names than RLlib's {names}"
        )


def test_column_names_of_the_batch() -> None:
    names = (Columns.OBS, Columns.NEXT_OBS, Columns.ACTIONS, Columns.REWARDS, Columns.TERMINATEDS)
    assert names == ("obs", "new_obs", "actions", "rewards", "terminateds"), (
        "policies/columnar/replay.py builds batches with these names"
    )
    assert (Columns.ACTION_LOGP, Columns.ACTION_DIST_INPUTS) == ("action_logp", "action_dist_inputs"), (
        "policies/columnar/ppo_learner.py reads these names"
    )
