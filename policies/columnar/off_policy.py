"""What the algorithms with a replay buffer share: a round is act, store, and some gradient steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from envs.demonstrations import Demonstrations
from envs.symmetries import Symmetries
from policies.columnar.algorithm import ColumnarAlgorithm
from policies.columnar.demo_rounds import demonstration_rounds
from policies.columnar.learner import ColumnarLearner
from policies.columnar.replay import PrioritizedReplay
from policies.columnar.symmetry import symmetries_of
from policies.settings import ReplayTrainingConfig


class OffPolicyAlgorithm(ColumnarAlgorithm):
    """Learns from a prioritized replay buffer in the trainer's own process."""

    replay: PrioritizedReplay
    symmetries: Symmetries | None

    def setup_columnar(self) -> None:
        """Make the buffer; its sizes come from the spaces."""
        training: ReplayTrainingConfig = self.run.training
        observation_space, action_space = self._spaces()
        discrete = hasattr(action_space, "n")
        self.symmetries = symmetries_of(self.run)
        self.replay = PrioritizedReplay(
            num_envs=training.num_envs,
            capacity=training.buffer_capacity,
            observation_size=int(observation_space.shape[0]),
            action_shape=() if discrete else tuple(action_space.shape),
            num_actions=int(action_space.n) if discrete else 0,
            gamma=training.gamma,
            n_step=training.n_step,
            alpha=training.priority_alpha,
            priority_floor=training.priority_floor,
            seed=self.run.seed,
        )

    def _spaces(self) -> tuple[Any, Any]:
        """Observation and action space of one environment."""
        module: Any = self.runner.module
        return module.observation_space, module.action_space

    def take_demonstrations(self, demos: Demonstrations) -> None:
        """Begin with the demonstrated fights in the buffer: values learn from them (Hester et al. 2018)."""
        for rollout in demonstration_rounds(demos, self.run.training.num_envs, self.run.reward_factor):
            self.replay.add(rollout)

    def settings_now(self) -> dict[str, float]:
        """Settings that move over the run, as they stand now."""
        training: ReplayTrainingConfig = self.run.training
        beta = self.between(training.priority_beta, training.priority_beta_final)
        return super().settings_now() | {"priority_beta": beta, "replay_rows": len(self.replay)}

    def _round(self) -> None:
        training: ReplayTrainingConfig = self.run.training
        rollout = self.sample_round()
        with self.phases.measure("store"):
            self.replay.add(rollout)
        if self.env_steps < training.learning_starts or not training.updates_per_round:
            return
        share, beta = (
            self.learning_rate_share,
            self.between(training.priority_beta, training.priority_beta_final),
        )
        learner = self.learner
        if learner is None:
            self.on_learners(_begin_round, [{"share": share}] * self.run.learners)
        else:
            _begin_round(learner, share)
        for _ in range(training.updates_per_round):
            with self.phases.measure("build"):
                batch = self.replay.sample(training.batch_size, beta)
                columns = batch.columns
                if self.symmetries is not None:
                    codes = self.symmetries.draw(training.batch_size, self._order)
                    self.symmetries.apply(codes, {name: column.numpy() for name, column in columns.items()})
            td_errors = self._update(learner, columns)
            with self.phases.measure("prioritize"):
                self.replay.update_priorities(batch.slots, td_errors)

    def _update(self, learner: ColumnarLearner | None, columns: Mapping[str, Tensor]) -> Any:
        """One gradient step; gives the TD errors' magnitudes, float32 (row,)."""
        if learner is not None:
            return _update_columns(learner, columns)
        with self.phases.measure("sync"):
            pieces = {name: column.tensor_split(self.run.learners) for name, column in columns.items()}
            shards = [
                {"columns": {name: parts[k] for name, parts in pieces.items()}}
                for k in range(self.run.learners)
            ]
            return np.concatenate(self.on_learners(_update_columns, shards))


def _begin_round(learner: ColumnarLearner, share: float) -> None:
    learner.set_learning_rate(share)
    learner.net_module.train()


def _update_columns(learner: ColumnarLearner, columns: Mapping[str, Tensor]) -> Any:
    device = learner._device
    if device != "cpu" and str(device) != "cpu":
        columns = {name: column.to(device) for name, column in columns.items()}
    td_error = learner.update_columns(columns).td_error
    assert td_error is not None
    return td_error.cpu().numpy()
