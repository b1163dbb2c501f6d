"""Rules of combat: distance, damage, skills, movement. Whole numbers only.

`u` is a fight `(unit, column)`, `st` its statistics `(unit, statistic)`, `sk` the units' skills
`(unit, slot, column)`, `g` the fight's numbers, `w` the world's, `hits` and `heals` what this tick
adds up before it is applied to all at once.

`hits` holds, one after the other: damage per unit, who dealt any, and (source, target) damage of
the whole window for the log.
"""

from __future__ import annotations

from numba import float64, int64, njit

from envs.contracts.layout import (
    ACT_LOCK,
    ACTION_CLOCK,
    ATK,
    ATTACK_DELAY,
    ATTACK_MOTION,
    CAST_LEFT,
    CAST_SLOT,
    CAST_TARGET,
    CAST_TIME,
    CAST_X,
    CAST_Y,
    COOLDOWN,
    COOLDOWN_TIME,
    COST,
    DEF,
    DURATION,
    EFFECT,
    FLEE,
    GUARD,
    HIT,
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
    K_STUN,
    K_TAUNT,
    KIND,
    MAGIC,
    MATK,
    MAX_HP,
    MDEF,
    MOVE_LOCK,
    POWER,
    RADIUS,
    REACH,
    SHIELD,
    SHIELD_LEFT,
    SLOW,
    SP,
    SPEED,
    STUN,
    STUN_IMMUNE,
    TARGET,
    TAUNT,
    TAUNT_BY,
    TEAM,
    X,
    Y,
)
from envs.simulation.rng import P_HIT, P_SKILL, P_SWING, draw
from envs.simulation.state import (
    AIM_TICKS,
    ARMS_LENGTH,
    BASIC_MAGIC,
    G_KEY,
    G_TICK,
    HASTE_POINTS,
    HOLD_TICKS,
    KILLER,
    KILLER_SPELL,
    LAST_ATTACKER,
    LAST_HIT_TICK,
    LAST_STEP,
    LAST_VICTIM,
    LEASH,
    PROTECT_TICK,
    S_ABSORBED,
    S_BLOCKED,
    S_BUFFS,
    S_DEALT,
    S_EFFECTIVE,
    S_HEALED,
    S_MANA,
    S_PROTECTED,
    S_SKILLS,
    S_SP,
    S_SPELL,
    S_STEPS,
    S_SUSTAINED,
    S_SWINGS,
    SHIELD_BY,
    STUN_IMMUNITY_MS,
    W_HEIGHT,
    W_LOG,
    W_ROWS,
    W_RULES,
    W_SWAP,
    W_TERRAIN,
    W_WIDTH,
)

HP_MP = 100_000  # a full bar in thousandths of a per cent
MOST = 1_000_000  # no hit or heal is larger, and none counts for more than ten bars: int32 holds every sum


@njit(cache=True, nogil=True)
def distance(u, i, j):
    """Chebyshev distance in cells."""
    dx = abs(u[i, X] - u[j, X])
    dy = abs(u[i, Y] - u[j, Y])
    return max(dx, dy)


@njit(cache=True, nogil=True)
def stream(u, w, i, n):
    """Random stream of a unit: it follows the unit when sides change places."""
    half = n // 2
    side = u[i, TEAM] ^ w[W_SWAP]
    return 16 * side + (i if i < half else i - half)


@njit(cache=True, nogil=True)
def sign(v):
    """-1, 0 or 1."""
    return 1 if v > 0 else (-1 if v < 0 else 0)


@njit(cache=True, nogil=True)
def ratio(a, b):
    """Whole part of a / b for 0 <= a < 2^53 and b > 0: exact, and cheaper than an integer division."""
    return int64(float64(a) / float64(b))


@njit(cache=True, nogil=True)
def bars(points, bar):
    """Points as thousandths of a per cent of a bar, at most ten bars."""
    return min(ratio(points * HP_MP, bar), MOST)


@njit(cache=True, nogil=True)
def blocked(w, x, y):
    """Whether terrain bars cell (x, y) of the arena."""
    return w[W_TERRAIN] != 0 and (w[W_ROWS + y] >> x) & 1 != 0


@njit(cache=True, nogil=True)
def open_beside(u, w, i, sx, sy):
    """Whether the cell in a direction, within the arena, is another one than mine and free."""
    nx = min(max(u[i, X] + sx, 0), w[W_WIDTH] - 1)
    ny = min(max(u[i, Y] + sy, 0), w[W_HEIGHT] - 1)
    return (nx != u[i, X] or ny != u[i, Y]) and not blocked(w, nx, ny)


@njit(cache=True, nogil=True)
def walk(u, st, g, w, i, sx, sy):
    """One step, if the unit may move; a diagonal costs x1.4, a slowed unit needs twice the time.

    Before a blocked cell the unit turns left by 45 degrees, else right, else it stays.
    """
    if u[i, MOVE_LOCK] > 0 or (sx == 0 and sy == 0):
        return
    nx = min(max(u[i, X] + sx, 0), w[W_WIDTH] - 1)
    ny = min(max(u[i, Y] + sy, 0), w[W_HEIGHT] - 1)
    if blocked(w, nx, ny):
        tx, ty = sign(sx - sy), sign(sx + sy)
        if not open_beside(u, w, i, tx, ty):
            tx, ty = sign(sx + sy), sign(sy - sx)
            if not open_beside(u, w, i, tx, ty):
                return
        nx = min(max(u[i, X] + tx, 0), w[W_WIDTH] - 1)
        ny = min(max(u[i, Y] + ty, 0), w[W_HEIGHT] - 1)
    if nx == u[i, X] and ny == u[i, Y]:
        return
    st[i, S_STEPS] += 1
    u[i, LAST_STEP] = g[G_TICK]
    cost = u[i, SPEED]
    if nx != u[i, X] and ny != u[i, Y]:
        cost = cost * 14 // 10
    if u[i, SLOW] > 0:
        cost = cost * 2
    u[i, X] = nx
    u[i, Y] = ny
    u[i, MOVE_LOCK] += cost  # may be below zero: the rest of a tick carries over
    if u[i, LEASH] > 12:
        u[i, LEASH] -= 1


@njit(cache=True, nogil=True)
def walk_toward(u, st, g, w, i, j):
    """One step in the direction of unit j."""
    walk(u, st, g, w, i, sign(u[j, X] - u[i, X]), sign(u[j, Y] - u[i, Y]))


@njit(cache=True, nogil=True)
def held_off(u, st, g, i, e, n):
    """Credit unit i for stopping enemy e, if e was hitting a team mate; once per enemy per 3 s."""
    tick = g[G_TICK]
    v = u[e, LAST_VICTIM]
    if v < 0 or v == i or u[v, TEAM] != u[i, TEAM] or tick - u[e, LAST_HIT_TICK] > HOLD_TICKS:
        return
    credit_protection(u, st, g, i, e, n)


@njit(cache=True, nogil=True)
def credit_protection(u, st, g, i, e, n):
    """Count enemy e as held off by i, at most once per 3 s."""
    half = n // 2
    column = PROTECT_TICK + (e if e < half else e - half)
    if g[G_TICK] - u[i, column] >= HOLD_TICKS:
        u[i, column] = g[G_TICK]
        st[i, S_PROTECTED] += 1


@njit(cache=True, nogil=True)
def mitigated(u, w, j, raw, magic):
    """Damage that defence lets through.

    Renewal: raw (4000 + DEF) / (4000 + 10 DEF), raw (1000 + MDEF) / (1000 + 10 MDEF).
    Pre-renewal: raw (100 - d) / 100 with d = DEF / 3 (MDEF / 3), at most 90 per cent.
    """
    guard = u[j, MDEF] if magic else u[j, DEF]
    if w[W_RULES] == 1:
        return raw * (100 - min(guard // 3, 90)) // 100
    scale = 1000 if magic else 4000
    return ratio(raw * (scale + guard), scale + 10 * guard)


@njit(cache=True, nogil=True)
def hurt(u, st, g, w, hits, src, j, raw, magic, spell, cost, n):
    """Deal damage from src to j: defence, guard (x0.55), shield; summed into `hits`."""
    d = max(mitigated(u, w, j, min(raw, MOST), magic), 1)
    full = d
    if u[j, GUARD] > 0:
        d = max(d * 55 // 100, 1)
    if u[j, SHIELD] > 0:
        soaked = min(d, u[j, SHIELD])
        u[j, SHIELD] -= soaked
        d -= soaked
        giver = u[j, SHIELD_BY]
        if giver >= 0 and giver != j and soaked * 20 >= u[j, MAX_HP]:
            credit_protection(u, st, g, giver, src, n)
    bar = u[j, MAX_HP]
    share = bars(d, bar)
    st[j, S_BLOCKED] += bars(full - d, bar)
    st[j, S_ABSORBED] += bars(full, bar)
    st[src, S_DEALT] += share
    if spell:
        st[src, S_SPELL] += share
        if cost > 0:
            st[src, S_MANA] += ratio(share * 10, cost)
    if g[G_TICK] - u[src, LAST_HIT_TICK] <= HOLD_TICKS:
        st[src, S_SUSTAINED] += share
    hits[j] += d
    if w[W_LOG] != 0:
        hits[2 * n + src * n + j] += d
    u[src, LAST_VICTIM] = j
    hits[n + src] = 1  # dealt damage this tick: LAST_HIT_TICK moves when the tick ends
    u[j, LAST_ATTACKER] = src
    if d > 0:
        u[j, KILLER] = src
        u[j, KILLER_SPELL] = 1 if spell else 0


@njit(cache=True, nogil=True)
def swing(u, st, g, w, hits, i, j, n):
    """A basic attack: hits by 95 + HIT - 100 - FLEE %, a hasty shot 80 less, at least 5; spread 80-120 %."""
    u[i, ACTION_CLOCK] = u[i, ATTACK_DELAY]
    u[i, MOVE_LOCK] = max(u[i, MOVE_LOCK], u[i, ATTACK_MOTION])
    st[i, S_SWINGS] += 1
    aim = u[i, HIT] - u[j, FLEE] - 5
    if g[G_TICK] - u[i, LAST_STEP] < AIM_TICKS and distance(u, i, j) > ARMS_LENGTH:
        aim -= HASTE_POINTS
    chance = min(max(aim, 5), 100)
    s = stream(u, w, i, n)
    if draw(g[G_KEY], g[G_TICK], s, P_HIT) % 100 >= chance:
        u[j, LAST_ATTACKER] = i
        return
    magic = u[i, BASIC_MAGIC] > 0
    base = u[i, MATK] * u[i, BASIC_MAGIC] // 100 if magic else u[i, ATK]
    raw = base * (80 + draw(g[G_KEY], g[G_TICK], s, P_SWING) % 41) // 100
    if u[i, POWER] > 0:
        raw = raw * 130 // 100
    hurt(u, st, g, w, hits, i, j, raw, magic, False, 0, n)


@njit(cache=True, nogil=True)
def clear_cast(u, i):
    """Forget a cast."""
    u[i, CAST_SLOT] = -1
    u[i, CAST_LEFT] = 0
    u[i, CAST_TARGET] = -1
    u[i, CAST_X] = 0
    u[i, CAST_Y] = 0


@njit(cache=True, nogil=True)
def buff(st, i, before):
    """Count a buff that was not already active."""
    if before <= 0:
        st[i, S_BUFFS] += 1


@njit(cache=True, nogil=True)
def apply_skill(u, st, sk, g, w, hits, heals, i, k, j, x, y, n):
    """The effect of skill slot k of unit i on unit j, or on cell (x, y) if it is ground-aimed."""
    kind = sk[i, k, KIND]
    lasts = sk[i, k, DURATION]
    if kind == K_HEAL:
        amount = min(u[i, MATK] * sk[i, k, EFFECT] // 100, MOST)
        missing = max(u[j, MAX_HP] - u[j, HP] - heals[j], 0)
        st[i, S_HEALED] += bars(amount, u[j, MAX_HP])
        st[i, S_EFFECTIVE] += bars(min(amount, missing), u[j, MAX_HP])
        heals[j] += amount
        return
    if kind == K_GUARD:
        buff(st, i, u[j, GUARD])
        u[j, GUARD] = lasts
        return
    if kind == K_POWER:
        buff(st, i, u[j, POWER])
        u[j, POWER] = lasts
        return
    if kind == K_SHIELD:
        buff(st, i, u[j, SHIELD])
        u[j, SHIELD] = sk[i, k, EFFECT]
        u[j, SHIELD_LEFT] = lasts
        u[j, SHIELD_BY] = i
        return
    if kind == K_TAUNT:
        for e in range(n):
            if u[e, TEAM] != u[i, TEAM] and u[e, HP] > 0 and distance(u, i, e) <= sk[i, k, RADIUS]:
                held_off(u, st, g, i, e, n)
                u[e, TAUNT] = lasts
                u[e, TAUNT_BY] = i
        return
    magic = sk[i, k, MAGIC] == 1
    base = u[i, MATK] if magic else u[i, ATK]
    raw = base * sk[i, k, EFFECT] // 100
    raw = raw * (80 + draw(g[G_KEY], g[G_TICK], stream(u, w, i, n), P_SKILL) % 41) // 100
    if u[i, POWER] > 0:
        raw = raw * 130 // 100
    cost = sk[i, k, COST]
    if kind == K_AREA or kind == K_GROUND:
        for e in range(n):
            if u[e, TEAM] != u[i, TEAM] and u[e, HP] > 0:
                if max(abs(u[e, X] - x), abs(u[e, Y] - y)) <= sk[i, k, RADIUS]:
                    hurt(u, st, g, w, hits, i, e, raw, magic, magic, cost, n)
        return
    if kind == K_DASH:
        sx = sign(u[j, X] - u[i, X])
        sy = sign(u[j, Y] - u[i, Y])
        back = 0 if blocked(w, u[j, X] - sx, u[j, Y] - sy) else 1
        u[i, X] = u[j, X] - sx * back
        u[i, Y] = u[j, Y] - sy * back
    hurt(u, st, g, w, hits, i, j, raw, magic, magic, cost, n)
    if kind == K_STUN and u[j, STUN] <= 0 and u[j, STUN_IMMUNE] <= 0:
        held_off(u, st, g, i, j, n)
        u[j, STUN] = lasts
        u[j, STUN_IMMUNE] = lasts + STUN_IMMUNITY_MS
    if kind == K_SLOW:
        u[j, SLOW] = lasts


@njit(cache=True, nogil=True)
def usable(u, sk, i, k):
    """Skill slot k can be used this instant."""
    return (
        sk[i, k, KIND] != K_NONE
        and u[i, COOLDOWN + k] <= 0
        and u[i, SP] >= sk[i, k, COST]
        and u[i, ACTION_CLOCK] <= 0
        and u[i, ACT_LOCK] <= 0
    )


@njit(cache=True, nogil=True)
def is_buff(kind):
    """Kinds that help a team mate."""
    return kind == K_HEAL or kind == K_GUARD or kind == K_POWER or kind == K_SHIELD


@njit(cache=True, nogil=True)
def use_skill(u, st, sk, g, w, hits, heals, i, k, j, n):
    """Start or fire slot k at unit j; returns False if it is not usable or out of reach.

    A skill runs on the same action clock as a swing, for learners and scripts alike.
    """
    if not usable(u, sk, i, k):
        return False
    if sk[i, k, KIND] == K_TAUNT or (is_buff(sk[i, k, KIND]) and sk[i, k, REACH] == 0):
        j = i
    elif distance(u, i, j) > sk[i, k, REACH]:
        return False
    st[i, S_SKILLS] += 1
    u[i, SP] -= sk[i, k, COST]
    st[i, S_SP] += sk[i, k, COST]
    u[i, COOLDOWN + k] = sk[i, k, COOLDOWN_TIME]
    u[i, ACT_LOCK] = u[i, ATTACK_MOTION]
    u[i, ACTION_CLOCK] = u[i, ATTACK_DELAY]
    u[i, MOVE_LOCK] = max(u[i, MOVE_LOCK], u[i, ATTACK_MOTION] // 2)
    if u[j, TEAM] != u[i, TEAM]:
        u[i, TARGET] = j
    if sk[i, k, CAST_TIME] > 0:
        u[i, CAST_SLOT] = k
        u[i, CAST_LEFT] = sk[i, k, CAST_TIME]
        u[i, CAST_TARGET] = j
        u[i, CAST_X] = u[j, X]
        u[i, CAST_Y] = u[j, Y]
    else:
        apply_skill(u, st, sk, g, w, hits, heals, i, k, j, u[j, X], u[j, Y], n)
    return True
