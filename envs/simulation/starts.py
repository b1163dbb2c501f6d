"""How a fight begins: start cells, their symmetries, styles."""

from __future__ import annotations

from numba import njit

from envs.contracts.layout import ACTION_CLOCK, X, Y
from envs.simulation.rng import P_START, draw, fight_key
from envs.simulation.rules import blocked
from envs.simulation.scoring import team_lead
from envs.simulation.state import (
    G_EPISODE,
    G_KEY,
    G_LEAD,
    G_OUTCOME,
    G_TICK,
    NUM_COLUMNS,
    RUNNING,
    W_HEIGHT,
    W_SEED,
    W_STARTS,
    W_WIDTH,
)
from envs.simulation.styles import draw_styles

TURN_STREAM = 15  # no unit's stream
START_RANDOM = 2


@njit(cache=True, nogil=True)
def turned(w, x, y, o):
    """Cell (x, y) after symmetry o of the square: bit 0 swaps the axes, bits 1 and 2 mirror them."""
    cx = 2 * x - (w[W_WIDTH] - 1)
    cy = 2 * y - (w[W_HEIGHT] - 1)
    if o & 1:
        cx, cy = cy, cx
    if o & 2:
        cx = -cx
    if o & 4:
        cy = -cy
    return (cx + w[W_WIDTH] - 1) // 2, (cy + w[W_HEIGHT] - 1) // 2


@njit(cache=True, nogil=True)
def start_cell(w, r, o):
    """Start cell of a unit of team 0 from its roll; the other team takes the point reflection."""
    if w[W_STARTS] == START_RANDOM:
        dx = 2 + r % 12
        dy = (r // 16) % 27 - 13
    else:
        dx = 3 + r % 3
        dy = (r // 16) % 9 - 4
    x = min(max(w[W_WIDTH] // 2 - dx, 0), w[W_WIDTH] - 1)
    y = min(max(w[W_HEIGHT] // 2 + dy, 0), w[W_HEIGHT] - 1)
    x, y = turned(w, x, y, o)
    while blocked(w, x, y):  # toward the middle, which layouts keep free
        side = w[W_WIDTH] - 1 - 2 * x
        if abs(side) > 1:
            x += 1 if side > 0 else -1
        else:
            y += 1 if w[W_HEIGHT] - 1 - 2 * y > 0 else -1
    return x, y


@njit(cache=True, nogil=True)
def reset_fight(u, g, w, template, fight, n):
    """Set up the fight's current episode: units from `template`, point-symmetric start cells, styles."""
    g[G_KEY] = fight_key(w[W_SEED], fight, g[G_EPISODE])
    g[G_TICK] = 0
    g[G_OUTCOME] = RUNNING
    half = n // 2
    o = 0
    if w[W_STARTS] != 0:
        o = draw(g[G_KEY], 0, TURN_STREAM, P_START) % 8
    for i in range(n):
        for c in range(NUM_COLUMNS):
            u[i, c] = template[i, c]
    for slot in range(half):
        r = draw(g[G_KEY], 0, slot, P_START)  # one draw for the mirrored pair
        x, y = start_cell(w, r, o)
        u[slot, X] = x
        u[slot, Y] = y
        u[half + slot, X] = w[W_WIDTH] - 1 - x
        u[half + slot, Y] = w[W_HEIGHT] - 1 - y
        u[slot, ACTION_CLOCK] = (r // 512) % 600
        u[half + slot, ACTION_CLOCK] = (r // 512) % 600
    draw_styles(u, g, w, n)
    g[G_LEAD] = team_lead(u, n)
