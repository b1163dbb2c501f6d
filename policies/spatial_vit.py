"""The spatial mind: a picture of the ground around one unit in; where damage falls, where enemies will stand
and which cell to go to out.

A vision transformer (Dosovitskiy et al. 2021) reads the picture in patches; `policies.spatial_units` asks
its tokens about each unit in the picture and puts the maps together.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from envs.configuration import Range
from envs.contracts import OBS_VERSION
from envs.contracts.grid import (
    G_ALLIES,
    G_ENEMIES,
    G_HEAL,
    G_REACH,
    G_TARGETS_ME,
    G_WALKABLE,
    GRID_SIZE,
    NUM_GRID_CHANNELS,
    PER_UNIT,
)
from envs.perception.maps import STEPS
from policies.attention import Encoder
from policies.inference import Port, Signature
from policies.inference import manifest as describe
from policies.spatial_units import FULL, NUM_STEPS, SIDE, UnitDecoder, find_units

MODEL_TYPE = "spatial_vit"
STAY = NUM_STEPS // 2
"""Number of the step that leads nowhere."""
ILLEGAL = -1e4
"""Value of a step to a cell on which nobody can stand; within the range of float16."""
COUNTS = (G_ALLIES, G_ENEMIES, G_REACH, G_HEAL, G_TARGETS_ME)
"""Channels that count units; the network sees them in units, the others as shares."""


@dataclasses.dataclass(frozen=True)
class SpatialViTConfig:
    """Shape of the network; the profiles' values stand in `configs/spatial_vit.yaml`."""

    patch: Annotated[int, Range(minimum=1)] = 8
    """Cells per edge of a patch; it divides the grid."""
    width: Annotated[int, Range(minimum=1)] = 192
    """Numbers per token."""
    depth: Annotated[int, Range(minimum=1)] = 12
    """Encoder blocks."""
    heads: Annotated[int, Range(minimum=1)] = 3
    """Parallel attentions of a block; they divide the width."""
    mlp_ratio: Annotated[int, Range(minimum=1)] = 4
    """Units of a block's feed-forward part, in widths."""
    dropout: Annotated[float, Range(minimum=0.0, below=1.0)] = 0.0
    """Share of units left out at random while learning."""
    recompute: bool = False
    """Gradient checkpointing: less memory, more time, the same gradients."""
    unit_depth: Annotated[int, Range(minimum=1)] = 2
    """Blocks in which the units of the picture look at each other."""
    view: Annotated[int, Range(minimum=1)] = 4
    """Cells that a unit's query sees around it, each way."""
    walk: Annotated[int, Range(minimum=1)] = 9
    """Cells that a unit may have gone within the horizon, each way."""
    grid_size: Annotated[int, Range(minimum=8)] = GRID_SIZE
    """Cells per edge of the grid."""
    channels: Annotated[int, Range(minimum=NUM_GRID_CHANNELS)] = NUM_GRID_CHANNELS
    """Channels of the grid; 12 by the grid's contract."""

    def validate(self) -> None:
        """Refuse sizes that do not divide each other.

        Raises:
            ValueError: Which.
        """
        if self.grid_size % self.patch:
            raise ValueError(f"patch {self.patch} does not divide the grid of {self.grid_size} cells")
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} do not divide width {self.width}")


class SpatialViT(nn.Module):
    """Vision transformer with a decoder that asks the units in the picture.

    Args:
        config: Shape of the network.
    """

    gains: Tensor

    def __init__(self, config: SpatialViTConfig | None = None) -> None:
        super().__init__()
        self.config = config or SpatialViTConfig()
        self.config.validate()
        c = self.config
        hidden = c.mlp_ratio * c.width
        self.num_patches = (c.grid_size // c.patch) ** 2
        self.patches = nn.Linear(c.channels * c.patch**2, c.width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, c.width))
        self.positions = nn.Parameter(torch.empty(1, 1 + self.num_patches, c.width))
        self.encoder = Encoder(c.width, c.depth, c.heads, hidden, c.dropout, recompute=c.recompute)
        self.units = UnitDecoder(
            width=c.width,
            heads=c.heads,
            depth=c.unit_depth,
            hidden=hidden,
            dropout=c.dropout,
            recompute=c.recompute,
            channels=c.channels,
            size=c.grid_size,
            patch=c.patch,
            view=c.view,
            walk=c.walk,
        )
        gains = torch.full((c.channels,), 1.0 / FULL)
        gains[list(COUNTS)] = 1.0 / PER_UNIT
        self.register_buffer("gains", gains, persistent=False)
        nn.init.xavier_uniform_(self.patches.weight)
        nn.init.zeros_(self.patches.bias)
        # As in the vision transformer's own code.
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Answer.

        Args:
            grid: uint8 (row, channel, y, x).

        Returns:
            Damage in bars float32 (row, y, x), chance of an enemy float32 (row, y, x), step logits (row, 49)
            with `ILLEGAL` where nobody can stand.
        """
        picture = grid.to(self.patches.weight.dtype) * self.gains[:, None, None]
        tokens = self.patches(self.cut(picture))
        first = self.class_token.expand(tokens.shape[0], -1, -1)
        tokens = self.encoder(torch.cat([first, tokens], dim=1) + self.positions)
        damage, occupancy, logits = self.units(tokens, picture, *find_units(grid))
        low = self.config.grid_size // 2 - STEPS
        free = grid[:, G_WALKABLE, low : low + SIDE, low : low + SIDE].flatten(1) > 0
        # Where it stands it can stay, whatever the ground says.
        stay = torch.arange(NUM_STEPS, device=grid.device) == STAY
        return damage, occupancy, torch.where(free | stay, logits, torch.full_like(logits, ILLEGAL))

    def cut(self, picture: Tensor) -> Tensor:
        """Patches of a picture, (row, patch, channel x cell), row by row."""
        side, patch = self.config.grid_size // self.config.patch, self.config.patch
        blocks = picture.view(-1, self.config.channels, side, patch, side, patch)
        return blocks.permute(0, 2, 4, 1, 3, 5).reshape(-1, self.num_patches, self.patches.in_features)

    def inference_form(self) -> SpatialViTInference:
        """The network as it is served; shares this network's weights."""
        return SpatialViTInference(self).eval()

    def example_inputs(self, batch: int = 2) -> tuple[Tensor]:
        """A grid uint8 (batch, channel, y, x) of random cells, mostly empty, the same on every call."""
        generator = torch.Generator().manual_seed(0)
        shape = (batch, self.config.channels, self.config.grid_size, self.config.grid_size)
        grid = torch.randint(0, FULL + 1, shape, generator=generator)
        grid = torch.where(torch.rand(shape, generator=generator) < 0.1, grid, torch.zeros_like(grid))
        grid[:, G_WALKABLE] = FULL
        return (grid.to(torch.uint8),)

    def signature(self) -> Signature:
        """The doors of the inference form."""
        size = self.config.grid_size
        picture = "channel, y, x; see `GRID_SCALES`"
        damage = "y, x: damage the own team receives there in the next 2 s, in receivers' bars"
        steps = "logits of the step to go, (dy + 3) x 7 + dx + 3; -1e4 where nobody can stand"
        return Signature(
            inputs=(Port("grid", (self.config.channels, size, size), "uint8", picture),),
            outputs=(
                Port("damage", (size, size), meaning=damage),
                Port("occupancy", (size, size), meaning="y, x: chance of an enemy there in 1 s"),
                Port("best_cell", (NUM_STEPS,), meaning=steps),
                Port("cell", (), "int64", "number of the best step; 24 stays"),
            ),
            illegal=ILLEGAL,
            choice="cell",
        )

    def manifest(self) -> dict[str, Any]:
        """What the network is and what a decision costs, see `policies.inference.manifest`."""
        return describe(MODEL_TYPE, self, {"observation_version": OBS_VERSION})


class SpatialViTInference(nn.Module):
    """The served form of a `SpatialViT`: grid -> (damage, occupancy, best_cell, cell).

    Args:
        network: The trained network; its weights are shared, not copied.
    """

    def __init__(self, network: SpatialViT) -> None:
        super().__init__()
        self.network = network

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Answer.

        Args:
            grid: uint8 (row, channel, y, x).

        Returns:
            damage float32 (row, y, x), occupancy float32 (row, y, x), best_cell float32 (row, 49), cell
            int64 (row,); see `SpatialViT.signature`.
        """
        damage, occupancy, steps = self.network(grid)
        return damage, occupancy, steps, torch.argmax(steps, dim=-1)
