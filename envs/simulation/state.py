"""Columns of the simulation that no other room sees, statistics, and fight-level numbers.

A fight is one row block `(unit, column)` of int32: first the public columns of
`envs.contracts.layout`, then the private ones below. Team 0 fills the first half of the
units, team 1 the second; both have the same size.
"""

from __future__ import annotations

from envs.contracts.layout import NUM_SKILL_FIELDS, NUM_UNIT_FIELDS
from envs.contracts.vocabulary import HEADS as HEADS

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
STYLE = PROTECT_TICK + 5  # index into STYLES, 0 plain script
NEXT_STYLE = PROTECT_TICK + 6
SWITCH_TICK = PROTECT_TICK + 7  # tick at which the next style takes over, -1 never
LAST_STEP = PROTECT_TICK + 8  # tick of the last step
NUM_COLUMNS = PROTECT_TICK + 9

STYLES = ("script", "rusher", "kiter", "focus_fire", "healer_first", "turtle", "random")
"""How an opponent plays; all but the first choose among the combat actions, once per decision."""
(SCRIPT, RUSHER, KITER, FOCUS_FIRE, HEALER_FIRST, TURTLE, RANDOM) = range(7)

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
    "swings",  # basic attacks made
    "skills",  # skills started
    "steps",  # cells walked
    "lost",  # 1 lost by kill, 0 otherwise
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
    S_SWINGS,
    S_SKILLS,
    S_STEPS,
    S_LOST,
) = range(27)
NUM_STATISTICS = 27

# Per fight, int64.
(
    G_EPISODE,
    G_TICK,
    G_OUTCOME,
    G_KEY,
    G_LEAD,  # sum of team 0's HP shares minus team 1's, thousandths of a per cent
) = range(5)
NUM_FIGHT_FIELDS = 5

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
    W_HEAD,  # index into HEADS: what the learners' actions mean
    W_STARTS,  # index into STARTS
    W_LOG,  # 1: who damaged whom is kept
    W_SWITCHING,  # 1: a styled team changes its style once in a fight
    W_TERRAIN,  # 1: some cells are blocked
    W_REMEMBER,  # actions that units remember as their last one
    W_STYLES,  # first of 2 x (1 + 7): how many styles a team draws from, and which
    W_ROWS,  # first of 48: blocked cells of a row, one bit per column
) = (*range(15), 30)
MAX_SIZE = 48
NUM_WORLD_FIELDS = W_ROWS + MAX_SIZE

(H_COMBAT, H_MOVEMENT, H_SKILL, H_PACK, H_CONTROL) = range(5)
HEAD_ORDERS = (10, 9, 70, 8, 10)
"""Order rows per head; control mixes its order from the ten of the combat head."""

STARTS = ("near", "around", "random")
"""Start cells: facing each other, the same turned at random, or anywhere."""

# Outcomes, from team 0's side.
(RUNNING, WON_BY_KILL, WON_ON_TIME, DRAW) = (0, 1, 2, 3)
LOST_BY_KILL, LOST_ON_TIME = -1, -2

TICK_MS = 100
SIGHT = 10
CHASE = 12
LEASH_CAP = 30
HOLD_TICKS = 30  # 3 s: memory of hits, and how often one enemy counts as held off
STUN_IMMUNITY_MS = 3000
AIM_TICKS = 3  # a shot this soon after a step is a hasty one
ARMS_LENGTH = 2  # cells; a swing farther than this is a shot
FUMBLE_MS = 150  # action clock lost per tick of an order that cannot take effect
FUMBLE_CAP_MS = 2000
HASTE_POINTS = 80  # what it costs of the chance to hit, per cent
COMBAT_CELLS = 14  # distance rewards count only with an enemy this near
DEAD_BAND = 20  # thousandths of HP share per unit: closer is a draw on time
ALLY_SKILL_CELLS = 8
