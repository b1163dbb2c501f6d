"""Actor and critic over the 64 numbers of a fight: one logit per action, and the value of the state.

A plain torch module without RLlib; `policies.rl_modules.actor_critic` makes it an RLModule. Shared layers
come first, then each head has its own; without shared layers actor and critic are apart.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Annotated, Any, Literal, cast

import torch
from torch import Tensor, nn

from envs.configuration import Range
from envs.contracts import ACTION_VERSIONS, OBS_SIZE, OBS_VERSION
from policies.inference import Port, Signature, manifest, random_inputs

MODEL_TYPE = "movement_ppo"
Widths = Annotated[tuple[int, ...], Range(minimum=1, maximum=16384)]
# A logit that leaves an action no probability in float32, and stays finite in float16.
ILLEGAL_LOGIT = -1e4
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


@dataclasses.dataclass(frozen=True)
class ActorCriticConfig:
    """Shape of the network; the profiles' values stand in `configs/movement_ppo.yaml`."""

    shared_dims: Widths = (128,)
    """Units of the layers that actor and critic share, input side first; may be empty."""
    actor_dims: Widths = (64,)
    """Units of the actor's own layers."""
    critic_dims: Widths = (64,)
    """Units of the critic's own layers."""
    activation: Literal["relu", "tanh"] = "tanh"
    """What follows each layer."""
    observation_size: Annotated[int, Range(minimum=1)] = OBS_SIZE
    """Numbers per observation; the environment's."""
    num_actions: Annotated[int, Range(minimum=2)] = 9
    """Actions to choose from; the environment's."""


class ActorCritic(nn.Module):
    """Policy logits and state value.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: ActorCriticConfig | None = None) -> None:
        super().__init__()
        self.config = config or ActorCriticConfig()
        shape = self.config
        width = shape.shared_dims[-1] if shape.shared_dims else shape.observation_size
        self.shared = mlp(shape.observation_size, shape.shared_dims, shape.activation)
        self.actor = mlp(width, shape.actor_dims, shape.activation)
        self.critic = mlp(width, shape.critic_dims, shape.activation)
        self.policy_head = nn.Linear(shape.actor_dims[-1] if shape.actor_dims else width, shape.num_actions)
        self.value_head = nn.Linear(shape.critic_dims[-1] if shape.critic_dims else width, 1)
        # A policy near uniform and values near their scale at the start (Andrychowicz et al. 2021, 3.2).
        nn.init.orthogonal_(self.policy_head.weight, gain=0.01)
        nn.init.orthogonal_(self.value_head.weight, gain=1.0)
        nn.init.zeros_(self.policy_head.bias)
        nn.init.zeros_(self.value_head.bias)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Both heads in one pass through the shared layers.

        Args:
            obs: Observations, float32 (row, observation).

        Returns:
            Logits (row, action), illegal actions included, and values (row,).
        """
        shared = self.shared(obs)
        return self.policy_head(self.actor(shared)), self.value_head(self.critic(shared)).squeeze(-1)

    def logits(self, obs: Tensor) -> Tensor:
        """The actor alone, (row, action)."""
        logits: Tensor = self.policy_head(self.actor(self.shared(obs)))
        return logits

    def values(self, obs: Tensor) -> Tensor:
        """The critic alone, (row,)."""
        values: Tensor = self.value_head(self.critic(self.shared(obs)))
        return values.squeeze(-1)

    def inference_form(self) -> ActorCriticInference:
        """The network as it is served, in evaluation mode; it shares this network's weights."""
        return ActorCriticInference(self).eval()

    def example_inputs(self, batch: int = 2) -> tuple[Tensor, ...]:
        """obs float32 (batch, observation), action_mask float32 (batch, action); the same on every call."""
        return random_inputs(self.signature(), batch)

    def signature(self) -> Signature:
        """The doors of the inference form."""
        size, actions = self.config.observation_size, self.config.num_actions
        return Signature(
            inputs=(
                Port("obs", (size,), meaning=OBS_VERSION),
                Port("action_mask", (actions,), meaning="above 0.5 is legal"),
            ),
            outputs=(
                Port("probabilities", (actions,), meaning="of each action; illegal ones 0"),
                Port("value", (), meaning="of the state, in the run's units of reward"),
                Port("action", (), "int64", "the most probable legal action"),
            ),
            mask=("action_mask", "probabilities"),
            illegal=0.0,
            choice="action",
            whole=("policy_head.", "value_head."),
        )

    def manifest(self) -> dict[str, Any]:
        """What the network is and what a decision costs, see `policies.inference.manifest`."""
        versions = {"observation_version": OBS_VERSION, "action_version": ACTION_VERSIONS["movement"]}
        return manifest(MODEL_TYPE, self, versions)


class ActorCriticInference(nn.Module):
    """The served form of an `ActorCritic`: (obs, action_mask) -> (probabilities, value, action).

    Args:
        network: The trained network; its weights are shared, not copied.
    """

    def __init__(self, network: ActorCritic) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor, action_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities of the legal actions, the state's value and the most probable action.

        Args:
            obs: Observations, float32 (batch, observation).
            action_mask: float32 (batch, action); above 0.5 is legal.

        Returns:
            probabilities float32 (batch, action), value float32 (batch,), action int64 (batch,).
        """
        logits, value = self.network(obs)
        probabilities, action = choose(logits, action_mask)
        return probabilities, value, action


def choose(logits: Tensor, action_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and the most probable action, as policies are served.

    Args:
        logits: float32 (row, action).
        action_mask: float32 (row, action); above 0.5 is legal.

    Returns:
        probabilities float32 (row, action), exactly 0 where illegal; action int64 (row,). A row without a
        legal action gives action 0.
    """
    legal = action_mask > 0.5
    masked = torch.where(legal, logits, torch.full_like(logits, ILLEGAL_LOGIT))
    probabilities = torch.softmax(masked, dim=-1)
    probabilities = torch.where(legal, probabilities, torch.zeros_like(probabilities))
    return probabilities, torch.argmax(masked, dim=-1)


def mlp(size: int, dims: tuple[int, ...], activation: str) -> nn.Sequential:
    """Layers with an activation after each; without `dims` it hands its input on.

    Args:
        size: Numbers that come in.
        dims: Units of each layer.
        activation: relu or tanh.
    """
    layers: list[nn.Module] = []
    gain = nn.init.calculate_gain(cast(Any, activation))
    for n_in, n_out in itertools.pairwise((size, *dims)):
        layer = nn.Linear(n_in, n_out)
        nn.init.orthogonal_(layer.weight, gain=gain)
        nn.init.zeros_(layer.bias)
        layers += [layer, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


def mask_logits(logits: Tensor, action_mask: Tensor | None) -> Tensor:
    """Logits with `ILLEGAL_LOGIT` where the mask is False.

    Args:
        logits: (row, action).
        action_mask: bool (row, action), or None where all are legal.
    """
    return logits if action_mask is None else logits.masked_fill(~action_mask, ILLEGAL_LOGIT)


def draw_actions(logits: Tensor, random: torch.Generator) -> Tensor:
    """Draw from the softmax of each row.

    argmax over a of logit(a) - log(-log(u(a))) is distributed as softmax(logit) (Gumbel 1954): one draw for
    all rows, and no cumulative sums.

    Args:
        logits: (row, action).
        random: Generator on the CPU.

    Returns:
        Actions, int64 (row,).
    """
    uniform = torch.rand(logits.shape, generator=random).clamp_(1e-20, 1.0 - 1e-7).to(logits.device)
    return (logits.float() - torch.log(-torch.log(uniform))).argmax(dim=-1)
