"""Compiled loops of `envs.symmetries`: turn and relabel rows in place."""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.contracts.features import ALLY_0, ENEMY_0
from envs.contracts.vocabulary import MAX_TEAM_SIZE, NUM_POINTERS
from envs.simulation import cache  # noqa: F401  (sets numba's cache folder before anything is compiled)

SQUARE = 8
"""Elements of the square's group; the rest of a code divides by it."""
ENEMY_ORDERS = 120
"""Orders of five enemy slots."""
ENEMY_SIZE = 6
ALLY_SIZE = 3
OWN_CELL = 2
NUM_ALLIES = MAX_TEAM_SIZE - 1
FOCUS_SLOTS = 3
"""Enemy slots that the pack head's orders name."""
(R_KEEP, R_COMPASS, R_POINTER, R_FOCUS) = range(4)
"""What an element does to an action: nothing, turn a direction, move a target pointer or a focus slot."""

# Subtracting from it negates without making -0.0 out of 0.0: features are compared bit for bit.
ZERO = np.float32(0.0)


@njit(cache=True, nogil=True)
def turn_pair(values: np.ndarray, r: int, c: int, o: int) -> None:
    """Turn the vector in columns c and c + 1 of row r: bit 0 swaps the axes, then 1 and 2 mirror them."""
    x, y = values[r, c], values[r, c + 1]
    if o & 1:
        x, y = y, x
    if o & 2:
        x = ZERO - x
    if o & 4:
        y = ZERO - y
    values[r, c] = x
    values[r, c + 1] = y


@njit(cache=True, nogil=True)
def change_observations(
    codes: np.ndarray, obs: np.ndarray, enemy_to: np.ndarray, ally_to: np.ndarray
) -> None:
    """Turn every vector of `obs_v1` and move the blocks of enemies and allies.

    Args:
        codes: int64 `(row,)`.
        obs: float32 `(row, 64 or more)`, what lies behind `obs_v1` stays.
        enemy_to: int64 `(order, 5)`, new slot of each enemy slot.
        ally_to: int64 `(order, 4)`, likewise.
    """
    room = np.empty(MAX_TEAM_SIZE * ENEMY_SIZE, np.float32)
    for r in range(codes.shape[0]):
        o = codes[r] % SQUARE
        p = codes[r] // SQUARE % ENEMY_ORDERS
        q = codes[r] // (SQUARE * ENEMY_ORDERS)
        if o != 0:
            turn_pair(obs, r, OWN_CELL, o)
            for e in range(MAX_TEAM_SIZE):
                turn_pair(obs, r, ENEMY_0 + ENEMY_SIZE * e, o)
            for a in range(NUM_ALLIES):
                turn_pair(obs, r, ALLY_0 + ALLY_SIZE * a, o)
        if p != 0:
            for e in range(MAX_TEAM_SIZE):
                for v in range(ENEMY_SIZE):
                    room[ENEMY_SIZE * enemy_to[p, e] + v] = obs[r, ENEMY_0 + ENEMY_SIZE * e + v]
            for v in range(MAX_TEAM_SIZE * ENEMY_SIZE):
                obs[r, ENEMY_0 + v] = room[v]
        if q != 0:
            for a in range(NUM_ALLIES):
                for v in range(ALLY_SIZE):
                    room[ALLY_SIZE * ally_to[q, a] + v] = obs[r, ALLY_0 + ALLY_SIZE * a + v]
            for v in range(NUM_ALLIES * ALLY_SIZE):
                obs[r, ALLY_0 + v] = room[v]


@njit(cache=True, nogil=True)
def new_action(
    code: int, a: int, role: int, compass: np.ndarray, enemy_to: np.ndarray, ally_to: np.ndarray
) -> int:
    """Index of action a after the element `code`; `compass` int64 `(8, 9)` turns directions."""
    if role == R_COMPASS:
        return compass[code % SQUARE, a]
    p = code // SQUARE % ENEMY_ORDERS
    if role == R_FOCUS:  # 1 to 3 name enemy slots 0 to 2, which change places among themselves only
        return 1 + enemy_to[p, a - 1] if 1 <= a <= FOCUS_SLOTS else a
    if role == R_POINTER:
        pointer = a % NUM_POINTERS
        if pointer < MAX_TEAM_SIZE:
            return a - pointer + enemy_to[p, pointer]
        if pointer > MAX_TEAM_SIZE:
            q = code // (SQUARE * ENEMY_ORDERS)
            ally = pointer - MAX_TEAM_SIZE - 1
            return a - ally + ally_to[q, ally]
    return a


@njit(cache=True, nogil=True)
def change_actions(
    codes: np.ndarray,
    actions: np.ndarray,
    role: int,
    count: int,
    compass: np.ndarray,
    enemy_to: np.ndarray,
    ally_to: np.ndarray,
) -> None:
    """Rename actions, whole numbers `(row,)`; a number outside [0, count) (padding) stays."""
    for r in range(codes.shape[0]):
        a = actions[r]
        if 0 <= a < count:
            actions[r] = new_action(codes[r], a, role, compass, enemy_to, ally_to)


@njit(cache=True, nogil=True)
def move_block(values: np.ndarray, r: int, c: int, to: np.ndarray, room: np.ndarray) -> None:
    """Move columns c, c + 1, ... of row r to c + to[0], c + to[1], ...; `room` holds as many."""
    for k in range(to.shape[0]):
        room[k] = values[r, c + k]
    for k in range(to.shape[0]):
        values[r, c + to[k]] = room[k]


@njit(cache=True, nogil=True)
def change_columns(
    codes: np.ndarray,
    values: np.ndarray,
    role: int,
    compass: np.ndarray,
    enemy_to: np.ndarray,
    ally_to: np.ndarray,
) -> None:
    """Move what belongs to each action, `(row, action)`, to the action's new place, as `new_action` says.

    Only blocks of columns that move are touched: asking `new_action` for each of 70 was ten times slower.
    """
    room = np.empty(compass.shape[1], values.dtype)
    for r in range(codes.shape[0]):
        o = codes[r] % SQUARE
        p = codes[r] // SQUARE % ENEMY_ORDERS
        q = codes[r] // (SQUARE * ENEMY_ORDERS)
        if role == R_COMPASS:
            if o != 0:
                move_block(values, r, 0, compass[o], room)
        elif role == R_FOCUS:
            if p != 0:
                move_block(values, r, 1, enemy_to[p, :FOCUS_SLOTS], room)
        elif role == R_POINTER:
            for first in range(0, values.shape[1], NUM_POINTERS):
                if p != 0:
                    move_block(values, r, first, enemy_to[p], room)
                if q != 0:
                    move_block(values, r, first + MAX_TEAM_SIZE + 1, ally_to[q], room)


@njit(cache=True, nogil=True)
def change_vectors(codes: np.ndarray, values: np.ndarray, spread: int) -> None:
    """Turn the move vector in columns 0 and 1; from column `spread` on stand log deviations (-1: none).

    A deviation has no sign: the axes' deviations change places and are not mirrored.
    """
    for r in range(codes.shape[0]):
        o = codes[r] % SQUARE
        if o == 0:
            continue
        turn_pair(values, r, 0, o)
        if spread >= 0:
            turn_pair(values, r, spread, o & 1)
