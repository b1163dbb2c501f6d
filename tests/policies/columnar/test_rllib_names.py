"""Names of RLlib that are private or that the lane depends on silently; Ray is pinned for them.

If one of these tests fails after a change of Ray: read the named place in the new release, adapt the module
of `policies` that the message names, and run the whole of tests/policies and `make test-learning`.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.dqn import dqn, dqn_learner
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from policies.rl_modules import combat_dqn as ours


def test_ray_is_the_release_that_the_lane_was_written_for() -> None:
    assert ray.__version__ == "2.60.0", (
        f"Ray is {ray.__version__}; policies/columnar was written for 2.60.0: check every name in this "
        "file, then change the pin in constraints.txt and here"
    )


@pytest.mark.parametrize(
    ("owner", "name", "user"),
    [
        (Algorithm, "_create_local_replay_buffer_if_necessary", "policies/columnar/dqn.py"),
        (Algorithm, "training_step", "policies/columnar/dqn.py"),
        (Algorithm, "_setup_logdir", "policies/columnar/dqn.py"),
        (Learner, "compute_loss_for_module", "policies/columnar/learner.py"),
        (Learner, "configure_optimizers_for_module", "policies/columnar/learner.py"),
        (Learner, "get_optimizer", "policies/columnar/learner.py"),
        (LearnerGroup, "foreach_learner", "policies/columnar/dqn.py"),
        (SingleAgentEnvRunner, "make_env", "policies/columnar/env_runner.py"),
        (SingleAgentEnvRunner, "sample", "policies/columnar/env_runner.py"),
        (TorchRLModule, "_forward_exploration", "policies/columnar/env_runner.py"),
        (TorchRLModule, "_forward_inference", "policies/columnar/env_runner.py"),
        (TorchRLModule, "_forward_train", "policies/columnar/learner.py"),
        (dqn.DQN, "_training_step_new_api_stack", "policies/columnar/dqn.py (it replaces this)"),
    ],
)
def test_names_that_the_lane_overrides_or_calls(owner: type, name: str, user: str) -> None:
    assert hasattr(owner, name), f"RLlib's {owner.__name__}.{name} is gone; {user} depends on it"


def test_output_names_of_the_loss() -> None:
    theirs = (dqn_learner.QF_PREDS, dqn_learner.QF_NEXT_PREDS, dqn_learner.QF_TARGET_NEXT_PREDS)
    assert theirs == (ours.QF_PREDS, ours.QF_NEXT_PREDS, ours.QF_TARGET_NEXT_PREDS)
    figures = (dqn_learner.QF_LOSS_KEY, dqn_learner.QF_MEAN_KEY, dqn_learner.QF_MAX_KEY)
    assert (*figures, dqn_learner.TD_ERROR_MEAN_KEY) == ("qf_loss", "qf_mean", "qf_max", "td_error_mean"), (
        "policies/columnar/learner.py looks these figures up by name"
    )


def test_column_names_of_the_batch() -> None:
    names = (Columns.OBS, Columns.NEXT_OBS, Columns.ACTIONS, Columns.REWARDS, Columns.TERMINATEDS)
    assert names == ("obs", "new_obs", "actions", "rewards", "terminateds"), (
        "policies/columnar/replay.py builds batches with these names"
    )


def test_loss_logs_only_through_the_two_calls_that_are_recorded() -> None:
    """`LossRecorder` stands in for the metrics logger meanwhile; a third kind of call would fail."""
    source = inspect.getsource(DQNTorchLearner.compute_loss_for_module)
    calls: Any = {part.split("(")[0] for part in source.split("self.metrics.")[1:]}
    assert calls == {"log_value", "log_dict"}, "policies/columnar/learner.py: extend LossRecorder"
