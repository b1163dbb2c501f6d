"""PPO's update of an `ActorCritic` without autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policies.columnar.fused import ppo as kernel
from policies.columnar.fused.dense import DenseChain, linear_layers
from policies.columnar.fused.figures import explained_variance
from policies.columnar.fused.ppo import ppo_loss
from policies.rl_modules.masks import ACTION_MASK

if TYPE_CHECKING:
    from policies.columnar.ppo_learner import ColumnarPPOLearner

_NATS_PER_BIT = 0.6931471805599453


def ppo_update(learner: ColumnarPPOLearner) -> Callable[[Mapping[str, Tensor]], Any]:
    """The function that computes a minibatch's loss and writes its gradient.

    Args:
        learner: Built, on the CPU.
    """
    from policies.columnar.learner import Loss

    network = learner.net_module.net
    activation = network.config.activation
    shared_linears = _linears(network.shared)
    shared = (
        DenseChain(linear_layers(shared_linears, activation, last=activation)) if shared_linears else None
    )
    actor = DenseChain(linear_layers([*_linears(network.actor), network.policy_head], activation))
    critic = DenseChain(linear_layers([*_linears(network.critic), network.value_head], activation))
    training = learner.run.training
    no_mask, no_logits = np.zeros((0, 0), np.bool_), np.zeros((0, 0), np.float32)
    sums = np.zeros(kernel.NUM_SUMS)
    number = np.float32

    def update(columns: Mapping[str, Tensor]) -> Loss:
        clock, seconds = learner.phases.clock, learner.phases.seconds
        started = clock()
        obs = columns["obs"]
        hidden = obs if shared is None else shared.forward(obs)
        logits, values = actor.forward(hidden), critic.forward(hidden)
        logits_gradient, values_gradient = torch.empty_like(logits), torch.empty_like(values)
        array = {name: column.numpy() for name, column in columns.items()}
        penalised = training.kl_coeff > 0.0
        ppo_loss(
            logits.numpy(),
            values.numpy(),
            array.get(ACTION_MASK, no_mask),
            array["action_dist_inputs"] if penalised else no_logits,
            array["actions"],
            array["action_logp"],
            array["advantages"],
            array["value_targets"],
            number(training.clip),
            number(training.value_clip),
            number(training.value_coeff),
            number(learner.entropy_coeff),
            number(learner.kl_coeff if penalised else 0.0),
            logits_gradient.numpy(),
            values_gradient.numpy(),
            sums,
        )
        computed = clock()
        deeper = shared is not None
        from_actor = actor.backward(logits_gradient, need_input=deeper)
        from_critic = critic.backward(values_gradient, need_input=deeper)
        if shared is not None and from_actor is not None and from_critic is not None:
            shared.backward(from_actor.add_(from_critic))
        seconds["forward"] += computed - started
        seconds["backward"] += clock() - computed
        rows = obs.shape[0]
        figures = ppo_figures(sums, rows, learner, penalised)
        return Loss(figures["loss"], rows, lambda: figures, torch.tensor(figures["kl"]))

    return update


def ppo_figures(
    sums: NDArray[np.float64], rows: int, learner: ColumnarPPOLearner, penalised: bool
) -> dict[str, float]:
    """The figures of `ColumnarPPOLearner.losses` from the sums of `ppo_loss`."""
    mean = sums / rows
    kl = float(mean[kernel.KL] if penalised else mean[kernel.ESTIMATED_KL])
    loss = (
        -mean[kernel.SURROGATE]
        + learner.run.training.value_coeff * mean[kernel.CLIPPED_VALUE_LOSS]
        - learner.entropy_coeff * mean[kernel.ENTROPY]
        + (learner.kl_coeff * kl if penalised else 0.0)
    )
    return {
        "loss": float(loss),
        "policy_loss": -float(mean[kernel.SURROGATE]),
        "value_loss": float(mean[kernel.VALUE_LOSS]),
        "entropy_bits": float(mean[kernel.ENTROPY]) / _NATS_PER_BIT,
        "kl": kl,
        "clipped_share": float(mean[kernel.CLIPPED]),
        "explained_variance": explained_variance(
            sums, rows, (kernel.TARGET_SUM, kernel.TARGET_SQUARES), (kernel.ERROR_SUM, kernel.ERROR_SQUARES)
        ),
    }


def _linears(layers: nn.Sequential) -> list[nn.Module]:
    return [layer for layer in layers if isinstance(layer, nn.Linear)]
