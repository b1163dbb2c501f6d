"""The compiled twin of `envs.contracts.grid`: the ground around one unit, byte for byte.

`u` is a fight `(unit, column)`, `sk` the units' skills `(unit, slot, column)`, `w` the world's numbers.
`ring` is a fight's past `(16, unit, 6)`, of which `filled` decisions count, the present at place `now`. A
picture's channel is uint8 `(size, size)`, rows are y; (x0, y0) is the world cell of its corner.
"""

from __future__ import annotations

from numba import njit

from envs.contracts.grid import (
    G_ALLIES,
    G_ALLY_HP,
    G_ENEMIES,
    G_ENEMY_HP,
    G_HEAL,
    G_HEAT,
    G_ME,
    G_REACH,
    G_TARGETS_ME,
    G_TELEGRAPH,
    G_TRAIL,
    G_WALKABLE,
    HEAT_AGES,
    HEAT_FULL,
    PER_UNIT,
    TELEGRAPH_FADE,
    TELEGRAPH_MS,
    TRAIL_STEP,
)
from envs.contracts.layout import (
    CAST_LEFT,
    CAST_SLOT,
    CAST_TARGET,
    CAST_X,
    CAST_Y,
    HP,
    K_AREA,
    K_GROUND,
    K_HEAL,
    KIND,
    MAX_HP,
    RADIUS,
    RANGE,
    REACH,
    TARGET,
    TEAM,
    X,
    Y,
)
from envs.contracts.past import P_HP, P_X, P_Y, PAST_LENGTH
from envs.contracts.vocabulary import NUM_SKILL_SLOTS
from envs.simulation.observer import clip
from envs.simulation.rules import blocked
from envs.simulation.state import W_HEIGHT, W_TERRAIN, W_WIDTH


@njit(cache=True, nogil=True)
def share_of(hp, bar):
    """HP share in thousandths."""
    return hp * 1000 // max(bar, 1)


@njit(cache=True, nogil=True)
def fill_square(w, x0, y0, x, y, radius, add, channel):
    """Add to the cells within `radius` of world cell (x, y), cut to the picture and the arena."""
    size = channel.shape[0]
    left = max(x - radius - x0, 0, -x0)
    right = min(x + radius + 1 - x0, size, w[W_WIDTH] - x0)
    low = max(y - radius - y0, 0, -y0)
    high = min(y + radius + 1 - y0, size, w[W_HEIGHT] - y0)
    for r in range(low, high):
        for c in range(left, right):
            channel[r, c] += add


@njit(cache=True, nogil=True)
def paint_telegraph(u, sk, w, e, x0, y0, channel):
    """The area that enemy e is casting: brighter the sooner it lands."""
    k = u[e, CAST_SLOT]
    if k < 0:
        return
    if sk[e, k, KIND] == K_GROUND:
        x, y = u[e, CAST_X], u[e, CAST_Y]
    elif sk[e, k, KIND] == K_AREA and u[e, CAST_TARGET] >= 0:
        x, y = u[u[e, CAST_TARGET], X], u[u[e, CAST_TARGET], Y]
    else:
        return
    value = 255 - clip(u[e, CAST_LEFT], 0, TELEGRAPH_MS) * TELEGRAPH_FADE // TELEGRAPH_MS
    size, radius = channel.shape[0], sk[e, k, RADIUS]
    for r in range(max(y - radius - y0, 0, -y0), min(y + radius + 1 - y0, size, w[W_HEIGHT] - y0)):
        for c in range(max(x - radius - x0, 0, -x0), min(x + radius + 1 - x0, size, w[W_WIDTH] - x0)):
            if channel[r, c] < value:
                channel[r, c] = value


@njit(cache=True, nogil=True)
def paint_ground(w, x0, y0, channel):
    """Cells within the arena that no terrain blocks."""
    size = channel.shape[0]
    left, right = max(0, -x0), min(size, w[W_WIDTH] - x0)
    for r in range(max(0, -y0), min(size, w[W_HEIGHT] - y0)):
        for c in range(left, right):
            channel[r, c] = 255
        if w[W_TERRAIN] != 0:
            for c in range(left, right):
                if blocked(w, c + x0, r + y0):
                    channel[r, c] = 0


@njit(cache=True, nogil=True)
def paint_heat(u, ring, filled, now, first, half, x0, y0, sums, channel):
    """HP lost by the team from index `first` on, fading over 3 s.

    `sums` is room, int64 `(size, size)`, zero before and after.
    """
    size = channel.shape[0]
    for work in range(3):  # add up, write the bytes, wipe the sums: only the cells that burn are touched
        for age in range(min(filled - 1, HEAT_AGES)):
            p = (now - age) % PAST_LENGTH
            q = (p - 1) % PAST_LENGTH
            for j in range(first, first + half):
                lost = ring[q, j, P_HP] - ring[p, j, P_HP]
                if lost <= 0:
                    continue
                r, c = ring[p, j, P_Y] - y0, ring[p, j, P_X] - x0
                if r < 0 or r >= size or c < 0 or c >= size:
                    continue
                if work == 0:
                    sums[r, c] += share_of(lost, u[j, MAX_HP]) * (HEAT_AGES - age)
                elif work == 1:
                    channel[r, c] = min(sums[r, c] * 255 // (HEAT_AGES * HEAT_FULL), 255)
                else:
                    sums[r, c] = 0


@njit(cache=True, nogil=True)
def paint_unit(u, sk, w, i, j, x0, y0, out):
    """One living unit other than me."""
    size = out.shape[1]
    hostile = u[j, TEAM] != u[i, TEAM]
    r, c = u[j, Y] - y0, u[j, X] - x0
    if 0 <= r < size and 0 <= c < size:
        hue = max(u[j, HP] * 255 // max(u[j, MAX_HP], 1), 1)
        bars = G_ENEMY_HP if hostile else G_ALLY_HP
        out[G_ENEMIES if hostile else G_ALLIES, r, c] += PER_UNIT
        if out[bars, r, c] == 0 or hue < out[bars, r, c]:
            out[bars, r, c] = hue
        if hostile and u[j, TARGET] == i:
            out[G_TARGETS_ME, r, c] += PER_UNIT
    if hostile:
        fill_square(w, x0, y0, u[j, X], u[j, Y], u[j, RANGE], PER_UNIT, out[G_REACH])
        paint_telegraph(u, sk, w, j, x0, y0, out[G_TELEGRAPH])
        return
    heals = 0
    for k in range(NUM_SKILL_SLOTS):
        if sk[j, k, KIND] == K_HEAL:
            heals = max(heals, sk[j, k, REACH])
    if heals > 0:
        fill_square(w, x0, y0, u[j, X], u[j, Y], heals, PER_UNIT, out[G_HEAL])


@njit(cache=True, nogil=True)
def grid_unit(u, sk, w, ring, filled, now, i, sums, out):
    """Fill `out`, uint8 `(12, size, size)`, with the ground around unit i."""
    n, size = u.shape[0], out.shape[1]
    out[:] = 0
    if u[i, HP] <= 0:
        return
    half = n // 2
    x0, y0 = u[i, X] - size // 2, u[i, Y] - size // 2
    out[G_ME, size // 2, size // 2] = max(u[i, HP] * 255 // max(u[i, MAX_HP], 1), 1)
    for j in range(n):
        if j != i and u[j, HP] > 0:
            paint_unit(u, sk, w, i, j, x0, y0, out)
    paint_ground(w, x0, y0, out[G_WALKABLE])
    paint_heat(u, ring, filled, now, 0 if i < half else half, half, x0, y0, sums, out[G_HEAT])
    for age in range(filled - 1, 0, -1):
        p = (now - age) % PAST_LENGTH
        r, c = ring[p, i, P_Y] - y0, ring[p, i, P_X] - x0
        if 0 <= r < size and 0 <= c < size:
            out[G_TRAIL, r, c] = TRAIL_STEP * (PAST_LENGTH - age)


@njit(cache=True, nogil=True)
def grid_slice(units, sk, w, ring, filled, now, observers, sums, out, start, stop):
    """Grids of fights `start` to `stop` into `out`, uint8 `(fight, observer, 12, size, size)`."""
    for b in range(start, stop):
        for q in range(len(observers)):
            grid_unit(units[b], sk, w, ring[b], filled[b], now, observers[q], sums, out[b, q])
