"""SoftActorCritic as an RLModule of RLlib: what its SAC loss asks for, and acting for the columnar lane."""

from __future__ import annotations

from typing import Any, cast

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import QNetAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from envs.configuration import load_dataclass
from policies.rl_modules.masks import new_generator
from policies.soft_actor_critic import SoftActorCritic, SoftActorCriticConfig, TwinCritics, squashed_sample

# What RLlib's SAC loss looks up in the outputs of `forward_train`.
QF_PREDS, QF_TWIN_PREDS = "qf_preds", "qf_twin_preds"


class SoftActorCriticModule(TorchRLModule, QNetAPI, TargetNetworkAPI):
    """A `SoftActorCritic` that RLlib can act with and train.

    `model_config` holds "network", the plain form of a `SoftActorCriticConfig`, and "min_std", the floor of
    the actor's standard deviation.
    """

    def setup(self) -> None:
        """Build the networks from `model_config`; sizes come from the spaces."""
        settings: Any = self.model_config
        observation_space: Any = self.observation_space
        action_space: Any = self.action_space
        if not action_space.shape:
            raise ValueError(
                f"soft_actor_critic got the action space {action_space}; it is for continuous actions: train "
                "combat_dqn or movement_ppo in this environment"
            )
        network = dict(settings.get("network", {}))
        network["observation_size"] = int(observation_space.shape[0])
        network["action_size"] = int(action_space.shape[0])
        config = load_dataclass(SoftActorCriticConfig, network, "model_config.network")
        self.net = SoftActorCritic(config, float(settings.get("min_std", 0.0)))
        self.exploration_random = new_generator()

    def act(self, columns: dict[str, Tensor], *, explore: bool, env_steps: int) -> dict[str, Tensor]:
        """Actions for the columnar runner.

        Args:
            columns: obs (row, observation).
            explore: Draw from the policy instead of taking tanh of its mean.
            env_steps: Not used.

        Returns:
            actions float32 (row, action) in (-1, 1).
        """
        with torch.no_grad():
            obs = columns[Columns.OBS]
            if not explore:
                return {Columns.ACTIONS: self.net(obs)}
            mean, log_std = self.net.actor(obs)
            noise = torch.randn(mean.shape, generator=self.exploration_random).to(mean.device)
            return {Columns.ACTIONS: torch.tanh(mean + log_std.exp() * noise)}

    def acting_parameters(self) -> list[torch.nn.Parameter]:
        """What an env runner in another process needs a copy of: the actor."""
        return list(self.net.actor.parameters())

    def make_target_networks(self) -> None:
        """Copy the critics; the copy takes no gradient."""
        self.target_critics = cast(TwinCritics, make_target_network(self.net.critics))

    def get_target_network_pairs(self) -> list[tuple[Any, Any]]:
        """The (online, target) pair that the learner keeps in step."""
        return [(self.net.critics, self.target_critics)]

    def compute_q_values(self, batch: dict[str, Any]) -> Tensor:  # type: ignore[override]
        """The smaller of both critics' values of `obs` and `actions`, (row,)."""
        values: Tensor = self.net.critics(batch[Columns.OBS], batch[Columns.ACTIONS])
        return values.amin(dim=0)

    def forward_target(self, batch: dict[str, Any]) -> Tensor:  # type: ignore[override]
        """The smaller of both target critics' values, (row,)."""
        values: Tensor = self.target_critics(batch[Columns.OBS], batch[Columns.ACTIONS])
        return values.amin(dim=0)

    def _forward_inference(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        return self.act(batch, explore=False, env_steps=0)

    def _forward_exploration(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        return self.act(batch, explore=True, env_steps=0)

    def _forward_train(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """The tensors that RLlib's SAC loss combines, each float32 (row,).

        Noise comes from torch's global generator, first for the current observations, then for the next ones,
        as in RLlib's own module.
        """
        obs, next_obs = batch[Columns.OBS], batch[Columns.NEXT_OBS]
        predicted = self.net.critics(obs, batch[Columns.ACTIONS])
        mean, log_std = self.net.actor(obs)
        actions, logp = squashed_sample(mean, log_std, torch.randn_like(mean))
        with torch.no_grad():
            next_mean, next_log_std = self.net.actor(next_obs)
            next_actions, next_logp = squashed_sample(next_mean, next_log_std, torch.randn_like(next_mean))
            target = self.forward_target({Columns.OBS: next_obs, Columns.ACTIONS: next_actions})
        self.net.critics.requires_grad_(False)
        chosen = self.compute_q_values({Columns.OBS: obs, Columns.ACTIONS: actions})
        self.net.critics.requires_grad_(True)
        return {
            QF_PREDS: predicted[0],
            QF_TWIN_PREDS: predicted[1],
            "q_curr": chosen,
            "logp_resampled": logp,
            "logp_next_resampled": next_logp,
            "q_target_next": target,
        }
