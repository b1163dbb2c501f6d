"""The compiled twin of `envs.contracts.features`: `obs_v1` of one unit, bit for bit."""

from __future__ import annotations

from numba import njit

from envs.contracts.features import ALLY_0, ENEMY_0, MATCH_MS, RADIUS_CELLS
from envs.contracts.layout import (
    ACT_LOCK,
    ACTION_CLOCK,
    CAST_LEFT,
    CAST_SLOT,
    COOLDOWN,
    COOLDOWN_TIME,
    COST,
    GUARD,
    HP,
    K_NONE,
    KIND,
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
from envs.contracts.vocabulary import DECISION_MS, MAX_TEAM_SIZE, NUM_SKILL_SLOTS, OBS_SIZE
from envs.simulation.rules import distance
from envs.simulation.state import G_TICK, TICK_MS, W_HEIGHT, W_WIDTH

SPAN = 2 * RADIUS_CELLS


@njit(cache=True, nogil=True)
def clip(v, low, high):
    """Whole number v within [low, high]."""
    return max(min(v, high), low)


@njit(cache=True, nogil=True)
def observe_skills(u, sk, i, out):
    """Values 13-18: one per skill slot."""
    clock = u[i, ACTION_CLOCK] <= DECISION_MS and u[i, ACT_LOCK] <= DECISION_MS
    for k in range(NUM_SKILL_SLOTS):
        if sk[i, k, KIND] == K_NONE:
            out[13 + k] = -1.0
            continue
        cooldown = max(u[i, COOLDOWN + k], 0)
        rich = u[i, SP] >= sk[i, k, COST]
        if clock and rich and cooldown <= DECISION_MS:
            out[13 + k] = 1.0
        elif cooldown > 0:
            total = max(sk[i, k, COOLDOWN_TIME], 1)
            out[13 + k] = -(9 * min(cooldown, total)) / (10 * total)
        else:
            out[13 + k] = 0.0 if rich else -1 / 20


@njit(cache=True, nogil=True)
def observe_unit(u, sk, g, w, i, n, out):
    """Fill `out`, float32 `(64,)`, with what unit i sees."""
    for v in range(OBS_SIZE):
        out[v] = 0.0
    half = n // 2
    foe0 = half if u[i, TEAM] == 0 else 0
    own0 = half - foe0
    own_share, foe_share = 0, 0
    for s in range(half):
        own_share += u[own0 + s, HP] * 1000 // max(u[own0 + s, MAX_HP], 1)
        foe_share += u[foe0 + s, HP] * 1000 // max(u[foe0 + s, MAX_HP], 1)
    out[62] = clip(g[G_TICK] * TICK_MS, 0, MATCH_MS) / MATCH_MS
    out[63] = (own_share - foe_share) / (1000 * half)
    if u[i, HP] <= 0:
        return
    bar = max(u[i, MAX_HP], 1)
    out[0] = u[i, HP] / bar
    out[1] = u[i, SP] / max(u[i, MAX_SP], 1)
    out[2] = clip(2 * u[i, X] - (w[W_WIDTH] - 1), -SPAN, SPAN) / SPAN
    out[3] = clip(2 * u[i, Y] - (w[W_HEIGHT] - 1), -SPAN, SPAN) / SPAN
    out[4] = clip(u[i, ACTION_CLOCK], 0, 2000) / 2000
    out[5] = clip(u[i, MOVE_LOCK], 0, 1000) / 1000
    out[6] = clip(u[i, ACT_LOCK], 0, 1000) / 1000
    if u[i, CAST_SLOT] >= 0:
        out[7] = clip(u[i, CAST_LEFT], 0, 1500) / 1500
    out[8] = clip(u[i, GUARD], 0, 6000) / 6000
    out[9] = clip(u[i, POWER], 0, 6000) / 6000
    if u[i, STUN] > 0:
        out[10] = clip(u[i, STUN], 0, 3000) / 3000
    else:
        out[10] = -(clip(u[i, TAUNT], 0, 3000) / 3000)
    out[11] = clip(u[i, SLOW], 0, 3000) / 3000
    out[12] = min(4 * u[i, SHIELD], u[i, MAX_HP]) / bar
    observe_skills(u, sk, i, out)

    attackers = 0
    for s in range(half):
        e = foe0 + s
        if u[e, HP] <= 0:
            continue
        if u[e, TARGET] == i:
            attackers += 1
        if s >= MAX_TEAM_SIZE:
            continue
        b = ENEMY_0 + 6 * s
        d = distance(u, i, e)
        mine = d <= u[i, RANGE]
        its = d <= u[e, RANGE]
        out[b] = clip(u[e, X] - u[i, X], -SPAN, SPAN) / RADIUS_CELLS
        out[b + 1] = clip(u[e, Y] - u[i, Y], -SPAN, SPAN) / RADIUS_CELLS
        out[b + 2] = u[e, HP] / max(u[e, MAX_HP], 1)
        if mine:
            out[b + 3] = 0.5 if its else 1.0
        else:
            out[b + 3] = -1.0 if its else 0.0
        out[b + 4] = (0.5 if u[e, TARGET] == i else 0.0) + (0.5 if u[e, CAST_SLOT] >= 0 else 0.0)
        kind = min(u[e, RANGE], 10) / 10
        out[b + 5] = -kind if u[e, STUN] > 0 else kind
    out[19] = min(attackers, MAX_TEAM_SIZE) / MAX_TEAM_SIZE

    place = 0
    for s in range(half):
        e = own0 + s
        if e == i:
            continue
        if u[e, HP] > 0 and place < MAX_TEAM_SIZE - 1:
            b = ALLY_0 + 3 * place
            out[b] = clip(u[e, X] - u[i, X], -SPAN, SPAN) / RADIUS_CELLS
            out[b + 1] = clip(u[e, Y] - u[i, Y], -SPAN, SPAN) / RADIUS_CELLS
            out[b + 2] = u[e, HP] / max(u[e, MAX_HP], 1)
        place += 1
