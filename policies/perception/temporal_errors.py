"""How good answers about the next seconds are, and what simple guesses answer.

Errors are means over the decisions and enemies of a fight; a row is a fight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.perception.labels import DEEDS
from policies.perception import reliability
from policies.perception.task import Rows
from policies.temporal_heads import ALLIES, MOMENTS, TARGETS, UNITS

SECOND = 5
"""Decisions."""
SIDES = {"own_hp": slice(0, 1), "ally_hp": slice(1, 1 + ALLIES), "enemy_hp": slice(1 + ALLIES, UNITS)}
CLASSES = {"deed": len(DEEDS), "target": TARGETS}
NOW = {"deed": "last_deed", "target": "now_target"}
"""What a class is guessed to stay."""
LEAST = 1e-12


def future(hp: Any, time: int, moment: int) -> Any:
    """HP shares so many seconds later.

    Args:
        hp: array or tensor (row, time + 25, unit).
        time: decisions.
        moment: 0 to 4 for 1 to 5 s.

    Returns:
        (row, time, unit).
    """
    ahead = SECOND * (moment + 1)
    return hp[:, ahead : ahead + time]


def known_hp(rows: Any) -> Any:
    """Where HP shares are to be foretold, bool (row, time, unit, moment); rows or a batch of tensors."""
    time = rows["deed"].shape[1]
    return rows["hp_known"][:, :, None] & (rows["hp"][:, :time] > 0)[..., None]


def fit(rows: Rows) -> dict[str, np.ndarray]:
    """What loss, metrics and baselines need of the training rows.

    Returns:
        deed_prior float32 (deed,) and target_prior (target,), one added to every count; deed_repeats and
        target_repeats (), how often the last one is the next one; change_square (unit, moment), mean square
        of the change of an HP share, alike for the own side and for enemies.
    """
    found: dict[str, np.ndarray] = {}
    for name, classes in CLASSES.items():
        truth, last = rows[name], rows[NOW[name]]
        known = truth >= 0
        counts = np.bincount(truth[known], minlength=classes) + 1.0
        found[f"{name}_prior"] = (counts / counts.sum()).astype(np.float32)
        share = float((truth == last)[known].mean()) if known.any() else 0.5
        found[f"{name}_repeats"] = np.array(np.clip(share, 0.01, 0.99), np.float32)
    known, time = known_hp(rows), rows["deed"].shape[1]
    squares = np.ones((UNITS, MOMENTS), np.float32)
    for moment in range(MOMENTS):
        change = future(rows["hp"], time, moment) - rows["hp"][:, :time]
        for side in (slice(0, 1 + ALLIES), SIDES["enemy_hp"]):
            here = known[:, :, side, moment]
            if here.any():
                squares[side, moment] = max(float(np.square(change[:, :, side][here]).mean()), 1e-6)
    return found | {"change_square": squares}


def errors(answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Per question the mean error of each fight, float64 (row,), nan where nothing is known.

    deed and target: share of wrong guesses; deed_nll and target_nll: negative log-likelihood in nats; own_hp,
    ally_hp and enemy_hp: squared error of HP shares, mean over the five moments; together, if all are
    answered: mean of the three, each as a share of what the priors and no change leave open.
    """
    found: dict[str, np.ndarray] = {}
    for name in CLASSES:
        if name in answers:
            truth = rows[name]
            known = truth >= 0
            guess = answers.get(f"{name}_guess")
            guess = answers[name].argmax(axis=-1) if guess is None else guess
            found[name] = _mean(guess != truth, known)
            found[f"{name}_nll"] = _mean(-_log_chance(answers[name], truth), known)
    if "hp" in answers:
        known, time = known_hp(rows), rows["deed"].shape[1]
        square = np.empty(known.shape, np.float32)
        for moment in range(MOMENTS):
            square[..., moment] = (answers["hp"][..., moment] - future(rows["hp"], time, moment)) ** 2
        for name, side in SIDES.items():
            found[name] = _mean(square[:, :, side], known[:, :, side])
        if all(name in answers for name in CLASSES):
            shares = [found[f"{name}_nll"] / _entropy(fitted[f"{name}_prior"]) for name in CLASSES]
            shares.append(_mean(square / fitted["change_square"], known))
            found["together"] = np.mean(shares, axis=0)
    return found


def metrics(answers: Rows, rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Figures of one set, over all its decisions.

    Returns:
        deed_accuracy, target_accuracy; target_turn_accuracy, where the target changes; deed_nll, target_nll;
        own_hp_explained and enemy_hp_explained (share of the changes' mean square, all moments), with _1s to
        _5s behind for one moment; skill: mean share of what class prior (deeds), the same target and the same
        HP leave open that the answers explain.
    """
    found: dict[str, float] = {}
    skills = []
    simple = guesses(rows, fitted)
    for name in CLASSES:
        truth = rows[name]
        known = truth >= 0
        right = answers[name].argmax(axis=-1) == truth
        found[f"{name}_accuracy"] = float(right[known].mean())
        if name == "target":
            turns = known & (truth != rows["now_target"])
            found["target_turn_accuracy"] = float(right[turns].mean()) if turns.any() else float("nan")
        nll = -float(_log_chance(answers[name], truth)[known].mean())
        guess = simple["class_prior" if name == "deed" else "same_target"][name]
        found[f"{name}_nll"] = nll
        skills.append(1.0 + nll / float(_log_chance(guess, truth)[known].mean()))
    known, time = known_hp(rows), rows["deed"].shape[1]
    left, there = np.zeros((UNITS, MOMENTS)), np.zeros((UNITS, MOMENTS))
    for moment in range(MOMENTS):
        later, here = future(rows["hp"], time, moment), known[..., moment]
        left[:, moment] = np.sum(np.square(answers["hp"][..., moment] - later), axis=(0, 1), where=here)
        there[:, moment] = np.sum(np.square(rows["hp"][:, :time] - later), axis=(0, 1), where=here)
    for name in ("own_hp", "enemy_hp"):
        side = SIDES[name]
        found[f"{name}_explained"] = _explained(left[side], there[side])
        for moment in range(MOMENTS):
            found[f"{name}_explained_{moment + 1}s"] = _explained(left[side, moment], there[side, moment])
    skills.append(_explained(left / fitted["change_square"], there / fitted["change_square"]))
    return found | {"skill": float(np.mean(skills))}


def guesses(rows: Rows, fitted: Mapping[str, np.ndarray]) -> dict[str, Rows]:
    """What has to be beaten.

    Returns:
        class_prior (deed, target), last_deed (the deed of the last second again), same_target, same_hp. A
        repeated class has the chance that it had in training; the others share the rest by their priors.
    """
    time = rows["deed"].shape[1]
    simple: dict[str, Rows] = {"class_prior": {}}
    for name, classes in CLASSES.items():
        prior, repeats = fitted[f"{name}_prior"], float(fitted[f"{name}_repeats"])
        last = np.maximum(rows[NOW[name]], 0)
        simple["class_prior"][name] = np.broadcast_to(prior, (*last.shape, classes))
        table = np.tile(prior, (classes, 1)).astype(np.float32)
        np.fill_diagonal(table, 0.0)
        table *= (1.0 - repeats) / table.sum(axis=1, keepdims=True)
        np.fill_diagonal(table, repeats)
        repeated = {name: table[last], f"{name}_guess": last}
        simple["last_deed" if name == "deed" else "same_target"] = repeated
    hp = rows["hp"][:, :time, :, None]
    return simple | {"same_hp": {"hp": np.broadcast_to(hp, (*hp.shape[:3], MOMENTS))}}


def best_temperature(chances: np.ndarray, truth: np.ndarray) -> float:
    """The temperature that gives known classes the least negative log-likelihood.

    Args:
        chances: float (..., class), of temperature 1.
        truth: int (...), -1 not known.
    """
    known = truth >= 0
    logits = np.log(np.maximum(chances[known].astype(np.float64), LEAST))
    return reliability.best_temperature(logits, truth[known].astype(np.int64))


def _log_chance(chances: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Logarithm of the chance that the truth was given, (row, time, enemy)."""
    index = np.maximum(truth, 0).astype(np.int64)[..., None]
    chance = np.take_along_axis(chances, index, axis=-1)[..., 0]
    return np.log(np.maximum(chance, LEAST, dtype=np.float64))


def _entropy(chances: np.ndarray) -> float:
    return -float(np.sum(chances * np.log(chances)))


def _mean(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean of each row's known values, float64 (row,)."""
    count = known.reshape(len(known), -1).sum(axis=1)
    total = np.where(known, values, 0.0).reshape(len(known), -1).sum(axis=1, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _explained(left: np.ndarray, there: np.ndarray) -> float:
    return 1.0 - float(left.sum()) / max(float(there.sum()), 1e-12)
