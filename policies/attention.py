"""Transformer encoder blocks: self-attention and a feed-forward part, each behind a layer norm.

Pre-norm (Xiong et al. 2020), as in the vision transformer (Dosovitskiy et al. 2021). Attention is
softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class EncoderBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        width: Numbers per token.
        heads: Parallel attentions; they divide the width.
        hidden: Units of the feed-forward part.
        dropout: Share of units left out at random in training, after attention and in the feed-forward part.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        for layer in (self.qkv, self.project, self.up, self.down):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, allowed: Tensor | None = None) -> Tensor:
        """One block.

        Args:
            x: (row, token, width).
            allowed: bool, broadcast to (row, head, token, token): which tokens (last axis) a token may look
                at; each needs at least one.

        Returns:
            (row, token, width).
        """
        rows, tokens, width = x.shape
        qkv = self.qkv(self.norm_attention(x))
        q, k, v = qkv.view(rows, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        seen = self.project(seen.transpose(1, 2).reshape(rows, tokens, width))
        x = x + functional.dropout(seen, self.dropout, self.training)
        hidden = functional.gelu(self.up(self.norm_mlp(x)))
        hidden = functional.dropout(hidden, self.dropout, self.training)
        return x + functional.dropout(self.down(hidden), self.dropout, self.training)


class Encoder(nn.Module):
    """Blocks behind each other, and a last layer norm.

    Args:
        width: Numbers per token.
        depth: Blocks.
        heads: Parallel attentions of each.
        hidden: Units of each feed-forward part.
        dropout: As in `EncoderBlock`.
        recompute: Gradient checkpointing (Chen et al. 2016): keep only each block's input for the backward
            pass and compute the rest again; the gradients are the same.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        dropout: float = 0.0,
        *,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, hidden, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, allowed: Tensor | None = None) -> Tensor:
        """All blocks.

        Args:
            x: (row, token, width).
            allowed: As in `EncoderBlock.forward`.

        Returns:
            (row, token, width).
        """
        for block in self.blocks:
            if self.recompute and self.training and torch.is_grad_enabled():
                x = checkpoint(block, x, allowed, use_reentrant=False)
            else:
                x = block(x, allowed)
        out: Tensor = self.norm(x)
        return out
