"""Supervised contrastive loss: windows of one style come to lie near each other, others apart."""

from __future__ import annotations

import torch
from torch import Tensor


def supervised_contrastive(vectors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean loss of the rows that have a row of the same label beside them.

    L_i = -1 / |P(i)| x sum over p in P(i) of log( exp(z_i z_p / t) / sum over a != i of exp(z_i z_a / t) ),
    P(i) = the other rows with i's label   (Khosla et al. 2020, eq. 2, "L_out")

    Args:
        vectors: unit vectors z, float32 (row, part).
        labels: int64 (row,); a negative one means unknown: the row is neither drawn nor pushed.
        temperature: t; smaller ones look at the nearest rows more.

    Returns:
        A scalar, 0 if no two known rows are alike.
    """
    known = labels >= 0
    others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    compared = others & known[:, None] & known[None, :]
    alike = compared & (labels[:, None] == labels[None, :])
    # A small temperature would magnify the rounding of a shorter format.
    with torch.autocast(vectors.device.type, enabled=False):
        likeness = vectors.float() @ vectors.float().T / temperature
    # A row that is compared with none would sum to log 0: it keeps itself and counts for nothing below.
    kept = torch.where(compared.any(dim=1, keepdim=True), compared, ~others)
    total = torch.logsumexp(likeness.masked_fill(~kept, float("-inf")), dim=1, keepdim=True)
    partners = alike.sum(dim=1)
    losses = ((total - likeness) * alike).sum(dim=1) / partners.clamp(min=1)
    return losses.sum() / (partners > 0).sum().clamp(min=1)
