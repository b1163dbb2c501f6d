"""The network of the trainers that take any torch module: two towers of two hidden layers each, tanh."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def tower(inputs: int, hidden: int, outputs: int, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """Return two hidden layers and a linear output."""
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        activation(),
        nn.Linear(hidden, hidden),
        activation(),
        nn.Linear(hidden, outputs),
    )


class ActorCritic(nn.Module):
    """Actor and critic apart, as stable-baselines3's MlpPolicy and RLlib's default have them."""

    def __init__(self, inputs: int, hidden: int, actions: int) -> None:
        super().__init__()
        self.actor = tower(inputs, hidden, actions)
        self.critic = tower(inputs, hidden, 1)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `(row, action)` and values `(row, 1)`."""
        return self.actor(obs), self.critic(obs)


def seeded(seed: int) -> None:
    """Set what every trainer needs: one thread, and torch's seed."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
