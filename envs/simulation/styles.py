"""Opponents that play like people: each style chooses a combat action per decision.

Stats, skills and chances are the same in every style, so style shows in behaviour only.
"""

from __future__ import annotations

from numba import njit

from envs.contracts.layout import (
    ARCHETYPE,
    HP,
    LAST_ACTION,
    O_ATTACK,
    O_SKILL,
    RANGE,
    TEAM,
)
from envs.contracts.vocabulary import NUM_COMBAT_ACTIONS
from envs.simulation.planner import clock_in_window, is_free, pick_foes, plan, put
from envs.simulation.rng import P_HELP, P_PICK, P_STYLE, draw
from envs.simulation.rules import distance, stream
from envs.simulation.state import (
    FOCUS_FIRE,
    G_KEY,
    G_TICK,
    HEALER_FIRST,
    KITER,
    NEXT_STYLE,
    ORDER,
    RANDOM,
    SKILL_CHANCE,
    STYLE,
    SWITCH_TICK,
    TURTLE,
    W_STYLES,
    W_SWAP,
    W_SWITCHING,
)

STYLE_STREAM = 14  # no unit's stream
KITE_CELLS = 4  # a kiter without reach keeps this far off while its clock runs


@njit(cache=True, nogil=True)
def draw_styles(u, g, w, n):
    """Give each team one of its styles, and perhaps another one for later."""
    half = n // 2
    for side in range(2):
        place = W_STYLES + 8 * side
        count = w[place]
        style, follow, at = 0, 0, -1
        if count > 0:
            s = STYLE_STREAM + (side ^ w[W_SWAP])
            pick = draw(g[G_KEY], 0, s, P_PICK) % count
            style = w[place + 1 + pick]
            if w[W_SWITCHING] != 0 and count > 1:
                other = (pick + 1 + draw(g[G_KEY], 1, s, P_PICK) % (count - 1)) % count
                follow = w[place + 1 + other]
                at = 100 + draw(g[G_KEY], 2, s, P_PICK) % 200
        for i in range(side * half, side * half + half):
            u[i, STYLE] = style
            u[i, NEXT_STYLE] = follow
            u[i, SWITCH_TICK] = at


@njit(cache=True, nogil=True)
def healer_rank(u, e):
    """Whom a healer hunter takes first: support, mage, ranged, aggressive, defensive, tank, others."""
    a = u[e, ARCHETYPE]
    if a == 2:
        return 0
    if a == 3:
        return 1
    if a == 5:
        return 2
    return 3 if a == 0 else (4 if a == 1 else (5 if a == 4 else 6))


@njit(cache=True, nogil=True)
def style_action(u, g, w, i, n, orders, legal):
    """The action a style chooses for unit i; a healer hunter writes its own attack into `orders`."""
    style = u[i, STYLE]
    s = stream(u, w, i, n)
    dice = draw(g[G_KEY], g[G_TICK] + 1, s, P_STYLE)
    if style == RANDOM:
        count = 0
        for a in range(NUM_COMBAT_ACTIONS):
            count += legal[a]
        left = dice % count
        for a in range(NUM_COMBAT_ACTIONS):
            if legal[a]:
                if left == 0:
                    return a
                left -= 1
        return 0
    chance = min(u[i, SKILL_CHANCE] // 2, 100)
    eager = dice % 100 < chance
    if legal[7] and orders[7, 0] == O_SKILL:
        if draw(g[G_KEY], g[G_TICK] + 1, s, P_HELP) % 100 < chance:
            return 7
    if style == TURTLE and legal[6] and eager:
        return 6
    nearest, weakest, _ = pick_foes(u, i, n)
    if style == KITER and legal[4] and not clock_in_window(u, i) and nearest >= 0:
        if distance(u, i, nearest) < max(u[i, RANGE], KITE_CELLS):
            return 4
    if eager and legal[5]:
        return 5
    if eager and legal[9]:
        return 9
    if eager and legal[6]:
        return 6
    if style == HEALER_FIRST:
        t, best = -1, 99
        first = n // 2 if u[i, TEAM] == 0 else 0
        for e in range(first, first + n // 2):
            if u[e, HP] > 0 and healer_rank(u, e) < best:
                t, best = e, healer_rank(u, e)
        if t < 0 or not is_free(u, i):
            return 0
        a = 1 if t == nearest else (2 if t == weakest else 3)
        put(orders, a, O_ATTACK, -1, t, 0, 0)
        return a
    a = 0 if style == TURTLE else (2 if style == FOCUS_FIRE else 1)
    return a if legal[a] else 0


@njit(cache=True, nogil=True)
def choose_by_style(u, sk, g, w, i, n, orders, legal):
    """Order unit i what its style wants in this window."""
    if u[i, SWITCH_TICK] >= 0 and g[G_TICK] >= u[i, SWITCH_TICK]:
        u[i, STYLE] = u[i, NEXT_STYLE]
        u[i, SWITCH_TICK] = -1
    if u[i, STYLE] == 0:
        return
    plan(u, sk, w, i, n, orders, legal)
    a = style_action(u, g, w, i, n, orders, legal)
    u[i, LAST_ACTION] = a
    for c in range(5):
        u[i, ORDER + c] = orders[a, c]
