"""The compiled twins of the central state, the sequence token and the pattern window, bit for bit.

`u` is a fight `(unit, column)`, `sk` the units' skills `(unit, slot, column)`, `g` the fight's numbers, `w`
the world's; `ring` a fight's past `(16, unit, 6)`, of which `filled` decisions count, the present at `now`.
"""

from __future__ import annotations

from numba import njit

from envs.contracts.central import CENTRAL_GLOBALS, STYLES_AT, TIERS_AT, UNIT_SIZE
from envs.contracts.features import MATCH_MS, RADIUS_CELLS
from envs.contracts.layout import (
    ACT_LOCK,
    ACTION_CLOCK,
    ARCHETYPE,
    CAST_LEFT,
    CAST_SLOT,
    GUARD,
    HP,
    LAST_ACTION,
    MAX_HP,
    MAX_SP,
    MOVE_LOCK,
    POWER,
    RANGE,
    SHIELD,
    SLOW,
    SP,
    STUN,
    TARGET,
    TAUNT,
    TEAM,
    X,
    Y,
)
from envs.contracts.past import P_ACT, P_ACTION, P_HP, P_SP, P_X, P_Y, PAST_LENGTH
from envs.contracts.token import MOVED_CELLS, STEPS_AT, TOKEN_SIZE
from envs.contracts.vocabulary import MAX_TEAM_SIZE, NUM_COMBAT_ACTIONS, OBS_SIZE
from envs.contracts.window import GAP_CELLS, NUM_WINDOW_FEATURES, RESTART_MS, SHOWN_CELLS, SUPPORT
from envs.simulation.observer import clip, observe_unit
from envs.simulation.painter import share_of
from envs.simulation.rules import distance
from envs.simulation.state import G_TICK, STYLE, TICK_MS, W_HEIGHT, W_WIDTH

SPAN = 2 * RADIUS_CELLS


# --- central state ------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def central_unit(u, w, i, own0, foe0, half, out, b):
    """The 24 values of living unit i, from place b of `out` on."""
    bar = max(u[i, MAX_HP], 1)
    out[b] = 1.0
    if u[i, ARCHETYPE] >= 0:
        out[b + 1 + u[i, ARCHETYPE]] = 1.0
    out[b + 7] = u[i, HP] / bar
    out[b + 8] = u[i, SP] / max(u[i, MAX_SP], 1)
    out[b + 9] = clip(2 * u[i, X] - (w[W_WIDTH] - 1), -SPAN, SPAN) / SPAN
    out[b + 10] = clip(2 * u[i, Y] - (w[W_HEIGHT] - 1), -SPAN, SPAN) / SPAN
    out[b + 11] = clip(u[i, ACTION_CLOCK], 0, 2000) / 2000
    out[b + 12] = clip(u[i, MOVE_LOCK], 0, 1000) / 1000
    if u[i, CAST_SLOT] >= 0:
        out[b + 13] = clip(u[i, CAST_LEFT], 0, 1500) / 1500
    out[b + 14] = clip(u[i, GUARD], 0, 6000) / 6000
    out[b + 15] = clip(u[i, POWER], 0, 6000) / 6000
    out[b + 16] = clip(u[i, STUN], 0, 3000) / 3000
    out[b + 17] = clip(u[i, SLOW], 0, 3000) / 3000
    out[b + 18] = clip(u[i, TAUNT], 0, 3000) / 3000
    out[b + 19] = min(4 * u[i, SHIELD], u[i, MAX_HP]) / bar
    t = u[i, TARGET]
    if t >= 0:
        own = own0 <= t < own0 + half
        place = t - own0 if own else MAX_TEAM_SIZE + t - foe0
        out[b + 20] = (place + 1) / (2 * MAX_TEAM_SIZE)
    hunters = 0
    for e in range(2 * half):
        if u[e, TEAM] != u[i, TEAM] and u[e, HP] > 0 and u[e, TARGET] == i:
            hunters += 1
    out[b + 21] = min(hunters, MAX_TEAM_SIZE) / MAX_TEAM_SIZE
    out[b + 22] = min(u[i, RANGE], 10) / 10
    out[b + 23] = (u[i, LAST_ACTION] + 1) / NUM_COMBAT_ACTIONS


@njit(cache=True, nogil=True)
def central_fight(u, g, w, team, tier, level, levels, out):
    """Fill `out`, float32 `(256,)`, with a fight as `team` has it; `tier` -1: not known."""
    n = u.shape[0]
    half = n // 2
    own0 = half if team == 1 else 0
    foe0 = half - own0
    for v in range(out.shape[0]):
        out[v] = 0.0
    lead, mine, theirs = 0, 0, 0
    for s in range(half):
        i, e = own0 + s, foe0 + s
        lead += share_of(u[i, HP], u[i, MAX_HP]) - share_of(u[e, HP], u[e, MAX_HP])
        if u[i, HP] > 0:
            mine += 1
            central_unit(u, w, i, own0, foe0, half, out, s * UNIT_SIZE)
        if u[e, HP] > 0:
            theirs += 1
            central_unit(u, w, e, own0, foe0, half, out, (MAX_TEAM_SIZE + s) * UNIT_SIZE)
    b = CENTRAL_GLOBALS
    out[b] = clip(g[G_TICK] * TICK_MS, 0, MATCH_MS) / MATCH_MS
    out[b + 1] = lead / (1000 * half)
    out[b + 2] = mine / MAX_TEAM_SIZE
    out[b + 3] = theirs / MAX_TEAM_SIZE
    out[b + 4] = half / MAX_TEAM_SIZE
    out[b + 5] = clip(level, 0, levels) / levels
    if tier >= 0:
        out[TIERS_AT + tier] = 1.0
    out[STYLES_AT + u[foe0, STYLE]] = 1.0


@njit(cache=True, nogil=True)
def central_slice(units, fights, w, team, tier, level, levels, out, start, stop):
    """Central state of fights `start` to `stop` into `out`, float32 `(fight, 256)`."""
    for b in range(start, stop):
        central_fight(units[b], fights[b], w, team, tier, level, levels, out[b])


# --- sequence token -----------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def token_unit(u, sk, g, w, ring, filled, now, i, action, out):
    """Fill `out`, float32 `(80,)`, with the decision of unit i; `action` is what it did last, or -1."""
    n = u.shape[0]
    half = n // 2
    observe_unit(u, sk, g, w, i, n, out[:OBS_SIZE])
    for v in range(OBS_SIZE, TOKEN_SIZE):
        out[v] = 0.0
    if 0 <= action < NUM_COMBAT_ACTIONS:
        out[OBS_SIZE + action] = 1.0
    if filled < 2:
        return
    p = (now - 1) % PAST_LENGTH
    foe0 = half if i < half else 0
    own0 = half - foe0
    gains, foe_gains, lead = 0, 0, 0
    for s in range(half):
        a, e = own0 + s, foe0 + s
        gains += share_of(u[a, HP], u[a, MAX_HP]) - share_of(ring[p, a, P_HP], u[a, MAX_HP])
        foe_gains += share_of(u[e, HP], u[e, MAX_HP]) - share_of(ring[p, e, P_HP], u[e, MAX_HP])
        lead += (1 if u[a, HP] > 0 else 0) - (1 if ring[p, a, P_HP] > 0 else 0)
        lead -= (1 if u[e, HP] > 0 else 0) - (1 if ring[p, e, P_HP] > 0 else 0)
    b = STEPS_AT
    out[b] = (u[i, HP] - ring[p, i, P_HP]) / max(u[i, MAX_HP], 1)
    out[b + 1] = (u[i, SP] - ring[p, i, P_SP]) / max(u[i, MAX_SP], 1)
    out[b + 2] = gains / (1000 * half)
    out[b + 3] = foe_gains / (1000 * half)
    moved = max(abs(u[i, X] - ring[p, i, P_X]), abs(u[i, Y] - ring[p, i, P_Y]))
    out[b + 4] = min(moved, MOVED_CELLS) / MOVED_CELLS
    out[b + 5] = lead / MAX_TEAM_SIZE


@njit(cache=True, nogil=True)
def token_slice(units, fights, sk, w, ring, filled, now, observers, actions, remembered, out, start, stop):
    """Tokens of fights `start` to `stop` into `out`, float32 `(fight, observer, 80)`.

    With `remembered` the last action is the unit's own column, else `actions`, int32 `(fight, observer)`.
    """
    for b in range(start, stop):
        for q in range(len(observers)):
            i = observers[q]
            action = units[b, i, LAST_ACTION] if remembered else actions[b, q]
            token_unit(units[b], sk, fights[b], w, ring[b], filled[b], now, i, action, out[b, q])


# --- pattern window -----------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def apart(u, j, x, y):
    """Cells from (x, y) to unit j."""
    return max(abs(u[j, X] - x), abs(u[j, Y] - y))


@njit(cache=True, nogil=True)
def window_pair(u, ring, filled, now, i, e, out):
    """Fill `out`, float32 `(16,)`, with what enemy e shows unit i now; both live."""
    half = u.shape[0] // 2
    p = (now - 1) % PAST_LENGTH if filled > 1 else now
    prey0 = half if e < half else 0
    nearest, weakest, nearest_key = -1, -1, 0
    for j in range(prey0, prey0 + half):
        if u[j, HP] <= 0:
            continue
        key = distance(u, e, j) * 4096 + abs(u[j, X] - u[e, X]) + abs(u[j, Y] - u[e, Y])
        if nearest < 0 or key < nearest_key:
            nearest, nearest_key = j, key
        if weakest < 0 or u[j, HP] < u[weakest, HP]:
            weakest = j
    t = u[e, TARGET]
    if t >= 0 and (u[t, TEAM] == u[e, TEAM] or u[t, HP] <= 0):
        t = -1
    x, y, bar = u[e, X], u[e, Y], max(u[e, MAX_HP], 1)
    was_x, was_y = ring[p, e, P_X], ring[p, e, P_Y]
    out[0] = clip(x - u[i, X], -SPAN, SPAN) / RADIUS_CELLS
    out[1] = clip(y - u[i, Y], -SPAN, SPAN) / RADIUS_CELLS
    out[2] = clip(x - was_x, -SHOWN_CELLS, SHOWN_CELLS) / SHOWN_CELLS
    out[3] = clip(y - was_y, -SHOWN_CELLS, SHOWN_CELLS) / SHOWN_CELLS
    # Unit i lives, so there is a nearest one.
    nearer = apart(u, nearest, was_x, was_y) - apart(u, nearest, x, y)
    out[4] = clip(nearer, -SHOWN_CELLS, SHOWN_CELLS) / SHOWN_CELLS
    out[5] = u[e, HP] / bar
    out[6] = (u[e, HP] - ring[p, e, P_HP]) / bar
    out[7] = 1.0 if t == i else 0.0
    out[8] = 1.0 if t >= 0 and t == weakest else 0.0
    out[9] = 1.0 if t >= 0 and t == nearest else 0.0
    out[10] = 1.0 if t >= 0 and u[t, ARCHETYPE] == SUPPORT else 0.0
    out[11] = 1.0 if u[e, CAST_SLOT] >= 0 else 0.0
    if max(u[e, ACT_LOCK], 0) > ring[p, e, P_ACT]:
        out[12] = 1.0
    else:
        out[12] = 0.5 if max(u[e, ACTION_CLOCK], 0) - ring[p, e, P_ACTION] > RESTART_MS else 0.0
    out[13] = 1.0 if u[e, STUN] > 0 else 0.0
    out[14] = 1.0 if u[e, GUARD] > 0 else 0.0
    gap = distance(u, e, t if t >= 0 else nearest) - u[e, RANGE]
    out[15] = clip(gap, -GAP_CELLS, GAP_CELLS) / GAP_CELLS


@njit(cache=True, nogil=True)
def window_slice(units, ring, filled, now, observers, out, mask, start, stop):
    """Move the windows of fights `start` to `stop` on by the present decision.

    out: float32 `(fight, observer, enemy slot, length, 16)`, oldest first; mask: bool, the same without
    the last axis. A fight whose episode has just begun starts with empty windows.
    """
    half = units.shape[1] // 2
    last = out.shape[3] - 1
    for b in range(start, stop):
        for q in range(len(observers)):
            i = observers[q]
            for s in range(half):
                e = s + (half if i < half else 0)
                if filled[b] == 1:
                    out[b, q, s] = 0.0
                    mask[b, q, s] = False
                else:
                    for age in range(last):
                        mask[b, q, s, age] = mask[b, q, s, age + 1]
                        for v in range(NUM_WINDOW_FEATURES):
                            out[b, q, s, age, v] = out[b, q, s, age + 1, v]
                mask[b, q, s, last] = units[b, i, HP] > 0 and units[b, e, HP] > 0
                if mask[b, q, s, last]:
                    window_pair(units[b], ring[b], filled[b], now, i, e, out[b, q, s, last])
                else:
                    for v in range(NUM_WINDOW_FEATURES):
                        out[b, q, s, last, v] = 0.0
