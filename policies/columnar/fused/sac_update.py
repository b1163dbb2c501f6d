"""Soft actor-critic's update of a `SoftActorCritic` without autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from policies.columnar.fused import sac as kernel
from policies.columnar.fused.dense import RELU, DenseChain, linear_layers
from policies.columnar.fused.figures import explained_variance
from policies.columnar.fused.stacked import StackedChain
from policies.soft_actor_critic import LOG_STD_MAX

if TYPE_CHECKING:
    from policies.columnar.sac_learner import ColumnarSACLearner


class _Buffers:
    """Arrays for one batch size."""

    def __init__(self, rows: int, observation: int, action: int, critics: int) -> None:
        self.taken = torch.empty(rows, observation + action)
        self.chosen = torch.empty(rows, observation + action)
        self.next = torch.empty(rows, observation + action)
        self.actions, self.next_actions = torch.empty(rows, action), torch.empty(rows, action)
        self.logp, self.next_logp = torch.empty(rows), torch.empty(rows)
        self.at_critics, self.at_chosen = torch.empty(critics, rows, 1), torch.empty(critics, rows, 1)
        self.at_head = torch.empty(rows, 2 * action)


def sac_update(learner: ColumnarSACLearner) -> Callable[[Mapping[str, Tensor]], Any]:
    """The function that computes a batch's losses and writes their gradients.

    Args:
        learner: Built, on the CPU.
    """
    from policies.columnar.learner import Loss

    net, target_net = learner.net_module.net, learner.net_module.target_critics
    layers = linear_layers([*net.actor.hidden, net.actor.head], RELU)
    actor, next_actor = DenseChain(layers), DenseChain(layers)
    critics = StackedChain(list(net.critics.weights), list(net.critics.biases))
    chosen_critics = StackedChain(critics.weights, critics.biases)
    targets = StackedChain(list(target_net.weights), list(target_net.biases))
    training = learner.run.training
    discounts = np.power(training.gamma, np.arange(training.n_step + 1)).astype(np.float32)
    limits = np.float32(net.actor.log_std_min), np.float32(LOG_STD_MAX)
    sums = np.zeros(kernel.NUM_SUMS)
    kept: dict[int, _Buffers] = {}

    def update(columns: Mapping[str, Tensor]) -> Loss:
        clock, seconds = learner.phases.clock, learner.phases.seconds
        started = clock()
        obs, new_obs, actions = columns["obs"], columns["new_obs"], columns["actions"]
        (rows, observation), action = obs.shape, actions.shape[1]
        if rows not in kept:
            kept[rows] = _Buffers(rows, observation, action, critics.networks)
        b = kept[rows]
        alpha = np.exp(np.float32(learner.log_alpha.item()))
        head = actor.forward(obs)
        noise = torch.randn(rows, action)
        kernel.squash(head.numpy(), noise.numpy(), *limits, b.actions.numpy(), b.logp.numpy())
        next_head = next_actor.forward(new_obs)
        next_noise = torch.randn(rows, action)
        kernel.squash(
            next_head.numpy(), next_noise.numpy(), *limits, b.next_actions.numpy(), b.next_logp.numpy()
        )
        goals = targets.forward(torch.cat((new_obs, b.next_actions), dim=1, out=b.next))
        predicted = critics.forward(torch.cat((obs, actions), dim=1, out=b.taken))
        td_error = torch.empty(rows)
        array = {name: column.numpy() for name, column in columns.items()}
        kernel.critic_loss(
            predicted.numpy(),
            goals.numpy(),
            b.next_logp.numpy(),
            alpha,
            array["rewards"],
            array["terminateds"],
            array["n_step"],
            array["weights"],
            discounts,
            b.at_critics.numpy(),
            td_error.numpy(),
            sums,
        )
        chosen = chosen_critics.forward(torch.cat((obs, b.actions), dim=1, out=b.chosen))
        kernel.smaller_critic(chosen.numpy(), b.at_chosen.numpy(), sums)
        computed = clock()
        critics.backward(b.at_critics)
        through = chosen_critics.backward_to_input(b.at_chosen)
        kernel.actor_gradient(
            head.numpy(),
            noise.numpy(),
            b.actions.numpy(),
            b.logp.numpy(),
            through.numpy(),
            observation,
            alpha,
            *limits,
            b.at_head.numpy(),
            sums,
        )
        actor.backward(b.at_head)
        entropy_gap = float(sums[kernel.LOGP_SUM]) / rows + learner.wanted_entropy
        assert learner.log_alpha.grad is not None
        learner.log_alpha.grad.fill_(-entropy_gap)
        seconds["forward"] += computed - started
        seconds["backward"] += clock() - computed
        figures = _figures(sums, rows, float(alpha))
        total = figures["loss"] + figures["actor_loss"] - learner.log_alpha.item() * entropy_gap
        return Loss(total, rows, lambda: figures, td_error)

    return update


def _figures(sums: Any, rows: int, alpha: float) -> dict[str, float]:
    """The figures of `ColumnarSACLearner.losses` from the kernels' sums."""
    chosen, logp = float(sums[kernel.CHOSEN_SUM]) / rows, float(sums[kernel.LOGP_SUM]) / rows
    return {
        "loss": float(sums[kernel.CRITIC_LOSS]) / rows,
        "actor_loss": alpha * logp - chosen,
        "alpha": alpha,
        "entropy_nats": -logp,
        "q_mean": chosen,
        "q_max": float(sums[kernel.CHOSEN_MAX]),
        "td_error": float(sums[kernel.TD_SUM]) / rows,
        "explained_variance": explained_variance(
            sums, rows, (kernel.GOAL_SUM, kernel.GOAL_SQUARES), (kernel.ERROR_SUM, kernel.ERROR_SQUARES)
        ),
    }
