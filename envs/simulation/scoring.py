"""What a window was worth: positions, the teams' HP, and who has won."""

from __future__ import annotations

from numba import njit

from envs.contracts.layout import HP, MAX_HP, RANGE, TARGET, TEAM
from envs.simulation.rules import HP_MP, distance, ratio
from envs.simulation.script import nearest_foe
from envs.simulation.state import (
    COMBAT_CELLS,
    DEAD_BAND,
    DRAW,
    G_TICK,
    LOST_BY_KILL,
    LOST_ON_TIME,
    PREFER_HIGH,
    PREFER_LOW,
    RUNNING,
    S_AGGRO,
    S_KITING,
    S_OPTIMAL,
    W_LIMIT,
    WON_BY_KILL,
    WON_ON_TIME,
)


@njit(cache=True, nogil=True)
def count_positions(u, st, n, ticks):
    """Statistics of aggro, preferred distance and kiting at the end of a window, for its `ticks`."""
    for i in range(n):
        if u[i, HP] <= 0:
            continue
        t = u[i, TARGET]
        if t >= 0 and u[t, HP] > 0 and u[t, TEAM] != u[i, TEAM]:
            st[t, S_AGGRO] += ticks
        e = nearest_foe(u, i, n, COMBAT_CELLS)
        if e >= 0:
            d = distance(u, i, e)
            if u[i, PREFER_LOW] <= d <= u[i, PREFER_HIGH]:
                st[i, S_OPTIMAL] += ticks
            if u[e, TARGET] == i and d > u[e, RANGE]:
                st[i, S_KITING] += ticks


@njit(cache=True, nogil=True)
def judge(u, g, w, n):
    """Outcome after a tick, from team 0's side: kill, or HP share at the time limit (2 % dead band)."""
    half = n // 2
    alive0, alive1 = 0, 0
    for s in range(half):
        alive0 += u[s, HP] > 0
        alive1 += u[half + s, HP] > 0
    if alive0 == 0 or alive1 == 0:
        return WON_BY_KILL if alive0 > 0 else (LOST_BY_KILL if alive1 > 0 else DRAW)
    if g[G_TICK] < w[W_LIMIT]:
        return RUNNING
    share0, share1 = 0, 0
    for s in range(half):
        share0 += ratio(u[s, HP] * 1000, u[s, MAX_HP])
        share1 += ratio(u[half + s, HP] * 1000, u[half + s, MAX_HP])
    if share0 - share1 > DEAD_BAND * half:
        return WON_ON_TIME
    return LOST_ON_TIME if share1 - share0 > DEAD_BAND * half else DRAW


@njit(cache=True, nogil=True)
def team_lead(u, n):
    """Sum of team 0's HP shares minus team 1's, in thousandths of a per cent."""
    lead = 0
    half = n // 2
    for s in range(half):
        lead += ratio(u[s, HP] * HP_MP, u[s, MAX_HP]) - ratio(u[half + s, HP] * HP_MP, u[half + s, MAX_HP])
    return lead
