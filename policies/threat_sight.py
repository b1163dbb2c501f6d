"""What the threat mind looks at in its inputs: distances, deeds, wounds, and whom enemies may aim at."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.contracts import OBS_SIZE
from envs.contracts.features import ALLY_0, ENEMY_0
from envs.contracts.vocabulary import MAX_TEAM_SIZE
from envs.contracts.window import WINDOW_FEATURES

ENEMY_SIZE, ALLY_SIZE = 6, 3
NUM_OWN = ENEMY_0 + OBS_SIZE - ALLY_0 - ALLY_SIZE * (MAX_TEAM_SIZE - 1)
"""What is mine in `obs_v1`: the first 20 numbers, time and advantage."""
NUM_AIM = 9
"""Numbers that describe somebody an enemy may aim at."""
HP_CHANGE, CASTING, ACTED, GUARDED = (
    WINDOW_FEATURES.index(name) for name in ("hp_change", "casting", "acted", "guarded")
)
NUM_LOOKS = 6
"""Looks of deeds that are told apart, to say when each was last seen."""
NUM_DEED = 7
"""Numbers that describe one deed."""
CHANGE_SCALE = 4.0
"""Factor on changes of HP, which are small, within the network."""
SMALLEST, LARGEST = 1e-2, 4.0
"""Floor under the variance of an input, and bound of an input in standard deviations."""
FAR = 2.0
"""Distance that stands for a decision in which an enemy was not shown."""


class InputScale(nn.Module):
    """Inputs less their mean, over their deviation, both taken from all training batches so far.

    Rare flags and large distances get one scale. The floor under the variance keeps what hardly ever occurs
    from counting much, and the bound what was never seen from going wild.

    Args:
        inputs: numbers per row.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.centre: Tensor
        self.inverse: Tensor
        self.square: Tensor
        self.batches: Tensor
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("inverse", torch.ones(inputs))
        self.register_buffer("square", torch.zeros(inputs))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """x (row, number), scaled; in training it counts first."""
        if self.training and len(x):
            with torch.no_grad():
                self.batches += 1.0
                self.centre += (x.mean(dim=0) - self.centre) / self.batches
                self.square += ((x * x).mean(dim=0) - self.square) / self.batches
                variance = (self.square - self.centre**2).clamp(min=0.0)
                self.inverse.copy_(torch.rsqrt(variance + SMALLEST))
        return ((x - self.centre) * self.inverse).clamp(-LARGEST, LARGEST)


def sides(delta: Tensor) -> Tensor:
    """Larger and smaller part of a vector, (..., 2): what a square's symmetries leave of it."""
    parts = delta.abs()
    return torch.stack((parts.amax(dim=-1), parts.amin(dim=-1)), dim=-1)


def own_numbers(own: Tensor) -> Tensor:
    """The first 20 numbers of `obs_v1` with the own cell as distances from the arena's middle lines."""
    return torch.cat((own[:, :2], sides(own[:, 2:4]), own[:, 4:]), dim=1)


def wounds_of(health: Tensor) -> Tensor:
    """Change of my HP share and of all of us together in each decision, (row, decision, 2)."""
    before = torch.cat((health[:, :1], health[:, :-1]), dim=1)
    change = (health - before) * (before > 0).to(health.dtype) * CHANGE_SCALE
    return torch.stack((change[..., 0], change.sum(dim=-1)), dim=-1)


def recent_sight(shown: Tensor, wounds: Tensor, recent: int) -> Tensor:
    """What an enemy showed in its last decisions, as (enemy, number) of like scale.

    Args:
        shown: (enemy, decision, 16).
        wounds: of my team, (enemy, decision, 2).
        recent: decisions.

    Returns:
        Everything that is not a vector, distance and speed, and the wounds; and how long ago deeds of each
        look were last seen: 1 now, falling to 0 as far back as the history reaches.
    """
    last = shown[:, -recent:]
    known = (last[..., 5] > 0).to(last.dtype)
    apart = last[..., :2].abs().amax(dim=-1) * known + FAR * (1.0 - known)
    speed = last[..., 2:4].abs().amax(dim=-1)
    skill, blow = shown[..., ACTED] > 0.75, (shown[..., ACTED] > 0.25) & (shown[..., ACTED] < 0.75)
    cast, healed = shown[..., CASTING] > 0.5, shown[..., HP_CHANGE] > 0.0
    looks = torch.stack(
        (blow, skill & cast, skill & ~cast, skill & healed, shown[..., GUARDED] > 0.5, healed), dim=1
    )
    length = shown.shape[1]
    age = torch.arange(1, length + 1, device=shown.device, dtype=shown.dtype) / length
    ago = (looks.to(shown.dtype) * age).amax(dim=-1)
    return torch.cat((last[..., 4:].flatten(1), apart, speed, wounds[:, -recent:].flatten(1), ago), dim=-1)


def last_deeds(shown: Tensor, wounds: Tensor, count: int) -> Tensor:
    """The last deeds of an enemy, the latest first, (enemy, count x 7).

    Of each: how long ago in 5 s (`FAR` if there was none), whether it was a skill or a blow, whether a cast
    began, a guard, how the enemy's HP changed then and in the next decision, and ours within three.
    """
    length = shown.shape[1]
    order = torch.arange(1, length + 1, device=shown.device, dtype=shown.dtype)
    place, index = torch.topk((shown[..., ACTED] > 0.25).to(shown.dtype) * order, count, dim=1)
    there = (place > 0.5).to(shown.dtype)
    change = functional.pad(shown[..., HP_CHANGE] * CHANGE_SCALE, (0, 1))
    after = functional.pad(wounds, (0, 0, 0, 2))
    columns = torch.stack(
        (
            shown[..., ACTED],
            shown[..., CASTING],
            shown[..., GUARDED],
            change[:, :-1] + change[:, 1:],
            (after[:, :-2] + after[:, 1:-1] + after[:, 2:])[..., 0],
            (after[:, :-2] + after[:, 1:-1] + after[:, 2:])[..., 1],
        ),
        dim=-1,
    )
    picked = columns.gather(1, index[..., None].expand(-1, -1, columns.shape[-1])) * there[..., None]
    ago = (length - place) / 25.0 * there + FAR * (1.0 - there)
    # Action clocks run for 5 to 6 decisions.
    just = (ago[:, :2] * 25.0 / 6.0).clamp(max=FAR)
    return torch.cat((ago, just, picked.flatten(1)), dim=-1)


def aims_of(observation: Tensor, enemies: Tensor) -> tuple[Tensor, Tensor]:
    """Whom each enemy may aim at: me, then four allies.

    Returns:
        float32 (row, slot, aim, 9): how far it stands from the enemy (2 numbers), from me, HP share, whether
        it is me, lives, is nearest to the enemy, is the most hurt, distance beyond the enemy's range; float32
        (row, slot, aim), 1 if it lives.
    """
    rows = observation.shape[0]
    allies = observation[:, ALLY_0 : ALLY_0 + ALLY_SIZE * (MAX_TEAM_SIZE - 1)]
    allies = allies.reshape(rows, MAX_TEAM_SIZE - 1, ALLY_SIZE)
    me = functional.pad(observation[:, None, :1], (2, 0))
    aims = torch.cat((me, allies), dim=1)[:, None].expand(rows, MAX_TEAM_SIZE, MAX_TEAM_SIZE, ALLY_SIZE)
    there = (aims[..., 2] > 0).to(observation.dtype)
    delta = sides(aims[..., :2] - enemies[:, :, None, :2])
    apart = delta[..., 0] * there + FAR * (1.0 - there)
    hp = aims[..., 2] + 2.0 * (1.0 - there)
    nearest = (apart <= apart.amin(dim=-1, keepdim=True)).to(observation.dtype)
    weakest = (hp <= hp.amin(dim=-1, keepdim=True)).to(observation.dtype)
    mine = functional.one_hot(torch.zeros_like(aims[..., 0, 0], dtype=torch.int64), MAX_TEAM_SIZE)
    # Range in cells / 10 stands in the observation, distances in cells / 16.
    beyond = apart - enemies[..., None, 5].abs() * (10.0 / 16.0)
    to_me = aims[..., :2].abs().amax(dim=-1)
    parts = (to_me, aims[..., 2], mine.to(apart), there, nearest, weakest, beyond)
    return torch.cat((delta, torch.stack(parts, dim=-1)), dim=-1) * there[..., None], there
