"""The seed plan: which random fights serve which purpose, disjoint by construction.

A seed of a purpose lies in that purpose's own block of ``BLOCK`` numbers, so a fight that judged a
model can never be a fight that trained or selected it, whatever base seed a user chooses. A vector
environment may add its fight index to the seed: streams start in the lower half of a block, so the
sum stays inside the block.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum

BLOCK = 1 << 28
"""Seeds per purpose; seven blocks fit into a signed 32-bit integer."""


class Purpose(IntEnum):
    """What a seed is used for; the value is the number of its block."""

    TRAINING = 0
    SELECTION = 1
    EVALUATION = 2
    RECORDING = 3
    PLAY = 4
    WARM_UP = 5


def seed_for(purpose: Purpose, base_seed: int, *stream: str | int) -> int:
    """Names one seed of the plan.

    Args:
        purpose: What the fights are for.
        base_seed: The user's ``--seed``.
        stream: Anything that tells streams of one purpose apart (archetype, chunk number ...).

    Returns:
        An integer in ``[purpose * BLOCK, purpose * BLOCK + BLOCK / 2)``; the same arguments always
        give the same one.
    """
    text = "/".join(str(part) for part in (int(base_seed), *stream))
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return int(purpose) * BLOCK + digest % (BLOCK // 2)


def purpose_of(seed: int) -> Purpose:
    """Tells which purpose a seed belongs to.

    Args:
        seed: A seed of the plan.

    Raises:
        ValueError: The number lies outside every block.
    """
    return Purpose(seed // BLOCK)


def describe() -> dict[str, list[int]]:
    """Lists the blocks for a report: purpose name -> [first seed, last seed]."""
    return {p.name.lower(): [p * BLOCK, (p + 1) * BLOCK - 1] for p in Purpose}
