"""CombatDQN as an RLModule of RLlib: what its DQN loss asks for, and masked epsilon-greedy exploration."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import QNetAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from envs.configuration import load_dataclass
from policies.combat_dqn import CombatDQN, CombatDQNConfig, mask_illegal
from policies.rl_modules.masks import (
    ACTION_MASK,
    NEW_ACTION_MASK,
    new_generator,
    observation_size,
    split_mask,
)

__all__ = ["ACTION_MASK", "NEW_ACTION_MASK", "CombatDQNModule"]

# What RLlib's DQN loss looks up in the outputs of `forward_train`.
QF_PREDS = "qf_preds"
QF_NEXT_PREDS = "qf_next_preds"
QF_TARGET_NEXT_PREDS = "qf_target_next_preds"


class CombatDQNModule(TorchRLModule, QNetAPI, TargetNetworkAPI):
    """A `CombatDQN` that RLlib can act with and train; a subclass may build another network (`build_net`).

    `model_config` holds "network" (the plain form of a `CombatDQNConfig`), "double_q", and "epsilon" with
    initial, final and decay_steps of the linear schedule over environment steps.
    """

    net: Any
    target_net: Any

    def setup(self) -> None:
        """Build the network from `model_config`; sizes come from the spaces."""
        settings: Any = self.model_config
        action_space: Any = self.action_space
        sizes = observation_size(self.observation_space), int(action_space.n)
        self.net = self.build_net(dict(settings.get("network", {})), *sizes)
        self.double_q = bool(settings.get("double_q", True))
        self.epsilon = dict(settings.get("epsilon", {"initial": 0.0, "final": 0.0, "decay_steps": 0}))
        self.exploration_random = new_generator()

    def build_net(self, network: dict[str, Any], observation_size: int, num_actions: int) -> torch.nn.Module:
        """Make the network: a module with `q_values(obs, dropout=...)`.

        Args:
            network: Plain form of its configuration.
            observation_size: Numbers per observation.
            num_actions: Actions to choose from.

        Raises:
            ConfigError: A configuration that cannot be used, or does not fit the environment.
        """
        sizes = {"observation_size": observation_size, "num_actions": num_actions}
        return CombatDQN(load_dataclass(CombatDQNConfig, network | sizes, "model_config.network"))

    def current_epsilon(self, env_steps: int) -> float:
        """Share of random actions after `env_steps` environment steps: linear, then constant."""
        steps = float(self.epsilon["decay_steps"])
        progress = 1.0 if steps <= 0 else min(env_steps / steps, 1.0)
        return float(self.epsilon["initial"] + (self.epsilon["final"] - self.epsilon["initial"]) * progress)

    def compute_q_values(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Q-values of `obs`, illegal actions masked if the batch has a mask.

        Args:
            batch: obs float32 (row, observation), action_mask bool (row, action) optional.

        Returns:
            qf_preds float32 (row, action).
        """
        obs, mask = split_mask(batch)
        q_values = self.net(obs).float()
        return {QF_PREDS: q_values if mask is None else mask_illegal(q_values, mask)}

    def act(self, columns: dict[str, Tensor], *, explore: bool, env_steps: int) -> dict[str, Tensor]:
        """Actions for the columnar runner.

        Args:
            columns: obs (row, observation), action_mask bool (row, action) optional.
            explore: Epsilon-greedy instead of greedy.
            env_steps: Environment steps sampled so far; epsilon falls with them.

        Returns:
            actions int64 (row,).
        """
        if explore:
            return self._forward_exploration(columns, t=env_steps)
        return self._forward_inference(columns)

    def acting_parameters(self) -> list[torch.nn.Parameter]:
        """What an env runner in another process needs a copy of."""
        return list(self.net.parameters())

    def make_target_networks(self) -> None:
        """Copy the network; the copy never drops units and takes no gradient."""
        self.target_net = make_target_network(self.net)

    def get_target_network_pairs(self) -> list[tuple[Any, Any]]:
        """The (online, target) pair that the learner keeps in step."""
        return [(self.net, self.target_net)]

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Q-values of `obs` by the target network, unmasked, without dropout."""
        return {QF_PREDS: self.target_net.q_values(split_mask(batch)[0], dropout=False)}

    def _forward_inference(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        with torch.no_grad():
            return {Columns.ACTIONS: self.compute_q_values(batch)[QF_PREDS].argmax(dim=-1)}

    def _forward_exploration(self, batch: dict[str, Tensor], t: int = 0, **kwargs: Any) -> dict[str, Tensor]:
        """Epsilon-greedy over the legal actions.

        Args:
            batch: obs float32 (row, observation), action_mask bool (row, action) optional.
            t: Environment steps sampled so far.
            **kwargs: Ignored.
        """
        with torch.no_grad():
            q_values = self.compute_q_values(batch)[QF_PREDS]
            rows, num_actions = q_values.shape
            draw = torch.rand((rows, num_actions + 1), generator=self.exploration_random).to(q_values.device)
            # The largest of independent uniforms is each legal one with equal chance.
            scores = draw[:, 1:]
            mask = split_mask(batch)[1]
            if mask is not None:
                scores = scores.masked_fill(~mask, -1.0)
            explore = draw[:, 0] < self.current_epsilon(t)
            return {Columns.ACTIONS: torch.where(explore, scores.argmax(dim=-1), q_values.argmax(dim=-1))}

    def _forward_train(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """The three sets of values that RLlib's DQN loss combines, each float32 (row, action).

        The next actions are chosen among the legal ones only, without dropout and without gradient: the
        target is detached in the loss, so a graph for it would be built and thrown away.
        """
        output = {QF_PREDS: self.net(split_mask(batch)[0])}
        with torch.no_grad():
            next_obs, next_mask = split_mask(batch, Columns.NEXT_OBS)
            target = self.target_net.q_values(next_obs, dropout=False)
            online = self.net.q_values(next_obs, dropout=False) if self.double_q else target
            if next_mask is not None:
                target, online = mask_illegal(target, next_mask), mask_illegal(online, next_mask)
        output[QF_TARGET_NEXT_PREDS] = target
        output[QF_NEXT_PREDS] = online
        return output
