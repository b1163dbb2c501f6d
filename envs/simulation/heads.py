"""Compiled twins of the other heads' orders: movement, skill with a target pointer, pack, control."""

from __future__ import annotations

from numba import float64, njit

from envs.contracts.layout import (
    GUARD,
    HP,
    K_AREA,
    K_DASH,
    K_GROUND,
    K_GUARD,
    K_HEAL,
    K_POWER,
    K_SHIELD,
    K_SLOW,
    K_STRIKE,
    K_STUN,
    K_TAUNT,
    KIND,
    MAX_HP,
    MOVE_LOCK,
    O_ATTACK,
    O_FUMBLE,
    O_HOLD,
    O_SCRIPT,
    O_SKILL,
    O_STEER,
    POWER,
    RADIUS,
    RANGE,
    REACH,
    SHIELD,
    TEAM,
    X,
    Y,
)
from envs.contracts.orders import HEAL_BELOW_PERCENT
from envs.contracts.vocabulary import DECISION_MS, MAX_TEAM_SIZE, NUM_SKILL_SLOTS
from envs.simulation.planner import (
    can_taunt,
    clock_in_window,
    is_free,
    offensive_slot,
    pick_foes,
    plan,
    protect_target,
    put,
    ready_in_window,
    retreat_step,
    untaunted_near,
)
from envs.simulation.rules import distance, open_beside, sign
from envs.simulation.state import H_COMBAT, H_CONTROL, H_MOVEMENT, H_SKILL, W_HEAD, W_HEIGHT, W_WIDTH

THIRD = 1 / 3
OCTANT = 2.414213562373095  # tan 67.5 degrees: beyond it a direction is straight
DEAD_ZONE = 0.09  # 0.3 squared
POINTERS = 2 * MAX_TEAM_SIZE
SPREAD_CELLS = 4


@njit(cache=True, nogil=True)
def compass(a):
    """Direction a: stay, N, NE, E, SE, S, SW, W, NW; north is +y."""
    dx = 1 if 2 <= a <= 4 else (-1 if a >= 6 else 0)
    dy = 1 if a == 1 or a == 2 or a == 8 else (-1 if 4 <= a <= 6 else 0)
    return dx, dy


@njit(cache=True, nogil=True)
def plan_movement(u, w, i, orders, legal):
    """Nine directions for the feet; the hands fight by script. orders `(9, 5)`, legal `(9,)`."""
    can = is_free(u, i) and u[i, MOVE_LOCK] <= DECISION_MS
    for a in range(9):
        dx, dy = compass(a)
        x, y = u[i, X] + dx, u[i, Y] + dy
        inside = 0 <= x < w[W_WIDTH] and 0 <= y < w[W_HEIGHT]
        legal[a] = a == 0 or (can and inside and open_beside(u, w, i, dx, dy))
        if legal[a]:
            put(orders, a, O_STEER, -1, -1, dx, dy)
        else:
            put(orders, a, O_FUMBLE, -1, -1, 0, 0)


@njit(cache=True, nogil=True)
def skill_applies(u, sk, i, k, j, n):
    """Whether a ready slot k can be used on living unit j."""
    kind = sk[i, k, KIND]
    d = distance(u, i, j)
    if kind == K_TAUNT:
        return j == i and untaunted_near(u, i, n, sk[i, k, RADIUS])
    if kind == K_HEAL or kind == K_GUARD or kind == K_POWER or kind == K_SHIELD:
        if u[j, TEAM] != u[i, TEAM]:
            return False
        near = d <= sk[i, k, REACH] or u[i, MOVE_LOCK] <= DECISION_MS
        if j != i and not (sk[i, k, REACH] > 0 and near):
            return False
        return (
            (kind == K_HEAL and u[j, HP] * 100 < u[j, MAX_HP] * HEAL_BELOW_PERCENT)
            or (kind == K_GUARD and u[j, GUARD] <= 0)
            or (kind == K_POWER and u[j, POWER] <= 0)
            or (kind == K_SHIELD and u[j, SHIELD] <= 0)
        )
    attacks = (
        kind == K_STRIKE
        or kind == K_AREA
        or kind == K_GROUND
        or kind == K_STUN
        or kind == K_SLOW
        or kind == K_DASH
    )
    return attacks and u[j, TEAM] != u[i, TEAM] and d <= sk[i, k, REACH]


@njit(cache=True, nogil=True)
def pointed(u, i, pointer, n):
    """Unit behind a target pointer: 0-4 enemies, 5 me, 6-9 my team mates; -1 if there is none."""
    half = n // 2
    own = 0 if u[i, TEAM] == 0 else half
    if pointer < MAX_TEAM_SIZE:
        return half - own + pointer if pointer < half else -1
    if pointer == MAX_TEAM_SIZE:
        return i
    j = own + pointer - MAX_TEAM_SIZE - 1
    if j >= i:
        j += 1
    return j if j < own + half else -1


@njit(cache=True, nogil=True)
def plan_skill(u, sk, i, n, orders, legal):
    """Basic attack and six skills times ten target pointers. orders `(70, 5)`, legal `(70,)`."""
    for a in range(orders.shape[0]):
        put(orders, a, O_FUMBLE, -1, -1, 0, 0)
        legal[a] = False
    legal[MAX_TEAM_SIZE] = True  # the basic attack pointed at oneself: wait
    put(orders, MAX_TEAM_SIZE, O_HOLD, -1, -1, 0, 0)
    if not is_free(u, i):
        return
    clock = clock_in_window(u, i)
    can_walk = u[i, MOVE_LOCK] <= DECISION_MS
    for pointer in range(POINTERS):
        j = pointed(u, i, pointer, n)
        if j < 0 or u[j, HP] <= 0:
            continue
        if pointer < MAX_TEAM_SIZE:
            if clock if distance(u, i, j) <= u[i, RANGE] else can_walk:
                put(orders, pointer, O_ATTACK, -1, j, 0, 0)
                legal[pointer] = True
        if not clock:
            continue
        for k in range(NUM_SKILL_SLOTS):
            if ready_in_window(u, sk, i, k) and skill_applies(u, sk, i, k, j, n):
                a = POINTERS * (k + 1) + pointer
                put(orders, a, O_SKILL, k, j, 0, 0)
                legal[a] = True


@njit(cache=True, nogil=True)
def feet(u, w, i, a, dx, dy, wanted, orders, legal):
    """Pack order a: walk one way while the script fights, if the cell there is another one and free."""
    if wanted and open_beside(u, w, i, dx, dy):
        put(orders, a, O_STEER, -1, -1, dx, dy)
        legal[a] = True


@njit(cache=True, nogil=True)
def regroup_step(u, i, n):
    """Direction to the middle of the other living members, and whether it is more than 2 cells off."""
    first = 0 if u[i, TEAM] == 0 else n // 2
    k, ex, ey = 0, 0, 0
    for e in range(first, first + n // 2):
        if e != i and u[e, HP] > 0:
            k += 1
            ex += u[e, X] - u[i, X]
            ey += u[e, Y] - u[i, Y]
    most = max(abs(ex), abs(ey))
    dx = sign(ex) if 2 * abs(ex) > most else 0
    dy = sign(ey) if 2 * abs(ey) > most else 0
    return dx, dy, k > 0 and most > 2 * k


@njit(cache=True, nogil=True)
def spread_step(u, i, n):
    """Direction away from the nearest other living member, and whether one is within 4 cells."""
    first = 0 if u[i, TEAM] == 0 else n // 2
    best, best_key = -1, (SPREAD_CELLS + 1) * 4096
    for e in range(first, first + n // 2):
        if e != i and u[e, HP] > 0:
            dx = abs(u[e, X] - u[i, X])
            dy = abs(u[e, Y] - u[i, Y])
            key = max(dx, dy) * 4096 + dx + dy
            if key < best_key:
                best, best_key = e, key
    if best < 0:
        return 0, 0, False
    dx, dy = -sign(u[best, X] - u[i, X]), -sign(u[best, Y] - u[i, Y])
    if dx == 0 and dy == 0:  # on one cell: everybody leaves another way
        dx, dy = compass(1 + (i - first) % 8)
    return dx, dy, True


@njit(cache=True, nogil=True)
def plan_pack(u, w, i, n, orders, legal):
    """Eight orders for a member of a pack. orders `(8, 5)`, legal `(8,)`."""
    for a in range(orders.shape[0]):
        put(orders, a, O_FUMBLE, -1, -1, 0, 0)
        legal[a] = a == 0
    put(orders, 0, O_SCRIPT, -1, -1, 0, 0)
    if not is_free(u, i):
        return
    can_walk = u[i, MOVE_LOCK] <= DECISION_MS
    half = n // 2
    foe0 = half if u[i, TEAM] == 0 else 0
    for e in range(min(half, 3)):
        if u[foe0 + e, HP] > 0:
            put(orders, 1 + e, O_SCRIPT, -1, foe0 + e, 0, 0)
            legal[1 + e] = True
    nearest, _, _ = pick_foes(u, i, n)
    t, exists = protect_target(u, i, n, nearest)
    if exists and t >= 0:
        put(orders, 4, O_SCRIPT, -1, t, 0, 0)
        legal[4] = True
    dx, dy, wanted = regroup_step(u, i, n)
    feet(u, w, i, 5, dx, dy, wanted and can_walk, orders, legal)
    dx, dy, wanted = spread_step(u, i, n)
    feet(u, w, i, 6, dx, dy, wanted and can_walk, orders, legal)
    dx, dy = retreat_step(u, w, i, n)
    feet(u, w, i, 7, dx, dy, can_walk, orders, legal)


@njit(cache=True, nogil=True)
def taunt_slot(u, sk, i, n):
    """First ready taunt with an enemy in its radius that is not taunted, else -1."""
    for k in range(NUM_SKILL_SLOTS):
        if can_taunt(u, sk, i, n, k):
            return k
    return -1


@njit(cache=True, nogil=True)
def control_order(u, sk, w, i, n, orders, legal, action, chosen):
    """Mix one order from five numbers. `orders`, `legal`: the combat head's; chosen int32 `(5,)` out."""
    vx, vy, stance = float64(action[0]), float64(action[1]), float64(action[2])
    urge, taste = float64(action[3]), float64(action[4])
    nearest, weakest, dangerous = pick_foes(u, i, n)
    t = weakest if taste < -THIRD else (dangerous if taste > THIRD else nearest)
    skill, aim = -1, i
    if urge > THIRD:
        if clock_in_window(u, i):
            skill = offensive_slot(u, sk, i, t, n)
            if skill >= 0:
                aim = t
            else:
                skill = taunt_slot(u, sk, i, n)
    elif urge < -THIRD:
        a = 7 if legal[7] and orders[7, 0] == O_SKILL else 6
        if legal[a]:
            skill, aim = orders[a, 1], orders[a, 2]
    elif t >= 0:
        aim = t
    dx, dy = 0, 0
    if vx * vx + vy * vy >= DEAD_ZONE:
        if OCTANT * abs(vx) > abs(vy):
            dx = 1 if vx > 0 else -1
        if OCTANT * abs(vy) > abs(vx):
            dy = 1 if vy > 0 else -1
    elif stance > THIRD:
        if t >= 0 and distance(u, i, t) > u[i, RANGE]:
            dx, dy = sign(u[t, X] - u[i, X]), sign(u[t, Y] - u[i, Y])
    elif stance < -THIRD:
        dx, dy = retreat_step(u, w, i, n)
    in_vain = abs(urge) > THIRD and skill < 0
    chosen[0] = O_FUMBLE if in_vain else O_STEER
    chosen[1] = skill
    chosen[2] = -1 if in_vain else aim
    chosen[3] = dx
    chosen[4] = dy


@njit(cache=True, nogil=True)
def plan_head(u, sk, w, i, n, orders, legal):
    """Orders and legality for the head that this world's learners have."""
    head = w[W_HEAD]
    if head == H_COMBAT or head == H_CONTROL:
        plan(u, sk, w, i, n, orders, legal)
    elif head == H_MOVEMENT:
        plan_movement(u, w, i, orders, legal)
    elif head == H_SKILL:
        plan_skill(u, sk, i, n, orders, legal)
    else:
        plan_pack(u, w, i, n, orders, legal)


@njit(cache=True, nogil=True)
def mix_control(units, sk, w, orders, masks, actions, chosen, start, stop):
    """Orders of the control head: actions float32 `(fight, learner, 5)`, chosen `(fight, learner, 5)`."""
    n = units.shape[1]
    for b in range(start, stop):
        for i in range(actions.shape[1]):
            control_order(units[b], sk, w, i, n, orders[b, i], masks[b, i], actions[b, i], chosen[b, i])
