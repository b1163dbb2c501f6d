"""Compiled part of `envs.perception.bayes`: what each style would have ordered, and what that would show."""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.contracts.layout import HP, O_ATTACK, O_SKILL, RANGE, TEAM
from envs.contracts.vocabulary import NUM_COMBAT_ACTIONS
from envs.simulation import cache  # noqa: F401  (sets numba's cache folder before anything is compiled)
from envs.simulation.kernel import run_tick
from envs.simulation.planner import clock_in_window, is_free, pick_foes, plan, put
from envs.simulation.rules import distance
from envs.simulation.scoring import judge
from envs.simulation.state import (
    BRAIN,
    FOCUS_FIRE,
    G_OUTCOME,
    HEALER_FIRST,
    KITER,
    NUM_FIGHT_FIELDS,
    NUM_STATISTICS,
    ORDER,
    RANDOM,
    RUNNING,
    SCRIPT,
    SKILL_CHANCE,
    STYLE,
    STYLES,
    TURTLE,
    W_WINDOW,
)
from envs.simulation.styles import KITE_CELLS, choose_by_style, healer_rank

HUNT = NUM_COMBAT_ACTIONS
"""Row behind the ten orders: the attack that a hunter of healers makes for itself."""
NUM_ROWS = HUNT + 1
NUM_STYLES = len(STYLES)
ROLLS = 1 << 31
"""A roll is a whole number in [0, 2^31), each as probable as the others."""


@njit(cache=True, nogil=True)
def share_below(limit: int, modulus: int) -> float:
    """Probability that a roll's rest by `modulus` is below `limit` (at most the modulus)."""
    return ((ROLLS // modulus) * limit + min(ROLLS % modulus, limit)) / ROLLS


@njit(cache=True, nogil=True)
def prey_of(u: np.ndarray, i: int, n: int) -> int:
    """Whom a hunter of healers attacks, -1 nobody."""
    prey, best = -1, 99
    first = n // 2 if u[i, TEAM] == 0 else 0
    for e in range(first, first + n // 2):
        if u[e, HP] > 0 and healer_rank(u, e) < best:
            prey, best = e, healer_rank(u, e)
    return prey if prey >= 0 and is_free(u, i) else -1


@njit(cache=True, nogil=True)
def row_of(u: np.ndarray, i: int, n: int, legal: np.ndarray, style: int, eager: bool, prey: int) -> int:
    """Which row a style (all but random) orders when no ally is helped, given whether it is eager."""
    if style == TURTLE and legal[6] and eager:
        return 6
    if style == KITER and legal[4] and not clock_in_window(u, i):
        nearest, _, _ = pick_foes(u, i, n)
        if nearest >= 0 and distance(u, i, nearest) < max(u[i, RANGE], KITE_CELLS):
            return 4
    if eager:
        for action in (5, 9, 6):
            if legal[action]:
                return action
    if style == HEALER_FIRST:
        return HUNT if prey >= 0 else 0
    action = 0 if style == TURTLE else (2 if style == FOCUS_FIRE else 1)
    return action if legal[action] else 0


@njit(cache=True, nogil=True)
def law(
    u: np.ndarray,
    sk: np.ndarray,
    w: np.ndarray,
    i: int,
    n: int,
    rows: np.ndarray,
    legal: np.ndarray,
    chance: np.ndarray,
) -> None:
    """Every order unit i may give in a state, and its probability under each style.

    In: u int32 `(unit, column)`, sk int32 `(unit, slot, column)`, w int64, the world's numbers. Out: rows
    int32 `(11, 5)`, legal bool `(10,)`, chance float64 `(style, 11)`; the plain script's row is zeros.
    """
    plan(u, sk, w, i, n, rows, legal)
    prey = prey_of(u, i, n)
    put(rows, HUNT, O_ATTACK, -1, prey, 0, 0)
    chance[:] = 0.0
    options = 0
    for action in range(NUM_COMBAT_ACTIONS):
        options += legal[action]
    place = 0
    for action in range(NUM_COMBAT_ACTIONS):
        if legal[action]:
            chance[RANDOM, action] = share_below(place + 1, options) - share_below(place, options)
            place += 1
    eager = share_below(min(u[i, SKILL_CHANCE] // 2, 100), 100)
    helpful = eager if legal[7] and rows[7, 0] == O_SKILL else 0.0
    for style in range(SCRIPT + 1, RANDOM):
        chance[style, 7] += helpful
        chance[style, row_of(u, i, n, legal, style, True, prey)] += (1 - helpful) * eager
        chance[style, row_of(u, i, n, legal, style, False, prey)] += (1 - helpful) * (1 - eager)


@njit(cache=True, nogil=True)
def same_order(given: np.ndarray, row: np.ndarray) -> bool:
    """Whether two order rows say the same."""
    same = True
    for c in range(5):
        same = same and given[c] == row[c]
    return same


@njit(cache=True, nogil=True)
def play_window(
    u: np.ndarray,
    st: np.ndarray,
    sk: np.ndarray,
    g: np.ndarray,
    w: np.ndarray,
    hits: np.ndarray,
    heals: np.ndarray,
    n: int,
) -> None:
    """One decision window in which everybody's order is given already."""
    ticks = 0
    while ticks < w[W_WINDOW] and g[G_OUTCOME] == RUNNING:
        run_tick(u, st, sk, g, w, hits, heals, n)
        g[G_OUTCOME] = judge(u, g, w, n)
        ticks += 1


@njit(cache=True, nogil=True)
def same_state(u: np.ndarray, v: np.ndarray) -> bool:
    """Whether two fights are in one state, whatever orders led there."""
    for i in range(u.shape[0]):
        for c in range(u.shape[1]):
            if u[i, c] != v[i, c] and not ORDER <= c < ORDER + 5:
                return False
    return True


@njit(cache=True, nogil=True)
def weigh_batch(
    units: np.ndarray,
    fights: np.ndarray,
    sk: np.ndarray,
    w: np.ndarray,
    chosen: np.ndarray,
    ran: np.ndarray,
    deeds: bool,
    out: np.ndarray,
) -> None:
    """Probability under each style of what every unit is about to do in this window.

    In: units int32 `(fight, unit, column)`, fights int64 `(fight, 5)`, chosen int32 `(fight, learner, 5)`,
    ran bool `(fight,)`; deeds: orders that lead to the same state count as one. Out: float64
    `(fight, unit, style)`, 1 for all styles where a unit chooses by none, 0 for the script where it does.
    """
    n = units.shape[1]
    rows = np.zeros((NUM_ROWS, 5), np.int32)
    legal = np.zeros(NUM_COMBAT_ACTIONS, np.bool_)
    chance = np.zeros((NUM_STYLES, NUM_ROWS))
    same = np.zeros(NUM_ROWS, np.bool_)
    now, truth, other = np.zeros_like(units[0]), np.zeros_like(units[0]), np.zeros_like(units[0])
    g = np.zeros(NUM_FIGHT_FIELDS, np.int64)
    st = np.zeros((n, NUM_STATISTICS), np.int32)
    hits = np.zeros(2 * n + n * n, np.int64)
    heals = np.zeros(n, np.int64)
    for b in range(units.shape[0]):
        out[b] = 1.0
        if not ran[b]:
            continue
        now[:] = units[b]
        for i in range(n):
            if now[i, BRAIN] == 1:
                now[i, ORDER : ORDER + 5] = chosen[b, i]
            elif now[i, HP] > 0:
                choose_by_style(now, sk, fights[b], w, i, n, rows, legal)
        if deeds:
            truth[:] = now
            g[:] = fights[b]
            play_window(truth, st, sk, g, w, hits, heals, n)
        for i in range(n):
            if now[i, HP] <= 0 or now[i, BRAIN] == 1 or now[i, STYLE] == SCRIPT:
                continue
            law(now, sk, w, i, n, rows, legal, chance)
            given = now[i, ORDER : ORDER + 5]
            for row in range(NUM_ROWS):
                same[row] = same_order(given, rows[row])
                if deeds and not same[row] and chance[:, row].max() > 0:
                    other[:] = now
                    other[i, ORDER : ORDER + 5] = rows[row]
                    g[:] = fights[b]
                    play_window(other, st, sk, g, w, hits, heals, n)
                    same[row] = same_state(truth, other)
            for style in range(NUM_STYLES):
                out[b, i, style] = 0.0
                for row in range(NUM_ROWS):
                    if same[row]:
                        out[b, i, style] += chance[style, row]
