"""The pack mind: an actor that sees what its monster sees, and a critic that sees the whole fight.

Central training, decentral execution (Lowe et al. 2017; for PPO Yu et al. 2022): the critic is needed to
learn and left out afterwards. A plain torch module without RLlib; `policies.rl_modules.team` makes it an
RLModule.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from envs.configuration import Range
from envs.contracts.central import CENTRAL_SIZE
from envs.contracts.vocabulary import ACTION_VERSIONS, LOCAL_SIZE, NUM_PACK_ORDERS, OBS_VERSION
from policies.actor_critic import choose
from policies.inference import Port, Signature, manifest, random_inputs
from policies.lstm import LSTMLayer

MODEL_TYPE = "team_coordination"
TRAINING_STEPS = 16
"""Decisions of a sequence in the profiles."""


@dataclasses.dataclass(frozen=True)
class TeamConfig:
    """Shape of the network; the profiles' values stand in `configs/team_coordination.yaml`."""

    layers: Annotated[int, Range(minimum=1, maximum=16)] = 3
    """LSTM layers of the actor."""
    units: Annotated[int, Range(minimum=1, maximum=16384)] = 256
    """Units of each LSTM layer."""
    critic_dims: Annotated[tuple[int, ...], Range(minimum=1, maximum=16384)] = (256, 256)
    """Units of the critic's layers, input side first."""
    local_size: Annotated[int, Range(minimum=1)] = LOCAL_SIZE
    """Numbers that a member observes; the environment's."""
    state_size: Annotated[int, Range(minimum=1)] = CENTRAL_SIZE
    """Numbers of the central state; the environment's."""
    num_actions: Annotated[int, Range(minimum=2)] = NUM_PACK_ORDERS
    """Orders to choose from; the environment's."""

    def validate(self) -> None:
        """Refuse a critic without layers.

        Raises:
            ValueError: `critic_dims` is empty.
        """
        if not self.critic_dims:
            raise ValueError("critic_dims is empty; give at least one layer, for example [256, 256]")


class TeamActorCritic(nn.Module):
    """Actor and critic, apart: they share no weights and no inputs but the local observation.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: TeamConfig | None = None) -> None:
        super().__init__()
        self.config = config or TeamConfig()
        self.config.validate()
        self.actor = TeamActor(self.config)
        self.critic = TeamCritic(self.config)

    def step(self, local: Tensor, state_h: Tensor, state_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The actor's next step, see `TeamActor.forward`."""
        result: tuple[Tensor, Tensor, Tensor] = self.actor(local, state_h, state_c)
        return result

    def sequence(self, local: Tensor, h: Tensor, c: Tensor, keep: Tensor) -> Tensor:
        """The actor's logits over sequences, see `TeamActor.unroll`.

        Returns:
            (row, time, action).
        """
        return self.actor.unroll(local, h, c, keep)[0]

    def values(self, state: Tensor, local: Tensor) -> Tensor:
        """The critic's values, see `TeamCritic.forward`."""
        values: Tensor = self.critic(state, local)
        return values

    def inference_form(self) -> TeamInference:
        """The actor as it is served, in evaluation mode; it shares this network's weights."""
        return TeamInference(self).eval()

    def example_inputs(self, batch: int = 2) -> tuple[Tensor, ...]:
        """Inputs of the right shapes for the inference form, the same on every call."""
        return random_inputs(self.signature(), batch)

    def signature(self) -> Signature:
        """The doors of the inference form."""
        config = self.config
        memory = (config.layers, config.units)
        return Signature(
            inputs=(
                Port("local", (config.local_size,), meaning=f"{OBS_VERSION} and archetype, one-hot"),
                Port("action_mask", (config.num_actions,), meaning="above 0.5 is legal"),
                Port("state_h", memory, meaning="next_h of the member's last decision; zeros at first"),
                Port("state_c", memory, meaning="next_c of the member's last decision; zeros at first"),
            ),
            outputs=(
                Port("probabilities", (config.num_actions,), meaning="of each order; illegal ones 0"),
                Port("action", (), "int64", "the most probable legal order"),
                Port("next_h", memory, meaning="to carry to the next decision"),
                Port("next_c", memory, meaning="to carry to the next decision"),
            ),
            mask=("action_mask", "probabilities"),
            illegal=0.0,
            choice="action",
            state=(("state_h", "next_h"), ("state_c", "next_c")),
            whole=("actor.policy_head.",),
        )

    def training_pass(self, rows: int) -> Tensor:
        """A tensor from a learning pass over so many sequences of `TRAINING_STEPS` decisions."""
        local = torch.zeros(rows, TRAINING_STEPS, self.config.local_size)
        h, c = self.actor.initial_state(rows)
        logits = self.sequence(local, h, c, torch.ones(rows, TRAINING_STEPS))
        values = self.values(torch.zeros(rows, TRAINING_STEPS, self.config.state_size), local)
        return logits.sum() + values.sum()

    served_prefixes = ("actor.",)
    """The critic is needed to learn and is not served."""

    def manifest(self) -> dict[str, Any]:
        """What the network is and what a decision costs, see `policies.inference.manifest`."""
        versions = {"observation_version": OBS_VERSION, "action_version": ACTION_VERSIONS["pack"]}
        return manifest(MODEL_TYPE, self, versions)


class TeamInference(nn.Module):
    """The served form of a `TeamActorCritic`: one member's next order, its memory carried by the caller.

    Args:
        network: The trained network; its weights are shared, not copied.
    """

    def __init__(self, network: TeamActorCritic) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, local: Tensor, action_mask: Tensor, state_h: Tensor, state_c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One decision.

        Args:
            local: Local observations, float32 (batch, local).
            action_mask: float32 (batch, order); above 0.5 is legal.
            state_h: float32 (batch, layer, unit).
            state_c: float32 (batch, layer, unit).

        Returns:
            probabilities float32 (batch, order), action int64 (batch,), next_h and next_c.
        """
        logits, next_h, next_c = self.network.step(local, state_h, state_c)
        return *choose(logits, action_mask), next_h, next_c


class TeamActor(nn.Module):
    """Stacked LSTM over the local observation, and one logit per order.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: TeamConfig) -> None:
        super().__init__()
        self.units = config.units
        inputs = (config.local_size, *[config.units] * (config.layers - 1))
        self.layers = nn.ModuleList(LSTMLayer(size, config.units) for size in inputs)
        self.policy_head = nn.Linear(config.units, config.num_actions)
        # A policy near uniform at the start (Andrychowicz et al. 2021, 3.2).
        nn.init.orthogonal_(self.policy_head.weight, gain=0.01)
        nn.init.zeros_(self.policy_head.bias)

    def initial_state(self, rows: int) -> tuple[Tensor, Tensor]:
        """What a member remembers when a fight begins: zeros.

        Returns:
            state_h and state_c, (row, layer, unit) each.
        """
        shape = (rows, len(self.layers), self.units)
        weight = self.policy_head.weight
        return weight.new_zeros(shape), weight.new_zeros(shape)

    def forward(self, local: Tensor, state_h: Tensor, state_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step, as it is served.

        Args:
            local: Local observations, float32 (row, local).
            state_h: What the last step left, (row, layer, unit).
            state_c: The same.

        Returns:
            Logits (row, action), illegal orders included, and the state for the next step, twice
            (row, layer, unit).
        """
        seen = local
        after_h, after_c = [], []
        for number, layer in enumerate(self.layers):
            seen, c = layer.step(seen, state_h[:, number], state_c[:, number])  # type: ignore[operator]
            after_h.append(seen)
            after_c.append(c)
        return self.policy_head(seen), torch.stack(after_h, dim=1), torch.stack(after_c, dim=1)

    def unroll(self, local: Tensor, h: Tensor, c: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Many steps at once, for learning; equals stepping.

        Args:
            local: Local observations, float32 (row, time, local).
            h: The state before the first step, (row, layer, unit).
            c: The same.
            keep: (row, time), float or bool; 0 where a member's state starts anew before that step.

        Returns:
            Logits (row, time, action), and the state after the last step, twice (row, layer, unit).
        """
        seen = local.permute(1, 2, 0)
        keep = keep.t()[:, None].to(local.dtype)
        h, c = h.permute(1, 2, 0), c.permute(1, 2, 0)
        after_h, after_c = [], []
        for number, layer in enumerate(self.layers):
            seen, last_h, last_c = layer.sequence(seen, h[number], c[number], keep)  # type: ignore[operator]
            after_h.append(last_h)
            after_c.append(last_c)
        logits: Tensor = self.policy_head(seen.permute(2, 0, 1))
        return logits, torch.stack(after_h).permute(2, 0, 1), torch.stack(after_c).permute(2, 0, 1)


class TeamCritic(nn.Module):
    """Value of a fight for one of its members, from the central state and what the member sees.

    The first layer is split, W_s state + W_l local + b: the state's part is the same for all members of a
    fight, so it is computed once, and the state is never copied per member.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: TeamConfig) -> None:
        super().__init__()
        dims = config.critic_dims
        self.of_state = nn.Linear(config.state_size, dims[0])
        self.of_local = nn.Linear(config.local_size, dims[0], bias=False)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(dims))
        self.value_head = nn.Linear(dims[-1], 1)
        for layer in (self.of_state, self.of_local, *self.hidden):
            nn.init.orthogonal_(layer.weight, gain=nn.init.calculate_gain("tanh"))
        for layer in (self.of_state, *self.hidden, self.value_head):
            nn.init.zeros_(layer.bias)
        nn.init.orthogonal_(self.value_head.weight, gain=1.0)

    def forward(self, state: Tensor, local: Tensor) -> Tensor:
        """Values.

        Args:
            state: Central states, float32 (fight, ..., state).
            local: Local observations, float32 (fight x member, ..., local); row = fight x members + member.

        Returns:
            (fight x member, ...).
        """
        of_local = self.of_local(local)
        fights = state.shape[0]
        of_local = of_local.unflatten(0, (fights, -1))  # (fight, member, ..., unit)
        hidden = torch.tanh(of_local + self.of_state(state).unsqueeze(1)).flatten(0, 1)
        for layer in self.hidden:
            hidden = torch.tanh(layer(hidden))
        values: Tensor = self.value_head(hidden)
        return values.squeeze(-1)
