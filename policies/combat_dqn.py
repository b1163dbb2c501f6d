"""The combat mind: 64 numbers about a fight in, one value per combat action out (dueling Q-network).

A plain torch module without RLlib, so that export, evaluation and training share one class. It owns
everything that is needed to serve it: the inference form with the action mask inside, example inputs, the
names of inputs and outputs, and a manifest of what it costs.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.configuration import Range
from envs.contracts import ACTION_VERSION, NUM_COMBAT_ACTIONS, OBS_SIZE, OBS_VERSION
from policies.inference import Port, Signature, manifest, random_inputs

MODEL_TYPE = "combat_dqn"
# The value of an action that may not be taken. Finite, so that no arithmetic turns it into NaN, and inside
# the range of float16 (65,504).
ILLEGAL_Q = -1e4


@dataclasses.dataclass(frozen=True)
class CombatDQNConfig:
    """Shape of the network; the profiles' values stand in `configs/combat_dqn.yaml`."""

    hidden_dims: Annotated[tuple[int, ...], Range(minimum=1, maximum=16384)] = (128, 128, 64)
    """Units of each hidden layer, input side first."""
    dropout: Annotated[float, Range(minimum=0.0, below=1.0)] = 0.0
    """Share of hidden units left out at random during an update; never while acting."""
    dueling: bool = True
    """Split the head into a state value and action advantages."""
    observation_size: Annotated[int, Range(minimum=1)] = OBS_SIZE
    """Numbers per observation; 64 by the observation contract."""
    num_actions: Annotated[int, Range(minimum=2)] = NUM_COMBAT_ACTIONS
    """Actions to choose from; 10 by the combat action contract."""

    def validate(self) -> None:
        """Refuse a network without hidden layers.

        Raises:
            ValueError: `hidden_dims` is empty.
        """
        if not self.hidden_dims:
            raise ValueError("hidden_dims is empty; give at least one layer, for example [128, 128, 64]")


class CombatDQN(nn.Module):
    """Q-network: hidden layers with ReLU and dropout, then a dueling head.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: CombatDQNConfig | None = None) -> None:
        super().__init__()
        self.config = config or CombatDQNConfig()
        self.config.validate()
        sizes = (self.config.observation_size, *self.config.hidden_dims)
        layers = [nn.Linear(n_in, n_out) for n_in, n_out in itertools.pairwise(sizes)]
        self.hidden = nn.ModuleList(layers)
        # One matrix for both streams: column 0 is the state value, the rest are the advantages.
        self.head = nn.Linear(sizes[-1], self.config.num_actions + int(self.config.dueling))
        for layer in layers:
            # He et al. 2015, eq. 10: keeps the signal's variance through ten ReLU layers; torch's default
            # shrinks it.
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        # Near zero at the start, so that the first targets are the rewards alone.
        nn.init.orthogonal_(self.head.weight, gain=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, obs: Tensor) -> Tensor:
        """Values of all actions; dropout is active in training mode only.

        Args:
            obs: Observations, float32 (row, observation).

        Returns:
            Q-values, float32 (row, action), illegal actions included.
        """
        return self.q_values(obs, dropout=self.training)

    def q_values(self, obs: Tensor, *, dropout: bool) -> Tensor:
        """Values of all actions with dropout chosen by the caller.

        Args:
            obs: Observations, float32 (row, observation).
            dropout: Whether hidden units are left out at random.

        Returns:
            Q-values, float32 (row, action).
        """
        hidden = obs
        for layer in self.hidden:
            hidden = functional.relu(layer(hidden))
            if self.config.dropout > 0.0:
                hidden = functional.dropout(hidden, self.config.dropout, training=dropout)
        head = self.head(hidden)
        return combine_dueling(head) if self.config.dueling else head

    def inference_form(self) -> CombatDQNInference:
        """The network as it is served: action mask applied and the best legal action chosen.

        Returns:
            A module in evaluation mode that shares this network's weights.
        """
        return CombatDQNInference(self).eval()

    def example_inputs(self, batch: int = 2) -> tuple[Tensor, Tensor]:
        """Inputs of the right shape for the inference form, the same on every call.

        Args:
            batch: Rows.

        Returns:
            obs float32 (batch, observation) in [-1, 1], action_mask float32 (batch, action) of 0 and 1,
            with at least one legal action a row.
        """
        obs, mask = random_inputs(self.signature(), batch)
        return obs, mask

    def signature(self) -> Signature:
        """The doors of the inference form."""
        size, actions = self.config.observation_size, self.config.num_actions
        return Signature(
            inputs=(
                Port("obs", (size,), meaning=OBS_VERSION),
                Port("action_mask", (actions,), meaning="above 0.5 is legal"),
            ),
            outputs=(
                Port("q_values", (actions,), meaning="value of each action; illegal ones -10,000"),
                Port("action", (), "int64", "the best legal action"),
            ),
            mask=("action_mask", "q_values"),
            illegal=ILLEGAL_Q,
            choice="action",
            # The head is a hundredth of the weights, but the best two values often differ by less than
            # float16 can tell.
            whole=("head.",),
        )

    def manifest(self) -> dict[str, Any]:
        """What the network is and what a decision costs, see `policies.inference.manifest`."""
        versions = {"observation_version": OBS_VERSION, "action_version": ACTION_VERSION}
        return manifest(MODEL_TYPE, self, versions)


class CombatDQNInference(nn.Module):
    """The served form of a `CombatDQN`: (obs, action_mask) -> (q_values, action).

    Args:
        network: The trained network; its weights are shared, not copied.
    """

    def __init__(self, network: CombatDQN) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor, action_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Choose the best legal action of each row.

        Args:
            obs: Observations, float32 (batch, observation).
            action_mask: float32 (batch, action); above 0.5 is legal.

        Returns:
            q_values float32 (batch, action) with `ILLEGAL_Q` where illegal, action int64 (batch,). A row
            without a legal action gives action 0.
        """
        q_values = self.network.q_values(obs, dropout=False)
        q_values = torch.where(action_mask > 0.5, q_values, torch.full_like(q_values, ILLEGAL_Q))
        return q_values, torch.argmax(q_values, dim=-1)


def combine_dueling(head: Tensor) -> Tensor:
    """Q-values from a state value and action advantages.

    Q(s, a) = V(s) + A(s, a) - mean over a' of A(s, a')   (Wang et al. 2016, eq. 9)

    Args:
        head: float32 (row, 1 + action), the state value in column 0.

    Returns:
        Q-values, float32 (row, action).
    """
    advantages = head[:, 1:]
    return head[:, :1] + advantages - advantages.mean(dim=1, keepdim=True)


def mask_illegal(q_values: Tensor, action_mask: Tensor) -> Tensor:
    """Q-values with `ILLEGAL_Q` where the mask is False.

    Args:
        q_values: float32 (row, action).
        action_mask: bool (row, action).
    """
    return q_values.masked_fill(~action_mask, ILLEGAL_Q)
