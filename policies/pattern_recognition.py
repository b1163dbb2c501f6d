"""The pattern mind: what an opponent showed in its last 10 s in, the style it plays by out.

Each decision goes through a small layer that knows the opponent's kind; then a transformer encoder looks over
tokens of one or more decisions, behind one token of the kind. Beside six chances it gives a unit vector in
which windows of one style lie near each other, for finding similar opponents.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.configuration import Range
from envs.contracts import OBS_VERSION
from envs.contracts.central import CENTRAL_STYLES
from envs.contracts.features import RADIUS_CELLS
from envs.contracts.vocabulary import ARCHETYPES
from envs.contracts.window import (
    GAP_CELLS,
    NUM_WINDOW_FEATURES,
    SHOWN_CELLS,
    WINDOW_FEATURES,
    WINDOW_LENGTH,
)
from policies import inference
from policies.attention import Encoder
from policies.inference import Port, Signature

MODEL_TYPE = "pattern_recognition"
STYLES = CENTRAL_STYLES[1:]
"""The styles that are told apart, in the order of the outputs; the plain script is none of them."""
SMALL = 1e-6
"""Least length that a vector is divided by; float16 can hold it."""
_FEATURE = {name: place for place, name in enumerate(WINDOW_FEATURES)}
SCALES = {"dx": 2.0, "dy": 2.0, "moved_x": 4.0, "moved_y": 4.0, "approach": 4.0, "hp_change": 8.0, "gap": 3.0}
"""What the encoding multiplies features by, so that a cell's step weighs as much as a flag; others by 1."""
NUM_SIGNS = 8


@dataclasses.dataclass(frozen=True)
class PatternRecognitionConfig:
    """Shape of the network; the profiles' values stand in `configs/pattern_recognition.yaml`."""

    d_model: Annotated[int, Range(minimum=2, maximum=16384)] = 64
    """Numbers per token."""
    heads: Annotated[int, Range(minimum=1)] = 4
    """Parallel attentions of a layer; they divide d_model."""
    layers: Annotated[int, Range(minimum=1, maximum=64)] = 2
    """Encoder layers."""
    feed_forward: Annotated[int, Range(minimum=1)] = 128
    """Hidden units of a layer's feed-forward part."""
    dropout: Annotated[float, Range(minimum=0.0, below=1.0)] = 0.0
    """Share of units left out at random during an update; never while serving."""
    decisions_per_token: Annotated[int, Range(minimum=1, maximum=WINDOW_LENGTH)] = 2
    """Neighbouring decisions that make one token; they divide 50. More of them cost less and see less."""
    decision_units: Annotated[int, Range(minimum=1)] = 32
    """Units of the layer that each decision goes through before tokens are made."""
    embedding_size: Annotated[int, Range(minimum=2)] = 32
    """Numbers of the unit vector."""
    projection_size: Annotated[int, Range(minimum=2)] = 32
    """Numbers behind the projection head, which only the contrastive loss needs."""
    recompute: bool = False
    """Gradient checkpointing: less memory, a second forward pass; the gradients are the same."""

    def validate(self) -> None:
        """Cross-check widths.

        Raises:
            ValueError: heads or decisions_per_token do not divide what they must.
        """
        if self.d_model % self.heads:
            raise ValueError(f"heads: {self.heads} do not divide d_model, which is {self.d_model}")
        if WINDOW_LENGTH % self.decisions_per_token:
            raise ValueError(
                f"decisions_per_token: {self.decisions_per_token} does not divide the window's "
                f"{WINDOW_LENGTH} decisions"
            )


class PatternRecognition(nn.Module):
    """Encoder, style head and embedding; a projection head for training.

    Args:
        config: Shape of the network.
    """

    served_prefixes = ("decision.", "step.", "kind.", "place", "encoder.", "style.", "embed.", "temperature")
    scales: Tensor
    temperature: Tensor
    """Logits are divided by it; 1 until it is fitted on validation rows (Guo et al. 2017, section 4.2)."""

    def __init__(self, config: PatternRecognitionConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or PatternRecognitionConfig()
        c.validate()
        self.decision = nn.Linear(NUM_WINDOW_FEATURES + NUM_SIGNS + 1 + len(ARCHETYPES), c.decision_units)
        self.step = nn.Linear(c.decisions_per_token * c.decision_units, c.d_model)
        self.kind = nn.Linear(len(ARCHETYPES), c.d_model)
        self.place = nn.Parameter(torch.zeros(WINDOW_LENGTH // c.decisions_per_token, c.d_model))
        self.encoder = Encoder(c.d_model, c.layers, c.heads, c.feed_forward, c.dropout, recompute=c.recompute)
        self.style = nn.Linear(2 * c.d_model, len(STYLES))
        self.embed = nn.Linear(2 * c.d_model, c.embedding_size)
        self.project = nn.Sequential(
            nn.Linear(c.embedding_size, c.embedding_size),
            nn.ReLU(),
            nn.Linear(c.embedding_size, c.projection_size),
        )
        self.register_buffer("temperature", torch.ones(()))
        scales = torch.tensor([SCALES.get(name, 1.0) for name in WINDOW_FEATURES])
        self.register_buffer("scales", scales, persistent=False)
        nn.init.trunc_normal_(self.place, std=0.02)
        for head in (self.style, self.embed):
            nn.init.xavier_uniform_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, window: Tensor, shown: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and embedding.

        Args:
            window: float32 (row, 50, 16), `opponent_windows`, the present decision last.
            shown: float32 (row, 50), above 0.5 where a decision is known.
            kind: float32 (row, 6), one-hot archetype of the opponent.

        Returns:
            Style logits float32 (row, 6), not yet divided by the temperature; embedding float32
            (row, embedding), a unit vector.
        """
        group = self.config.decisions_per_token
        if self.training:
            # What no row of the batch has seen costs nothing.
            unseen = int((shown > 0.5).any(dim=0).float().argmax())
            window, shown = (x[:, unseen // group * group :] for x in (window, shown))
        rows, tokens = window.shape[0], window.shape[1] // group
        known = (shown > 0.5).to(window.dtype)
        steps = self._decisions(window, known, kind).reshape(rows, tokens, -1)
        # A token counts if any of its decisions is known.
        present = known.reshape(rows, tokens, -1).amax(dim=-1)
        place = self.place[self.place.shape[0] - tokens :]
        sequence = torch.cat((self.kind(kind)[:, None], self.step(steps) + place), dim=1)
        allowed = torch.cat((torch.ones_like(present[:, :1]), present), dim=1) > 0.5
        seen = self.encoder(sequence, allowed[:, None, None, :])
        total = present.sum(dim=1, keepdim=True).clamp(min=1.0)
        mean = (seen[:, 1:] * (present / total)[..., None]).sum(dim=1)
        pooled = torch.cat((seen[:, 0], mean), dim=-1)
        embedding = functional.normalize(self.embed(pooled).float(), dim=-1, eps=SMALL)
        return self.style(pooled).float(), embedding

    def _decisions(self, window: Tensor, known: Tensor, kind: Tensor) -> Tensor:
        """Each decision by itself: features scaled to a like size, signs that styles turn on, and the kind.

        Returns:
            (row, decision, unit), zeros where nothing is known.
        """
        encoded = torch.cat((window * self.scales, signs(window), torch.ones_like(known)[..., None]), dim=-1)
        kinds = kind[:, None].expand(-1, window.shape[1], -1)
        units = functional.gelu(self.decision(torch.cat((encoded, kinds), dim=-1)))
        return units * known[..., None]

    def projection(self, embedding: Tensor) -> Tensor:
        """What the contrastive loss compares, a unit vector float32 (row, projection).

        The head is left out when the network is served: what lies before it keeps more of the window (Chen
        et al. 2020, section 4.2).
        """
        return functional.normalize(self.project(embedding).float(), dim=-1, eps=SMALL)

    def inference_form(self) -> PatternRecognitionInference:
        """The network as it is served: calibrated chances and the unit vector.

        Returns:
            A module in evaluation mode that shares this network's weights. The network itself goes to
            evaluation mode too.
        """
        return PatternRecognitionInference(self).eval()

    def example_inputs(self, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs of the right shapes for the inference form, the same on every call.

        Args:
            batch: Rows; they have histories of different lengths.
        """
        generator = torch.Generator().manual_seed(0)
        window = torch.rand((batch, WINDOW_LENGTH, NUM_WINDOW_FEATURES), generator=generator) * 2.0 - 1.0
        lengths = torch.randint(5, WINDOW_LENGTH + 1, (batch, 1), generator=generator)
        shown = (torch.arange(WINDOW_LENGTH) >= WINDOW_LENGTH - lengths).float()
        kinds = torch.randint(0, len(ARCHETYPES), (batch,), generator=generator)
        return window * shown[..., None], shown, functional.one_hot(kinds, len(ARCHETYPES)).float()

    def signature(self) -> Signature:
        """The doors of the inference form."""
        window = (WINDOW_LENGTH, NUM_WINDOW_FEATURES)
        return Signature(
            inputs=(
                Port("window", window, meaning="what an opponent showed, a decision a row, the latest last"),
                Port("shown", (WINDOW_LENGTH,), meaning="1 where a decision is known, else 0"),
                Port("kind", (len(ARCHETYPES),), meaning="the opponent's archetype, one-hot"),
            ),
            outputs=(
                Port("style", (len(STYLES),), meaning=f"chance of {', '.join(STYLES)}"),
                Port("embedding", (self.config.embedding_size,), meaning="unit vector; near means alike"),
            ),
        )

    def manifest(self) -> dict[str, Any]:
        """What the network is and what a decision costs, in plain JSON types."""
        return inference.manifest(MODEL_TYPE, self, {"observation_version": OBS_VERSION}, styles=list(STYLES))


def signs(window: Tensor) -> Tensor:
    """What styles turn on, cut to where it matters: a linear layer sees a cell's step hardly among 16 cells.

    Args:
        window: (row, decision, 16), `envs.contracts.window.WINDOW_SCALES`.

    Returns:
        (row, decision, 8): cells moved, at most 2; 1 if it came nearer to its nearest enemy; 1 if it went
        away; cells to the edge of its reach, within 1.5; 1 beyond its reach; 1 with a blow; 1 with a skill;
        cells from me / 4, at most 2.5.
    """
    moved = window[..., _FEATURE["moved_x"] : _FEATURE["moved_y"] + 1].abs().amax(dim=-1) * SHOWN_CELLS
    away = window[..., _FEATURE["dx"] : _FEATURE["dy"] + 1].abs().amax(dim=-1) * RADIUS_CELLS
    approach, gap = window[..., _FEATURE["approach"]] * SHOWN_CELLS, window[..., _FEATURE["gap"]] * GAP_CELLS
    acted = window[..., _FEATURE["acted"]]
    whole = window.dtype
    return torch.stack(
        (
            moved.clamp(max=2.0),
            (approach > 0.5).to(whole),
            (approach < -0.5).to(whole),
            gap.clamp(-1.5, 1.5),
            (gap > 0.5).to(whole),
            ((acted > 0.25) & (acted < 0.75)).to(whole),
            (acted > 0.75).to(whole),
            (away / 4.0).clamp(max=2.5),
        ),
        dim=-1,
    )


class PatternRecognitionInference(nn.Module):
    """The served form: (window, shown, kind) -> (style, embedding).

    Args:
        network: The trained network; its weights are shared, not copied.
    """

    def __init__(self, network: PatternRecognition) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: Tensor, shown: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
        """Chances of the styles and the embedding.

        Args:
            window: float32 (batch, 50, 16).
            shown: float32 (batch, 50).
            kind: float32 (batch, 6).

        Returns:
            style float32 (batch, 6), calibrated chances that sum to 1; embedding float32
            (batch, embedding).
        """
        logits, embedding = self.network(window, shown, kind)
        return torch.softmax(logits / self.network.temperature, dim=-1), embedding
