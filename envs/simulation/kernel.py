"""Ticks, decision windows and batches of fights, compiled.

All the ticks of one fight run in a row, so a fight stays in the first-level cache. Within a
tick units act in an order drawn from the fight's key; what they deal and heal is summed and
applied to everybody at once at the end (both sides may die).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.contracts.layout import (
    ACT_LOCK,
    ACTION_CLOCK,
    ARCHETYPE,
    CAST_LEFT,
    CAST_SLOT,
    CAST_TARGET,
    CAST_X,
    CAST_Y,
    COOLDOWN,
    GUARD,
    HP,
    K_GROUND,
    KIND,
    LAST_ACTION,
    MAX_HP,
    MAX_SP,
    MOVE_LOCK,
    O_ATTACK,
    O_HOLD,
    O_MOVE,
    RANGE,
    REACH,
    SHIELD,
    SHIELD_LEFT,
    SP,
    STUN,
    TARGET,
    TAUNT,
    TAUNT_BY,
    TEAM,
    X,
    Y,
)
from envs.contracts.vocabulary import NUM_COMBAT_ACTIONS, NUM_SKILL_SLOTS
from envs.simulation.observer import observe_unit
from envs.simulation.planner import plan
from envs.simulation.rng import P_ORDER, P_START, draw, fight_key
from envs.simulation.rules import (
    HP_MP,
    apply_skill,
    clear_cast,
    distance,
    held_off,
    swing,
    use_skill,
    walk,
    walk_toward,
)
from envs.simulation.script import act_by_script, nearest_foe
from envs.simulation.state import (
    BRAIN,
    COMBAT_CELLS,
    DEAD_BAND,
    DRAW,
    G_EPISODE,
    G_KEY,
    G_OUTCOME,
    G_TICK,
    KILLER,
    KILLER_SPELL,
    LAST_HIT_TICK,
    LOST_BY_KILL,
    LOST_ON_TIME,
    NUM_COLUMNS,
    NUM_STATISTICS,
    ORDER,
    PREFER_HIGH,
    PREFER_LOW,
    RUNNING,
    S_AGGRO,
    S_ALIVE,
    S_ALIVE_AT_END,
    S_ALLY_DEATHS,
    S_DEATHS,
    S_KILLS,
    S_KITING,
    S_OPTIMAL,
    S_SPELL_KILLS,
    S_TAKEN,
    S_TEAM_GAIN,
    S_WON,
    TICK_MS,
    W_FIRST,
    W_HEIGHT,
    W_LIMIT,
    W_SEED,
    W_SWAP,
    W_WIDTH,
    W_WINDOW,
    WON_BY_KILL,
    WON_ON_TIME,
)


@njit(cache=True, nogil=True)
def reset_fight(u, g, w, template, fight, n):
    """Set up the fight's current episode: units from `template`, point-symmetric start cells."""
    g[G_KEY] = fight_key(w[W_SEED], fight, g[G_EPISODE])
    g[G_TICK] = 0
    g[G_OUTCOME] = RUNNING
    half = n // 2
    for i in range(n):
        for c in range(NUM_COLUMNS):
            u[i, c] = template[i, c]
        slot = i if i < half else i - half
        r = draw(g[G_KEY], 0, slot, P_START)  # one draw for the mirrored pair
        dx = 3 + r % 3
        dy = (r // 16) % 9 - 4
        if i < half:
            u[i, X] = w[W_WIDTH] // 2 - dx
            u[i, Y] = w[W_HEIGHT] // 2 + dy
        else:
            u[i, X] = w[W_WIDTH] - 1 - w[W_WIDTH] // 2 + dx
            u[i, Y] = w[W_HEIGHT] - 1 - w[W_HEIGHT] // 2 - dy
        u[i, ACTION_CLOCK] = (r // 512) % 600


@njit(cache=True, nogil=True)
def start_tick(u, g, n, st):
    """Run the clocks down by 100 ms; regenerate 2 % of max SP each second."""
    for i in range(n):
        if u[i, HP] <= 0:
            continue
        u[i, ACTION_CLOCK] = max(u[i, ACTION_CLOCK] - TICK_MS, 0)
        u[i, ACT_LOCK] = max(u[i, ACT_LOCK] - TICK_MS, 0)
        u[i, MOVE_LOCK] = max(u[i, MOVE_LOCK] - TICK_MS, 1 - TICK_MS)
        for k in range(NUM_SKILL_SLOTS):
            u[i, COOLDOWN + k] = max(u[i, COOLDOWN + k] - TICK_MS, 0)
        for c in range(GUARD, TAUNT + 1):
            u[i, c] = max(u[i, c] - TICK_MS, 0)
        u[i, SHIELD_LEFT] = max(u[i, SHIELD_LEFT] - TICK_MS, 0)
        if u[i, SHIELD_LEFT] == 0:
            u[i, SHIELD] = 0
        if g[G_TICK] % 10 == 0:
            u[i, SP] = min(u[i, SP] + u[i, MAX_SP] // 50, u[i, MAX_SP])
        st[i, S_ALIVE] += 1


@njit(cache=True, nogil=True)
def obey(u, st, sk, g, w, hits, heals, i, n):
    """Carry out the order of this decision window for one tick."""
    kind = u[i, ORDER]
    j = u[i, ORDER + 2]
    if kind == O_MOVE:
        walk(u, w, i, u[i, ORDER + 3], u[i, ORDER + 4])
        return
    if j < 0 or u[j, HP] <= 0:
        return
    ready = u[i, ACTION_CLOCK] <= 0 and u[i, ACT_LOCK] <= 0
    if kind == O_HOLD or kind == O_ATTACK:
        u[i, TARGET] = j
        if distance(u, i, j) <= u[i, RANGE]:
            if ready:
                swing(u, st, g, w, hits, i, j, n)
        elif kind == O_ATTACK:
            walk_toward(u, w, i, j)
        return
    k = u[i, ORDER + 1]
    if u[j, TEAM] != u[i, TEAM]:
        u[i, TARGET] = j
    if not use_skill(u, st, sk, g, w, hits, heals, i, k, j, n):
        if j != i and distance(u, i, j) > sk[u[i, ARCHETYPE], k, REACH]:
            walk_toward(u, w, i, j)


@njit(cache=True, nogil=True)
def act(u, st, sk, g, w, hits, heals, i, n):
    """One unit's tick: stunned, casting, bound by a taunt, obeying, or scripted."""
    if u[i, STUN] > 0:
        return
    if u[i, CAST_SLOT] >= 0:
        u[i, CAST_LEFT] -= TICK_MS
        if u[i, CAST_LEFT] <= 0:
            k = u[i, CAST_SLOT]
            j = u[i, CAST_TARGET]
            x = u[i, CAST_X]
            y = u[i, CAST_Y]
            clear_cast(u, i)
            if sk[u[i, ARCHETYPE], k, KIND] == K_GROUND:
                apply_skill(u, st, sk, g, w, hits, heals, i, k, j, x, y, n)
            elif u[j, HP] > 0:
                apply_skill(u, st, sk, g, w, hits, heals, i, k, j, u[j, X], u[j, Y], n)
        return
    taunter = u[i, TAUNT_BY]
    bound = u[i, TAUNT] > 0 and taunter >= 0 and u[taunter, HP] > 0
    if u[i, BRAIN] == 0 or bound:
        act_by_script(u, st, sk, g, w, hits, heals, i, n, not bound)
    else:
        obey(u, st, sk, g, w, hits, heals, i, n)


@njit(cache=True, nogil=True)
def end_tick(u, st, g, hits, heals, n):
    """Apply the tick's damage and healing to all at once; a hit above 5 % of max HP interrupts a cast."""
    for i in range(n):
        if hits[n + i] > 0:
            u[i, LAST_HIT_TICK] = g[G_TICK]
        if u[i, HP] <= 0:
            continue
        d = hits[i]
        if d > 0:
            st[i, S_TAKEN] += d * HP_MP // u[i, MAX_HP]
            if u[i, CAST_SLOT] >= 0 and d * 20 > u[i, MAX_HP]:
                clear_cast(u, i)
        hp = min(u[i, HP] + heals[i], u[i, MAX_HP]) - d
        heals[i] = 1 if hp <= 0 else 0  # from here on: who died in this tick
        u[i, HP] = max(hp, 0)
    half = n // 2
    for i in range(n):
        if u[i, HP] > 0 or heals[i] != 1 or hits[i] == 0:
            continue
        clear_cast(u, i)
        st[i, S_DEATHS] += 1
        killer = u[i, KILLER]
        st[killer, S_KILLS] += 1
        if u[i, KILLER_SPELL] == 1:
            st[killer, S_SPELL_KILLS] += 1
        held_off(u, st, g, killer, i, n)
        first = 0 if i < half else half
        for e in range(first, first + half):
            if e != i:
                st[e, S_ALLY_DEATHS] += 1


@njit(cache=True, nogil=True)
def count_positions(u, st, n):
    """Tick statistics of aggro, preferred distance and kiting."""
    for i in range(n):
        if u[i, HP] <= 0:
            continue
        t = u[i, TARGET]
        if t >= 0 and u[t, HP] > 0 and u[t, TEAM] != u[i, TEAM]:
            st[t, S_AGGRO] += 1
        e = nearest_foe(u, i, n, COMBAT_CELLS)
        if e >= 0:
            d = distance(u, i, e)
            if u[i, PREFER_LOW] <= d <= u[i, PREFER_HIGH]:
                st[i, S_OPTIMAL] += 1
            if u[e, TARGET] == i and d > u[e, RANGE]:
                st[i, S_KITING] += 1


@njit(cache=True, nogil=True)
def run_tick(u, st, sk, g, w, hits, heals, n):
    """Advance one fight by 100 ms."""
    g[G_TICK] += 1
    for i in range(n):
        hits[i] = 0
        hits[n + i] = 0
        heals[i] = 0
    start_tick(u, g, n, st)
    coin = draw(g[G_KEY], g[G_TICK], 0, P_ORDER)
    leader = (coin & 1) ^ w[W_SWAP]
    backward = (coin >> 1) & 1
    half = n // 2
    for q in range(half):
        slot = half - 1 - q if backward == 1 else q
        for side in range(2):
            i = slot + half * (side ^ leader)
            if u[i, HP] > 0:
                act(u, st, sk, g, w, hits, heals, i, n)
    end_tick(u, st, g, hits, heals, n)
    count_positions(u, st, n)


@njit(cache=True, nogil=True)
def judge(u, g, w, n):
    """Outcome after a tick, from team 0's side: kill, or HP share at the time limit (2 % dead band)."""
    half = n // 2
    alive0, alive1, share0, share1 = 0, 0, 0, 0
    for s in range(half):
        alive0 += u[s, HP] > 0
        alive1 += u[half + s, HP] > 0
        share0 += u[s, HP] * 1000 // u[s, MAX_HP]
        share1 += u[half + s, HP] * 1000 // u[half + s, MAX_HP]
    if alive0 == 0 or alive1 == 0:
        return WON_BY_KILL if alive0 > 0 else (LOST_BY_KILL if alive1 > 0 else DRAW)
    if g[G_TICK] < w[W_LIMIT]:
        return RUNNING
    if share0 - share1 > DEAD_BAND * half:
        return WON_ON_TIME
    return LOST_ON_TIME if share1 - share0 > DEAD_BAND * half else DRAW


@njit(cache=True, nogil=True)
def team_lead(u, n):
    """Sum of team 0's HP shares minus team 1's, in thousandths of a per cent."""
    lead = 0
    half = n // 2
    for s in range(half):
        lead += u[s, HP] * HP_MP // u[s, MAX_HP] - u[half + s, HP] * HP_MP // u[half + s, MAX_HP]
    return lead


@njit(cache=True, nogil=True)
def step_fight(u, st, sk, g, w, hits, heals, n):
    """One decision window (two ticks) of a running fight."""
    before = team_lead(u, n)
    for _ in range(w[W_WINDOW]):
        run_tick(u, st, sk, g, w, hits, heals, n)
        g[G_OUTCOME] = judge(u, g, w, n)
        if g[G_OUTCOME] != RUNNING:
            break
    gain = team_lead(u, n) - before
    half = n // 2
    ended = g[G_OUTCOME] != RUNNING
    for i in range(n):
        st[i, S_TEAM_GAIN] = gain if i < half else -gain
        if ended:
            st[i, S_ALIVE_AT_END] = 1 if u[i, HP] > 0 else 0
            won = WON_BY_KILL if i < half else LOST_BY_KILL
            st[i, S_WON] = 1 if g[G_OUTCOME] == won else 0


@njit(cache=True, nogil=True)
def reset_batch(units, fights, sk, w, template, obs, orders, masks, start, stop):
    """Begin the current episode of fights `start` to `stop` and observe."""
    n = units.shape[1]
    for b in range(start, stop):
        reset_fight(units[b], fights[b], w, template, w[W_FIRST] + b, n)
        for i in range(obs.shape[1]):
            observe_unit(units[b], sk, fights[b], w, i, n, obs[b, i])
            plan(units[b], sk, w, i, n, orders[b, i], masks[b, i])


@njit(cache=True, nogil=True)
def step_batch(units, fights, stats, sk, w, template, chosen, actions, obs, orders, masks, start, stop):
    """Carry out one order per learner in fights `start` to `stop`, then observe.

    NEXT_STEP autoreset: a fight that has ended begins its next episode instead of a window.

    State: units int32 `(fight, unit, column)`, fights int64 `(fight, 4)`, stats int32
    `(fight, unit, statistic)`. In: chosen int32 `(fight, learner, 5)`, the orders to carry out; actions
    int32 `(fight, learner)`, what was chosen. Out: obs float32 `(fight, learner, 64)`, orders int32
    `(fight, learner, 10, 5)`, masks bool `(fight, learner, 10)`.
    """
    n = units.shape[1]
    hits = np.zeros(2 * n, np.int64)
    heals = np.zeros(n, np.int64)
    learners = obs.shape[1]
    for b in range(start, stop):
        u, g, st = units[b], fights[b], stats[b]
        for i in range(n):
            for s in range(NUM_STATISTICS):
                st[i, s] = 0
        if g[G_OUTCOME] != RUNNING:
            g[G_EPISODE] += 1
            reset_fight(u, g, w, template, w[W_FIRST] + b, n)
        else:
            for i in range(learners):
                if u[i, BRAIN] == 0:
                    continue  # observed only
                for c in range(5):
                    u[i, ORDER + c] = chosen[b, i, c]
                a = actions[b, i]
                u[i, LAST_ACTION] = a if 0 <= a < NUM_COMBAT_ACTIONS else -1
            step_fight(u, st, sk, g, w, hits, heals, n)
        for i in range(learners):
            observe_unit(u, sk, g, w, i, n, obs[b, i])
            plan(u, sk, w, i, n, orders[b, i], masks[b, i])


@njit(cache=True, nogil=True)
def choose(orders, actions, chosen, start, stop):
    """Pick the order row behind each action."""
    for b in range(start, stop):
        for i in range(actions.shape[1]):
            a = actions[b, i]
            if a < 0 or a >= NUM_COMBAT_ACTIONS:
                a = 0
            for c in range(5):
                chosen[b, i, c] = orders[b, i, a, c]
