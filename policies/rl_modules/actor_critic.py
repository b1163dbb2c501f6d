"""ActorCritic as an RLModule of RLlib: what its PPO loss asks for, and masked sampling for our lane."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from envs.configuration import load_dataclass
from policies.actor_critic import ActorCritic, ActorCriticConfig, draw_actions, mask_logits
from policies.rl_modules.masks import new_generator, observation_size, split_mask


class ActorCriticModule(TorchRLModule, ValueFunctionAPI):
    """An `ActorCritic` that RLlib can act with and train.

    `model_config` holds "network", the plain form of an `ActorCriticConfig`, and "keep_logits", whether
    acting gives the logits too (the KL penalty needs them).
    """

    def setup(self) -> None:
        """Build the network from `model_config`; sizes come from the spaces."""
        settings: Any = self.model_config
        action_space: Any = self.action_space
        network = dict(settings.get("network", {}))
        network["observation_size"] = observation_size(self.observation_space)
        network["num_actions"] = int(action_space.n)
        self.net = ActorCritic(load_dataclass(ActorCriticConfig, network, "model_config.network"))
        self.keep_logits = bool(settings.get("keep_logits", False))
        self.exploration_random = new_generator()

    def act(self, columns: dict[str, Tensor], *, explore: bool, env_steps: int) -> dict[str, Tensor]:
        """Actions for the columnar runner.

        Args:
            columns: obs (row, observation), action_mask bool (row, action) optional.
            explore: Draw from the policy instead of taking its mode.
            env_steps: Not used.

        Returns:
            actions int64 (row,), and if exploring action_logp (row,), and action_dist_inputs (row, action) if
            they are kept.
        """
        with torch.no_grad():
            obs, mask = split_mask(columns)
            logits = mask_logits(self.net.logits(obs).float(), mask)
            if not explore:
                return {Columns.ACTIONS: logits.argmax(dim=-1)}
            actions = draw_actions(logits, self.exploration_random)
            logp = logits.gather(1, actions.unsqueeze(1)).squeeze(1) - logits.logsumexp(dim=-1)
            output = {Columns.ACTIONS: actions, Columns.ACTION_LOGP: logp}
            if self.keep_logits:
                output[Columns.ACTION_DIST_INPUTS] = logits
            return output

    def acting_parameters(self) -> list[torch.nn.Parameter]:
        """What an env runner in another process needs a copy of: also the critic, for advantages."""
        return list(self.net.parameters())

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Values of `obs`, float32 (row,)."""
        return self.net.values(split_mask(batch)[0]).float()

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        """Masked logits, float32 (row, action)."""
        obs, mask = split_mask(batch)
        return {Columns.ACTION_DIST_INPUTS: mask_logits(self.net.logits(obs).float(), mask)}
