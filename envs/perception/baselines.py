"""What a trained perception model has to beat: the recent past repeated, reach times power, the prior."""

from __future__ import annotations

import numpy as np

from envs.contracts import layout as f
from envs.contracts.vocabulary import DECISION_MS
from envs.perception.labels import Label, targets
from envs.perception.recording import TWO_SECONDS, Recording, X, Y


def repeated_threat(recording: Recording, horizon: int, past: int = TWO_SECONDS) -> np.ndarray:
    """Damage of the last 2 s goes on at the same rate, float32 `(time, fight, source, target)`.

    In shares of the target's max HP over `horizon` windows, like `labels.threat`.
    """
    total = np.zeros((recording.num_windows + 1, *recording.damage.shape[1:]), np.int64)
    np.cumsum(recording.damage, axis=0, out=total[1:])
    time = np.arange(recording.num_windows)
    recent = total[time] - total[np.maximum(time - past, 0)]
    return (recent * (horizon / past) / recording.max_hp).astype(np.float32)


def reach_threat(recording: Recording, horizon: int) -> np.ndarray:
    """Damage per second x the horizon for whoever stands in the source's reach.

    Returns:
        float32 `(time, fight, source, target)`, shares of the target's max HP; swings only, all of which
        hit, 0 for dead sources and for friends.
    """
    table = recording.template
    swings = horizon * DECISION_MS / np.maximum(table[:, f.ATTACK_DELAY], 1)
    share = swings[:, None] * recording.swing_points / recording.max_hp * recording.hostile
    x, y = (recording.units[:-1, ..., column].astype(np.int32) for column in (X, Y))
    apart = np.maximum(abs(x[..., :, None] - x[..., None, :]), abs(y[..., :, None] - y[..., None, :]))
    near = (apart <= table[:, None, f.RANGE]) & recording.alive[:-1, ..., None]
    return np.where(near, share, 0).astype(np.float32)


def same_target(recording: Recording) -> np.ndarray:
    """Every unit keeps the target it has, int8 `(time, fight, unit)`, like `labels.next_target`."""
    return targets(recording)[:-1]


def same_hp(recording: Recording, moments: int) -> np.ndarray:
    """HP shares stay as they are, float32 `(time, fight, unit, moment)`, like `labels.future_hp`."""
    share = (recording.hp[:-1] / recording.max_hp).astype(np.float32)
    return np.repeat(share[..., None], moments, axis=-1)


def class_prior(label: Label, classes: int) -> np.ndarray:
    """How often each class is true in (training) data, float64 `(class,)`, one added to every count."""
    counts = np.bincount(label.value[label.valid].astype(np.int64), minlength=classes) + 1.0
    return counts / counts.sum()


def log_loss(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Mean negative log-likelihood in nats.

    Args:
        probabilities: `(class,)` for all rows alike, or `(row, class)`.
        truth: int `(row,)`.
    """
    rows = np.broadcast_to(probabilities, (len(truth), np.shape(probabilities)[-1]))
    chance = rows[np.arange(len(truth)), truth.astype(np.int64)]
    return float(-np.log(np.maximum(chance, 1e-12)).mean())


def explained_variance(prediction: np.ndarray, truth: np.ndarray) -> float:
    """1 - mean squared error / variance of the truth; nan if the truth never varies."""
    variance = float(np.var(truth, dtype=np.float64))
    if variance == 0:
        return float("nan")
    return 1 - float(np.mean((prediction.astype(np.float64) - truth) ** 2)) / variance
