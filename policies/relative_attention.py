"""Attention over a segment and a memory of earlier decisions, by relative position (Transformer-XL).

Dai et al. 2019, section 3.3: the score of query i and key j, d = i - j decisions apart, is

    ((W_q x_i + u) . (W_k x_j) + (W_q x_i + v) . (W_r R_d)) / sqrt(width of a head)

with R_d a sinusoid and u, v learned. Every position sees itself and exactly the `memory` positions before it,
so one step with stored keys and values gives the same numbers as whole segments. Norms stand before attention
and feed-forward part (Xiong et al. 2020), as in `policies.attention`; the paper has them behind.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

UNSEEN = -1e4
"""Score of a key that may not be looked at: inside the range of float16, and e to its power is 0."""


def sinusoids(distances: int, width: int) -> Tensor:
    """R_d = [sin(d / 10000^(2k / width)), cos(...)] for d = distances - 1, ..., 1, 0.

    Args:
        distances: how many.
        width: of each, even.

    Returns:
        float32 (distance, width), the farthest first, as keys stand.
    """
    away = torch.arange(distances - 1, -1, -1, dtype=torch.float64)
    rates = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = away[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def place_by_distance(scores: Tensor, fill: float = UNSEEN) -> Tensor:
    """Scores by distance to scores by key: the relative shift, and the band that a position may see.

    Query i stands at key memory + i. Padded on the right by one column per query and read with rows one
    shorter, every row begins one key later than the one before.

    Args:
        scores: (..., query, memory + 1), distance memory, ..., 1, 0.
        fill: for keys behind the query, or more than `memory` before it.

    Returns:
        (..., query, memory + query).
    """
    *lead, queries, distances = scores.shape
    keys = distances - 1 + queries
    padded = functional.pad(scores, (0, queries), value=fill)
    return padded.flatten(-2)[..., : queries * keys].reshape(*lead, queries, keys)


class RelativeBlock(nn.Module):
    """x + attention(norm(memory and x)), then x + mlp(norm(x)).

    Args:
        width: Numbers per position.
        heads: Parallel attentions; they divide the width.
        hidden: Units of the feed-forward part.
        dropout: Share left out at random in training: of what attention and feed-forward part add, of the
            latter's units and of attention weights.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.distance = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(width))
        """u, for all heads behind each other."""
        self.distance_bias = nn.Parameter(torch.zeros(width))
        """v."""
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        for layer in (self.query, self.key_value, self.distance, self.project, self.up, self.down):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What positions show to later ones.

        Args:
            x: (row, position, width), as the block takes it.

        Returns:
            Keys and values, (row, position, width) each.
        """
        keys, values = self.key_value(self.norm_attention(x)).chunk(2, dim=-1)
        return keys, values

    def segment(self, x: Tensor, memory: Tensor, sinusoid: Tensor, known: Tensor | None = None) -> Tensor:
        """A segment that remembers what the block took before it; the memory gets no gradient.

        Args:
            x: (row, position, width).
            memory: (row, memory, width), what the block took at the positions before, the latest last.
            sinusoid: (memory + 1, width), see `sinusoids`.
            known: bool (row or 1, position or 1, memory + position), False for what may not be seen, such as
                a memory of nothing.

        Returns:
            (row, position, width).
        """
        keys, values = self.keys_values(torch.cat([memory.detach(), x], dim=1))
        return self.look(x, keys, values, sinusoid, known)

    def look(
        self, x: Tensor, keys: Tensor, values: Tensor, sinusoid: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """Attention to given keys and values, and the feed-forward part.

        Args:
            x: (row, position, width).
            keys: (row, memory + position, width).
            values: the same.
            sinusoid: (memory + 1, width).
            known: bool (row or 1, position or 1, memory + position).

        Returns:
            (row, position, width).
        """
        scale = 1.0 / math.sqrt(x.shape[-1] // self.heads)
        query = self.query(self.norm_attention(x)) * scale
        content = self._split(query + self.content_bias * scale) @ self._split(keys).transpose(-1, -2)
        distance = self._split(self.distance(sinusoid)[None]).transpose(-1, -2)
        by_distance = self._split(query + self.distance_bias * scale) @ distance
        scores = content + place_by_distance(by_distance)
        if known is not None:
            scores = scores.masked_fill(~known[:, None], UNSEEN)
        weights = functional.dropout(scores.softmax(dim=-1), self.dropout, self.training)
        seen = (weights @ self._split(values)).transpose(1, 2).flatten(-2)
        x = x + functional.dropout(self.project(seen), self.dropout, self.training)
        hidden = functional.gelu(self.up(self.norm_mlp(x)))
        hidden = functional.dropout(hidden, self.dropout, self.training)
        return x + functional.dropout(self.down(hidden), self.dropout, self.training)

    def _split(self, x: Tensor) -> Tensor:
        """(row, position, width) to (row, head, position, width of a head)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
