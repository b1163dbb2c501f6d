"""The skill mind: a fight and its seven slots in, one value per (slot, target) out (dueling pointer network).

A slot is the basic attack or one of six skills, a target is an enemy, oneself or a team mate
(`envs.contracts.vocabulary`). Each slot is read by the same weights from an embedding of its kind and its 15
features, each target from its own part of `obs_v1`; a slot's query is compared with every target's key, as in
pointer networks (Vinyals et al. 2015). So what is learned of a heal holds in whichever slot it stands.

A plain torch module without RLlib; it owns its served form, example inputs, signature and manifest.
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
from envs.contracts.features import ALLY_0, ENEMY_0, FEATURES
from envs.contracts.slot_features import NUM_SKILL_FEATURES, NUM_SKILL_IDS
from envs.contracts.vocabulary import (
    MAX_TEAM_SIZE,
    NUM_ACTION_SLOTS,
    NUM_POINTERS,
    NUM_SKILL_ACTIONS,
)
from policies.combat_dqn import ILLEGAL_Q
from policies.inference import Port, Signature, manifest

MODEL_TYPE = "skill_dqn"
ROW_SIZE = OBS_SIZE + NUM_ACTION_SLOTS + NUM_ACTION_SLOTS * NUM_SKILL_FEATURES
"""Numbers of a flat row: `observation`, `skill_ids`, `skills`, in the order of the environment's Dict."""

_ENEMY_SIZE = (ALLY_0 - ENEMY_0) // MAX_TEAM_SIZE
_ALLY_SIZE = 3
_ALLIES = MAX_TEAM_SIZE - 1
_SELF = [FEATURES.index(name) for name in ("hp", "sp", "guard", "power", "stun_or_taunt", "slow", "shield")]

Width = Annotated[int, Range(minimum=1, maximum=4096)]


@dataclasses.dataclass(frozen=True)
class SkillDQNConfig:
    """Shape of the network; the profiles' values stand in `configs/skill_dqn.yaml`."""

    hidden_dims: Annotated[tuple[int, ...], Range(minimum=1, maximum=16384)] = (128, 128, 64)
    """Units of each layer of the trunk, input side first."""
    dropout: Annotated[float, Range(minimum=0.0, below=1.0)] = 0.0
    """Share of the trunk's units left out at random during an update; never while acting."""
    dueling: bool = True
    """Add a state value to the scores and take their mean over all 70 pairs away."""
    embedding: Width = 8
    """Numbers per kind of skill."""
    slot_units: Width = 32
    """Numbers that a slot is described by."""
    target_units: Width = 32
    """Numbers that a target is described by; queries and keys have as many."""
    pair_units: Width = 64
    """Units in which a slot meets the state before it asks for a target."""

    def validate(self) -> None:
        """Refuse a trunk without layers.

        Raises:
            ValueError: `hidden_dims` is empty.
        """
        if not self.hidden_dims:
            raise ValueError("hidden_dims is empty; give at least one layer, for example [128, 128, 64]")


class SkillDQN(nn.Module):
    """Q-values of every (slot, target).

    trunk h = layers of [obs_v1, mean over slots of z]; slot
    z_s = relu(E embedding(kind_s) + F features_s);
    target key k_t = W_k relu(U_t part_t + b_t); pair g_s = relu(A h + B z_s + c);
    score(s, t) = (W_q g_s) . k_t / sqrt(d) + w . g_s
    dueling: Q(s, t) = V(h) + score(s, t) - mean of score over all 70 pairs, illegal ones too
    (Wang et al. 2016, eq. 9); else Q = score.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: SkillDQNConfig | None = None) -> None:
        super().__init__()
        self.config = config or SkillDQNConfig()
        self.config.validate()
        shape = self.config
        self.embedding = nn.Embedding(NUM_SKILL_IDS, shape.embedding)
        self.slot_kind = nn.Linear(shape.embedding, shape.slot_units)
        self.slot_features = nn.Linear(NUM_SKILL_FEATURES, shape.slot_units, bias=False)
        sizes = (OBS_SIZE + shape.slot_units, *shape.hidden_dims)
        self.hidden = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in itertools.pairwise(sizes))
        self.enemy = nn.Linear(_ENEMY_SIZE, shape.target_units)
        self.self_part = nn.Linear(len(_SELF), shape.target_units)
        self.ally = nn.Linear(_ALLY_SIZE, shape.target_units)
        # Who stands in a place is the same from fight to fight, and its part of obs_v1 does not tell all.
        self.place = nn.Parameter(torch.zeros(NUM_POINTERS, shape.target_units))
        self.key = nn.Linear(shape.target_units, shape.target_units)
        self.pair_state = nn.Linear(sizes[-1], shape.pair_units)
        self.pair_slot = nn.Linear(shape.slot_units, shape.pair_units, bias=False)
        self.query = nn.Linear(shape.pair_units, shape.target_units)
        # What all pairs gain alike is no advantage: beside a state value a bias would never be learned.
        self.base = nn.Linear(shape.pair_units, 1, bias=not shape.dueling)
        self.value = nn.Linear(sizes[-1], 1) if shape.dueling else None
        self._initialize()

    def _initialize(self) -> None:
        """He et al. 2015, eq. 10, before each ReLU; the last layers near zero, so that the first targets are
        the rewards alone."""
        rectified = (*self.hidden, self.slot_kind, self.slot_features, self.enemy, self.self_part, self.ally)
        for layer in (*rectified, self.pair_state, self.pair_slot):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        for layer in (self.key, self.query):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.normal_(self.place, std=0.1)
        last = [self.base] if self.value is None else [self.base, self.value]
        for layer in last:
            nn.init.orthogonal_(layer.weight, gain=0.01)
        with torch.no_grad():
            # A score is the product of a query and a key: one of them small is enough.
            self.query.weight.mul_(0.01)
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, obs: Tensor) -> Tensor:
        """Values of all pairs; dropout is active in training mode only.

        Args:
            obs: Flat rows, float32 (row, 176).

        Returns:
            Q-values, float32 (row, 70), illegal pairs included.
        """
        return self.q_values(obs, dropout=self.training)

    def q_values(self, obs: Tensor, *, dropout: bool) -> Tensor:
        """Values of all pairs with dropout chosen by the caller.

        Args:
            obs: Flat rows, float32 (row, 176): obs_v1 (64), skill ids (7), features (7 x 15).
            dropout: Whether units of the trunk are left out at random.

        Returns:
            Q-values, float32 (row, 70), index 10 x slot + target.
        """
        seen, ids, features = obs.split(
            (OBS_SIZE, NUM_ACTION_SLOTS, NUM_ACTION_SLOTS * NUM_SKILL_FEATURES), 1
        )
        features = features.reshape(-1, NUM_ACTION_SLOTS, NUM_SKILL_FEATURES)
        return self.values_of(seen, features, ids.round().to(torch.int64), dropout=dropout)

    def values_of(self, observation: Tensor, skills: Tensor, skill_ids: Tensor, *, dropout: bool) -> Tensor:
        """Values of all pairs from the parts of an observation.

        Args:
            observation: obs_v1, float32 (row, 64).
            skills: Features of the slots, float32 (row, 7, 15).
            skill_ids: Kinds of the slots, int64 (row, 7); others than 0 to 12 count as the nearest of these.
            dropout: Whether units of the trunk are left out at random.

        Returns:
            Q-values, float32 (row, 70).
        """
        # The layer over 13 kinds, then one row of it per slot: the same as over the slots, and much cheaper.
        kinds = self.slot_kind(self.embedding.weight)
        ids = skill_ids.clamp(0, NUM_SKILL_IDS - 1)
        slots = functional.relu(functional.embedding(ids, kinds) + self.slot_features(skills))
        hidden = torch.cat((observation, slots.mean(dim=1)), dim=-1)
        for layer in self.hidden:
            hidden = functional.relu(layer(hidden))
            if self.config.dropout > 0.0:
                hidden = functional.dropout(hidden, self.config.dropout, training=dropout)
        pairs = functional.relu(self.pair_state(hidden).unsqueeze(1) + self.pair_slot(slots))
        query = self.query(pairs) * (1.0 / math.sqrt(self.config.target_units))
        scores = torch.matmul(query, self._keys(observation).transpose(1, 2)) + self.base(pairs)
        scores = scores.flatten(1)
        if self.value is None:
            return scores
        return self.value(hidden) + scores - scores.mean(dim=1, keepdim=True)

    def _keys(self, observation: Tensor) -> Tensor:
        """Keys of the ten targets, (row, 10, target units)."""
        enemies = observation[:, ENEMY_0:ALLY_0].reshape(-1, MAX_TEAM_SIZE, _ENEMY_SIZE)
        allies = observation[:, ALLY_0 : ALLY_0 + _ALLIES * _ALLY_SIZE].reshape(-1, _ALLIES, _ALLY_SIZE)
        own = observation[:, _SELF].unsqueeze(1)
        parts = torch.cat((self.enemy(enemies), self.self_part(own), self.ally(allies)), dim=1)
        keys: Tensor = self.key(functional.relu(parts + self.place))
        return keys

    def inference_form(self) -> SkillDQNInference:
        """The network as it is served: action mask applied and the best legal pair chosen.

        Returns:
            A module in evaluation mode that shares this network's weights.
        """
        return SkillDQNInference(self).eval()

    def example_inputs(self, batch: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs of the right shapes for the inference form, the same on every call.

        Args:
            batch: Rows.

        Returns:
            observation float32 (batch, 64) in [-1, 1], skills float32 (batch, 7, 15) in [0, 1], skill_ids
            int64 (batch, 7) in 0 to 12, action_mask float32 (batch, 70) of 0 and 1, waiting always legal.
        """
        generator = torch.Generator().manual_seed(0)
        observation = torch.rand((batch, OBS_SIZE), generator=generator) * 2.0 - 1.0
        skills = torch.rand((batch, NUM_ACTION_SLOTS, NUM_SKILL_FEATURES), generator=generator)
        ids = torch.randint(0, NUM_SKILL_IDS, (batch, NUM_ACTION_SLOTS), generator=generator)
        mask = (torch.rand((batch, NUM_SKILL_ACTIONS), generator=generator) < 0.3).float()
        mask[:, MAX_TEAM_SIZE] = 1.0
        return observation, skills, ids, mask

    def signature(self) -> Signature:
        """The doors of the inference form."""
        slots = f"{NUM_ACTION_SLOTS} slots: basic attack, six skills"
        return Signature(
            inputs=(
                Port("observation", (OBS_SIZE,), meaning="obs_v1"),
                Port(
                    "skills",
                    (NUM_ACTION_SLOTS, NUM_SKILL_FEATURES),
                    meaning=f"{slots}; envs.contracts.slot_features",
                ),
                Port(
                    "skill_ids",
                    (NUM_ACTION_SLOTS,),
                    "int64",
                    f"{slots}; kind of each, 0 none, 12 basic attack",
                ),
                Port("action_mask", (NUM_SKILL_ACTIONS,), meaning="above 0.5 is legal; 10 x slot + target"),
            ),
            outputs=(
                Port("q_values", (NUM_SKILL_ACTIONS,), meaning="value of each pair, 10 x slot + target"),
                Port("action", (), "int64", "the best legal pair"),
            ),
            mask=("action_mask", "q_values"),
            illegal=ILLEGAL_Q,
            choice="action",
        )

    def manifest(self) -> dict[str, Any]:
        """What the network is and what a decision costs, see `policies.inference.manifest`."""
        versions = {"observation_version": OBS_VERSION, "action_version": ACTION_VERSIONS["skill"]}
        return manifest(MODEL_TYPE, self, versions)


class SkillDQNInference(nn.Module):
    """The served form of a `SkillDQN`: (observation, skills, skill_ids, action_mask) -> (q_values, action).

    Args:
        network: The trained network; its weights are shared, not copied.
    """

    def __init__(self, network: SkillDQN) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, observation: Tensor, skills: Tensor, skill_ids: Tensor, action_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Choose the best legal pair of each row.

        Args:
            observation: obs_v1, float32 (batch, 64).
            skills: Features of the slots, float32 (batch, 7, 15).
            skill_ids: Kinds of the slots, int64 (batch, 7).
            action_mask: float32 (batch, 70); above 0.5 is legal.

        Returns:
            q_values float32 (batch, 70) with `ILLEGAL_Q` where illegal, action int64 (batch,). A row without
            a legal pair gives action 0.
        """
        q_values = self.network.values_of(observation, skills, skill_ids, dropout=False)
        q_values = torch.where(action_mask > 0.5, q_values, torch.full_like(q_values, ILLEGAL_Q))
        return q_values, torch.argmax(q_values, dim=-1)
