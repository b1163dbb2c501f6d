"""Soft actor-critic's losses on columns: two critics, the actor and the temperature in one backward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.algorithms.sac.torch.sac_torch_learner import SACTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from torch import Tensor, nn
from torch.nn import functional

from policies.columnar.flat import FlatParameters
from policies.columnar.fused.sac_update import sac_update
from policies.columnar.learner import ColumnarLearner, Fused, Group, Loss
from policies.rl_modules.soft_actor_critic import SoftActorCriticModule
from policies.settings import SACTrainingConfig
from policies.soft_actor_critic import squashed_sample

# Places in `groups`.
ACTOR, CRITICS, TEMPERATURE = range(3)


class ColumnarSACLearner(ColumnarLearner, SACTorchLearner):  # type: ignore[misc]
    """SAC learner. The temperature is a parameter of the module's state, so that it is saved with it.

    RLlib keeps it beside the module and loses it when it restores.
    """

    net_module: SoftActorCriticModule

    def groups(self) -> list[Group]:
        """Actor, critics and temperature, each with a learning rate of its own."""
        training: SACTrainingConfig = self.run.training
        wanted = training.target_entropy
        actions: Any = self.net_module.action_space
        self.wanted_entropy = -float(actions.shape[0]) if wanted is None else float(wanted)
        self.log_alpha = nn.Parameter(torch.tensor([math.log(training.initial_alpha)], device=self._device))
        return [
            Group("actor", list(self.net_module.net.actor.parameters()), training.learning_rate),
            Group("critics", list(self.net_module.net.critics.parameters()), training.critic_learning_rate),
            Group("temperature", [self.log_alpha], training.alpha_learning_rate),
        ]

    def build(self) -> None:
        """Build as RLlib does; look up what each update needs."""
        super().build()
        self._target = FlatParameters(self.net_module.target_critics.parameters())
        # The stock names point at the same tensors, for whoever reads them.
        self.curr_log_alpha[DEFAULT_MODULE_ID] = self.log_alpha

    def losses(self, columns: Mapping[str, Tensor]) -> Loss:
        """Sum of the critics', the actor's and the temperature's losses.

        y = r + gamma^n (min over k of Q'_k(s', a') - alpha log pi(a'|s')), a' from pi
        critics: sum over k of mean weight x huber(Q_k(s, a) - y)
        actor: mean of alpha log pi(a|s) - min over k of Q_k(s, a), a from pi by reparameterisation
        temperature: -mean of log alpha (log pi(a|s) + target entropy)
        (Haarnoja et al. 2018, eq. 7, 9 and 18, with RLlib's Huber loss; RLlib's SACTorchLearner computes the
        same.) In the actor's loss the critics' weights are constants, so that one backward pass serves all.

        Args:
            columns: obs, new_obs, actions, rewards, terminateds, n_step, weights.
        """
        training: SACTrainingConfig = self.run.training
        net = self.net_module.net
        obs, new_obs = columns["obs"], columns["new_obs"]
        rows = obs.shape[0]
        alpha = self.log_alpha.detach().exp()
        mean, log_std = net.actor(obs)
        actions, logp = squashed_sample(mean, log_std, torch.randn_like(mean))
        with torch.no_grad():
            next_mean, next_log_std = net.actor(new_obs)
            next_actions, next_logp = squashed_sample(next_mean, next_log_std, torch.randn_like(next_mean))
            target = self.net_module.target_critics(new_obs, next_actions).amin(dim=0) - alpha * next_logp
            discount = torch.pow(training.gamma, columns["n_step"]).masked_fill(columns["terminateds"], 0.0)
            goal = torch.addcmul(columns["rewards"], discount, target)
        predicted = net.critics(obs, columns["actions"])
        errors = functional.huber_loss(predicted, goal.expand_as(predicted), reduction="none")
        critic_loss = torch.mv(errors, columns["weights"]).sum() / rows
        chosen = _frozen(net.critics, obs, actions).amin(dim=0)
        actor_loss = (alpha * logp - chosen).mean()
        # -mean of log alpha (log pi + target entropy), whose gradient needs the mean only
        entropy_gap = logp.detach().mean() + self.wanted_entropy
        alpha_loss = -(self.log_alpha * entropy_gap).squeeze(0)
        total = critic_loss + actor_loss + alpha_loss
        td_error = (predicted.detach() - goal).abs().mean(dim=0)

        def figures() -> dict[str, Tensor]:
            return {
                "loss": critic_loss,
                "actor_loss": actor_loss,
                "alpha": alpha.squeeze(0),
                "entropy_nats": -logp.mean(),
                "q_mean": chosen.mean(),
                "q_max": chosen.max(),
                "td_error": td_error.mean(),
                "explained_variance": 1.0 - (goal - predicted[0]).var() / goal.var().clamp(min=1e-8),
            }

        return Loss(total, rows, figures, td_error)

    def fused(self) -> Fused:
        """The way without autograd."""
        return sac_update(self)

    def _step(self, columns: Mapping[str, Tensor]) -> None:
        """As for all, but actor and temperature stay as they are for the first `actor_starts` updates."""
        if self.updates < self.run.training.actor_starts:
            for group in (ACTOR, TEMPERATURE):
                # Added to a gradient that is not finite 0 would hide it.
                self.flat[group].gradient.mul_(0.0)
        super()._step(columns)

    def after_warm_up(self) -> None:
        """Start the target critics where the online ones are."""
        self._target.follow(self.flat[CRITICS], 1.0)

    def after_update(self) -> None:
        """Move the target critics towards the online ones: target <- target + tau (online - target)."""
        training: SACTrainingConfig = self.run.training
        if (self.updates + 1) % training.target_period == 0:
            self._target.follow(self.flat[CRITICS], training.target_tau)

    def weights(self) -> dict[str, Tensor]:
        """The module's weights and the temperature."""
        return {**super().weights(), "log_alpha": self.log_alpha.detach()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take up `weights`."""
        rest = dict(weights)
        with torch.no_grad():
            self.log_alpha.copy_(rest.pop("log_alpha"))
        super().load_weights(rest)


def _frozen(critics: Any, obs: Tensor, actions: Tensor) -> Tensor:
    """The critics with constant weights: gradients reach the actions only."""
    hidden = torch.cat((obs, actions), dim=-1).expand(len(critics.weights[0]), -1, -1)
    last = len(critics.weights) - 1
    for k, (weight, bias) in enumerate(zip(critics.weights, critics.biases, strict=True)):
        hidden = torch.baddbmm(bias.detach(), hidden, weight.detach())
        if k < last:
            hidden = functional.relu(hidden)
    return hidden.squeeze(-1).float()
