"""Soft actor-critic: a squashed Gaussian over continuous controls, and two critics side by side.

A plain torch module without RLlib; `policies.rl_modules.soft_actor_critic` makes it an RLModule. The two
critics are one stack of matrices `(critic, input, output)`, so that both cost one pass.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.configuration import Range
from envs.contracts import ACTION_VERSIONS, OBS_SIZE, OBS_VERSION
from envs.contracts.vocabulary import CONTROL_PARTS, NUM_CONTROL_PARTS
from policies.inference import Port, Signature, manifest, random_inputs

Widths = Annotated[tuple[int, ...], Range(minimum=1, maximum=16384)]
MODEL_TYPE = "soft_actor_critic"
NUM_CRITICS = 2
# Limits of the standard deviation's logarithm, as in Haarnoja et al. 2018 and everybody since.
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
_LOG_SQRT_2_PI = 0.5 * math.log(2.0 * math.pi)


@dataclasses.dataclass(frozen=True)
class SoftActorCriticConfig:
    """Shape of the networks; the profiles' values stand in `configs/soft_actor_critic.yaml`."""

    hidden_dims: Widths = (128, 128)
    """Units of the hidden layers of the actor and of each critic."""
    observation_size: Annotated[int, Range(minimum=1)] = OBS_SIZE
    """Numbers per observation; the environment's."""
    action_size: Annotated[int, Range(minimum=1)] = NUM_CONTROL_PARTS
    """Numbers per action; the environment's."""
    initial_log_std: Annotated[float, Range(minimum=LOG_STD_MIN, maximum=LOG_STD_MAX)] = -0.5
    """Logarithm of the actor's standard deviation at the start, before squashing."""

    def validate(self) -> None:
        """Refuse networks without hidden layers.

        Raises:
            ValueError: `hidden_dims` is empty.
        """
        if not self.hidden_dims:
            raise ValueError("hidden_dims is empty; give at least one layer, for example [128, 128]")


class GaussianActor(nn.Module):
    """Mean and standard deviation of an action before it is squashed by tanh.

    Args:
        config: Shape.
        min_std: Floor of the standard deviation: the archetype's exploration noise.
    """

    def __init__(self, config: SoftActorCriticConfig, min_std: float = 0.0) -> None:
        super().__init__()
        self.log_std_min = max(LOG_STD_MIN, math.log(max(min_std, 1e-12)))
        sizes = (config.observation_size, *config.hidden_dims)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.head = nn.Linear(sizes[-1], 2 * config.action_size)
        nn.init.orthogonal_(self.head.weight, gain=0.01)
        with torch.no_grad():
            self.head.bias.zero_()
            self.head.bias[config.action_size :] = config.initial_log_std

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters of the Gaussian.

        Args:
            obs: (row, observation).

        Returns:
            mean and log standard deviation, float32 (row, action) each.
        """
        hidden = obs
        for layer in self.hidden:
            hidden = functional.relu(layer(hidden))
        mean, log_std = self.head(hidden).float().chunk(2, dim=-1)
        return mean, log_std.clamp(self.log_std_min, LOG_STD_MAX)


class TwinCritics(nn.Module):
    """Two independent Q-networks computed together.

    Args:
        config: Shape.
    """

    def __init__(self, config: SoftActorCriticConfig) -> None:
        super().__init__()
        sizes = (config.observation_size + config.action_size, *config.hidden_dims, 1)
        pairs = list(itertools.pairwise(sizes))
        self.weights = nn.ParameterList(torch.empty(NUM_CRITICS, a, b) for a, b in pairs)
        self.biases = nn.ParameterList(torch.empty(NUM_CRITICS, 1, b) for _, b in pairs)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            # torch's own default of nn.Linear: uniform in +-1 / sqrt(inputs)
            limit = 1.0 / math.sqrt(weight.shape[1])
            nn.init.uniform_(weight, -limit, limit)
            nn.init.uniform_(bias, -limit, limit)

    def forward(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Both values.

        Args:
            obs: (row, observation).
            actions: (row, action).

        Returns:
            Q-values, float32 (critic, row).
        """
        hidden = torch.cat((obs, actions), dim=-1).expand(NUM_CRITICS, -1, -1)
        last = len(self.weights) - 1
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if k < last:
                hidden = functional.relu(hidden)
        return hidden.squeeze(-1).float()


class SoftActorCritic(nn.Module):
    """Actor and critics.

    Args:
        config: Shape of the networks.
        min_std: Floor of the actor's standard deviation.
    """

    def __init__(self, config: SoftActorCriticConfig | None = None, min_std: float = 0.0) -> None:
        super().__init__()
        self.config = config or SoftActorCriticConfig()
        self.config.validate()
        self.actor = GaussianActor(self.config, min_std)
        self.critics = TwinCritics(self.config)

    def forward(self, obs: Tensor) -> Tensor:
        """The best guess without noise: tanh of the mean, (row, action) in (-1, 1)."""
        return torch.tanh(self.actor(obs)[0])

    def inference_form(self) -> SoftActorCriticInference:
        """The actor as it is served, in evaluation mode; it shares this network's weights."""
        return SoftActorCriticInference(self).eval()

    def example_inputs(self, batch: int = 2) -> tuple[Tensor, ...]:
        """obs float32 (batch, observation), the same on every call."""
        return random_inputs(self.signature(), batch)

    def signature(self) -> Signature:
        """The doors of the inference form."""
        return Signature(
            inputs=(Port("obs", (self.config.observation_size,), meaning=OBS_VERSION),),
            outputs=(
                Port(
                    "control", (self.config.action_size,), meaning=f"in (-1, 1): {', '.join(CONTROL_PARTS)}"
                ),
            ),
            whole=("actor.head.",),
        )

    served_prefixes = ("actor.",)
    """The critics are needed to learn and are not served."""

    def manifest(self) -> dict[str, Any]:
        """What the network is and what a decision costs, see `policies.inference.manifest`."""
        versions = {"observation_version": OBS_VERSION, "action_version": ACTION_VERSIONS["control"]}
        return manifest(MODEL_TYPE, self, versions)


class SoftActorCriticInference(nn.Module):
    """The served form of a `SoftActorCritic`: obs -> control, without noise.

    Args:
        network: The trained network; its weights are shared, not copied.
    """

    def __init__(self, network: SoftActorCritic) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor) -> Tensor:
        """tanh of the mean, float32 (batch, part) in (-1, 1), from observations float32 (batch, 64)."""
        control: Tensor = self.network(obs)
        return control


def squashed_sample(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """An action a = tanh(u), u = mean + std x noise, and the logarithm of its density.

    log pi(a) = sum over i of log N(u_i) - log(1 - tanh(u_i)^2), with
    log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)), which does not lose its digits at large u
    (Haarnoja et al. 2018, appendix C, eq. 21)

    Args:
        mean: (row, action).
        log_std: (row, action).
        noise: standard normal (row, action).

    Returns:
        actions (row, action) in (-1, 1), log density (row,).
    """
    before = mean + log_std.exp() * noise
    gaussian = -0.5 * noise.square() - log_std - _LOG_SQRT_2_PI
    squashing = 2.0 * (math.log(2.0) - before - functional.softplus(-2.0 * before))
    return torch.tanh(before), (gaussian - squashing).sum(dim=-1)
