"""Columns of the simulation that no other room sees, statistics, and fight-level numbers.

A fight is one row block `(unit, column)` of int32: first the public columns of
`envs.contracts.layout`, then the private ones below. Team 0 fills the first half of the
units, team 1 the second; both have the same size.
"""

from __future__ import annotations

from envs.contracts.layout import NUM_SKILL_FIELDS, NUM_UNIT_FIELDS

(
    LAST_ATTACKER,  # who hit me since I last chose a target, -1 none
    KILLER,  # who damaged me last, -1 none
    KILLER_SPELL,  # 1 if that was a spell
    LEASH,  # cells; a script drops a target farther away than this
    LAST_HIT_TICK,  # tick at which I last dealt damage
    LAST_VICTIM,  # whom I damaged last, -1 none
    SHIELD_BY,  # who gave me my shield, -1 none
    BRAIN,  # 0 script, 1 obeys orders
    SKILL_CHANCE,  # per cent applied to a script's skill chances
    AGGRESSIVE,  # 0: a script fights back only
    ORDER,  # first of five order columns
) = range(NUM_UNIT_FIELDS, NUM_UNIT_FIELDS + 11)
PREFER_LOW = ORDER + 5  # preferred distance, cells
PREFER_HIGH = ORDER + 6
BASIC_MAGIC = ORDER + 7  # 0: swings use ATK; else per cent of MATK
PROTECT_TICK = ORDER + 8  # first of five: tick at which enemy slot e last counted as held off
NUM_COLUMNS = PROTECT_TICK + 5

CHANCE = NUM_SKILL_FIELDS  # a script's chance per trial in 1/10,000
NUM_SKILL_COLUMNS = NUM_SKILL_FIELDS + 1

# Raw statistics of one decision window, int32 per unit. *_MP: thousandths of a per cent of the
# receiver's max HP, so that sums stay whole numbers. *_TICKS: ticks of 100 ms.
STATISTICS = (
    "dealt_mp",
    "taken_mp",
    "blocked_mp",  # kept off by guard and shield
    "kills",
    "deaths",
    "healed_mp",
    "effective_healed_mp",  # missing HP only
    "new_buffs",  # that were not already active
    "spell_mp",
    "spell_kills",
    "sp_spent",
    "aggro_ticks",  # enemies targeting me x ticks
    "absorbed_mp",  # taken and blocked
    "optimal_ticks",  # nearest enemy (within 14 cells) at my preferred distance
    "kiting_ticks",  # targeted by the nearest enemy, out of its reach
    "alive_ticks",
    "sustained_mp",  # dealt within 3 s of the hit before
    "protected",  # enemies drawn off, disabled or killed while they hit a team mate; shields that held
    "ally_deaths",
    "mana_mp",  # spell damage per 10 SP
    "team_gain_mp",  # change of (own team's HP shares - the other's), summed over units
    "alive_at_end",
    "won",  # 1 won by kill, 0 otherwise
)
(
    S_DEALT,
    S_TAKEN,
    S_BLOCKED,
    S_KILLS,
    S_DEATHS,
    S_HEALED,
    S_EFFECTIVE,
    S_BUFFS,
    S_SPELL,
    S_SPELL_KILLS,
    S_SP,
    S_AGGRO,
    S_ABSORBED,
    S_OPTIMAL,
    S_KITING,
    S_ALIVE,
    S_SUSTAINED,
    S_PROTECTED,
    S_ALLY_DEATHS,
    S_MANA,
    S_TEAM_GAIN,
    S_ALIVE_AT_END,
    S_WON,
) = range(23)
NUM_STATISTICS = 23

# Per fight, int64.
(G_EPISODE, G_TICK, G_OUTCOME, G_KEY) = range(4)
NUM_FIGHT_FIELDS = 4

# Per world, int64: the same for every fight of a batch.
(
    W_WIDTH,
    W_HEIGHT,
    W_LIMIT,  # ticks
    W_WINDOW,  # ticks per decision
    W_SEED,
    W_RULES,  # 0 renewal, 1 pre-renewal
    W_SWAP,  # 1: sides change places under the same random keys
    W_FIRST,  # index of the first fight of this batch in the seed's numbering
) = range(8)
NUM_WORLD_FIELDS = 8

# Outcomes, from team 0's side.
(RUNNING, WON_BY_KILL, WON_ON_TIME, DRAW) = (0, 1, 2, 3)
LOST_BY_KILL, LOST_ON_TIME = -1, -2

TICK_MS = 100
SIGHT = 10
CHASE = 12
LEASH_CAP = 30
HOLD_TICKS = 30  # 3 s: memory of hits, and how often one enemy counts as held off
STUN_IMMUNITY_MS = 3000
COMBAT_CELLS = 14  # distance rewards count only with an enemy this near
DEAD_BAND = 20  # thousandths of HP share per unit: closer is a draw on time
ALLY_SKILL_CELLS = 8
