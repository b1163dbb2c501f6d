"""The exact posterior over styles: how well anybody can tell by which style an opponent plays.

What a style does in a state is known but for two rolls (whether a skill is tried, whether an ally is helped)
and the choice of the random one, so the probability of every order under every style is too. Bayes' rule
turns these into the probability of each style given what a unit did. An observer who sees less knows less.

Two observers: one reads `orders`; the other sees a unit's `deeds` only, that is the state each window leads
to, and knows the others' orders and all dice but those of the styles. Holding and attacking an enemy in
reach, say, look alike to it.

The posterior over all decisions of a side (`by_team`, no window) is exact. With a window, or of one unit of a
side, it uses what these decisions say and nothing else: where units stand, how long they have lived and what
their team mates do tell of the style too.

Axes named style are indexed like `envs.simulation.state.STYLES`. A plain script gives no orders, so it is
none of the styles told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.contracts import layout as f
from envs.perception.bayes_kernel import NUM_ROWS, law, weigh_batch
from envs.perception.labels import Label
from envs.perception.recorder import WINDOW_TICKS, Policy, record_fights
from envs.perception.recording import Recording
from envs.simulation import kernel
from envs.simulation import state as s
from envs.simulation.world import World

SEEN = ("orders", "deeds")
TIE = 1e-9
"""Probabilities this near are one: sums of logarithms leave rests of rounding."""
FIRST_SWITCH_TICK, SWITCH_TICKS = 100, 200
"""A switch comes at one of so many ticks, all as probable (`envs.simulation.styles.draw_styles`)."""

assert len(s.STYLES) == s.RANDOM + 1, "the law knows every style"


def likelihoods(
    num_fights: int,
    teams: tuple[Sequence[str], Sequence[str]],
    *,
    seen: str = "orders",
    policy: Policy | None = None,
    **arguments: Any,
) -> tuple[Recording, np.ndarray]:
    """Record fights, and what each decision of a unit with a style says about its style.

    Args:
        num_fights: so many.
        teams: archetypes of both sides.
        seen: `orders` or `deeds`, what the observer sees of a decision.
        policy: actions of the learners.
        arguments: those of `record_fights`: seed, first_fight, tiers, styles, switching, learners ...

    Returns:
        The recording, and the natural logarithm of P(what was seen at decision t | state, style), float64
        `(time, fight, unit, style)`. Where a unit is dead, obeys or is a plain script it is 0 for all; else
        minus infinity for styles that would never do so.

    Raises:
        ValueError: as `record_fights`; another word for what is seen.
    """
    if seen not in SEEN:
        raise ValueError(f"seen={seen!r}; one of {', '.join(SEEN)}")
    scales = _Scales(num_fights, int(arguments.get("first_fight", 0)), seen == "deeds", policy)
    recording = record_fights(num_fights, teams, policy=scales, **arguments)
    with np.errstate(divide="ignore"):
        return recording, np.log(np.stack(scales.chances[: recording.num_windows]))


def weigh(world: World, ran: np.ndarray) -> np.ndarray:
    """What each unit is about to do in a world without learners, weighed by the deeds seen.

    Args:
        world: Before a step; it is left as it is.
        ran: bool `(fight,)`, which fights are weighed.

    Returns:
        P(deeds of the coming window | state, style), float64 `(fight, unit, style)`; 1 for all styles where a
        fight is not weighed or a unit chooses by none.

    Raises:
        ValueError: a world with learners, whose orders are not known before its step.
    """
    if world.learners:
        raise ValueError(
            f"{world.learners} learners, whose orders are unknown; make the world with learners=0"
        )
    fights, units = world.units.shape[:2]
    chosen = np.zeros((fights, 0, f.NUM_ORDER_FIELDS), np.int32)
    chances = np.ones((fights, units, len(s.STYLES)))
    weigh_batch(world.units, world.fights, world.skills, world.world, chosen, ran, True, chances)
    return chances


def order_law(world: World, fight: int, unit: int) -> tuple[np.ndarray, np.ndarray]:
    """Orders a unit may give in the present state, and how probable each is under each style.

    Returns:
        int32 `(11, 5)`, the ten combat actions' orders and a healer hunter's attack; float64 `(style, 11)`,
        every row but the plain script's sums to 1. Rows may repeat an order.

    Raises:
        ValueError: a dead unit or one that does not exist.
    """
    units = world.units[fight]
    if not 0 <= unit < len(units) or units[unit, f.HP] <= 0:
        raise ValueError(f"unit {unit} of {len(units)}: only a living unit gives orders")
    rows, chance = np.zeros((NUM_ROWS, 5), np.int32), np.zeros((len(s.STYLES), NUM_ROWS))
    law(units, world.skills, world.world, unit, len(units), rows, np.zeros(NUM_ROWS - 1, bool), chance)
    return rows, chance


def even(styles: Sequence[str] = s.STYLES[1:]) -> np.ndarray:
    """The same probability for some styles, none for the others, float64 `(style,)`.

    Raises:
        ValueError: no style, an unknown one, or the plain script.
    """
    unknown = set(styles) - set(s.STYLES[1:])
    if unknown or not styles:
        names = ", ".join(sorted(unknown)) or "nothing"
        raise ValueError(f"{names} cannot be told apart; give some of {', '.join(s.STYLES[1:])}")
    prior = np.zeros(len(s.STYLES))
    prior[[s.STYLES.index(name) for name in styles]] = 1
    return prior / prior.sum()


def by_team(log_likelihood: np.ndarray) -> np.ndarray:
    """What all units of a side say together, in each unit's place; a side draws one style for all of them."""
    half = log_likelihood.shape[2] // 2
    sides = log_likelihood.reshape(*log_likelihood.shape[:2], 2, half, -1).sum(axis=3)
    return np.repeat(sides, half, axis=2)


def posterior(
    log_likelihood: np.ndarray, window: int | None = None, prior: np.ndarray | None = None
) -> np.ndarray:
    """P(style | the last decisions), for units that keep one style over them.

    Args:
        log_likelihood: `(time, fight, unit, style)`, of `likelihoods`.
        window: so many decisions before t, those from max(t - window, 0) to t - 1; default: all.
        prior: of the styles, `(style,)`; default: the same for all six.

    Returns:
        float64 `(time, fight, unit, style)`; time 0 .. windows, as `labels.style` has it. Where no single
        style explains what was seen, the prior.
    """
    prior = even() if prior is None else prior
    never = np.isneginf(log_likelihood)
    total = _before(np.where(never, 0.0, log_likelihood), window)
    impossible = _before(never.astype(np.int32), window) > 0
    with np.errstate(divide="ignore"):
        score = np.where(impossible, -np.inf, total) + np.log(prior)
    best = score.max(axis=-1, keepdims=True)
    weight = np.exp(score - np.where(np.isneginf(best), 0, best))
    return _normal(weight, prior)


def switching_posterior(
    log_likelihood: np.ndarray, window: int | None = None, prior: np.ndarray | None = None
) -> np.ndarray:
    """P(style in force at decision t - 1 | the last decisions) in fights with `switching=True`.

    The exact filter of a chain that moves once, at a tick drawn evenly from 10 s to 29.9 s, to one of the
    other styles (the forward recursion of Rabiner, "A Tutorial on Hidden Markov Models", 1989). The
    observer knows the time of the fight.

    Args:
        log_likelihood: `(time, fight, unit, style)`, of `likelihoods`.
        window: so many decisions before t; default: all.
        prior: of the first style; the second is as probable as any other of those with a prior.

    Returns:
        float64 `(time, fight, unit, style)`; time 0 .. windows.

    Raises:
        ValueError: a prior that leaves no other style to change to.
    """
    prior = even() if prior is None else prior
    options = prior > 0
    if options.sum() < 2:
        raise ValueError("a switch needs at least two styles of positive prior")
    moves = np.where(options & ~np.eye(len(prior), dtype=bool), 1 / (options.sum() - 1), 0.0)
    windows = len(log_likelihood)
    likelihood = np.exp(log_likelihood)
    hazard = _switch_hazard(windows)
    kept = np.concatenate([[1.0], np.cumprod(1 - hazard)])  # not switched before decision d
    result = np.empty((windows + 1, *log_likelihood.shape[1:]))
    result[0] = prior
    if window is None:
        first, second = result[0].copy(), np.zeros_like(result[0])
        for t in range(windows):
            first, second = _forward(first, second, likelihood[t], hazard[t], moves)
            result[t + 1] = _normal(first + second, prior)
        return result
    for t in range(1, windows + 1):
        start = max(t - window, 0)
        first = np.broadcast_to(prior * kept[start], result[0].shape)
        second = np.broadcast_to((prior @ moves) * (1 - kept[start]), result[0].shape)
        for d in range(start, t):
            first, second = _forward(first, second, likelihood[d], hazard[d], moves)
        result[t] = _normal(first + second, prior)
    return result


def accuracy(probability: np.ndarray, label: Label) -> float:
    """Share of rows in which the most probable style is the true one; ties count their share.

    Rows are those that are valid and not of plain scripts.

    Args:
        probability: `(time, fight, unit, style)`, of `posterior`.
        label: `labels.style` or `labels.switched` of the same recording and window.

    Returns:
        A number in [0, 1]; nan without such a row.
    """
    counted = label.valid & (label.value != s.SCRIPT)
    rows, truth = probability[counted], label.value[counted].astype(np.int64)
    if not len(rows):
        return float("nan")
    best = rows >= rows.max(axis=-1, keepdims=True) - TIE
    hit = best[np.arange(len(rows)), truth]
    return float((hit / best.sum(axis=-1)).mean())


class _Scales:
    """A policy that weighs every decision just before it is taken."""

    def __init__(self, num_fights: int, first_fight: int, deeds: bool, policy: Policy | None) -> None:
        self.num_fights, self.first_fight, self.deeds, self.policy = num_fights, first_fight, deeds, policy
        self.world: World | None = None
        self.chances: list[np.ndarray] = []

    def __call__(self, world: World) -> np.ndarray:
        """Weigh, and return the learners' actions."""
        if world is not self.world:
            self.world, self.time, self.episode = world, 0, world.fights[:, s.G_EPISODE].copy()
        if self.time == len(self.chances):
            self.chances.append(np.ones((self.num_fights, world.units.shape[1], len(s.STYLES))))
        actions, chosen = self._orders(world)
        start = int(world.world[s.W_FIRST]) - self.first_fight
        rows = self.chances[self.time][start : start + world.num_fights]
        ran = (world.fights[:, s.G_EPISODE] == self.episode) & (world.outcome == s.RUNNING)
        weigh_batch(world.units, world.fights, world.skills, world.world, chosen, ran, self.deeds, rows)
        self.time += 1
        return actions

    def _orders(self, world: World) -> tuple[np.ndarray, np.ndarray]:
        """The learners' actions, and the orders these stand for, int32 `(fight, learner, 5)`."""
        if not world.learners:
            nobody = np.zeros((world.num_fights, 0), np.int32)
            return nobody, np.zeros((world.num_fights, 0, f.NUM_ORDER_FIELDS), np.int32)
        if self.policy is None:
            raise ValueError(f"{world.learners} learners and no policy; pass policy=, or learners=0")
        actions = np.asarray(self.policy(world))
        if world.head == "control":
            return actions, world.mixed(actions).copy()
        chosen = np.zeros((world.num_fights, actions.shape[1], f.NUM_ORDER_FIELDS), np.int32)
        kernel.choose(world.orders, np.ascontiguousarray(actions, np.int32), chosen, 0, world.num_fights)
        return actions, chosen


def _before(values: np.ndarray, window: int | None) -> np.ndarray:
    """Sum over the `window` rows before each time, `(time + 1, ...)`; None: over all before."""
    total = np.zeros((len(values) + 1, *values.shape[1:]), values.dtype)
    np.cumsum(values, axis=0, out=total[1:])
    if window is None:
        return total
    return total - total[np.maximum(np.arange(len(total)) - window, 0)]


def _normal(weight: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Weights scaled to sum 1; the prior where all are 0."""
    total = weight.sum(axis=-1, keepdims=True)
    return np.where(total > 0, weight / np.where(total > 0, total, 1), prior)


def _switch_hazard(windows: int) -> np.ndarray:
    """P(decision d is the first of the new style | none before was), float64 `(decision,)`."""
    ticks = np.arange(FIRST_SWITCH_TICK, FIRST_SWITCH_TICK + SWITCH_TICKS)
    # The style changes at the first decision whose tick has come to it.
    decisions = -(-ticks // WINDOW_TICKS)
    counts = np.bincount(decisions, minlength=windows)
    left = counts[::-1].cumsum()[::-1]
    return (counts / np.maximum(left, 1))[:windows]


def _forward(
    first: np.ndarray, second: np.ndarray, likelihood: np.ndarray, hazard: float, moves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One decision of the filter: weights of styles not yet changed, and of those changed to."""
    moved = first * hazard
    second = (second + moved @ moves) * likelihood
    first = (first - moved) * likelihood
    total = (first + second).sum(axis=-1, keepdims=True)
    scale = np.where(total > 0, total, 1)
    return first / scale, second / scale
