"""Answers for the units that stand in a picture: how far each will have gone, what it will have lost.

Damage and enemies lie on few cells, and a token that stands for 64 of them is a poor ruler. So the units in
the picture are asked, one query each (as in Carion et al. 2020), and their answers are put together to maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.contracts.grid import G_ALLIES, G_ENEMIES, G_ME
from envs.contracts.vocabulary import MAX_TEAM_SIZE
from envs.perception.maps import STEPS
from policies.attention import Encoder

SIDE = 2 * STEPS + 1
"""Cells per edge of the square of steps."""
NUM_STEPS = SIDE * SIDE
QUERIES = 2 * MAX_TEAM_SIZE
"""Own team first, then enemies."""
FULL = 255
"""The largest value of a picture's cell."""
PAIR = 11
"""Numbers about a pair of units."""
NEAR, FAR = 2, 8
"""Cells by which small and large distances are scaled."""
UNSEEN = -1e4
"""Weight of a unit that does not exist, before the softmax; within the range of float16."""
HURT, LIVES = -2.0, 3.0
"""Biases at the start: hardly anybody is hurt, nearly everybody lives on."""
ELSEWHERE = (-13.0, -11.0)
"""Logarithms of the damage and of the chance of an enemy on a cell that no unit of the picture accounts for,
at the start."""


def find_units(grid: Tensor) -> tuple[Tensor, Tensor]:
    """Cells of at most five of the own team, oneself first, and of five enemies.

    Args:
        grid: uint8 (row, channel, y, x).

    Returns:
        Numbers of cells int64 (row, query), y x size + x; whether somebody is there, bool (row, query).
    """
    me, allies, enemies = (grid[:, channel].flatten(1).long() for channel in (G_ME, G_ALLIES, G_ENEMIES))
    cells = enemies.shape[1]
    # Among equals the lower cell first, the same in every runtime.
    order = torch.arange(cells - 1, -1, -1, device=grid.device)
    keys = torch.stack([allies + (FULL + 1) * (me > 0), enemies], dim=1) * cells + order
    best, index = torch.topk(keys, MAX_TEAM_SIZE, dim=2)
    return index.flatten(1), (best >= cells).flatten(1)


class Relations(nn.Module):
    """What each unit has to do with each other one, by where they stand: additive attention (Bahdanau et al.
    2015) over pairs, and a gated sum beside it.

    Args:
        width: Numbers per query.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.apart = nn.Linear(PAIR, width)
        self.here = nn.Linear(width, width, bias=False)
        self.there = nn.Linear(width, width, bias=False)
        self.weight = nn.Linear(width, 2)
        self.out = nn.Linear(2 * width, width)

    def forward(self, queries: Tensor, y: Tensor, x: Tensor, there: Tensor) -> Tensor:
        """Add what the others mean.

        Args:
            queries: (row, query, width).
            y: int64 (row, query), of the unit's cell.
            x: likewise.
            there: bool (row, query), whether it exists.

        Returns:
            (row, query, width).
        """
        hidden = self.apart(_pairs(y, x).to(queries.dtype))
        hidden = hidden + self.here(queries)[:, :, None] + self.there(queries)[:, None]
        hidden = functional.gelu(hidden)
        weight = self.weight(hidden).masked_fill(~there[:, None, :, None], UNSEEN)
        # A mean of the others says which way, a sum how many.
        share = torch.stack([torch.softmax(weight[..., 0], dim=2), torch.sigmoid(weight[..., 1])], dim=2)
        out: Tensor = queries + self.out((share.to(hidden.dtype) @ hidden).flatten(2))
        return out


def _pairs(y: Tensor, x: Tensor) -> Tensor:
    """Where the second unit of each pair stands, seen from the first, and who it is, float32
    (row, query, query, `PAIR`)."""
    dy, dx = (at[:, None, :] - at[:, :, None] for at in (y, x))
    far = torch.maximum(dy.abs(), dx.abs())
    number = torch.arange(QUERIES, device=y.device)
    own = number < MAX_TEAM_SIZE
    numbers = [dy / FAR, dx / FAR, dy.sign(), dx.sign()]
    numbers += [dy.clamp(-NEAR, NEAR) / NEAR, dx.clamp(-NEAR, NEAR) / NEAR, far / FAR]
    numbers += [dy.abs() == far, dx.abs() == far]
    numbers += [(own[:, None] == own).expand_as(dy), (number == 0).expand_as(dy)]
    return torch.stack([one.float() for one in numbers], dim=3)


class UnitDecoder(nn.Module):
    """Maps and steps from the tokens of a picture and the units in it.

    Args:
        width: Numbers per token.
        heads: Parallel attentions; they divide the width.
        depth: Blocks in which the units look at each other.
        hidden: Units of each block's feed-forward part.
        dropout: As in `policies.attention.Encoder`.
        recompute: Likewise.
        channels: Of the picture.
        size: Cells per edge of the picture.
        patch: Cells per edge of a patch.
        view: Cells that a unit's query sees around it, each way.
        walk: Cells that a unit may have gone, each way.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        depth: int,
        hidden: int,
        dropout: float,
        recompute: bool,
        channels: int,
        size: int,
        patch: int,
        view: int,
        walk: int,
    ) -> None:
        super().__init__()
        self.size, self.patch, self.view, self.walk = size, patch, view, walk
        self.around = nn.Linear(channels * (2 * view + 1) ** 2, 2 * width)
        self.around_out = nn.Linear(2 * width, width)
        self.rows = nn.Embedding(size, width)
        self.columns = nn.Embedding(size, width)
        self.roles = nn.Embedding(3, width)
        """Own team, enemies, and the class token."""
        self.relations = Relations(width)
        self.blocks = Encoder(width, depth, heads, hidden, dropout, recompute=recompute)
        self.move = nn.Linear(width, (2 * walk + 1) ** 2)
        self.share = nn.Linear(width, 2)
        self.step = nn.Linear(2 * width, NUM_STEPS)
        self.elsewhere = nn.Parameter(torch.tensor(ELSEWHERE))
        for table in (self.rows, self.columns, self.roles):
            nn.init.normal_(table.weight, std=0.3)
        near = (torch.arange(2 * walk + 1) - walk).abs()
        with torch.no_grad():  # a cell further is e times rarer at first
            self.move.bias.copy_(-torch.maximum(near[:, None], near).flatten().float())
            self.share.bias.copy_(torch.tensor([HURT, LIVES]))

    def forward(
        self, tokens: Tensor, picture: Tensor, cell: Tensor, there: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode.

        Args:
            tokens: (row, 1 + patch, width), the class token first.
            picture: (row, channel, y, x), what the patches were cut from.
            cell: int64 (row, query), see `find_units`.
            there: bool (row, query), likewise.

        Returns:
            Damage float32 (row, y, x); chance of an enemy float32 (row, y, x); step logits (row, 49).
        """
        y, x = cell // self.size, cell % self.size
        told = self.blocks(self._queries(tokens, picture, y, x, there), _seen(there))
        units, exists = told[:, 1:], there.float()
        share = self.share(units).float()
        lost = functional.softplus(share[:, :MAX_TEAM_SIZE, 0])
        lives = torch.sigmoid(share[:, MAX_TEAM_SIZE:, 1])
        amount = torch.cat([lost, lives], dim=1) * exists
        moves = torch.softmax(self.move(units).float(), dim=2)
        maps = self.spread(moves * amount[:, :, None], y, x).float()
        elsewhere = self.elsewhere.float().exp()
        damage = maps[:, :MAX_TEAM_SIZE].sum(dim=1) + elsewhere[0]
        # Somebody stands there unless nobody does.
        nobody = (1.0 - maps[:, MAX_TEAM_SIZE:]).prod(dim=1) * (1.0 - elsewhere[1])
        return damage, 1.0 - nobody, self.step(torch.cat([told[:, 0], told[:, 1]], dim=1))

    def _queries(self, tokens: Tensor, picture: Tensor, y: Tensor, x: Tensor, there: Tensor) -> Tensor:
        """The class token and one query per unit, (row, 1 + query, width)."""
        place = (y // self.patch) * (self.size // self.patch) + x // self.patch + 1
        own = torch.gather(tokens, 1, place[:, :, None].expand(-1, -1, tokens.shape[2]))
        role = (torch.arange(QUERIES, device=y.device) >= MAX_TEAM_SIZE).long()
        queries = own + self.rows(y) + self.columns(x) + self.roles(role)
        queries = queries + self.around_out(functional.gelu(self.around(self.crops(picture, y, x))))
        queries = self.relations(queries, y, x, there)
        return torch.cat([tokens[:, :1] + self.roles.weight[2], queries], dim=1)

    def crops(self, picture: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """The cells around each unit; beyond the picture there is nothing.

        Args:
            picture: (row, channel, y, x).
            y: int64 (row, query).
            x: likewise.

        Returns:
            (row, query, channel x cell).
        """
        view, channels = self.view, picture.shape[1]
        side, wide = 2 * view + 1, self.size + 2 * view
        padded = functional.pad(picture, (view, view, view, view)).flatten(2)
        near = torch.arange(side, device=picture.device)
        cells = (y[:, :, None, None] + near[:, None]) * wide + x[:, :, None, None] + near
        index = cells.flatten(1)[:, None].expand(-1, channels, -1)
        crops = torch.gather(padded, 2, index).view(-1, channels, QUERIES, side * side)
        return crops.transpose(1, 2).reshape(-1, QUERIES, channels * side * side)

    def spread(self, chances: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Put each unit's displacements where they lead to; what leaves the picture is lost.

        Args:
            chances: (row, query, displacement), row by row, from (-walk, -walk) on.
            y: int64 (row, query), of the unit's cell.
            x: likewise.

        Returns:
            (row, query, y, x).
        """
        side = 2 * self.walk + 1
        near = torch.arange(side, device=chances.device) - self.walk
        line = torch.arange(self.size, device=chances.device)
        down = (y[:, :, None, None] + near == line[:, None]).to(chances.dtype)
        along = (x[:, :, None, None] + near[:, None] == line).to(chances.dtype)
        return down @ chances.view(-1, QUERIES, side, side) @ along


def _seen(there: Tensor) -> Tensor:
    """Who may be looked at, bool (row, 1, 1, 1 + query); the class token always."""
    return torch.cat([torch.ones_like(there[:, :1]), there], dim=1)[:, None, None]
