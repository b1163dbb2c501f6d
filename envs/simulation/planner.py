"""The compiled twin of `envs.contracts.orders`: ten orders and their legality for one unit."""

from __future__ import annotations

from numba import njit

from envs.contracts.layout import (
    ACT_LOCK,
    ACTION_CLOCK,
    ATK,
    ATTACK_DELAY,
    CAST_LEFT,
    CAST_SLOT,
    COOLDOWN,
    COST,
    EFFECT,
    GUARD,
    HP,
    K_AREA,
    K_DASH,
    K_GROUND,
    K_GUARD,
    K_HEAL,
    K_NONE,
    K_POWER,
    K_SHIELD,
    K_SLOW,
    K_STRIKE,
    K_STUN,
    K_TAUNT,
    KIND,
    MATK,
    MAX_HP,
    MOVE_LOCK,
    O_ATTACK,
    O_FUMBLE,
    O_HOLD,
    O_MOVE,
    O_SKILL,
    POWER,
    RADIUS,
    RANGE,
    REACH,
    SHIELD,
    SLOW,
    SP,
    STUN,
    STUN_IMMUNE,
    TARGET,
    TAUNT,
    TAUNT_BY,
    TEAM,
    X,
    Y,
)
from envs.contracts.orders import FLEE_RADIUS, HEAL_BELOW_PERCENT, TICK_MS, WALL_CELLS, WALL_PUSH
from envs.contracts.vocabulary import DECISION_MS, NUM_COMBAT_ACTIONS, NUM_SKILL_SLOTS
from envs.simulation.rules import distance, open_beside, ratio, sign
from envs.simulation.script import nearest_foe
from envs.simulation.state import W_HEIGHT, W_WIDTH


@njit(cache=True, nogil=True)
def put(orders, action, kind, skill, target, dx, dy):
    """Write one order row."""
    orders[action, 0] = kind
    orders[action, 1] = skill
    orders[action, 2] = target
    orders[action, 3] = dx
    orders[action, 4] = dy


@njit(cache=True, nogil=True)
def attack(u, i, orders, legal, action, t, clock, can_walk):
    """Order an attack on t, if there is one and a swing or a step can happen in the window."""
    if t >= 0:
        if clock if distance(u, i, t) <= u[i, RANGE] else can_walk:
            put(orders, action, O_ATTACK, -1, t, 0, 0)
            legal[action] = True


@njit(cache=True, nogil=True)
def ready_in_window(u, sk, i, k):
    """Slot k exists, its cooldown ends within the window, SP suffices (the clock is asked before)."""
    return sk[i, k, KIND] != K_NONE and u[i, COOLDOWN + k] <= DECISION_MS and u[i, SP] >= sk[i, k, COST]


@njit(cache=True, nogil=True)
def caught(u, i, n, x, y, radius):
    """Living enemies of i within `radius` of a cell."""
    count = 0
    first = n // 2 if u[i, TEAM] == 0 else 0
    for e in range(first, first + n // 2):
        if u[e, HP] > 0 and max(abs(u[e, X] - x), abs(u[e, Y] - y)) <= radius:
            count += 1
    return count


@njit(cache=True, nogil=True)
def offensive_slot(u, sk, i, t, n):
    """Ready attacking skill in reach of t with the largest effect x enemies caught, else -1."""
    best, best_value = -1, -1
    if t < 0:
        return best
    d = distance(u, i, t)
    for k in range(NUM_SKILL_SLOTS):
        kind = sk[i, k, KIND]
        wide = kind == K_AREA or kind == K_GROUND
        if not (wide or kind == K_STRIKE or kind == K_STUN or kind == K_SLOW or kind == K_DASH):
            continue
        if d > sk[i, k, REACH] or not ready_in_window(u, sk, i, k):
            continue
        value = sk[i, k, EFFECT]
        if wide:
            value = value * caught(u, i, n, u[t, X], u[t, Y], sk[i, k, RADIUS])
        if value > best_value:
            best, best_value = k, value
    return best


@njit(cache=True, nogil=True)
def untaunted_near(u, i, n, radius):
    """A living enemy within radius that is not taunted."""
    first = n // 2 if u[i, TEAM] == 0 else 0
    for e in range(first, first + n // 2):
        if u[e, HP] > 0 and u[e, TAUNT] <= 0 and distance(u, i, e) <= radius:
            return True
    return False


@njit(cache=True, nogil=True)
def can_taunt(u, sk, i, n, k):
    """Slot k is a ready taunt with an enemy in its radius that is not taunted."""
    taunt = sk[i, k, KIND] == K_TAUNT
    return taunt and ready_in_window(u, sk, i, k) and untaunted_near(u, i, n, sk[i, k, RADIUS])


@njit(cache=True, nogil=True)
def control_slot(u, sk, i, t, n):
    """First ready area, stun, slow (where it would take) or taunt skill, else -1."""
    for k in range(NUM_SKILL_SLOTS):
        kind = sk[i, k, KIND]
        if can_taunt(u, sk, i, n, k):
            return k
        if t < 0 or distance(u, i, t) > sk[i, k, REACH]:
            continue
        apt = (
            kind == K_AREA
            or kind == K_GROUND
            or (kind == K_STUN and u[t, STUN] <= 0 and u[t, STUN_IMMUNE] <= 0)
            or (kind == K_SLOW and u[t, SLOW] <= 0)
        )
        if apt and ready_in_window(u, sk, i, k):
            return k
    return -1


@njit(cache=True, nogil=True)
def retreat_step(u, w, i, n):
    """Direction away from enemies within 12 cells, weighted by nearness, pushed off the walls."""
    px, py = 0, 0
    first = n // 2 if u[i, TEAM] == 0 else 0
    for e in range(first, first + n // 2):
        if u[e, HP] > 0:
            d = distance(u, i, e)
            if d < FLEE_RADIUS:
                weight = (FLEE_RADIUS + 1 - d) * 840 // (d + 1)
                px -= weight * (u[e, X] - u[i, X])
                py -= weight * (u[e, Y] - u[i, Y])
    if u[i, X] < WALL_CELLS:
        px += WALL_PUSH
    if w[W_WIDTH] - 1 - u[i, X] < WALL_CELLS:
        px -= WALL_PUSH
    if u[i, Y] < WALL_CELLS:
        py += WALL_PUSH
    if w[W_HEIGHT] - 1 - u[i, Y] < WALL_CELLS:
        py -= WALL_PUSH
    most = max(abs(px), abs(py))
    sx = sign(px) if 2 * abs(px) > most else 0
    sy = sign(py) if 2 * abs(py) > most else 0
    return sx, sy


@njit(cache=True, nogil=True)
def most_hurt(u, i, n, skip_self):
    """Living team member with the lowest HP share in thousandths (lower slot on ties), else -1."""
    best, best_share = -1, 1 << 40
    first = 0 if u[i, TEAM] == 0 else n // 2
    for e in range(first, first + n // 2):
        if u[e, HP] > 0 and not (skip_self and e == i):
            share = ratio(u[e, HP] * 1000, u[e, MAX_HP])
            if share < best_share:
                best, best_share = e, share
    return best


@njit(cache=True, nogil=True)
def help_ally(u, sk, i, n, orders, legal, can_walk):
    """Heal, else shield or guard, the most hurt team member."""
    j = most_hurt(u, i, n, False)
    d = distance(u, i, j)
    for k in range(NUM_SKILL_SLOTS):
        kind = sk[i, k, KIND]
        useful = (
            (kind == K_HEAL and u[j, HP] * 100 < u[j, MAX_HP] * HEAL_BELOW_PERCENT)
            or (kind == K_SHIELD and u[j, SHIELD] <= 0)
            or (kind == K_GUARD and u[j, GUARD] <= 0)
        )
        if not useful or not ready_in_window(u, sk, i, k):
            continue
        if j == i or (sk[i, k, REACH] > 0 and (d <= sk[i, k, REACH] or can_walk)):
            put(orders, 7, O_SKILL, k, j, 0, 0)
            legal[7] = True
            return


@njit(cache=True, nogil=True)
def protect_target(u, i, n, nearest):
    """Attacker of the most hurt other team member, else the enemy nearest to it; and if there is a ward."""
    ward = most_hurt(u, i, n, True)
    if ward < 0:
        return nearest, False
    first = n // 2 if u[i, TEAM] == 0 else 0
    for e in range(first, first + n // 2):
        if u[e, HP] > 0 and u[e, TARGET] == ward:
            return e, True
    return nearest_foe(u, ward, n, 1 << 20), True


@njit(cache=True, nogil=True)
def pick_foes(u, i, n):
    """Nearest, weakest and most dangerous living enemy, -1 if there is none."""
    nearest, weakest, dangerous = -1, -1, -1
    near_key, low_hp, threat = 1 << 40, 1 << 40, -1
    first = n // 2 if u[i, TEAM] == 0 else 0
    for e in range(first, first + n // 2):
        if u[e, HP] <= 0:
            continue
        dx = abs(u[e, X] - u[i, X])
        dy = abs(u[e, Y] - u[i, Y])
        key = max(dx, dy) * 4096 + dx + dy
        if key < near_key:
            nearest, near_key = e, key
        if u[e, HP] < low_hp:
            weakest, low_hp = e, u[e, HP]
        rate = ratio((u[e, ATK] + u[e, MATK]) * 1000, max(u[e, ATTACK_DELAY], 1))
        danger = ratio(rate * 1000, u[e, HP] + 500)
        if danger > threat:
            dangerous, threat = e, danger
    return nearest, weakest, dangerous


@njit(cache=True, nogil=True)
def is_free(u, i):
    """Whether a unit can do as it is told in this window: not dead, stunned, casting or bound by a taunt."""
    taunter = u[i, TAUNT_BY]
    taunted = u[i, TAUNT] > DECISION_MS and taunter >= 0 and u[taunter, HP] > 0
    # A cast must end in the window's first tick; a stun that lasts into it holds the cast up.
    last = DECISION_MS - TICK_MS
    casting = u[i, CAST_SLOT] >= 0 and (u[i, CAST_LEFT] > last or u[i, STUN] > last)
    return u[i, HP] > 0 and u[i, STUN] <= DECISION_MS and not casting and not taunted


@njit(cache=True, nogil=True)
def clock_in_window(u, i):
    """A swing or a skill can start within the window."""
    return u[i, ACTION_CLOCK] <= DECISION_MS and u[i, ACT_LOCK] <= DECISION_MS


@njit(cache=True, nogil=True)
def plan(u, sk, w, i, n, orders, legal):
    """Fill `orders` int32 `(10, 5)` and `legal` bool `(10,)` for unit i."""
    for action in range(NUM_COMBAT_ACTIONS):
        put(orders, action, O_FUMBLE, -1, -1, 0, 0)
        legal[action] = False
    legal[0] = True
    orders[0, 0] = O_HOLD
    if u[i, HP] <= 0:
        return
    nearest, weakest, dangerous = pick_foes(u, i, n)
    if nearest >= 0 and distance(u, i, nearest) <= u[i, RANGE]:
        orders[0, 2] = nearest
    if not is_free(u, i):
        return  # whatever else is ordered cannot take effect
    clock = clock_in_window(u, i)
    can_walk = u[i, MOVE_LOCK] <= DECISION_MS
    if not (clock or can_walk):
        return
    attack(u, i, orders, legal, 1, nearest, clock, can_walk)
    attack(u, i, orders, legal, 2, weakest, clock, can_walk)
    attack(u, i, orders, legal, 3, dangerous, clock, can_walk)
    if can_walk:
        sx, sy = retreat_step(u, w, i, n)
        if open_beside(u, w, i, sx, sy):
            put(orders, 4, O_MOVE, -1, -1, sx, sy)
            legal[4] = True
    t, exists = protect_target(u, i, n, nearest)
    if exists:
        attack(u, i, orders, legal, 8, t, clock, can_walk)
    if clock:
        target = u[i, TARGET]
        if target < 0 or u[target, TEAM] == u[i, TEAM] or u[target, HP] <= 0:
            target = nearest
        skill_orders(u, sk, i, n, orders, legal, target, nearest)
        help_ally(u, sk, i, n, orders, legal, can_walk)


@njit(cache=True, nogil=True)
def skill_orders(u, sk, i, n, orders, legal, target, nearest):
    """Actions 5 (offensive), 6 (guard self) and 9 (control)."""
    t = target
    k = offensive_slot(u, sk, i, t, n)
    if k < 0 and nearest != target:
        t = nearest
        k = offensive_slot(u, sk, i, t, n)
    if k >= 0:
        put(orders, 5, O_SKILL, k, t, 0, 0)
        legal[5] = True
    for slot in range(NUM_SKILL_SLOTS):
        kind = sk[i, slot, KIND]
        absent = (
            (kind == K_GUARD and u[i, GUARD] <= 0)
            or (kind == K_POWER and u[i, POWER] <= 0)
            or (kind == K_SHIELD and u[i, SHIELD] <= 0)
        )
        if absent and ready_in_window(u, sk, i, slot):
            put(orders, 6, O_SKILL, slot, i, 0, 0)
            legal[6] = True
            break
    t = target
    k = control_slot(u, sk, i, t, n)
    if k < 0 and nearest != target:
        t = nearest
        k = control_slot(u, sk, i, t, n)
    if k >= 0:
        put(orders, 9, O_SKILL, k, i if sk[i, k, KIND] == K_TAUNT else t, 0, 0)
        legal[9] = True
