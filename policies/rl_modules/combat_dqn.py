"""CombatDQN as an RLModule of RLlib: what its DQN loss asks for, and masked epsilon-greedy exploration."""

from __future__ import annotations

from typing import Any, cast

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import QNetAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from envs.configuration import load_dataclass
from policies.combat_dqn import CombatDQN, CombatDQNConfig, mask_illegal

# What RLlib's DQN loss looks up in the outputs of `forward_train`.
QF_PREDS = "qf_preds"
QF_NEXT_PREDS = "qf_next_preds"
QF_TARGET_NEXT_PREDS = "qf_target_next_preds"
ACTION_MASK = "action_mask"
NEW_ACTION_MASK = "new_action_mask"


class CombatDQNModule(TorchRLModule, QNetAPI, TargetNetworkAPI):
    """A `CombatDQN` that RLlib can act with and train.

    `model_config` holds "network" (the plain form of a `CombatDQNConfig`), "double_q", and "epsilon" with
    initial, final and decay_steps of the linear schedule over environment steps.
    """

    def setup(self) -> None:
        """Build the network from `model_config`; sizes come from the spaces."""
        settings: Any = self.model_config
        observation_space: Any = self.observation_space
        action_space: Any = self.action_space
        network = dict(settings.get("network", {}))
        network["observation_size"] = int(observation_space.shape[0])
        network["num_actions"] = int(action_space.n)
        self.net = CombatDQN(load_dataclass(CombatDQNConfig, network, "model_config.network"))
        self.double_q = bool(settings.get("double_q", True))
        self.epsilon = dict(settings.get("epsilon", {"initial": 0.0, "final": 0.0, "decay_steps": 0}))
        # Not torch's global one: what else runs in the process must not change what is explored.
        self.exploration_random = torch.Generator(device="cpu")

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
        q_values = self.net(batch[Columns.OBS])
        if ACTION_MASK in batch:
            q_values = mask_illegal(q_values, batch[ACTION_MASK])
        return {QF_PREDS: q_values}

    def make_target_networks(self) -> None:
        """Copy the network; the copy never drops units and takes no gradient."""
        self.target_net = cast(CombatDQN, make_target_network(self.net))

    def get_target_network_pairs(self) -> list[tuple[Any, Any]]:
        """The (online, target) pair that the learner keeps in step."""
        return [(self.net, self.target_net)]

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Q-values of `obs` by the target network, unmasked, without dropout."""
        return {QF_PREDS: self.target_net.q_values(batch[Columns.OBS], dropout=False)}

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
            if ACTION_MASK in batch:
                scores = scores.masked_fill(~batch[ACTION_MASK], -1.0)
            explore = draw[:, 0] < self.current_epsilon(t)
            return {Columns.ACTIONS: torch.where(explore, scores.argmax(dim=-1), q_values.argmax(dim=-1))}

    def _forward_train(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """The three sets of values that RLlib's DQN loss combines, each float32 (row, action).

        The next actions are chosen among the legal ones only, without dropout and without gradient: the
        target is detached in the loss, so a graph for it would be built and thrown away.
        """
        output = {QF_PREDS: self.net(batch[Columns.OBS])}
        with torch.no_grad():
            next_obs = batch[Columns.NEXT_OBS]
            target = self.forward_target({Columns.OBS: next_obs})[QF_PREDS]
            online = self.net.q_values(next_obs, dropout=False) if self.double_q else target
            if NEW_ACTION_MASK in batch:
                target = mask_illegal(target, batch[NEW_ACTION_MASK])
                online = mask_illegal(online, batch[NEW_ACTION_MASK])
        output[QF_TARGET_NEXT_PREDS] = target
        output[QF_NEXT_PREDS] = online
        return output
