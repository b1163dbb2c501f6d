"""PPO's loss on columns, and the passes over one round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from torch import Tensor

from policies.actor_critic import mask_logits
from policies.columnar.fused.ppo_update import ppo_update
from policies.columnar.learner import ColumnarLearner, Fused, Group, Loss
from policies.rl_modules.actor_critic import ActorCriticModule
from policies.rl_modules.masks import ACTION_MASK
from policies.settings import PPOTrainingConfig

Columns = Mapping[str, Tensor]


class ColumnarPPOLearner(ColumnarLearner, PPOTorchLearner):
    """PPO learner; the weight of the KL penalty is part of its state (RLlib loses it when it restores)."""

    net_module: ActorCriticModule

    def build(self) -> None:
        """Build as RLlib does, with the KL penalty's and the entropy bonus's weights as plain numbers."""
        super().build()
        training: PPOTrainingConfig = self.run.training
        self.kl_coeff = training.kl_coeff
        self.entropy_coeff = training.entropy_coeff
        self.row_counts: Tensor | None = None
        """Rows of this update that the policy and the critic learn from, over all learners, where masked."""

    def groups(self) -> list[Group]:
        """The whole network."""
        return [Group("network", list(self.net_module.net.parameters()), self.run.training.learning_rate)]

    def fused(self) -> Fused | None:
        """The way without autograd."""
        return ppo_update(self)

    def learn(self, columns: Mapping[str, NDArray[Any]], *, minibatches: int, seed: int) -> dict[str, float]:
        """Several passes over the rows of one round.

        Args:
            columns: (row, ...); obs, actions, action_logp, advantages, value_targets, and masks if any.
                Several learners get rows of their own, as many minibatches, and not as many rows.
            minibatches: Gradient steps per pass.
            seed: Of the order of rows.

        Returns:
            kl, the mean divergence over the last pass.
        """
        rows = {name: torch.from_numpy(column).to(self._device) for name, column in columns.items()}
        training: PPOTrainingConfig = self.run.training
        self.net_module.train()
        divergence: list[Tensor] = []
        for last, minibatch in self._minibatches(rows, minibatches, training.passes, seed):
            loss = self.update_columns(minibatch)
            if last and loss.td_error is not None:
                divergence.append(loss.td_error)
        mean = torch.stack(divergence).mean() if divergence else torch.zeros(())
        if self.num_learners > 1:
            # One penalty for all: each has seen rows of its own.
            torch.distributed.all_reduce(mean)
            mean = mean / self.num_learners
        kl = float(mean)
        self._adapt_penalty(kl)
        return {"kl": kl}

    def with_own_logp(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The columns with `action_logp` (and `action_dist_inputs`) as the policy gives them now.

        Args:
            columns: As `learn`.
        """
        with torch.no_grad(), self.autocast():
            obs = torch.from_numpy(columns["obs"]).to(self._device)
            mask = columns.get(ACTION_MASK)
            legal = None if mask is None else torch.from_numpy(mask).to(self._device)
            logits = mask_logits(self.net_module.net.logits(obs).float(), legal).cpu()
            taken = logits.gather(1, torch.from_numpy(columns["actions"]).unsqueeze(1)).squeeze(1)
            found = {**columns, "action_logp": (taken - logits.logsumexp(dim=1)).numpy()}
            if "action_dist_inputs" in columns:
                found["action_dist_inputs"] = logits.numpy()
            return found

    def losses(self, columns: Columns) -> Loss:
        """Clipped surrogate, clipped value error, entropy bonus and, if asked for, KL penalty.

        L = -min(rho A, clip(rho, 1 - eps, 1 + eps) A) + c_v min((V - target)^2, c_clip) - c_e H + c_kl KL,
        rho = pi(a|s) / pi_old(a|s)   (Schulman et al. 2017, eq. 7 to 9)
        RLlib's PPOTorchLearner computes the same.

        Args:
            columns: As `learn`; `action_dist_inputs` too if there is a KL penalty.
        """
        logits, values = self.net_module.net(columns["obs"])
        logits = mask_logits(logits.float(), columns.get(ACTION_MASK))
        return self.surrogate(columns, logits, values.float())

    def surrogate(
        self,
        columns: Columns,
        logits: Tensor,
        values: Tensor,
        policy_rows: Tensor | None = None,
        value_rows: Tensor | None = None,
    ) -> Loss:
        """The loss from the network's outputs.

        Args:
            columns: actions, action_logp, advantages, value_targets, with the shape of `values`.
            logits: (..., action), masked.
            values: (...).
            policy_rows: float (...), 1 where the policy learns; all rows if not given.
            value_rows: float (...), 1 where the critic learns; all rows if not given.
        """
        training: PPOTrainingConfig = self.run.training
        advantages, targets = columns["advantages"], columns["value_targets"]
        log_all = torch.log_softmax(logits, dim=-1)
        log_ratio = log_all.gather(-1, columns["actions"].unsqueeze(-1)).squeeze(-1) - columns["action_logp"]
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1.0 - training.clip, 1.0 + training.clip)
        surrogate = torch.minimum(advantages * ratio, advantages * clipped)
        entropy = -(log_all.exp() * log_all).sum(dim=-1)
        error = (values - targets).square()
        policy_part = -surrogate - self.entropy_coeff * entropy
        value_part = training.value_coeff * error.clamp(max=training.value_clip)
        if policy_rows is None or value_rows is None:
            rows: Tensor | int = values.numel()
            mean: Callable[[Tensor], Tensor] = torch.mean
            total = (policy_part + value_part).mean()
        else:
            rows = policy_rows.sum().clamp(min=1.0)

            def masked_mean(value: Tensor) -> Tensor:
                return (value * policy_rows).sum() / rows

            mean = masked_mean
            total = mean(policy_part) + (value_part * value_rows).sum() / value_rows.sum().clamp(min=1.0)
            if self.row_counts is not None:
                # Of all learners: each part has a mean of its own, so no one weight of rows fits both.
                deciding, valued = self.row_counts.clamp(min=1.0)
                sums = (policy_part * policy_rows).sum() / deciding + (value_part * value_rows).sum() / valued
                total, rows = sums * (self.num_learners * training.accumulate), 1
        # Schulman's estimate of the KL divergence, never negative: mean of (rho - 1) - log rho
        divergence = mean((ratio - 1.0 - log_ratio).detach())
        if training.kl_coeff > 0.0:
            old = torch.log_softmax(columns["action_dist_inputs"], dim=-1)
            divergence = mean((old.exp() * (old - log_all)).sum(dim=-1))
            total = total + self.kl_coeff * divergence
            divergence = divergence.detach()

        def figures() -> dict[str, Tensor]:
            spread = targets.var().clamp(min=1e-8)
            return {
                "loss": total,
                "policy_loss": -mean(surrogate),
                "value_loss": error.mean(),
                "entropy_bits": mean(entropy) / 0.6931471805599453,
                "kl": divergence,
                "clipped_share": mean((ratio != clipped).float()),
                "explained_variance": 1.0 - (targets - values).var() / spread,
            }

        return Loss(total, rows, figures, divergence)

    def extra_scalars(self) -> dict[str, float]:
        """The weights of the KL penalty and of the entropy bonus."""
        return {"kl_coeff": self.kl_coeff, "entropy_coeff": self.entropy_coeff}

    def set_extra_scalars(self, scalars: Mapping[str, float]) -> None:
        """Take up `extra_scalars`."""
        self.kl_coeff = float(scalars["kl_coeff"])
        self.entropy_coeff = float(scalars["entropy_coeff"])

    def _minibatches(
        self, rows: Columns, minibatches: int, passes: int, seed: int
    ) -> Iterator[tuple[bool, Columns]]:
        """(whether it is of the last pass, minibatch), in an order that the seed decides."""
        random = np.random.Generator(np.random.PCG64(seed))
        count = len(next(iter(rows.values())))
        clock, seconds = self.phases.clock, self.phases.seconds
        for number in range(passes):
            order = torch.from_numpy(random.permutation(count)).to(self._device)
            for part in torch.tensor_split(order, minibatches):
                started = clock()
                minibatch = {name: column.index_select(0, part) for name, column in rows.items()}
                seconds["build"] += clock() - started
                yield number == passes - 1, minibatch

    def _adapt_penalty(self, kl: float) -> None:
        """Hold the divergence near its target (Schulman et al. 2017, section 4; factors as in RLlib)."""
        training: PPOTrainingConfig = self.run.training
        if training.kl_coeff == 0.0:
            return
        if kl > 2.0 * training.kl_target:
            self.kl_coeff *= 1.5
        elif kl < 0.5 * training.kl_target:
            self.kl_coeff *= 0.5
