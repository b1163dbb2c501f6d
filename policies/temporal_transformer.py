"""The temporal mind: a fight, decision by decision, and what comes within the next seconds (Transformer-XL).

It says of each enemy what it does and whom it aims at within a second, and of everybody what HP is left
after 1 to 5 seconds. Dai et al. 2019: segments of decisions, each with a memory of the decisions before it
that gets no gradient, and relative positions. Every decision sees exactly `memory` decisions before it per
layer, so the served form, one step with stored keys and values, says the same as the whole sequence.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from envs.configuration import Range
from envs.contracts.token import TOKEN_SIZE
from envs.contracts.vocabulary import OBS_VERSION
from envs.contracts.window import NUM_WINDOW_FEATURES
from envs.perception.labels import DEEDS
from policies import inference
from policies.inference import Port, Signature
from policies.relative_attention import RelativeBlock, sinusoids
from policies.temporal_heads import (
    ENEMIES,
    KINDS,
    MOMENTS,
    NUMBERS,
    OTHERS,
    TARGETS,
    UNITS,
    Decision,
    TemporalHeads,
    shares,
)

MODEL_TYPE = "temporal_transformer"
TRAINING_DECISIONS = 128
"""Of a fight as it is learned from: 26 s, longer than the mean."""
_SIZE = Annotated[int, Range(minimum=1, maximum=16384)]


@dataclasses.dataclass(frozen=True)
class TemporalTransformerConfig:
    """Shape of the network; the profiles' values stand in `configs/temporal_transformer.yaml`."""

    width: _SIZE = 64
    """Numbers per decision inside the transformer."""
    layers: Annotated[int, Range(minimum=1, maximum=64)] = 2
    """Blocks behind each other."""
    heads: Annotated[int, Range(minimum=1, maximum=256)] = 4
    """Parallel attentions of each."""
    hidden: _SIZE = 128
    """Units of each feed-forward part."""
    segment: _SIZE = 32
    """Decisions that gradients flow through together."""
    memory: Annotated[int, Range(minimum=0, maximum=4096)] = 32
    """Earlier decisions that each decision sees, per layer; 0 sees the present alone."""
    head_units: _SIZE = 32
    """Units per enemy and per friend behind the transformer."""
    dropout: Annotated[float, Range(minimum=0.0, below=1.0)] = 0.0
    """Share left out at random in training."""
    recompute: bool = False
    """Gradient checkpointing: keep each block's input alone for the backward pass."""

    def validate(self) -> None:
        """Refuse heads that do not divide the width.

        Raises:
            ValueError: they do not, or the width is odd.
        """
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width {self.width} must be even and a multiple of heads {self.heads}")


class Foresight(NamedTuple):
    """Answers before calibration.

    Attributes:
        deed: logits (..., enemy, deed).
        target: logits (..., enemy, target): the monster, team mate 1 to 4, nobody.
        change: of the HP share (..., unit, moment).
    """

    deed: Tensor
    target: Tensor
    change: Tensor


class TemporalTransformer(nn.Module):
    """Transformer-XL over decisions, and heads that look at every unit.

    Args:
        config: Shape of the network.
    """

    sinusoid: Tensor
    deed_temperature: Tensor
    target_temperature: Tensor

    def __init__(self, config: TemporalTransformerConfig | None = None) -> None:
        super().__init__()
        self.config = config or TemporalTransformerConfig()
        self.config.validate()
        c = self.config
        self.embed = nn.Linear(NUMBERS, c.width)
        nn.init.xavier_uniform_(self.embed.weight)
        nn.init.zeros_(self.embed.bias)
        self.blocks = nn.ModuleList(
            RelativeBlock(c.width, c.heads, c.hidden, c.dropout) for _ in range(c.layers)
        )
        self.norm = nn.LayerNorm(c.width)
        self.heads = TemporalHeads(c.width, c.head_units)
        self.register_buffer("sinusoid", sinusoids(c.memory + 1, c.width), persistent=False)
        # Fitted after training: logits are divided by them (Guo et al. 2017).
        self.register_buffer("deed_temperature", torch.ones(()))
        self.register_buffer("target_temperature", torch.ones(()))

    def forward(self, seen: Decision, length: Tensor | None = None, span: int | None = None) -> Foresight:
        """Whole fights from their first decision on, all segments side by side.

        The same numbers and gradients as `segment` after `segment`: what a block took in the segment before
        is known as soon as the blocks below are done.

        Args:
            seen: leading axes (row, time).
            length: whole numbers (row,), decisions that count; answers behind them are 0. None: all.
            span: earlier decisions that may be seen per layer, fewer than `memory`.

        Returns:
            Foresight with leading axes (row, time).
        """
        c = self.config
        rows, time = seen.token.shape[:2]
        pieces = -(-time // c.segment)
        behind = pieces * c.segment - time
        seen = Decision(
            *(
                functional.pad(part, (0, 0) * (part.ndim - 2) + (0, behind)).reshape(
                    rows * pieces, c.segment, *part.shape[2:]
                )
                for part in seen
            )
        )
        device = seen.token.device
        first = (torch.arange(pieces, device=device) * c.segment).expand(rows, pieces).reshape(-1)
        live = torch.arange(rows * pieces, device=device)
        if length is not None:
            live = torch.nonzero(first < length.repeat_interleave(pieces)).squeeze(1)
            seen = Decision(*(part[live] for part in seen))
        known = self._known(first[live], span)
        x = self.embed(seen.flat()).float()
        for block in self.blocks:
            whole = x.new_zeros((rows * pieces, c.segment, c.width)).index_copy(0, live, x.detach())
            x = self._block(block, x, self._before(whole.view(rows, -1, c.width))[live], known)
        answers = self.heads(self.norm(x), seen)
        return Foresight(
            *(
                answer.new_zeros((rows * pieces, *answer.shape[1:]))
                .index_copy(0, live, answer)
                .view(rows, -1, *answer.shape[2:])[:, :time]
                for answer in answers
            )
        )

    def segment(self, seen: Decision, memories: list[Tensor], filled: int) -> tuple[Foresight, list[Tensor]]:
        """One segment of each row, and its memory for the next, as the paper has it.

        Args:
            seen: leading axes (row, time).
            memories: per block (row, memory, width), what it took before; zeros at the start.
            filled: earlier decisions that there were.

        Returns:
            Answers (row, time, ...), and the next memories.
        """
        time, memory = seen.token.shape[1], self.config.memory
        place = torch.arange(memory + time, device=seen.token.device)
        known = (place >= memory - filled)[None, None]
        x = self.embed(seen.flat()).float()
        after = []
        for block, before in zip(self.blocks, memories, strict=True):
            after.append(torch.cat([before, x], dim=1)[:, time:].detach())
            x = self._block(block, x, before, known)
        return Foresight(*self.heads(self.norm(x), seen)), after

    def step(
        self, seen: Decision, cache_k: Tensor, cache_v: Tensor, cache_filled: Tensor
    ) -> tuple[Foresight, Tensor, Tensor, Tensor]:
        """One decision; keys and values of the decisions before it are given.

        Args:
            seen: leading axis (row,).
            cache_k: (row, layer, memory, width), the latest last.
            cache_v: the same.
            cache_filled: float (row,), decisions that the cache holds.

        Returns:
            Answers (row, ...), and the three caches for the next decision.
        """
        memory = self.config.memory
        place = torch.arange(memory + 1, device=cache_filled.device)
        known = (place >= memory - cache_filled[:, None])[:, None]
        x = self.embed(seen.flat()).float()[:, None]
        keys_after, values_after = [], []
        for number, block in enumerate(self.blocks):
            assert isinstance(block, RelativeBlock)
            key, value = block.keys_values(x)
            keys = torch.cat([cache_k[:, number], key], dim=1)
            values = torch.cat([cache_v[:, number], value], dim=1)
            x = block.look(x, keys, values, self.sinusoid, known)
            keys_after.append(keys[:, 1:])
            values_after.append(values[:, 1:])
        answers = Foresight(*self.heads(self.norm(x[:, 0]), seen))
        filled = torch.clamp(cache_filled + 1.0, max=float(memory))
        return answers, torch.stack(keys_after, dim=1), torch.stack(values_after, dim=1), filled

    def answers(self, foresight: Foresight, token: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Calibrated chances and HP shares.

        Args:
            foresight: what the heads said.
            token: (..., 80), which shows the present HP shares.

        Returns:
            Chances of deeds (..., enemy, deed) and targets (..., enemy, target), and HP shares
            (..., unit, moment) in [0, 1].
        """
        deed = (foresight.deed.float() / self.deed_temperature).softmax(dim=-1)
        target = (foresight.target.float() / self.target_temperature).softmax(dim=-1)
        hp = (shares(token.float())[..., None] + foresight.change.float()).clamp(0.0, 1.0)
        return deed, target, hp

    def empty_cache(self, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """What there is before the first decision: zeros.

        Returns:
            cache_k and cache_v (row, layer, memory, width), cache_filled (row,).
        """
        c = self.config
        weight = self.norm.weight
        shape = (rows, c.layers, c.memory, c.width)
        return weight.new_zeros(shape), weight.new_zeros(shape), weight.new_zeros(rows)

    def inference_form(self) -> TemporalTransformerInference:
        """The network as it is served: one decision, with the memory carried by the caller.

        Returns:
            A module in evaluation mode that shares this network's weights.
        """
        return TemporalTransformerInference(self).eval()

    def example_inputs(self, batch: int = 2) -> tuple[Tensor, ...]:
        """Inputs of the right shapes, the same on every call.

        Args:
            batch: Rows.

        Returns:
            As the signature says; the first row's memory is full, the others' is less so.
        """
        found = list(inference.random_inputs(self.signature(), batch))
        memory = self.config.memory
        found[-1] = torch.tensor([float(max(memory - 3 * row, 0)) for row in range(batch)])
        return tuple(found)

    def signature(self) -> Signature:
        """The doors of the inference form."""
        c = self.config
        cache = (c.layers, c.memory, c.width)
        return Signature(
            inputs=(
                Port("token", (TOKEN_SIZE,), meaning="the present decision, `sequence_token`"),
                Port(
                    "opponents",
                    (ENEMIES, NUM_WINDOW_FEATURES),
                    meaning="per enemy slot what it shows now, `opponent_features`",
                ),
                Port(
                    "kinds",
                    (OTHERS, KINDS),
                    meaning="archetypes one-hot: four ally slots, then five enemy slots; zeros where empty",
                ),
                Port(
                    "aims",
                    (ENEMIES, TARGETS),
                    meaning="whom each enemy aims at now, one-hot: me, ally slot 0 to 3, nobody; zeros: dead",
                ),
                Port(
                    "deeds",
                    (ENEMIES, len(DEEDS)),
                    meaning="what each enemy did since the last decision, one-hot; zeros: dead",
                ),
                Port("cache_k", cache, meaning="keys per layer and earlier decision, zeros at first"),
                Port("cache_v", cache, meaning="values, likewise"),
                Port("cache_filled", (), meaning="earlier decisions in the cache, 0 at first"),
            ),
            outputs=(
                Port("deed", (ENEMIES, len(DEEDS)), meaning="chance of each kind of deed within 1 s"),
                Port(
                    "target",
                    (ENEMIES, TARGETS),
                    meaning="chance of whom it aims at in 1 s: me, ally slot 0 to 3, nobody",
                ),
                Port(
                    "hp",
                    (UNITS, MOMENTS),
                    meaning="HP share after 1, 2, 3, 4, 5 s: me, four ally slots, five enemy slots",
                ),
                Port("next_cache_k", cache, meaning="cache_k of the next decision"),
                Port("next_cache_v", cache, meaning="cache_v of the next decision"),
                Port("next_cache_filled", (), meaning="cache_filled of the next decision"),
            ),
            state=(
                ("cache_k", "next_cache_k"),
                ("cache_v", "next_cache_v"),
                ("cache_filled", "next_cache_filled"),
            ),
        )

    def training_pass(self, rows: int) -> Tensor:
        """A tensor from a learning pass over so many fights of `TRAINING_DECISIONS` decisions."""
        ports = {port.name: port.shape for port in self.signature().inputs}
        seen = Decision(*(torch.zeros(rows, TRAINING_DECISIONS, *ports[name]) for name in Decision._fields))
        foresight = self(seen)
        return torch.stack([part.float().sum() for part in foresight]).sum()

    def manifest(self) -> dict[str, Any]:
        """What the network is and what a decision costs, see `policies.inference.manifest`."""
        return inference.manifest(MODEL_TYPE, self, {"observation_version": OBS_VERSION}, deeds=list(DEEDS))

    def _block(self, block: nn.Module, x: Tensor, before: Tensor, known: Tensor) -> Tensor:
        assert isinstance(block, RelativeBlock)
        arguments = (x, before, self.sinusoid, known)
        if self.config.recompute and self.training and torch.is_grad_enabled():
            out: Tensor = checkpoint(block.segment, *arguments, use_reentrant=False)
            return out
        return block.segment(*arguments)

    def _before(self, x: Tensor) -> Tensor:
        """What stands before each segment, (row x segment, memory, width), of x (row, time, width)."""
        c = self.config
        padded = functional.pad(x, (0, 0, c.memory, 0))
        if c.memory == 0:
            return x.new_zeros((x.shape[0] * (x.shape[1] // c.segment), 0, c.width))
        windows = padded[:, : -c.segment].unfold(1, c.memory, c.segment)
        return windows.transpose(2, 3).flatten(0, 1)

    def _known(self, first: Tensor, span: int | None) -> Tensor:
        """Keys that may be seen, bool (segment, 1 or position, memory + position)."""
        c = self.config
        place = torch.arange(c.memory + c.segment, device=first.device) - c.memory
        exists = (first[:, None] + place >= 0)[:, None]
        if span is None:
            return exists
        away = torch.arange(c.segment, device=first.device)[:, None] - place
        return exists & (away <= span)


class TemporalTransformerInference(nn.Module):
    """The served form of a `TemporalTransformer`: one decision with a cache of keys and values.

    Args:
        network: The trained network; its weights are shared, not copied.
    """

    def __init__(self, network: TemporalTransformer) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        token: Tensor,
        opponents: Tensor,
        kinds: Tensor,
        aims: Tensor,
        deeds: Tensor,
        cache_k: Tensor,
        cache_v: Tensor,
        cache_filled: Tensor,
    ) -> tuple[Tensor, ...]:
        """Look ahead from one decision; shapes as `TemporalTransformer.signature` says."""
        foresight, *cache = self.network.step(
            Decision(token, opponents, kinds, aims, deeds), cache_k, cache_v, cache_filled
        )
        return (*self.network.answers(foresight, token), *cache)
