"""Answers about the next seconds, from what a monster sees now and what it remembers.

Enemies are treated alike, and so are those whom they may turn to: weights are shared over slots, and only
what is read from the memory tells them apart.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.contracts.features import ALLY_0, ENEMY_0
from envs.contracts.token import TOKEN_SIZE
from envs.contracts.vocabulary import ARCHETYPES, MAX_TEAM_SIZE
from envs.contracts.window import NUM_WINDOW_FEATURES
from envs.perception.labels import DEEDS

ENEMIES, ALLIES = MAX_TEAM_SIZE, MAX_TEAM_SIZE - 1
OTHERS = ALLIES + ENEMIES
"""Everybody but the monster: team mates first."""
SIDE = 1 + ALLIES
"""The monster itself and its team mates: whom an enemy may turn to."""
UNITS = SIDE + ENEMIES
"""Order of units in answers: the monster, its team mates, its enemies."""
TARGETS = SIDE + 1
"""The side's units, and nobody."""
KINDS = len(ARCHETYPES)
MOMENTS = 5
"""HP is foretold after 1, 2, 3, 4, 5 s."""
DEAD = -1e4
"""Logit of a target that does not live."""
FAR = 9.0
"""More than any distance or HP share."""


class Decision(NamedTuple):
    """What a monster sees at a decision; any leading axes.

    Attributes:
        token: (..., 80), `sequence_token`.
        opponents: (..., enemy, 16), `opponent_features`.
        kinds: (..., team mates and enemies, archetype), one-hot, zeros where nobody is.
        aims: (..., enemy, target), one-hot: whom each enemy aims at now; zeros of the dead.
        deeds: (..., enemy, deed), one-hot: what it did since the last decision; zeros of the dead.
    """

    token: Tensor
    opponents: Tensor
    kinds: Tensor
    aims: Tensor
    deeds: Tensor

    def flat(self) -> Tensor:
        """All its numbers behind each other, (..., number)."""
        return torch.cat([self.token, *(part.flatten(-2) for part in self[1:])], dim=-1)


NUMBERS = TOKEN_SIZE + OTHERS * KINDS + ENEMIES * (NUM_WINDOW_FEATURES + TARGETS + len(DEEDS))
"""Numbers of a decision."""
_ENEMY = 6 + NUM_WINDOW_FEATURES + KINDS + TARGETS + len(DEEDS) + 1
_FRIEND = 3 + 1 + KINDS + 1
_PAIR = 6


def shares(token: Tensor) -> Tensor:
    """HP shares of all units as the token shows them, (..., unit); 0 of the dead and of empty slots."""
    return torch.cat([token[..., :1], _mates(token)[..., 2], _enemies(token)[..., 2]], dim=-1)


def scene(seen: Decision) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A decision unit by unit.

    Returns:
        - (..., enemy, 49): its part of the observation, what it shows, archetype, aim, deed, its aim's HP.
        - (..., friend, 11): the monster and its team mates: dx, dy, HP share, 1 for the monster, archetype of
          a team mate, share of the enemy slots that aim at it.
        - (..., enemy, friend, 6): distance, distance beyond the enemy's nearest, 1 for that one, HP share
          beyond the least, 1 for that one, 1 if aimed at.
        - (..., friend) bool: who lives.
    """
    token, aims = seen.token, seen.aims[..., :SIDE]
    enemies, mates = _enemies(token), _mates(token)
    own = torch.cat([torch.zeros_like(token[..., :2]), token[..., :1]], dim=-1)
    side = torch.cat([own[..., None, :], mates], dim=-2)
    hp = side[..., 2]
    lives = hp > 0.0
    enemy = torch.cat(
        [
            enemies,
            seen.opponents,
            seen.kinds[..., ALLIES:, :],
            seen.aims,
            seen.deeds,
            aims @ hp[..., None],
        ],
        dim=-1,
    )
    is_self = torch.cat([torch.ones_like(own[..., :1]), torch.zeros_like(mates[..., 0])], dim=-1)
    kinds = functional.pad(seen.kinds[..., :ALLIES, :], (0, 0, 1, 0))
    aimed_at = aims.mean(dim=-2)
    friend = torch.cat([side, is_self[..., None], kinds, aimed_at[..., None]], dim=-1)
    distance = (side[..., None, :, :2] - enemies[..., :, None, :2]).abs().amax(dim=-1)
    near = _beyond_least(distance, lives[..., None, :])
    weak = _beyond_least(hp, lives)[..., None, :].expand_as(near)
    firsts = [(value <= 0.0).to(value.dtype) for value in (near, weak)]
    pair = torch.stack([distance, near, firsts[0], weak, firsts[1], aims], dim=-1)
    return enemy, friend, pair, lives


class TemporalHeads(nn.Module):
    """Next deed and next target of each enemy, and the change of everybody's HP share.

    Args:
        width: Numbers that the transformer says of a decision.
        units: Of the small layers, per enemy and per friend.
    """

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.recall = nn.Linear(width, (ENEMIES + SIDE) * units)
        self.enemy = nn.Linear(_ENEMY, units)
        self.enemy_mix = nn.Linear(units, units)
        self.friend = nn.Linear(_FRIEND, units)
        self.friend_mix = nn.Linear(units, units)
        self.deed = nn.Linear(units, len(DEEDS))
        self.turn = nn.Linear(units, units + _PAIR)
        self.nobody = nn.Linear(units, 1)
        self.enemy_hp = nn.Linear(units, MOMENTS)
        self.friend_hp = nn.Linear(units, MOMENTS)
        for layer in self.children():
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.deed, self.turn, self.nobody, self.enemy_hp, self.friend_hp):
            # Even chances and no change at the start.
            nn.init.normal_(layer.weight, std=0.01)

    def forward(self, h: Tensor, seen: Decision) -> tuple[Tensor, Tensor, Tensor]:
        """Answers before any calibration.

        The logit of an enemy turning to a friend is a product of what both are like, plus distance, HP and
        the present aim, weighted as the enemy's state has it.

        Args:
            h: (..., width), what the transformer says.
            seen: the decision itself.

        Returns:
            Logits of deeds (..., enemy, deed) and targets (..., enemy, target), and changes of HP shares
            (..., unit, moment).
        """
        enemy, friend, pair, lives = scene(seen)
        recalled = self.recall(h).unflatten(-1, (ENEMIES + SIDE, -1))
        foe = functional.gelu(self.enemy(enemy) + recalled[..., :ENEMIES, :])
        foe = foe + functional.gelu(self.enemy_mix(foe))
        mine = functional.gelu(self.friend(friend) + recalled[..., ENEMIES:, :])
        mine = mine + functional.gelu(self.friend_mix(mine))
        likes, weights = self.turn(foe).tensor_split([foe.shape[-1]], dim=-1)
        turn = likes @ mine.transpose(-1, -2) + (pair @ weights[..., None]).squeeze(-1)
        turn = turn.masked_fill(~lives[..., None, :], DEAD)
        targets = torch.cat([turn, self.nobody(foe)], dim=-1)
        changes = torch.cat([self.friend_hp(mine), self.enemy_hp(foe)], dim=-2)
        return self.deed(foe), targets, changes


def _enemies(token: Tensor) -> Tensor:
    return token[..., ENEMY_0 : ENEMY_0 + 6 * ENEMIES].unflatten(-1, (ENEMIES, 6))


def _mates(token: Tensor) -> Tensor:
    return token[..., ALLY_0 : ALLY_0 + 3 * ALLIES].unflatten(-1, (ALLIES, 3))


def _beyond_least(values: Tensor, lives: Tensor) -> Tensor:
    """Values less the least of the living, along the last axis; the dead have what is far away."""
    values = values.masked_fill(~lives, FAR)
    return (values - values.amin(dim=-1, keepdim=True)).clamp(max=1.0)
