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
    CAST_LEFT,
    CAST_SLOT,
    CAST_TARGET,
    CAST_X,
    CAST_Y,
    COOLDOWN,
    HP,
    K_GROUND,
    KIND,
    LAST_ACTION,
    MAX_HP,
    MAX_SP,
    MOVE_LOCK,
    O_ATTACK,
    O_FUMBLE,
    O_HOLD,
    O_MOVE,
    O_SCRIPT,
    O_STEER,
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
from envs.contracts.vocabulary import NUM_COMBAT_ACTIONS
from envs.simulation.heads import plan_head
from envs.simulation.observer import observe_unit
from envs.simulation.rng import P_ORDER, draw
from envs.simulation.rules import (
    apply_skill,
    bars,
    clear_cast,
    distance,
    held_off,
    swing,
    use_skill,
    walk,
    walk_toward,
)
from envs.simulation.scoring import count_positions, judge, team_lead
from envs.simulation.script import choose_target, fight_by_script, go_home, keeps_target
from envs.simulation.starts import reset_fight
from envs.simulation.state import (
    BRAIN,
    FUMBLE_CAP_MS,
    FUMBLE_MS,
    G_EPISODE,
    G_KEY,
    G_LEAD,
    G_OUTCOME,
    G_TICK,
    KILLER,
    KILLER_SPELL,
    LAST_ATTACKER,
    LAST_HIT_TICK,
    LOST_BY_KILL,
    NUM_STATISTICS,
    ORDER,
    RUNNING,
    S_ALIVE,
    S_ALIVE_AT_END,
    S_ALLY_DEATHS,
    S_DEATHS,
    S_KILLS,
    S_LOST,
    S_SPELL_KILLS,
    S_TAKEN,
    S_TEAM_GAIN,
    S_WON,
    STYLE,
    TICK_MS,
    W_FIRST,
    W_LOG,
    W_REMEMBER,
    W_STYLES,
    W_SWAP,
    W_WINDOW,
    WON_BY_KILL,
)
from envs.simulation.styles import choose_by_style


@njit(cache=True, nogil=True)
def start_tick(u, g, n, st):
    """Run the clocks down by 100 ms; regenerate 2 % of max SP each second."""
    breath = g[G_TICK] % 10 == 0
    for i in range(n):
        if u[i, HP] <= 0:
            continue
        u[i, ACTION_CLOCK] = max(u[i, ACTION_CLOCK] - TICK_MS, 0)
        u[i, ACT_LOCK] = max(u[i, ACT_LOCK] - TICK_MS, 0)
        u[i, MOVE_LOCK] = max(u[i, MOVE_LOCK] - TICK_MS, 1 - TICK_MS)
        for c in range(COOLDOWN, TAUNT + 1):  # cooldowns, then statuses
            u[i, c] = max(u[i, c] - TICK_MS, 0)
        u[i, SHIELD_LEFT] = max(u[i, SHIELD_LEFT] - TICK_MS, 0)
        if u[i, SHIELD_LEFT] == 0:
            u[i, SHIELD] = 0
        if breath:
            u[i, SP] = min(u[i, SP] + u[i, MAX_SP] // 50, u[i, MAX_SP])
        st[i, S_ALIVE] += 1


@njit(cache=True, nogil=True)
def steer(u, st, sk, g, w, hits, heals, i, n):
    """Feet and hands at once: the hands use a skill, swing or fight by script, the feet take a step."""
    k = u[i, ORDER + 1]
    j = u[i, ORDER + 2]
    if j < 0:
        t = u[i, TARGET] if keeps_target(u, i) else choose_target(u, st, g, i, n)
        if t >= 0:
            fight_by_script(u, st, sk, g, w, hits, heals, i, t, n, True)
    elif u[j, HP] > 0:
        hostile = u[j, TEAM] != u[i, TEAM]
        if hostile:
            u[i, TARGET] = j
        if k >= 0:
            use_skill(u, st, sk, g, w, hits, heals, i, k, j, n)
        elif hostile and distance(u, i, j) <= u[i, RANGE]:
            if u[i, ACTION_CLOCK] <= 0 and u[i, ACT_LOCK] <= 0:
                swing(u, st, g, w, hits, i, j, n)
    if u[i, CAST_SLOT] < 0:
        walk(u, st, g, w, i, u[i, ORDER + 3], u[i, ORDER + 4])


@njit(cache=True, nogil=True)
def obey(u, st, sk, g, w, hits, heals, i, n):
    """Carry out a move, hold, attack or skill order for one tick."""
    kind = u[i, ORDER]
    j = u[i, ORDER + 2]
    if kind == O_MOVE or kind == O_FUMBLE:
        if kind == O_FUMBLE:  # what cannot be done costs time
            late = min(u[i, ACTION_CLOCK] + FUMBLE_MS, FUMBLE_CAP_MS)
            u[i, ACTION_CLOCK] = max(u[i, ACTION_CLOCK], late)
        walk(u, st, g, w, i, u[i, ORDER + 3], u[i, ORDER + 4])
        return
    if j < 0 or u[j, HP] <= 0:
        return
    if kind == O_HOLD or kind == O_ATTACK:
        u[i, TARGET] = j
        if distance(u, i, j) <= u[i, RANGE]:
            if u[i, ACTION_CLOCK] <= 0 and u[i, ACT_LOCK] <= 0:
                swing(u, st, g, w, hits, i, j, n)
        elif kind == O_ATTACK and u[i, MOVE_LOCK] <= 0:
            walk_toward(u, st, g, w, i, j)
        return
    k = u[i, ORDER + 1]
    if u[j, TEAM] != u[i, TEAM]:
        u[i, TARGET] = j
    if not use_skill(u, st, sk, g, w, hits, heals, i, k, j, n):
        if j != i and distance(u, i, j) > sk[i, k, REACH]:
            walk_toward(u, st, g, w, i, j)


@njit(cache=True, nogil=True)
def go_on_casting(u, st, sk, g, w, hits, heals, i, n):
    """One tick of a cast; at its end it strikes the cell fixed at its start, or its target if that lives."""
    u[i, CAST_LEFT] -= TICK_MS
    if u[i, CAST_LEFT] <= 0:
        k = u[i, CAST_SLOT]
        j = u[i, CAST_TARGET]
        x = u[i, CAST_X]
        y = u[i, CAST_Y]
        clear_cast(u, i)
        if sk[i, k, KIND] == K_GROUND:
            apply_skill(u, st, sk, g, w, hits, heals, i, k, j, x, y, n)
        elif u[j, HP] > 0:
            apply_skill(u, st, sk, g, w, hits, heals, i, k, j, u[j, X], u[j, Y], n)


@njit(cache=True, nogil=True, inline="always")
def act(u, st, sk, g, w, hits, heals, i, n):
    """One unit's tick: stunned, casting, bound by a taunt, scripted, or obeying.

    Most ticks of most units are a script that waits for its clock or takes a step: these are decided
    here, in line; everything rarer is a call.
    """
    if u[i, STUN] <= 0:
        if u[i, CAST_SLOT] >= 0:
            go_on_casting(u, st, sk, g, w, hits, heals, i, n)
        else:
            taunter = u[i, TAUNT_BY]
            bound = u[i, TAUNT] > 0 and taunter >= 0 and u[taunter, HP] > 0
            scripted = bound or (u[i, BRAIN] == 0 and u[i, STYLE] == 0)
            kind = O_SCRIPT if scripted else u[i, ORDER]
            if kind == O_SCRIPT:
                t = -1 if scripted else u[i, ORDER + 2]
                if t >= 0 and u[t, HP] > 0 and u[t, TEAM] != u[i, TEAM]:
                    u[i, TARGET] = t
                    u[i, LAST_ATTACKER] = -1
                elif keeps_target(u, i):
                    t = u[i, TARGET]
                else:
                    t = choose_target(u, st, g, i, n)
                if t < 0:
                    go_home(u, st, g, w, i)
                else:
                    ready = u[i, ACTION_CLOCK] <= 0 and u[i, ACT_LOCK] <= 0
                    near = distance(u, i, t) <= u[i, RANGE]
                    busy = False
                    if ready:
                        busy = fight_by_script(u, st, sk, g, w, hits, heals, i, t, n, not bound)
                    if not (near or busy) and u[i, MOVE_LOCK] <= 0:
                        walk_toward(u, st, g, w, i, t)
            elif kind == O_STEER:
                steer(u, st, sk, g, w, hits, heals, i, n)
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
            st[i, S_TAKEN] += bars(d, u[i, MAX_HP])
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


@njit(cache=True, nogil=True)
def step_fight(u, st, sk, g, w, hits, heals, orders, legal, n):
    """One decision window (two ticks) of a running fight; `orders`, `legal` are room for a style's plan."""
    styled = w[W_STYLES] + w[W_STYLES + 8] > 0
    if styled:
        for i in range(n):
            if u[i, HP] > 0 and u[i, BRAIN] == 0:
                choose_by_style(u, sk, g, w, i, n, orders, legal)
    ticks = 0
    while ticks < w[W_WINDOW] and g[G_OUTCOME] == RUNNING:
        run_tick(u, st, sk, g, w, hits, heals, n)
        g[G_OUTCOME] = judge(u, g, w, n)
        ticks += 1
    count_positions(u, st, n, ticks)
    lead = team_lead(u, n)
    gain = lead - g[G_LEAD]
    g[G_LEAD] = lead
    half = n // 2
    ended = g[G_OUTCOME] != RUNNING
    for i in range(n):
        st[i, S_TEAM_GAIN] = gain if i < half else -gain
        if ended:
            st[i, S_ALIVE_AT_END] = 1 if u[i, HP] > 0 else 0
            won = WON_BY_KILL if i < half else LOST_BY_KILL
            st[i, S_WON] = 1 if g[G_OUTCOME] == won else 0
            st[i, S_LOST] = 1 if g[G_OUTCOME] == -won else 0


@njit(cache=True, nogil=True)
def write_log(u, st, hits, damage, killer, n):
    """Who damaged whom in this window, and who killed whom."""
    for i in range(n):
        killer[i] = u[i, KILLER] if st[i, S_DEATHS] > 0 else -1
        for j in range(n):
            damage[i, j] = hits[2 * n + i * n + j]


@njit(cache=True, nogil=True)
def reset_batch(units, fights, sk, w, template, obs, orders, masks, start, stop):
    """Begin the current episode of fights `start` to `stop` and observe."""
    n = units.shape[1]
    for b in range(start, stop):
        reset_fight(units[b], fights[b], w, template, w[W_FIRST] + b, n)
        for i in range(obs.shape[1]):
            observe_unit(units[b], sk, fights[b], w, i, n, obs[b, i])
            plan_head(units[b], sk, w, i, n, orders[b, i], masks[b, i])


@njit(cache=True, nogil=True)
def step_batch(
    units, fights, stats, sk, w, template, chosen, actions, obs, orders, masks, damage, killer, start, stop
):
    """Carry out one order per learner in fights `start` to `stop`, then observe.

    NEXT_STEP autoreset: a fight that has ended begins its next episode instead of a window.

    State: units int32 `(fight, unit, column)`, fights int64 `(fight, 5)`, stats int32
    `(fight, unit, statistic)`. In: chosen int32 `(fight, learner, 5)`, the orders to carry out; actions
    int32 `(fight, learner)`, what was chosen. Out: obs float32 `(fight, learner, 64)`, orders int32
    `(fight, learner, action, 5)`, masks bool `(fight, learner, action)`; with the log on damage int32
    `(fight, source, target)` and killer int32 `(fight, unit)`, otherwise untouched.
    """
    n = units.shape[1]
    hits = np.zeros(2 * n + n * n, np.int64)
    heals = np.zeros(n, np.int64)
    room = np.zeros((NUM_COMBAT_ACTIONS, 5), np.int32)
    allowed = np.zeros(NUM_COMBAT_ACTIONS, np.bool_)
    learners = obs.shape[1]
    for b in range(start, stop):
        u, g, st = units[b], fights[b], stats[b]
        for i in range(n):
            for s in range(NUM_STATISTICS):
                st[i, s] = 0
        if w[W_LOG] != 0:
            for c in range(n * n):
                hits[2 * n + c] = 0
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
                u[i, LAST_ACTION] = a if 0 <= a < w[W_REMEMBER] else -1
            step_fight(u, st, sk, g, w, hits, heals, room, allowed, n)
        if w[W_LOG] != 0:
            write_log(u, st, hits, damage[b], killer[b], n)
        for i in range(learners):
            observe_unit(u, sk, g, w, i, n, obs[b, i])
            plan_head(u, sk, w, i, n, orders[b, i], masks[b, i])


@njit(cache=True, nogil=True)
def choose(orders, actions, chosen, start, stop):
    """Pick the order row behind each action."""
    for b in range(start, stop):
        for i in range(actions.shape[1]):
            a = actions[b, i]
            if a < 0 or a >= orders.shape[2]:
                a = 0
            for c in range(5):
                chosen[b, i, c] = orders[b, i, a, c]
