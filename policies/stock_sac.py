"""RLlib's own SAC module with networks of `SoftActorCritic`'s shape, and the way between both."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.algorithms.sac.sac_catalog import SACCatalog
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from torch import Tensor, nn
from torch.nn import functional

from envs.configuration import load_dataclass
from policies.soft_actor_critic import (
    LOG_STD_MAX,
    GaussianActor,
    SoftActorCritic,
    SoftActorCriticConfig,
    TwinCritics,
)


class Encoder(nn.Module):
    """Hidden layers with ReLU over what a batch holds: the actor's or a critic's.

    Args:
        layers: Linear layers, input side first.
        columns: Columns of the batch that make the input, side by side.
    """

    def __init__(self, layers: nn.ModuleList, columns: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = layers
        self.columns = columns

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What RLlib's heads read, (row, unit)."""
        hidden = torch.cat([batch[column] for column in self.columns], dim=-1)
        for layer in self.layers:
            hidden = functional.relu(layer(hidden))
        return {ENCODER_OUT: hidden}


class GaussianHead(nn.Module):
    """The actor's last layer, its standard deviation held above the archetype's noise.

    Args:
        linear: Gives mean and logarithm of the standard deviation.
        log_std_min: Floor of the logarithm.
    """

    def __init__(self, linear: nn.Linear, log_std_min: float) -> None:
        super().__init__()
        self.linear = linear
        self.log_std_min = log_std_min

    def forward(self, hidden: Tensor) -> Tensor:
        """Mean and logarithm of the standard deviation, (row, 2 x action)."""
        mean, log_std = self.linear(hidden).chunk(2, dim=-1)
        return torch.cat((mean, log_std.clamp(self.log_std_min, LOG_STD_MAX)), dim=-1)


class StockSACCatalog(SACCatalog):
    """Builds the parts of RLlib's SAC module in the shape of `SoftActorCritic`.

    RLlib's own catalog encodes observation and action apart before it joins them. The module's `model_config`
    holds "network" and "min_std", as that of `SoftActorCriticModule`.
    """

    def __init__(self, observation_space: Any, action_space: Any, model_config_dict: dict[str, Any]) -> None:
        super().__init__(observation_space, action_space, model_config_dict)
        network = dict(model_config_dict["network"])
        network["observation_size"] = int(observation_space.shape[0])
        network["action_size"] = int(action_space.shape[0])
        self.shape = load_dataclass(SoftActorCriticConfig, network, "model_config.network")
        self.actor = GaussianActor(self.shape, float(model_config_dict["min_std"]))

    def build_encoder(self, framework: str) -> Any:
        """The actor's hidden layers."""
        return Encoder(self.actor.hidden, (Columns.OBS,))

    def build_pi_head(self, framework: str) -> Any:
        """The actor's last layer."""
        return GaussianHead(self.actor.head, self.actor.log_std_min)

    def build_qf_encoder(self, framework: str) -> Any:
        """A critic's hidden layers, with torch's own initial weights as in `TwinCritics`."""
        sizes = (self.shape.observation_size + self.shape.action_size, *self.shape.hidden_dims)
        layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        return Encoder(nn.ModuleList(layers), (Columns.OBS, Columns.ACTIONS))

    def build_qf_head(self, framework: str) -> Any:
        """A critic's last layer."""
        return nn.Linear(self.shape.hidden_dims[-1], 1)


def to_soft_actor_critic(module: DefaultSACTorchRLModule) -> SoftActorCritic:
    """Copy a stock module's online weights into our class.

    Args:
        module: Built with `StockSACCatalog`.
    """
    parts: Any = module
    head: GaussianHead = parts.pi
    layers: list[nn.Linear] = list(parts.pi_encoder.layers)
    net = SoftActorCritic(
        SoftActorCriticConfig(
            hidden_dims=tuple(layer.out_features for layer in layers),
            observation_size=layers[0].in_features,
            action_size=head.linear.out_features // 2,
        )
    )
    net.actor.log_std_min = head.log_std_min
    with torch.no_grad():
        for ours, theirs in _actor_pairs(net.actor, parts):
            ours.copy_(theirs)
        for ours, theirs in _critic_pairs(net.critics, parts, ""):
            ours.copy_(theirs)
    return net


def load_soft_actor_critic(
    module: DefaultSACTorchRLModule, net: SoftActorCritic, targets: TwinCritics | None = None
) -> None:
    """Copy our weights into a stock module.

    Args:
        module: Built with `StockSACCatalog`, target networks made.
        net: Of the same shape.
        targets: Target critics; the module's stay as they are if not given.
    """
    with torch.no_grad():
        for ours, theirs in _actor_pairs(net.actor, module):
            theirs.copy_(ours)
        for ours, theirs in _critic_pairs(net.critics, module, ""):
            theirs.copy_(ours)
        if targets is not None:
            for ours, theirs in _critic_pairs(targets, module, "target_"):
                theirs.copy_(ours)


def critic_differences(critics: TwinCritics, module: DefaultSACTorchRLModule, prefix: str = "") -> float:
    """Largest difference between our critics and a stock module's.

    Args:
        critics: Ours.
        module: Built with `StockSACCatalog`.
        prefix: "target_" for its target networks.
    """
    pairs = _critic_pairs(critics, module, prefix)
    return max(float((ours - theirs).abs().max()) for ours, theirs in pairs)


def _actor_pairs(actor: GaussianActor, module: Any) -> list[tuple[Tensor, Tensor]]:
    ours = [*actor.hidden, actor.head]
    theirs = [*module.pi_encoder.layers, module.pi.linear]
    return [
        (getattr(a, name).detach(), getattr(b, name).detach())
        for a, b in zip(ours, theirs, strict=True)
        for name in ("weight", "bias")
    ]


def _critic_pairs(critics: TwinCritics, module: Any, prefix: str) -> list[tuple[Tensor, Tensor]]:
    """Views of the same shape; ours are (critic, input, output), RLlib's (output, input)."""
    pairs = []
    for number, name in enumerate(("qf", "qf_twin")):
        encoder, head = getattr(module, f"{prefix}{name}_encoder"), getattr(module, f"{prefix}{name}")
        for k, layer in enumerate([*encoder.layers, head]):
            pairs.append((critics.weights[k].detach()[number].T, layer.weight.detach()))
            pairs.append((critics.biases[k].detach()[number, 0], layer.bias.detach()))
    return pairs
