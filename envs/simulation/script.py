"""The traditional AI: how monsters of such games behave without a trained mind.

Nearest enemy in sight, chase with a leash, target changes when hit, skills as an ordered list
of chances tried in place of a swing (and once per second while chasing). No kiting, no focus
fire, no retreat. A script that has lost sight walks back to the middle of the arena.
"""

from __future__ import annotations

from numba import njit

from envs.contracts.layout import (
    ACT_LOCK,
    ACTION_CLOCK,
    GUARD,
    HP,
    K_GUARD,
    K_HEAL,
    K_NONE,
    K_POWER,
    K_SHIELD,
    K_TAUNT,
    KIND,
    MAX_HP,
    POWER,
    RADIUS,
    RANGE,
    REACH,
    SHIELD,
    TARGET,
    TAUNT,
    TAUNT_BY,
    TEAM,
    X,
    Y,
)
from envs.contracts.vocabulary import NUM_SKILL_SLOTS
from envs.simulation.rng import P_TRIAL, draw
from envs.simulation.rules import (
    distance,
    held_off,
    is_buff,
    ratio,
    sign,
    stream,
    swing,
    usable,
    use_skill,
    walk,
)
from envs.simulation.state import (
    AGGRESSIVE,
    ALLY_SKILL_CELLS,
    CHANCE,
    CHASE,
    G_KEY,
    G_TICK,
    LAST_ATTACKER,
    LEASH,
    LEASH_CAP,
    SIGHT,
    SKILL_CHANCE,
    W_HEIGHT,
    W_WIDTH,
)


@njit(cache=True, nogil=True)
def nearest_foe(u, i, n, reach):
    """Nearest living enemy within `reach` cells (ties: fewer steps, then lower slot), else -1."""
    best, best_key = -1, (reach + 1) * 4096
    first = n // 2 if u[i, TEAM] == 0 else 0
    for e in range(first, first + n // 2):
        if u[e, HP] > 0:
            dx = abs(u[e, X] - u[i, X])
            dy = abs(u[e, Y] - u[i, Y])
            key = max(dx, dy) * 4096 + dx + dy
            if key < best_key:
                best, best_key = e, key
    return best


@njit(cache=True, nogil=True)
def hurt_friend(u, i, n, reach, percent):
    """Team mate (or self) with the lowest HP share of at most `percent` within reach, else -1."""
    best, best_share = -1, percent + 1
    first = 0 if u[i, TEAM] == 0 else n // 2
    for e in range(first, first + n // 2):
        if u[e, HP] > 0 and distance(u, i, e) <= reach:
            share = ratio(u[e, HP] * 100, u[e, MAX_HP])
            if share < best_share:
                best, best_share = e, share
    return best


@njit(cache=True, nogil=True)
def keeps_target(u, i):
    """The common case, told cheaply: nobody hit or taunted me, and my target lives within the leash."""
    t = u[i, TARGET]
    return (
        t >= 0
        and u[i, LAST_ATTACKER] < 0
        and u[i, TAUNT] <= 0
        and u[t, HP] > 0
        and distance(u, i, t) <= u[i, LEASH]
    )


@njit(cache=True, nogil=True)
def choose_target(u, st, g, i, n):
    """Taunt, else keep a valid target, unless an attacker is nearer or ignored, else the nearest in sight."""
    old = u[i, TARGET]
    t = old
    if t >= 0 and (u[t, HP] <= 0 or distance(u, i, t) > u[i, LEASH]):
        t = -1
    taunter = u[i, TAUNT_BY]
    if u[i, TAUNT] > 0 and taunter >= 0 and u[taunter, HP] > 0:
        t = taunter
    else:
        hitter = u[i, LAST_ATTACKER]
        if hitter >= 0 and hitter != t and u[hitter, HP] > 0:
            if t < 0 or distance(u, i, hitter) < distance(u, i, t) or u[t, TARGET] != i:
                t = hitter
                held_off(u, st, g, hitter, i, n)
        if t < 0 and u[i, AGGRESSIVE] == 1:
            t = nearest_foe(u, i, n, SIGHT)
    u[i, LAST_ATTACKER] = -1
    if t >= 0 and t != old:
        u[i, LEASH] = min(max(distance(u, i, t) + CHASE, CHASE), LEASH_CAP)
    u[i, TARGET] = t
    return t


@njit(cache=True, nogil=True)
def skill_target(u, sk, i, k, t, n):
    """Whom a script aims slot k at, -1 if its condition does not hold."""
    kind = sk[i, k, KIND]
    if kind == K_HEAL:
        return hurt_friend(u, i, n, ALLY_SKILL_CELLS, 60)
    if is_buff(kind):
        j = i
        if sk[i, k, REACH] > 0:
            j = hurt_friend(u, i, n, ALLY_SKILL_CELLS, 95)
            if j < 0:
                j = i
        active = (
            (kind == K_GUARD and u[j, GUARD] > 0)
            or (kind == K_POWER and u[j, POWER] > 0)
            or (kind == K_SHIELD and u[j, SHIELD] > 0)
        )
        return -1 if active else j
    if kind == K_TAUNT:
        return i if nearest_foe(u, i, n, sk[i, k, RADIUS]) >= 0 else -1
    return t


@njit(cache=True, nogil=True)
def try_skills(u, st, sk, g, w, hits, heals, i, t, n):
    """Go down the list: chance, condition, reach; the first success wins."""
    for k in range(NUM_SKILL_SLOTS):
        if sk[i, k, KIND] == K_NONE or not usable(u, sk, i, k):
            continue
        roll = draw(g[G_KEY], g[G_TICK], stream(u, w, i, n), P_TRIAL + k) % 10_000
        if roll >= sk[i, k, CHANCE] * u[i, SKILL_CHANCE] // 100:
            continue
        j = skill_target(u, sk, i, k, t, n)
        if j >= 0 and use_skill(u, st, sk, g, w, hits, heals, i, k, j, n):
            return True
    return False


@njit(cache=True, nogil=True)
def go_home(u, st, g, w, i):
    """Walk toward the middle of the arena until within two cells (half cells kept whole)."""
    dx = w[W_WIDTH] - 1 - 2 * u[i, X]
    dy = w[W_HEIGHT] - 1 - 2 * u[i, Y]
    if max(abs(dx), abs(dy)) > 4:
        walk(u, st, g, w, i, sign(dx), sign(dy))


@njit(cache=True, nogil=True)
def fight_by_script(u, st, sk, g, w, hits, heals, i, t, n, skills):
    """Hit target t by script, if it can be hit; returns False if the script would rather walk to it."""
    ready = u[i, ACTION_CLOCK] <= 0 and u[i, ACT_LOCK] <= 0
    if distance(u, i, t) <= u[i, RANGE]:
        if ready and not (skills and try_skills(u, st, sk, g, w, hits, heals, i, t, n)):
            swing(u, st, g, w, hits, i, t, n)
        return True
    slot = stream(u, w, i, n) & 15
    if skills and ready and (g[G_TICK] + slot) % 10 == 0:
        return try_skills(u, st, sk, g, w, hits, heals, i, t, n)
    return False
