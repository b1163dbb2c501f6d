"""What the pattern mind learns: the style of an opponent from what it showed in up to 10 s."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.nn import functional

from envs.configuration import Range, load_dataclass
from envs.contracts import layout as f
from envs.contracts.vocabulary import ARCHETYPES
from envs.contracts.window import WINDOW_LENGTH
from envs.perception import labels
from envs.perception.recording import FIVE_SECONDS, TEN_SECONDS, TWO_SECONDS
from envs.perception.sights import Sights
from envs.simulation import state as s
from envs.symmetries import ELEMENTS
from policies.pattern_recognition import STYLES, PatternRecognition
from policies.perception.contrastive import supervised_contrastive
from policies.perception.pattern_baselines import MeanModels, fit_means, window_means
from policies.perception.pattern_measures import hits, log_losses, neighbours
from policies.perception.reliability import best_temperature, expected_calibration_error
from policies.perception.task import Batch, Rows, count_rows
from policies.settings import NotNegative, Positive, Share

LENGTHS = {"style_2s": TWO_SECONDS, "style_5s": FIVE_SECONDS, "style_10s": TEN_SECONDS}
"""Questions: which style, seen for so many decisions."""
UNKNOWN = -1
SHORTEST = 5
"""Decisions of the shortest history that is asked about: 1 s."""
BINS = 15
"""Of the calibration error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatternSettings:
    """Further settings of the task, `task` in `configs/pattern_recognition.yaml`."""

    contrastive: NotNegative = 0.1
    """Weight of the contrastive loss; that of the styles is 1."""
    contrastive_temperature: Positive = 0.1
    """Temperature of the contrastive loss."""
    whole: Share = 0.25
    """Share of training batches that keep their whole windows; the others are cut to a random length."""
    shortest: Annotated[int, Range(minimum=1, maximum=WINDOW_LENGTH)] = SHORTEST
    """Decisions that a cut leaves at least."""


class PatternTask:
    """See `policies.perception.task.PerceptionTask`.

    Args:
        **settings: Those of `PatternSettings`.
    """

    model_type = "pattern_recognition"
    score = "skill"
    grid_stride = 0

    def __init__(self, **settings: Any) -> None:
        self.settings = load_dataclass(PatternSettings, settings, "pattern_recognition: task")

    def rows(self, sights: Sights, *, stride: int) -> Rows:
        """One row per decision and living enemy, seen by the first observer, from 1 s after the start on.

        Returns:
            `window` float32 `(row, 50, 16)`, `shown` bool `(row, 50)`, `kind` int8 `(row,)` the enemy's
            archetype, `style` int8 `(row,)` index into `STYLES` or -1 where it has none, `kept` int8
            `(row,)` the longest of 10, 25 and 50 decisions over which it kept that style, else 0, `seen`
            int8 `(row,)` decisions taken before it, at most 50, `length` int8 `(row,)` decisions left in the
            window, 50; `fight`, `time`, `slot` (of the enemy) int64.
        """
        recording = sights.recording
        enemies = np.array(recording.enemies(sights.observers[0]))
        steps = np.arange(len(sights.shown))[:, None, None]
        shown = sights.shown[:, :, 0]
        time, fight, slot = np.nonzero(shown & (steps >= SHORTEST) & (steps % stride == 0))
        unit = enemies[slot]
        style = np.full(len(time), UNKNOWN, np.int8)
        kept = np.zeros(len(time), np.int8)
        for length in LENGTHS.values():
            value, valid = labels.style(recording, length)
            holds = valid[time, fight, unit] & (value[time, fight, unit] != s.SCRIPT)
            style[holds] = value[time, fight, unit][holds] - 1
            kept[holds] = length
        return {
            "window": _windows(sights.opponents[:, :, 0], time, fight, slot),
            "shown": _windows(shown, time, fight, slot),
            "kind": recording.template[unit, f.ARCHETYPE].astype(np.int8),
            "style": style,
            "kept": kept,
            "seen": np.minimum(time, WINDOW_LENGTH).astype(np.int8),
            "length": np.full(len(time), WINDOW_LENGTH, np.int8),
            "fight": fight,
            "time": time,
            "slot": slot,
        }

    def served_inputs(self, rows: Rows) -> Rows:
        """Inputs of the inference form, by name."""
        kind = rows["kind"][:, None] == np.arange(len(ARCHETYPES))
        return {
            "window": np.ascontiguousarray(rows["window"], np.float32),
            "shown": rows["shown"].astype(np.float32),
            "kind": kind.astype(np.float32),
        }

    def augment(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """Turn and mirror the ground of each window, and forget the beginning of all: both are exact.

        All windows of a batch are cut to one length, so that what is cut off need not be computed. A style
        that was not kept over what is left becomes unknown.
        """
        count = count_rows(rows)
        whole = rng.random() < self.settings.whole
        length = WINDOW_LENGTH if whole else int(rng.integers(self.settings.shortest, WINDOW_LENGTH + 1))
        window = turned(rows["window"], rng.integers(len(ELEMENTS), size=count))
        left = np.arange(WINDOW_LENGTH) >= WINDOW_LENGTH - length
        window *= left[:, None]
        return {
            **rows,
            "window": window,
            "shown": rows["shown"] & left,
            "length": np.full(count, length, np.int8),
        }

    def fit(self, rows: Rows) -> dict[str, np.ndarray]:
        """Class weights, prior, and the two baselines that look at the mean of a window.

        Returns:
            `weight` float32 `(style,)`, inverse frequencies with mean 1 over rows; `prior` float32
            `(style,)`; and the arrays of `pattern_baselines.fit_means` for each question.
        """
        truth = rows["style"][rows["style"] >= 0].astype(np.int64)
        counts = np.bincount(truth, minlength=len(STYLES)) + 1.0
        fitted = {
            "weight": (counts.sum() / len(STYLES) / counts).astype(np.float32),
            "prior": (counts / counts.sum()).astype(np.float32),
        }
        for question, length in LENGTHS.items():
            asked = asked_about(rows, length)
            asked = asked if len(asked) else np.flatnonzero(rows["style"] >= 0)
            models = fit_means(
                window_means(rows["window"][asked], rows["shown"][asked], rows["kind"][asked], length),
                rows["style"][asked].astype(np.int64),
                len(STYLES),
            )
            fitted |= {f"{question}_{name}": value for name, value in models._asdict().items()}
        return fitted

    def loss(self, network: nn.Module, batch: Batch, fitted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weighted cross-entropy of the style, and contrast between windows of different styles.

        loss = sum over rows of w[y] (-log p[y]) / sum over rows of w[y]  +  c x supervised_contrastive

        Rows whose style is unknown, or changed within what is left of the window, count in neither.
        """
        assert isinstance(network, PatternRecognition)
        logits, embedding = network(*_inputs(batch))
        truth = torch.where(batch["length"] <= batch["kept"], batch["style"], UNKNOWN).long()
        known = truth >= 0
        weight = fitted["weight"].float()[truth.clamp(min=0)] * known
        each = functional.cross_entropy(logits, truth.clamp(min=0), reduction="none")
        style = (each * weight).sum() / weight.sum().clamp(min=1e-6)
        found = {"style_loss": style}
        if self.settings.contrastive > 0:
            vectors = network.projection(embedding)
            found["contrastive_loss"] = supervised_contrastive(
                vectors, truth, self.settings.contrastive_temperature
            )
        right = (logits.argmax(dim=-1) == truth) & known
        found["loss"] = style + self.settings.contrastive * found.get("contrastive_loss", style.new_zeros(()))
        return {**found, "accuracy": right.sum() / known.sum().clamp(min=1)}

    def predict(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Chances of the styles `(row, 6)` from the last 2, 5 and 10 s, as `style_2s` ...; and `embedding` of
        the whole window."""
        assert isinstance(network, PatternRecognition)
        window, shown, kind = _inputs(batch)
        found: dict[str, Tensor] = {}
        for question, length in LENGTHS.items():
            left = torch.zeros_like(shown)
            left[:, -length:] = shown[:, -length:]
            logits, embedding = network(window, left, kind)
            found[question] = torch.softmax(logits / network.temperature, dim=-1)
        return {**found, "embedding": embedding}

    def calibrate(
        self, network: nn.Module, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """Fit the temperature on the validation rows, all three questions together.

        The t with the least -log softmax(log p / t)[y], by the search of the golden section in log t between
        1/8 and 8 (Guo et al. 2017, section 4.2).
        """
        del fitted
        assert isinstance(network, PatternRecognition)
        logits, truth = [], []
        for question, length in LENGTHS.items():
            asked = asked_about(rows, length)
            logits.append(np.log(np.maximum(answers[question][asked].astype(np.float64), 1e-12)))
            truth.append(rows["style"][asked].astype(np.int64))
        temperature = best_temperature(np.concatenate(logits), np.concatenate(truth))
        network.temperature.fill_(temperature)
        return {"temperature": temperature}

    def errors(self, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """0 or 1 per row and question; where several styles are equally likely, the chance to miss by
        guessing among them. Rows count whose window is full and whose style was kept over it."""
        del fitted
        found = {}
        for question, length in LENGTHS.items():
            if question not in answers:
                continue
            error = np.full(count_rows(rows), np.nan)
            asked = asked_about(rows, length)
            error[asked] = 1.0 - hits(answers[question][asked], rows["style"][asked])
            found[question] = error
        return found

    def metrics(self, answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Per question accuracy, log loss in nats and expected calibration error (15 bins); `skill`, the
        share of the prior's log loss that is saved, over all three; `neighbours`, the share of the nearest
        five windows of other fights that have the same style (10 s)."""
        found: dict[str, float] = {}
        saved, prior = 0.0, 0.0
        for question, length in LENGTHS.items():
            asked = asked_about(rows, length)
            if not len(asked):
                continue
            chances, truth = answers[question][asked], rows["style"][asked].astype(np.int64)
            found[f"accuracy_{question[6:]}"] = float(hits(chances, truth).mean())
            own = log_losses(chances, truth)
            found[f"log_loss_{question[6:]}"] = float(own.mean())
            right = chances.argmax(axis=1) == truth
            found[f"calibration_{question[6:]}"] = expected_calibration_error(
                chances.max(axis=1).astype(np.float64), right, BINS
            )
            saved += float(own.sum())
            prior += float(log_losses(np.tile(fitted["prior"], (len(asked), 1)), truth).sum())
        asked = asked_about(rows, TEN_SECONDS)
        if "embedding" in answers and len(asked):
            found["neighbours"] = neighbours(
                answers["embedding"][asked], rows["style"][asked], rows["fight"][asked]
            )
        return {**found, "skill": 1.0 - saved / max(prior, 1e-12)}

    def baselines(self, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, Rows]:
        """`class prior`; and from the mean of each of the 16 features over the window and the opponent's
        kind: `nearest class mean` (in standard deviations) and `logistic regression`."""
        found: dict[str, Rows] = {"class prior": {}, "nearest class mean": {}, "logistic regression": {}}
        for question, length in LENGTHS.items():
            models = MeanModels(*(fitted[f"{question}_{name}"] for name in MeanModels._fields))
            means = window_means(rows["window"], rows["shown"], rows["kind"], length)
            found["class prior"][question] = np.tile(fitted["prior"], (count_rows(rows), 1))
            found["nearest class mean"][question] = models.nearest(means)
            found["logistic regression"][question] = models.regression(means)
        return found


def turned(windows: np.ndarray, elements: np.ndarray) -> np.ndarray:
    """Windows after an element of the square's group each (`envs.symmetries.turn`); a copy.

    Positions and steps turn; all else a window holds is the same in every direction.

    Args:
        windows: float32 `(row, decision, 16)`; dx, dy, moved_x, moved_y come first.
        elements: int `(row,)`, 0-7.
    """
    out = windows.copy()
    swapped = (elements & 1) > 0
    out[swapped, :, :4] = windows[swapped][:, :, [1, 0, 3, 2]]
    out[..., [0, 2]] *= np.where(elements & 2, np.float32(-1), np.float32(1))[:, None, None]
    out[..., [1, 3]] *= np.where(elements & 4, np.float32(-1), np.float32(1))[:, None, None]
    return out


def asked_about(rows: Rows, length: int) -> np.ndarray:
    """Indices of rows with a full window of `length` decisions and one known style over it."""
    return np.flatnonzero((rows["style"] >= 0) & (rows["kept"] >= length) & (rows["seen"] >= length))


def _windows(values: np.ndarray, time: np.ndarray, fight: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """The 50 values up to and with each time, zeros before the first.

    Args:
        values: `(time, fight, slot, ...)`.
        time: int `(row,)`.
        fight: likewise.
        slot: likewise.

    Returns:
        `(row, 50, ...)`, a copy.
    """
    before = np.zeros((WINDOW_LENGTH - 1, *values.shape[1:]), values.dtype)
    views = sliding_window_view(np.concatenate([before, values]), WINDOW_LENGTH, axis=0)
    return np.ascontiguousarray(np.moveaxis(views[time, fight, slot], -1, 1))


def _inputs(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The network's inputs of a batch."""
    kind = functional.one_hot(batch["kind"].long(), len(ARCHETYPES)).float()
    return batch["window"], batch["shown"].float(), kind


assert s.STYLES[1:] == STYLES, "labels and outputs name the styles in one order"
