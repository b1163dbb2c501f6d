"""What the temporal mind learns: each enemy's next deed and target, and everybody's HP over 5 s.

A row is one whole fight of one observer, from its first decision until the fight or the observer ends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.configuration import Range, load_dataclass
from envs.contracts import layout as f
from envs.contracts.vocabulary import ARCHETYPES
from envs.perception import baselines, labels
from envs.perception.labels import DEEDS
from envs.perception.recording import SECOND, Recording
from envs.perception.sights import Sights
from policies.perception import temporal_errors, temporal_symmetry
from policies.perception.task import Batch, Rows
from policies.perception.temporal_errors import future, known_hp
from policies.settings import NotNegative, Share
from policies.temporal_heads import ALLIES, ENEMIES, MOMENTS, TARGETS, UNITS, Decision
from policies.temporal_transformer import MODEL_TYPE, Foresight, TemporalTransformer

UNKNOWN = -1
"""A deed or target that is not known: no error, no gradient."""
LOOK_AHEAD = MOMENTS * SECOND
ROWS_AT_ONCE = 64
"""Fights that go through the network together; more would only need more memory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TemporalSettings:
    """How the temporal mind's rows, augmentation and loss are made."""

    decisions: Annotated[int, Range(minimum=1)] = 300
    """Decisions of a fight that a row has room for; 300 are the 60 s of a whole fight."""
    crop: Share = 0.25
    """Share of the training rows that begin in mid-fight, with nothing remembered."""
    noise: NotNegative = 0.0
    """Standard deviation of what is added to the observation in training."""
    deed_weight: NotNegative = 1.0
    """Weight of the next deed's cross-entropy, in nats."""
    target_weight: NotNegative = 1.0
    """Weight of the next target's cross-entropy, in nats."""
    hp_weight: NotNegative = 1.0
    """Weight of the squared error of HP changes / their variance."""
    span: int | None = None
    """Earlier decisions that answers may look back at, fewer than the network remembers; for comparison."""


class TemporalTask:
    """Rows, augmentation, loss and baselines of the temporal mind.

    Args:
        settings: fields of `TemporalSettings`.
    """

    model_type = MODEL_TYPE
    score = "skill"
    grid_stride = 0

    def __init__(self, **settings: Any) -> None:
        self.settings = load_dataclass(TemporalSettings, settings, f"{MODEL_TYPE}: task")

    def rows(self, sights: Sights, *, stride: int) -> Rows:
        """Fights of the first observer.

        Args:
            sights: recorded with its observer.
            stride: not used: a sequence has no gaps.

        Returns:
            fight int64 (row,), length int32 (row,); token float16 (row, time, 80), opponents float16
            (row, time, enemy, 16), kinds uint8 (row, ally slot and enemy slot, archetype); deed and target
            int8 (row, time, enemy), last_deed (in the second before), did (since
            the last decision) and now_target int8 alike (-1: not known);
            hp float32 (row, time + 25, unit) with what comes after; hp_known bool (row, time, moment).
        """
        recording, me = sights.recording, sights.observers[0]
        seeing = sights.seeing[:, :, 0]
        length = seeing.sum(axis=0)
        kept = np.flatnonzero(length > 0)
        time = self.settings.decisions
        enemies = list(recording.enemies(me))
        side = [me, *_mates(recording, me)]
        units = side + enemies
        places = [*range(len(side)), *range(1 + ALLIES, 1 + ALLIES + len(enemies))]

        def fixed(values: np.ndarray, fill: Any, room: int = time) -> np.ndarray:
            """(time, fight, ...) to (fight, room, ...)."""
            values = values[:room, kept].swapaxes(0, 1)
            out = np.full((len(kept), room, *values.shape[2:]), fill, values.dtype)
            out[:, : values.shape[1]] = values
            return out

        def per_enemy(label: labels.Label) -> np.ndarray:
            known = label.valid[..., enemies] & seeing[..., None]
            values = np.where(known, label.value[..., enemies], UNKNOWN).astype(np.int8)
            return _widened(fixed(values, UNKNOWN), range(len(enemies)), ENEMIES, UNKNOWN)

        target = labels.next_target(recording)
        held = labels.Label(baselines.same_target(recording), recording.alive[:-1])
        share = (recording.hp / recording.max_hp).astype(np.float32)[..., units]
        last = np.concatenate([share, np.repeat(share[-1:], LOOK_AHEAD, axis=0)])
        hp = fixed(last, 0.0, time + LOOK_AHEAD)
        hp[:, len(last) :] = last[-1, kept][:, None]
        moments = [SECOND * (1 + moment) for moment in range(MOMENTS)]
        exact = np.stack([labels.exact(recording, horizon) for horizon in moments], axis=-1)
        kind = recording.template[units[1:], f.ARCHETYPE][:, None] == np.arange(len(ARCHETYPES))
        kinds = _widened(
            kind[None].astype(np.uint8), [place - 1 for place in places[1:]], UNITS - 1, 0, axis=1
        )
        return {
            "fight": kept.astype(np.int64),
            "length": np.minimum(length[kept], time).astype(np.int32),
            "token": fixed(np.where(seeing[..., None], sights.tokens[:, :, 0], 0).astype(np.float16), 0),
            "opponents": _widened(
                fixed(sights.opponents[:, :, 0].astype(np.float16), 0), range(len(enemies)), ENEMIES, 0
            ),
            "kinds": np.repeat(kinds, len(kept), axis=0),
            "deed": per_enemy(labels.next_deed(recording)),
            "target": per_enemy(labels.Label(_named(target.value, side), target.valid)),
            "last_deed": per_enemy(
                labels.Label(_before(labels.next_deed(recording).value, SECOND), held.valid)
            ),
            "did": per_enemy(labels.Label(_before(labels.deeds(recording), 1), held.valid)),
            "now_target": per_enemy(labels.Label(_named(held.value, side), held.valid)),
            "hp": _widened(hp, places, UNITS, 0.0),
            "hp_known": fixed(exact & seeing[..., None], False),
        }

    def augment(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """Fights begun later, mirrored, turned, renumbered, with noise; cut to the longest of the batch."""
        length, begin = rows["length"].copy(), np.zeros(len(rows["length"]), np.int64)
        later = rng.random(len(begin)) < self.settings.crop
        begin[later] = rng.integers(0, length[later])
        length -= begin.astype(length.dtype)
        out = temporal_symmetry.cut(rows, begin, length)
        out = temporal_symmetry.change(out, *temporal_symmetry.draw(rows["kinds"], rng))
        if self.settings.noise > 0.0:
            for name in ("token", "opponents"):
                values = out[name].astype(np.float32)
                # What is exactly 0 is mostly absent, and stays so.
                jitter = rng.standard_normal(values.shape, np.float32) * self.settings.noise
                out[name] = (values + jitter * (values != 0)).astype(np.float16)
        return out

    def fit(self, rows: Rows) -> dict[str, np.ndarray]:
        """See `temporal_errors.fit`."""
        return temporal_errors.fit(rows)

    def loss(self, network: nn.Module, batch: Batch, fitted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy of deeds and targets, and squared error of HP changes / their mean square."""
        assert isinstance(network, TemporalTransformer)
        sums: dict[str, list[Tensor]] = {"deed": [], "target": [], "hp": []}
        counts = dict.fromkeys(sums, 0)
        for part in _parts(batch):
            foresight = self._foresight(network, part)
            for name, logits in (("deed", foresight.deed), ("target", foresight.target)):
                known = part[name] >= 0
                truth = part[name][known].long()
                sums[name].append(functional.cross_entropy(logits[known].float(), truth, reduction="sum"))
                counts[name] += len(truth)
            hp, time = part["hp"], part["deed"].shape[1]
            later = torch.stack([future(hp, time, moment) for moment in range(MOMENTS)], dim=-1)
            known = known_hp(part)
            error = (hp[:, :time, :, None] + foresight.change.float() - later)[known] ** 2
            sums["hp"].append((error / fitted["change_square"].expand(known.shape)[known]).sum())
            counts["hp"] += len(error)
        means = {name: torch.stack(parts).sum() / max(counts[name], 1) for name, parts in sums.items()}
        weights = self.settings
        loss = (
            weights.deed_weight * means["deed"]
            + weights.target_weight * means["target"]
            + weights.hp_weight * means["hp"]
        )
        return {"loss": loss, **{f"{name}_loss": value for name, value in means.items()}}

    def predict(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Chances of deeds (row, time, enemy, deed) and targets (row, time, enemy, target), and HP shares
        (row, time, unit, moment)."""
        assert isinstance(network, TemporalTransformer)
        parts = []
        for part in _parts(batch):
            foresight = self._foresight(network, part)
            parts.append(network.answers(foresight, part["token"]))
        deed, target, hp = (torch.cat(pieces) for pieces in zip(*parts, strict=True))
        return {"deed": deed, "target": target, "hp": hp}

    def calibrate(
        self, network: nn.Module, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """Temperatures by which the chances fit best, as the mean negative log-likelihood has it."""
        found = {}
        for name in ("deed", "target"):
            temperature = temporal_errors.best_temperature(answers[name], rows[name])
            getattr(network, f"{name}_temperature").fill_(temperature)
            found[f"{name}_temperature"] = temperature
        return found

    def errors(self, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `temporal_errors.errors`."""
        return temporal_errors.errors(answers, rows, fitted)

    def metrics(self, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, float]:
        """See `temporal_errors.metrics`; `skill` is the score."""
        return temporal_errors.metrics(answers, rows, fitted)

    def baselines(self, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, Rows]:
        """See `temporal_errors.guesses`."""
        return temporal_errors.guesses(rows, fitted)

    def served_inputs(self, rows: Rows) -> Rows:
        """What the inference form is given: the decisions of the first fight, of the second, and so on.

        Returns:
            token, opponents, kinds, aims and deeds, float32 (decision, ...).
        """
        batch = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in rows.items()}
        there = np.arange(rows["deed"].shape[1]) < rows["length"][:, None]
        return {name: part.numpy()[there] for name, part in decisions(batch)._asdict().items()}

    def _foresight(self, network: TemporalTransformer, batch: Batch) -> Foresight:
        result: Foresight = network(decisions(batch), batch["length"].long(), self.settings.span)
        return result


def decisions(batch: Batch) -> Decision:
    """What was seen at every decision of every row."""
    aims = functional.one_hot(batch["now_target"].long() + 1, 1 + TARGETS)[..., 1:]
    deeds = functional.one_hot(batch["did"].long() + 1, 1 + len(DEEDS))[..., 1:]
    time = batch["token"].shape[1]
    kinds = batch["kinds"].float()[:, None].expand(-1, time, -1, -1)
    return Decision(batch["token"].float(), batch["opponents"].float(), kinds, aims.float(), deeds.float())


def _parts(batch: Batch) -> list[Batch]:
    """A batch a few rows at a time."""
    rows = len(batch["length"])
    return [
        {name: values[start : start + ROWS_AT_ONCE] for name, values in batch.items()}
        for start in range(0, rows, ROWS_AT_ONCE)
    ]


def _mates(recording: Recording, me: int) -> list[int]:
    """Indices of a unit's team mates, in the order of its ally slots."""
    half = recording.num_units // 2
    team = range(half) if me < half else range(half, 2 * half)
    return [unit for unit in team if unit != me]


def _named(target: np.ndarray, side: list[int]) -> np.ndarray:
    """Units as targets: place in the observer's team, itself first; nobody for others."""
    names = np.full(2 * (1 + ENEMIES) + 1, TARGETS - 1, np.int8)  # the last place is the one of -1
    names[side] = np.arange(len(side))
    return names[target]


def _before(deeds: np.ndarray, decisions: int) -> np.ndarray:
    """Deeds of so many decisions before, int8 (time, fight, unit); none at the start."""
    out = np.zeros_like(deeds)
    out[decisions:] = deeds[:-decisions]
    return out


def _widened(values: np.ndarray, places: Any, size: int, fill: Any, axis: int = 2) -> np.ndarray:
    """Values of units put to their places on an axis of a fixed size."""
    shape = list(values.shape)
    shape[axis] = size
    out = np.full(shape, fill, values.dtype)
    out[(slice(None),) * axis + (list(places),)] = values
    return out
