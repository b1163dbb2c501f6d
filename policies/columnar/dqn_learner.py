"""Double DQN's loss on columns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from torch import Tensor
from torch.nn import functional

from policies.columnar.flat import FlatParameters
from policies.columnar.fused.dense import RELU, DenseChain, linear_layers
from policies.columnar.fused.dqn import (
    ERROR_SQUARES,
    ERROR_SUM,
    GOAL_SQUARES,
    GOAL_SUM,
    LOSS,
    NUM_SUMS,
    Q_MAX,
    Q_SUM,
    TD_SUM,
    dqn_loss,
)
from policies.columnar.fused.figures import explained_variance
from policies.columnar.learner import ColumnarLearner, Fused, Group, Loss
from policies.combat_dqn import CombatDQN, mask_illegal
from policies.rl_modules.combat_dqn import ACTION_MASK, NEW_ACTION_MASK, CombatDQNModule
from policies.settings import DQNTrainingConfig


class ColumnarDQNLearner(ColumnarLearner, DQNTorchLearner):
    """DQN learner; the target network moves after every `target_period` updates."""

    net_module: CombatDQNModule

    def groups(self) -> list[Group]:
        """The online network."""
        rate = self.run.training.learning_rate
        return [Group("online", list(self.net_module.net.parameters()), rate)]

    def build(self) -> None:
        """Build as RLlib does; the target network is one flat vector too."""
        super().build()
        self._target = FlatParameters(self.net_module.target_net.parameters())

    def losses(self, columns: Mapping[str, Tensor]) -> Loss:
        """Huber loss of the TD error, weighted by importance.

        y = r + gamma^n Q'(s', argmax over legal a of Q(s', a))   (van Hasselt et al. 2016, eq. 4)
        loss = mean of weight x huber(Q(s, a) - y)
        RLlib's DQNTorchLearner computes the same.

        Args:
            columns: obs, new_obs, actions, rewards, terminateds, n_step, weights, and masks if any.
        """
        training: DQNTrainingConfig = self.run.training
        network, target = self.net_module.net, self.net_module.target_net
        predicted = network(columns["obs"]).float()
        q_values = predicted.gather(1, columns["actions"].unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            new_obs = columns["new_obs"]
            target_next = target.q_values(new_obs, dropout=False).float()
            chooser = network.q_values(new_obs, dropout=False).float() if training.double_q else target_next
            if NEW_ACTION_MASK in columns:
                chooser = mask_illegal(chooser, columns[NEW_ACTION_MASK])
            best = target_next.gather(1, chooser.argmax(dim=1, keepdim=True)).squeeze(1)
            discount = torch.pow(training.gamma, columns["n_step"]).masked_fill(columns["terminateds"], 0.0)
            goal = torch.addcmul(columns["rewards"], discount, best)
        huber = functional.huber_loss(q_values, goal, reduction="none")
        total = torch.dot(huber, columns["weights"]) / huber.shape[0]
        td_error = (q_values.detach() - goal).abs()

        def figures() -> dict[str, Tensor]:
            legal = predicted.detach()
            if ACTION_MASK in columns:
                legal = mask_illegal(legal, columns[ACTION_MASK])
            return {
                "loss": total,
                "q_mean": q_values.mean(),
                "q_max": legal.max(),
                "td_error": td_error.mean(),
                "explained_variance": _explained(goal, q_values.detach()),
            }

        return Loss(total, huber.shape[0], figures, td_error)

    def fused(self) -> Fused | None:
        """The way without autograd, for plain layers one after the other without dropout."""
        network, target = self.net_module.net, self.net_module.target_net
        if not isinstance(network, CombatDQN) or network.config.dropout > 0.0:
            return None
        online = DenseChain(linear_layers([*network.hidden, network.head], RELU))
        chooser = DenseChain(online.layers)
        goals = DenseChain(linear_layers([*target.hidden, target.head], RELU))
        training: DQNTrainingConfig = self.run.training
        discounts = np.power(training.gamma, np.arange(training.n_step + 1)).astype(np.float32)
        no_mask, sums = np.zeros((0, 0), np.bool_), np.zeros(NUM_SUMS)

        def update(columns: Mapping[str, Tensor]) -> Loss:
            clock, seconds = self.phases.clock, self.phases.seconds
            started = clock()
            rows = columns["obs"].shape[0]
            head = online.forward(columns["obs"])
            head_target = goals.forward(columns["new_obs"])
            head_next = chooser.forward(columns["new_obs"]) if training.double_q else head_target
            gradient, td_error = torch.empty_like(head), torch.empty(rows)
            array = {name: column.numpy() for name, column in columns.items()}
            dqn_loss(
                head.numpy(),
                head_next.numpy(),
                head_target.numpy(),
                network.config.dueling,
                array.get(ACTION_MASK, no_mask),
                array.get(NEW_ACTION_MASK, no_mask),
                array["actions"],
                array["rewards"],
                array["terminateds"],
                array["n_step"],
                array["weights"],
                discounts,
                gradient.numpy(),
                td_error.numpy(),
                sums,
            )
            computed = clock()
            online.backward(gradient)
            seconds["forward"] += computed - started
            seconds["backward"] += clock() - computed
            return Loss(float(sums[LOSS]) / rows, rows, lambda: _figures(sums, rows), td_error)

        return update

    def after_warm_up(self) -> None:
        """Start the target network where the online one is."""
        self._target.follow(self.flat[0], 1.0)

    def after_update(self) -> None:
        """Move the target network towards the online one: target <- target + tau (online - target)."""
        training: DQNTrainingConfig = self.run.training
        if (self.updates + 1) % training.target_period == 0:
            self._target.follow(self.flat[0], training.target_tau)


def _figures(sums: NDArray[np.float64], rows: int) -> dict[str, float]:
    """The figures of `losses` from the sums of `dqn_loss`."""
    return {
        "loss": float(sums[LOSS]) / rows,
        "q_mean": float(sums[Q_SUM]) / rows,
        "q_max": float(sums[Q_MAX]),
        "td_error": float(sums[TD_SUM]) / rows,
        "explained_variance": explained_variance(
            sums, rows, (GOAL_SUM, GOAL_SQUARES), (ERROR_SUM, ERROR_SQUARES)
        ),
    }


def _explained(goal: Tensor, predicted: Tensor) -> Tensor:
    """Explained variance of the values: 1 - Var(goal - predicted) / Var(goal)."""
    return 1.0 - (goal - predicted).var() / goal.var().clamp(min=1e-8)
